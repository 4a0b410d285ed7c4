package cert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// pace says how fast things go; tests are less patient.
type pace struct {
	first, most time.Duration // wait after the first failure, and the longest one
	files       time.Duration // between looks at the operator's files
	sweep       time.Duration // between looks for hosts that are held no more
}

var politePace = pace{first: time.Minute, most: time.Hour, files: filesEvery, sweep: 10 * time.Minute}

// orders is how many orders are made at the same time. Authorities answer in
// seconds, and want no more than some tens of requests in one.
const orders = 4

var errEnded = errors.New("the server is stopping")

// Prepare returns nil when there is a certificate for the host, and orders one
// when there is none, as long as Run runs. Otherwise it returns why there is none
// and when the next try is, as a sentence: ErrInvalid or ErrDenied for a host that
// may not have one, ErrLimit when the authority issues no more for now. When ctx
// ends first, the order goes on.
func (k *Keeper) Prepare(ctx context.Context, hostname string) error {
	name, err := relay.ParseHost(hostname)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if !k.held(name) {
		return fmt.Errorf("%w: %s is not held by anybody here, and gets no certificate", relay.ErrDenied, name)
	}
	if k.covered(name) {
		return nil
	}
	if k.o.Offline {
		return fmt.Errorf("%w: none of the files given with --tls-cert is for %s; give one that is, such as a wildcard", relay.ErrNotFound, name)
	}
	name = k.source(name)
	if valid(k.inHand(name, k.o.Now()), k.o.Now()) {
		return nil
	}
	done, err := k.want(name)
	if done == nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("the certificate for %s is still being ordered: %w", name, ctx.Err())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.hosts[name]
	switch {
	case h != nil && valid(h.cert, k.o.Now()):
		return nil
	case h != nil && h.failed != nil:
		return k.notYetLocked(h)
	}
	return fmt.Errorf("certificate for %s: %w", name, errEnded)
}

// want asks for an order and returns what is closed when it has ended, or nil and
// why there will be none now.
func (k *Keeper) want(name string) (done <-chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.hostLocked(name)
	switch {
	case k.ended:
		return nil, fmt.Errorf("certificate for %s: %w", name, errEnded)
	case h.failed != nil && !h.ordering && k.o.Now().Before(h.next):
		return nil, k.notYetLocked(h)
	}
	h.wanted = true
	if h.done == nil {
		h.done = make(chan struct{})
	}
	k.wakeUp()
	return h.done, nil
}

func (k *Keeper) notYetLocked(h *host) error {
	wait := max(0, h.next.Sub(k.o.Now())).Round(time.Second)
	return fmt.Errorf("no certificate for %s yet: %w (next try in %s)", h.name, h.failed, wait)
}

// covered tells whether a host needs no order because the operator's files have
// it, or a wildcard that was ordered before.
func (k *Keeper) covered(name string) bool {
	now := k.o.Now()
	if valid(k.files.Load().find(name), now) {
		return true
	}
	if k.o.Solver != nil || name != k.o.Domain && !k.below(name) {
		return false
	}
	// Without a solver nobody renews it: it covers until it would be renewed.
	c := k.inHand(k.wildcard, now)
	return valid(c, now) && now.Before(renewal(c))
}

