package link

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// slowConn holds what is read back for a while.
type slowConn struct {
	net.Conn
	by time.Duration
}

func (c *slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	time.Sleep(c.by)
	return n, err
}

func TestRoundTripIsThatOfTheWay(t *testing.T) {
	const by = 30 * time.Millisecond
	_, agent := newPair(t, ends{dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &slowConn{c, by}, err
	}})
	d, err := agent.RoundTrip(t.Context())
	if err != nil || d < by || d > patience {
		t.Errorf("RoundTrip: %v, %v; the way takes %v", d, err, by)
	}
}

func TestRoundTripsAtOnce(t *testing.T) {
	_, agent := newPair(t, ends{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for range maxPings / 2 {
		wg.Go(func() {
			if d, err := agent.RoundTrip(ctx); err != nil || d <= 0 {
				t.Errorf("RoundTrip: %v, %v", d, err)
			}
		})
	}
	wg.Wait()
	agent.echoes.mu.Lock()
	defer agent.echoes.mu.Unlock()
	if n := len(agent.echoes.waiting); n != 0 {
		t.Errorf("%d pings are still waited for", n)
	}
}

func TestRoundTripEndsWithTheLink(t *testing.T) {
	server, agent := newPair(t, ends{})
	server.Abandon(errors.New("gone"))
	<-agent.Done()
	if _, err := agent.RoundTrip(t.Context()); err == nil {
		t.Error("a ping on a link that has ended has an answer")
	}
}
