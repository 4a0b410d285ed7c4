package domain

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

const (
	checkEvery = time.Hour
	awaitEvery = 5 * time.Minute    // for a domain that is pending: its user waits
	awaitFor   = 7 * 24 * time.Hour // from its being added; later only Verify looks
	spread     = 10 * time.Minute   // of the checks of different domains
	retryAfter = 10 * time.Minute   // when a look-up has failed
	lookEvery  = time.Minute        // for domains whose check is due
	together   = 8                  // checks at a time: they wait for others' servers
)

// Verify checks a host of the user now. It returns the domain as it is after
// that; one whose proof is not there has a Reason. Errors are that there is no
// such domain (ErrNotFound), that another user holds it (ErrTaken), and that DNS
// could not be asked (of no kind): try again.
func (d *Domains) Verify(ctx context.Context, u relay.User, host string) (relay.Domain, error) {
	host, err := relay.ParseHost(host)
	if err != nil {
		return relay.Domain{}, err
	}
	dom, err := d.o.Store.Domain(ctx, u.ID, host)
	if err != nil {
		return relay.Domain{}, err
	}
	return d.verify(ctx, dom)
}

// Run checks the domains until ctx ends; it returns nil then. Each that is held is
// checked once an hour, and each that is pending every five minutes.
func (d *Domains) Run(ctx context.Context) error {
	tried := make(map[key]time.Time) // when a check came to no result last
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if err := d.checkDue(ctx, tried); err != nil && ctx.Err() == nil {
			d.o.Log.Error("cannot check custom domains", "error", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

type key struct{ user, host string }

// checkDue checks the domains whose time has come.
func (d *Domains) checkDue(ctx context.Context, tried map[key]time.Time) error {
	all, err := d.o.Store.AllDomains(ctx)
	if err != nil {
		return err
	}
	var (
		now     = d.o.Now()
		seats   = make(chan struct{}, together)
		running sync.WaitGroup
		mu      sync.Mutex // guards tried, failed and first
		failed  int        // look-ups of this round
		first   error
	)
	for _, dom := range all {
		k := key{dom.UserID, dom.Host}
		mu.Lock()
		due := d.due(dom, tried[k], now)
		mu.Unlock()
		if !due {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		seats <- struct{}{}
		running.Go(func() {
			defer func() { <-seats }()
			_, err := d.verify(ctx, dom)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				delete(tried, k)
				return
			}
			tried[k] = now
			// Removed in the meantime, dropped just now, or another user's:
			// these are results.
			if errors.Is(err, relay.ErrNotFound) || errors.Is(err, relay.ErrTaken) {
				return
			}
			if failed++; first == nil {
				first = err
			}
		})
	}
	running.Wait()
	for k, at := range tried { // also those that are gone
		if now.Sub(at) > retryAfter {
			delete(tried, k)
		}
	}
	if failed > 0 && ctx.Err() == nil {
		d.o.Log.Warn("custom domains could not be checked; they stay as they are", "domains", failed, "error", first)
	}
	return nil
}

// due tells whether it is time to check a domain. Each that is held has its own
// minute, so that not all are looked up at once.
func (d *Domains) due(dom relay.Domain, tried, now time.Time) bool {
	if now.Sub(tried) < retryAfter {
		return false
	}
	if dom.Held() {
		own := time.Duration(maphash.String(d.seed, dom.Host) % uint64(spread))
		return now.Sub(dom.Checked) >= checkEvery+own
	}
	return now.Sub(dom.Checked) >= awaitEvery && now.Sub(dom.Created) < awaitFor
}

// verify checks a domain, keeps what was found, and returns the domain after it.
func (d *Domains) verify(ctx context.Context, dom relay.Domain) (relay.Domain, error) {
	started := d.o.Now()
	why, err := d.check(ctx, dom)
	if err != nil {
		return relay.Domain{}, err
	}
	after, became, err := d.apply(ctx, dom, started, why)
	if err != nil {
		return relay.Domain{}, err
	}
	if became && after.State == relay.DomainActive && d.o.Active != nil {
		d.o.Active(after.Host)
	}
	return after, nil
}

// apply keeps what a check has found that began at the time started. It returns
// the domain after it, and whether that is in another state now.
func (d *Domains) apply(ctx context.Context, checked relay.Domain, started time.Time, why string) (_ relay.Domain, became bool, err error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	was, err := d.o.Store.Domain(ctx, checked.UserID, checked.Host)
	if err != nil {
		return relay.Domain{}, false, err
	}
	if was.Name != checked.Name || was.Checked.After(started) {
		return was, false, nil // there is something newer than this check
	}
	dom, drop := next(was, why, d.o.Now())
	if drop {
		if err := d.o.Store.RemoveDomain(ctx, dom.UserID, dom.Host); err != nil {
			return relay.Domain{}, false, err
		}
		d.o.Log.Warn("a custom domain is dropped: it has not led here for seven days", "host", dom.Host, "user", dom.UserID, "reason", why)
		if err := d.Load(ctx); err != nil {
			return relay.Domain{}, false, err
		}
		return relay.Domain{}, false, fmt.Errorf("%w: %s is dropped after seven days: %s", relay.ErrNotFound, dom.Host, why)
	}
	if err := d.o.Store.SetDomain(ctx, dom, was.State); err != nil {
		if errors.Is(err, relay.ErrTaken) {
			return relay.Domain{}, false, taken(dom.Host)
		}
		return relay.Domain{}, false, err
	}
	if dom.State == was.State {
		return dom, false, nil
	}
	switch dom.State {
	case relay.DomainFailing:
		d.o.Log.Warn("a custom domain no longer leads here", "host", dom.Host, "user", dom.UserID, "reason", why, "dropped", Dropped(dom))
	case relay.DomainActive:
		d.o.Log.Info("a custom domain leads here", "host", dom.Host, "user", dom.UserID, "name", string(dom.Name))
	}
	return dom, true, d.Load(ctx)
}