// Run orders what Prepare asks for, and the base domain; renews; and reads the
// operator's files again when they change. It returns nil when ctx has ended and
// what it started has, too. It is called once, and not before the listeners
// serve: the authority asks them.
func (k *Keeper) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer k.roots.CloseIdleConnections()
	defer k.end()
	defer running.Wait()
	running.Go(func() { k.watchFiles(ctx) })
	if k.o.Offline {
		<-ctx.Done()
		return nil
	}
	if err := k.begin(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("read the certificates: %w", err)
	}
	slots := make(chan struct{}, orders)
	for ctx.Err() == nil {
		due, wait := k.due(k.o.Now(), cap(slots)-len(slots))
		for _, name := range due {
			slots <- struct{}{}
			running.Go(func() {
				cert, next, err := k.obtain(ctx, name)
				<-slots
				k.settle(ctx, name, cert, next, err)
			})
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// begin takes what the store has into memory, so that the first visitor of each
// host finds it there, forgets what is of no use, and asks for the base domain.
func (k *Keeper) begin(ctx context.Context) error {
	keys, err := k.o.Store.CertKeys(ctx, k.o.Directory)
	if err != nil {
		return err
	}
	for _, name := range keys {
		switch {
		case strings.Contains(name, "+"): // the account key, or an answer
		case name == k.wildcard || k.held(name):
			k.inHand(name, k.o.Now())
		default: // kept in case somebody takes the name again, until it ends
			if c, err := k.cache.load(ctx, name); err == nil && !valid(c, k.o.Now()) {
				if err := k.cache.Delete(ctx, name); err != nil {
					return err
				}
			}
		}
	}
	name := k.source(k.o.Domain)
	if now := k.o.Now(); !k.covered(k.o.Domain) && !valid(k.inHand(name, now), now) {
		_, _ = k.want(name) // nothing has failed so far
	}
	return nil
}

// end lets go all who wait in Prepare.
func (k *Keeper) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	for _, h := range k.hosts {
		if h.done != nil {
			close(h.done)
			h.done = nil
		}
	}
}

// due returns the hosts, no more than room, whose order is to be made now, and
// how long until there may be others.
func (k *Keeper) due(now time.Time, room int) (names []string, wait time.Duration) {
	k.forget()
	k.mu.Lock()
	defer k.mu.Unlock()
	wait = k.policy.sweep
	for name, h := range k.hosts {
		if h.ordering || h.looking != nil {
			continue
		}
		at, needed := k.neededLocked(h, now)
		switch {
		case !needed:
		case at.After(now):
			wait = min(wait, at.Sub(now))
		case len(names) < room:
			names = append(names, name)
			h.ordering = true
			if h.done == nil {
				h.done = make(chan struct{})
			}
		}
	}
	return names, wait
}

// forget drops hosts that are held no more.
func (k *Keeper) forget() {
	k.mu.Lock()
	names := slices.Collect(maps.Keys(k.hosts))
	k.mu.Unlock()
	for _, name := range names {
		if name == k.wildcard || k.held(name) {
			continue
		}
		k.mu.Lock()
		if h := k.hosts[name]; h != nil && !h.ordering && h.looking == nil {
			if h.done != nil {
				close(h.done)
			}
			delete(k.hosts, name)
		}
		k.mu.Unlock()
	}
}

// neededLocked tells whether and when an order is to be made for the host.
func (k *Keeper) neededLocked(h *host, now time.Time) (at time.Time, needed bool) {
	switch {
	case h.cert != nil:
		at = h.renew
		if h.name == k.wildcard && k.o.Solver == nil || h.name != k.source(h.name) {
			return at, false // another one is used from now on
		}
		if c := k.files.Load().find(h.name); valid(c, now) {
			return at, false
		}
	case h.wanted:
		at = now
	default:
		return at, false
	}
	if h.next.After(at) {
		at = h.next
	}
	return at, true
}

// settle writes into memory how an order ended, and logs a change.
func (k *Keeper) settle(ctx context.Context, name string, cert *tls.Certificate, next time.Time, err error) {
	before := k.outcome(name, cert, next, err)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		k.o.Log.Info("got a certificate", "host", name, "until", cert.Leaf.NotAfter)
	case before == nil || before.Error() != err.Error():
		k.o.Log.Warn("no certificate", "host", name, "err", err, "next", next)
	}
}

// outcome writes into memory how an order ended, and returns how the one before did.
func (k *Keeper) outcome(name string, cert *tls.Certificate, next time.Time, err error) (before error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.hostLocked(name)
	before = h.failed
	h.ordering = false
	if err == nil {
		h.wanted, h.failed, h.next = false, nil, time.Time{}
		k.haveLocked(h, cert)
	} else {
		h.failed, h.next = err, next
	}
	if h.done != nil {
		close(h.done)
		h.done = nil
	}
	k.wakeUp()
	return before
}

// haveLocked takes a certificate into memory.
func (k *Keeper) haveLocked(h *host, cert *tls.Certificate) {
	h.cert = cert
	early := time.Duration(rand.Int64N(int64(cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)/30) + 1))
	h.renew = renewal(cert).Add(-early) // so that those ordered together are not renewed together
}

// renewal is when a certificate should be renewed at the latest: when a third of
// its time is left.
func renewal(c *tls.Certificate) time.Time {
	return c.Leaf.NotAfter.Add(-c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 3)
}

func (k *Keeper) wakeUp() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}
