package cert

import (
	"context"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

const (
	week = 7 * 24 * time.Hour
	// spare is how many of the week's new certificates are left to what the
	// operator does by other means, such as a second server for the same domain.
	spare = 5
	// refusalsPerHour is how many failed verifications of one host Let's Encrypt
	// bears. An order has up to two: autocert tries both ways.
	refusalsPerHour  = 5
	refusalsPerOrder = 2
)

// room returns an error of kind ErrLimit when no new certificate may be ordered
// for the name, and until when.
func (k *Keeper) room(ctx context.Context, name string, now time.Time) (until time.Time, err error) {
	if k.o.Weekly <= 0 {
		return time.Time{}, nil
	}
	orders, err := k.o.Store.CertOrders(ctx, k.o.Directory, now.Add(-week))
	if err != nil {
		return now.Add(k.policy.first), err
	}
	most := max(1, k.o.Weekly-spare)
	var issued []time.Time
	for _, o := range orders {
		if o.Outcome == store.CertNew && o.Zone == zone(name) {
			issued = append(issued, o.At)
		}
	}
	if len(issued) < most {
		return time.Time{}, nil
	}
	until = issued[len(issued)-most].Add(week)
	return until, fmt.Errorf("%w: %d of the %d new certificates that the authority issues for %s in a week are used, the rest is kept in reserve; there is room again on %s, or at once with a wildcard certificate (--dns, --dns-provider or --tls-cert)",
		relay.ErrLimit, len(issued), k.o.Weekly, zone(name), until.Format("2 January 15:04 MST"))
}

// count writes down an order, for room and refused.
func (k *Keeper) count(ctx context.Context, name, outcome string) error {
	now := k.o.Now()
	return k.o.Store.AddCertOrder(ctx, store.CertOrder{
		CA: k.o.Directory, Host: name, Zone: zone(name), Outcome: outcome, At: now,
	}, now.Add(-week))
}

// refused writes down that n verifications of the host have failed, and returns
// before when there should be no other order.
func (k *Keeper) refused(ctx context.Context, name string, n int) (until time.Time, err error) {
	for range n {
		if err := k.count(ctx, name, store.CertRefused); err != nil {
			return time.Time{}, err
		}
	}
	orders, err := k.o.Store.CertOrders(ctx, k.o.Directory, k.o.Now().Add(-time.Hour))
	if err != nil {
		return time.Time{}, err
	}
	var failed []time.Time
	for _, o := range orders {
		if o.Outcome == store.CertRefused && o.Host == name {
			failed = append(failed, o.At)
		}
	}
	// As many as may be there when the next order begins.
	if most := refusalsPerHour - refusalsPerOrder; len(failed) > most {
		until = failed[len(failed)-most-1].Add(time.Hour)
	}
	return until, nil
}
