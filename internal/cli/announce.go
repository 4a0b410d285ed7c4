package cli

import (
	"context"
	"errors"
	"net"
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

// announcer passes events on, and holds each URL back until it answers. Only https URLs
// are tried: a plain one is served on this machine or behind a proxy, where the
// server being reached says enough.
type announcer struct {
	probe func(ctx context.Context, url string) error
	tell  func(client.Event)

	mu      sync.Mutex
	urls    map[*client.Listener]*announced
	running sync.WaitGroup
	closed  bool
}

// announced is the URL of one listener.
type announced struct {
	tries context.CancelFunc // ends the tries that are under way
	known bool               // it has answered before
}

// stop ends the tries: whatever came, what was online is so no more.
func (u *announced) stop() {
	if u.tries != nil {
		u.tries()
		u.tries = nil
	}
}

// event is told what happens to the client; see client.Options.
func (a *announcer) event(ev client.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	on, ok := ev.(client.Online)
	if !ok {
		a.stop()
		a.tell(ev)
		return
	}
	u := a.urls[on.Listener]
	if u == nil {
		if a.urls == nil {
			a.urls = map[*client.Listener]*announced{}
		}
		u = &announced{}
		a.urls[on.Listener] = u
	}
	u.stop()
	if u.known || a.closed || !strings.HasPrefix(on.URL, "https://") {
		a.tell(ev)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), announceWithin)
	u.tries = cancel
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
			u.known = true
			a.tell(on)
		}
	})
}

// stop ends the tries for all URLs. a.mu is held.
func (a *announcer) stop() {
	for _, u := range a.urls {
		u.stop()
	}
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
	a.stop()
	a.mu.Unlock()
	a.running.Wait()
}
