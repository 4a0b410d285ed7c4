package webhook

import (
	"context"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// lane delivers what waits for one endpoint. It runs while there is something.
type lane struct {
	signal chan struct{} // something may have changed; buffered
}

const (
	// storePause is the time after which a lane asks a store again that has failed.
	storePause = time.Second
	// offlinePause is the same after an agent that was to be there and was not, in
	// case nobody tells when it comes.
	offlinePause = time.Second
	// longestWait bounds every wait: the clock may be set meanwhile.
	longestWait = time.Minute
	// memoryPatience is how long a claimed delivery may wait for memory.
	memoryPatience = leaseSlack / 2
	// leaseSlack is how much longer than a try its lease is.
	leaseSlack = 30 * time.Second
)

// wake has the lane of an endpoint look for something to do.
func (b *Inbox) wake(endpointID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.running || b.isClosing {
		return
	}
	l := b.lanes[endpointID]
	if l == nil {
		l = &lane{signal: make(chan struct{}, 1)}
		b.lanes[endpointID] = l
		b.tries.Go(func() { b.drain(endpointID, l) })
	}
	l.poke()
}

// wakeAll wakes the lanes that wait for something.
func (b *Inbox) wakeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lanes {
		l.poke()
	}
}

func (l *lane) poke() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// retire ends the lane unless it was woken meanwhile.
func (b *Inbox) retire(endpointID string, l *lane) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.signal) > 0 && !b.isClosing {
		return false
	}
	delete(b.lanes, endpointID)
	return true
}

// drain is the life of a lane.
func (b *Inbox) drain(endpointID string, l *lane) {
	busy := 0
	ended := make(chan relay.Result)
	closing := b.closing
	var paused bool // the agent was not there
	for {
		wait := longestWait // for a signal, in the first place
		idle := false
		e := b.endpoint(endpointID)
		switch {
		case e == nil || closing == nil:
			idle = true
		case paused:
			wait = offlinePause
		case !b.o.Live(e.Name):
			// Nothing is due before there is an agent, and no try is lost.
		case busy < e.Settings.InFlight:
			var claimed []relay.Delivery
			var err error
			// Mostly nothing is due when some agent comes or goes: a look costs
			// less than a claim.
			if wait, idle, err = b.next(e); err == nil && wait <= 0 {
				claimed, err = b.claim(e, e.Settings.InFlight-busy)
			}
			for _, d := range claimed {
				busy++
				go func() { ended <- b.deliver(e, d) }()
			}
			if err != nil {
				b.log.Error("look for deliveries", "endpoint", e.Name, "err", err)
				wait, idle = storePause, false
			}
		}
		if idle && busy == 0 && b.retire(endpointID, l) {
			return
		}
		timer := time.NewTimer(min(wait, longestWait))
		select {
		case <-l.signal:
			paused = false
		case r := <-ended:
			busy--
			paused = paused || r.Offline
		case <-timer.C:
			paused = false
		case <-closing:
			closing = nil // what is under way ends, nothing more begins
		}
		timer.Stop()
	}
}

// claim takes up to n deliveries that are due.
func (b *Inbox) claim(e *endpoint, n int) ([]relay.Delivery, error) {
	ctx, cancel := context.WithTimeout(b.life, storeTimeout)
	defer cancel()
	now := b.o.Now()
	return b.store.ClaimDeliveries(ctx, e.ID, b.lease(e, now), now, n, e.Settings.Strict())
}

// lease is a claim that lasts for one try.
func (b *Inbox) lease(e *endpoint, now time.Time) relay.Claim {
	return relay.Claim{Owner: b.owner, Lease: now.Add(time.Duration(e.Settings.Timeout) + leaseSlack)}
}

// next tells how long it is until something is due, and whether nothing waits.
func (b *Inbox) next(e *endpoint) (wait time.Duration, idle bool, err error) {
	ctx, cancel := context.WithTimeout(b.life, storeTimeout)
	defer cancel()
	at, ok, err := b.store.NextDelivery(ctx, e.ID, e.Settings.Strict())
	switch {
	case err != nil:
		return 0, false, err
	case !ok:
		return longestWait, true, nil
	case at.IsZero():
		return 0, false, nil
	}
	// Times are kept to the millisecond.
	return max(at.Sub(b.o.Now()), 0), false, nil
}
