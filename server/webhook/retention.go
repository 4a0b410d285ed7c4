package webhook

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/relaytunnel/relay/internal/relay"
)

// shelf knows about how much an endpoint holds, without asking the store for each
// arrival.
type shelf struct {
	mu       sync.Mutex
	measured bool
	full     time.Time   // when it was measured and there was no room
	pending  relay.Usage // what is not delivered, as measured, with all that came since
	grown    relay.Usage // what came since the last purge

	second   int64 // of the last rejected event
	rejected int   // how many in that second

	certs *rate.Limiter // of certificates that are fetched
}

// How many certificates an endpoint may have fetched: strangers name them.
const (
	certEvery = rate.Limit(1.0 / 6) // a second
	certBurst = 10
)

// fullFor is for how long an endpoint that was found full is not measured again.
const fullFor = 250 * time.Millisecond

func (b *Inbox) shelf(endpointID string) *shelf {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shelves[endpointID]
	if s == nil {
		s = &shelf{certs: rate.NewLimiter(certEvery, certBurst)}
		b.shelves[endpointID] = s
	}
	return s
}

// room tells whether an endpoint may take one more event, and counts it. Delivered
// events make room, so that only undelivered ones count here: those are never
// thrown away for a new one, which can be sent again.
func (b *Inbox) room(e *endpoint, size int64) bool {
	s := b.shelf(e.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := e.Settings.Keep
	fits := func() bool {
		return s.measured && s.pending.Pending < keep.Count && s.pending.PendingBytes+size <= keep.Bytes
	}
	if !fits() {
		now := b.o.Now()
		if since := now.Sub(s.full); since >= 0 && since < fullFor {
			return false
		}
		ctx, cancel := storeContext()
		defer cancel()
		u, err := b.store.Usage(ctx, e.ID)
		if err != nil {
			// Whether it can be kept, the attempt to keep it will tell.
			b.log.Warn("measure endpoint", "endpoint", e.Name, "err", err)
			return true
		}
		s.measured, s.pending = true, u
		if !fits() {
			s.full = now
			return false
		}
	}
	s.pending.Pending++
	s.pending.PendingBytes += size
	s.grown.Events++
	s.grown.Bytes += size
	if s.grown.Events > keep.Count/10 || s.grown.Bytes > keep.Bytes/10 {
		s.grown = relay.Usage{}
		select {
		case b.purge <- e.ID:
		default: // it is looked at every minute anyway
		}
	}
	return true
}

// mayReject tells whether one more rejected event may be recorded, and counts it.
func (s *shelf) mayReject(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Unix() != s.second {
		s.second, s.rejected = now.Unix(), 0
	}
	s.rejected++
	return s.rejected <= rejectedRate
}

// retain removes what may go, until ctx ends.
func (b *Inbox) retain(ctx context.Context) {
	t := time.NewTicker(b.o.PurgeEvery)
	defer t.Stop()
	for {
		select {
		case id := <-b.purge:
			b.purgeOne(ctx, b.endpoint(id))
		case <-t.C:
			b.mu.Lock()
			all := make([]*endpoint, 0, len(b.byID))
			for _, e := range b.byID {
				all = append(all, e)
			}
			b.mu.Unlock()
			for _, e := range all {
				b.purgeOne(ctx, e)
			}
			b.freeDisk(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// purgeOne removes in small steps what an endpoint may not keep. Between two steps
// arrivals are written.
func (b *Inbox) purgeOne(ctx context.Context, e *endpoint) {
	if e == nil {
		return
	}
	var all relay.Purged
	for ctx.Err() == nil {
		p, err := b.store.Purge(ctx, e.ID, e.Settings.Keep, b.o.Now())
		if err != nil {
			b.log.Warn("purge", "endpoint", e.Name, "err", err)
			break
		}
		if p.Events == 0 {
			break
		}
		all.Events += p.Events
		all.Pending += p.Pending
	}
	switch {
	case all.Pending > 0:
		b.log.Warn("events were too old to be kept, and not delivered", "endpoint", e.Name, "count", all.Pending, "age", time.Duration(e.Settings.Keep.Age))
	case all.Events > 0:
		b.log.Debug("purged", "endpoint", e.Name, "events", all.Events)
	}
}

// freeDisk gives the space of what was removed back.
func (b *Inbox) freeDisk(ctx context.Context) {
	for ctx.Err() == nil {
		more, err := b.store.FreeDisk(ctx)
		if err != nil {
			b.log.Warn("free disk", "err", err)
			return
		}
		if !more {
			return
		}
	}
}
