package cli

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/relaytunnel/relay/client"
)

// told collects what a user would see.
type told struct {
	announcer
	events []client.Event
	at     []time.Duration
}

func newTold(probe func(context.Context, string) error) *told {
	c, start := &told{}, time.Now()
	c.probe = probe
	c.tell = func(e client.Event) {
		c.events = append(c.events, e)
		c.at = append(c.at, time.Since(start))
	}
	return c
}

func TestAURLIsToldWhenItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		c := newTold(func(context.Context, string) error {
			if tries++; tries < 4 {
				return errors.New("not yet")
			}
			return nil
		})
		on := client.Online{Name: "alice", URL: "https://alice.relay.test"}
		c.event(on)
		time.Sleep(time.Minute)
		synctest.Wait()
		c.event(client.Offline{Reason: "the line is cut"})
		c.event(on) // that it works is known by now
		c.close()
		if len(c.events) != 3 || c.events[0] != client.Event(on) || c.at[0] != 3*announceEvery || c.events[2] != client.Event(on) || tries != 4 {
			t.Errorf("told %+v at %v after %d tries", c.events, c.at, tries)
		}
	})
}

func TestAURLThatDoesNotAnswerIsToldWithAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTold(func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return errors.New("no answer")
		})
		c.event(client.Online{Name: "alice", URL: "https://alice.relay.test"})
		time.Sleep(time.Minute)
		synctest.Wait()
		c.close()
		if w, ok := c.events[0].(unreachable); len(c.events) != 1 || !ok || w.why != "no answer" || c.at[0] != announceWithin {
			t.Errorf("told %+v at %v", c.events, c.at)
		}
	})
}

func TestANameThatIsNotKnownIsToldSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTold(func(context.Context, string) error {
			return client.Plainly(&net.DNSError{Name: "alice.relay.test", IsNotFound: true})
		})
		c.event(client.Online{URL: "https://alice.relay.test"})
		time.Sleep(time.Minute)
		synctest.Wait()
		c.close()
		if w, ok := c.events[0].(unreachable); !ok || w.why != "the name alice.relay.test is not known" || c.at[0] != unknownWithin {
			t.Errorf("told %+v at %v", c.events, c.at)
		}
	})
}

// Nothing is said of a tunnel that is gone before its URL has answered, and a plain
// URL is not tried.
func TestWhatIsNoMoreIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTold(func(ctx context.Context, url string) error {
			if url != "https://alice.relay.test" {
				t.Errorf("%s was tried", url)
			}
			<-ctx.Done()
			return errors.New("no answer")
		})
		c.event(client.Online{URL: "https://alice.relay.test"})
		c.event(client.Offline{Reason: "the line is cut"})
		c.event(client.Online{URL: "http://alice.localhost:8080"})
		time.Sleep(time.Minute)
		c.event(client.Online{URL: "https://alice.relay.test"})
		c.close() // while a try is under way
		if len(c.events) != 2 {
			t.Errorf("told %+v", c.events)
		}
	})
}
