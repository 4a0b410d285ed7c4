package cli

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/relaytunnel/relay/client"
)

// unreachable is told in place of client.Online when the tunnel is live but its URL
// does not answer from here.
type unreachable struct {
	client.Online
	why string
}

const (
	// announceWithin is how long a URL may take to answer before the user is told of
	// it with a warning: a certificate that was just ordered, a DNS record that was
	// just made.
	announceWithin = 15 * time.Second
	// unknownWithin is the same for a name that DNS does not know: it seldom comes to
	// know it in the next seconds.
	unknownWithin = 3 * time.Second
	// announceEvery is the time between two tries; one try takes announceTry at most.
	announceEvery = 500 * time.Millisecond
	announceTry   = 5 * time.Second
)

// announcer passes events on, and holds a URL back until it answers. Only https URLs
// are tried: a plain one is served on this machine or behind a proxy, where the
// server being reached says enough.
type announcer struct {
	probe func(ctx context.Context, url string) error
	tell  func(client.Event)

	mu      sync.Mutex
	last    context.CancelFunc // ends the tries for the last URL
	running sync.WaitGroup
	closed  bool
	known   bool // the URL has answered before
}

// announcers are an announcer for each listener of a client.
type announcers struct {
	probe func(ctx context.Context, url string) error
	tell  func(client.Event)

	mu sync.Mutex
	of map[*client.Listener]*announcer
}

// event is told what happens to the client; see client.Options.
func (as *announcers) event(ev client.Event) {
	if on, ok := ev.(client.Online); ok {
		as.get(on.Listener).event(ev)
		return
	}
	for _, a := range as.all() {
		a.hush()
	}
	as.tell(ev)
}

func (as *announcers) get(ln *client.Listener) *announcer {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.of[ln]
	if a == nil {
		if as.of == nil {
			as.of = map[*client.Listener]*announcer{}
		}
		a = &announcer{probe: as.probe, tell: as.tell}
		as.of[ln] = a
	}
	return a
}

func (as *announcers) all() []*announcer {
	as.mu.Lock()
	defer as.mu.Unlock()
	return slices.Collect(maps.Values(as.of))
}

// close waits for what is under way. Nothing is told any more when it returns.
func (as *announcers) close() {
	for _, a := range as.all() {
		a.close()
	}
}

// hush ends the tries for the last URL.
func (a *announcer) hush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last != nil {
		a.last()
		a.last = nil
	}
}

// event is told what happens to the listener.
func (a *announcer) event(ev client.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last != nil {
		a.last() // whatever it is, what was online is so no more
		a.last = nil
	}
	on, ok := ev.(client.Online)
	if !ok || a.known || a.closed || !strings.HasPrefix(on.URL, "https://") {
		a.tell(ev)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), announceWithin)
	a.last = cancel
	a.running.Go(func() {
		defer cancel()
		err := a.try(ctx, on.URL)
		a.mu.Lock()
		defer a.mu.Unlock()
		switch {
		case a.closed, context.Cause(ctx) == context.Canceled: //nolint:errorlint // the very value
		case err != nil:
			a.tell(unreachable{on, err.Error()})
		default:
			a.known = true
			a.tell(on)
		}
	})
}

// try tries the URL until it answers or ctx ends; then it returns why it does not.
func (a *announcer) try(ctx context.Context, url string) error {
	began := time.Now()
	for {
		one, cancel := context.WithTimeout(ctx, announceTry)
		err := a.probe(one, url)
		cancel()
		if err == nil {
			return nil
		}
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound && time.Since(began) >= unknownWithin {
			return err
		}
		t := time.NewTimer(announceEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// close waits for what is under way. Nothing is told any more when it returns.
func (a *announcer) close() {
	a.mu.Lock()
	a.closed = true
	if a.last != nil {
		a.last()
	}
	a.mu.Unlock()
	a.running.Wait()
}
