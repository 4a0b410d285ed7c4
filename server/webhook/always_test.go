package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/webhook"
)

func always() relay.Settings { return relay.Settings{Inbox: relay.InboxAlways} }

func TestAnEventIsKeptByteForByteAndDelivered(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", always())
	w.start()
	const body = "\x00\xff{ \"a\" : 1.0 }\r\n"
	r := w.send(http.MethodPut, "hooks", "/a%2Fb?x=1;y=%20&z", body,
		"X-Twice", "b", "X-Twice", "a", "X-Latin", "caf\xe9", "Relay-Event-Id", "forged", "Relay-Original-X", "forged",
		"Keep-Alive", "timeout=5")
	if r.StatusCode != 202 || !strings.HasPrefix(r.id(), "evt_") {
		t.Fatalf("answer %d %q", r.StatusCode, r.body)
	}
	if len(w.calls()) != 0 {
		t.Fatal("the app was called without an agent")
	}
	w.agent(true)
	got := w.next()
	if string(got.body) != body || got.ContentLength != int64(len(body)) || got.Method != http.MethodPut || got.Host != "hooks.relay.test" {
		t.Errorf("the app got %s %q for %s, %d bytes announced", got.Method, got.body, got.Host, got.ContentLength)
	}
	if got.RequestURI != "/a%2Fb?x=1;y=%20&z" {
		t.Errorf("the target is %q", got.RequestURI)
	}
	if diff := cmp.Diff([]string{"b", "a"}, got.Header["X-Twice"]); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{
		"X-Latin": "caf\xe9", "Relay-Event-Id": r.id(), "Relay-Attempt": "1", "Relay-Received-At": "2026-11-25T12:00:00.000Z",
		"Relay-Replay": "", "Relay-Original-X": "", "Keep-Alive": "",
	} {
		if v := strings.Join(got.Header[name], "|"); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	e := w.settled(r.id(), relay.EventDelivered)
	if string(e.Body) != body || e.Size != int64(len(body)) || e.Header.Get("Relay-Event-Id") != "forged" || e.Client != "127.0.0.1" {
		t.Errorf("kept %+v", e)
	}
	attempts, err := w.store.Attempts(t.Context(), r.id())
	if err != nil || len(attempts) != 1 || attempts[0].Status != 200 || string(attempts[0].Body) != "fine" {
		t.Errorf("attempts %+v, %v", attempts, err)
	}
}

func TestEventsWaitForAnAgentAndLoseNoTry(t *testing.T) {
	w := newWorld(t)
	s := always()
	s.InFlight = 1 // so that the order shows
	w.endpoint("hooks", s)
	w.start()
	var ids []string
	for i := range 20 {
		ids = append(ids, w.post("hooks", fmt.Sprint(i)).id())
	}
	for range 30 { // an agent that never comes costs nothing
		w.pass(time.Hour)
	}
	w.agent(true)
	for i, id := range ids {
		got := w.next()
		if got.id() != id || string(got.body) != fmt.Sprint(i) || got.Header.Get("Relay-Attempt") != "1" {
			t.Fatalf("call %d is %s (%q), attempt %s; want %s", i, got.id(), got.body, got.Header.Get("Relay-Attempt"), id)
		}
	}
	w.settled(ids[19], relay.EventDelivered)
}

func TestTheScheduleEndsInDeath(t *testing.T) {
	w := newWorld(t)
	s := always()
	s.Schedule = []relay.Duration{0, relay.Duration(5 * time.Second), relay.Duration(time.Hour)}
	w.endpoint("hooks", s)
	w.agent(true)
	w.serve(answers(500, "broken"))
	w.start()
	id := w.post("hooks", "x").id()
	w.next()
	d := w.attempted(id, 1)
	if want := w.clock().Add(4995 * time.Millisecond); d.State != relay.DeliveryPending || !d.Next.Equal(want) || d.Attempt != 1 {
		t.Fatalf("after the first try: %+v, want it next at %v", d, want)
	}
	w.pass(5 * time.Second)
	if n := w.next().Header.Get("Relay-Attempt"); n != "2" {
		t.Errorf("attempt %s", n)
	}
	w.attempted(id, 2)
	w.pass(time.Hour)
	w.next()
	e := w.settled(id, relay.EventDead)
	if e.Reason != "the app answered 500 Internal Server Error" {
		t.Errorf("reason %q", e.Reason)
	}
	if n := len(w.calls()); n != 3 {
		t.Errorf("%d calls", n)
	}

	// Somebody repairs the app and tries again.
	w.serve(answers(204, ""))
	f := relay.Filter{States: []relay.EventState{relay.EventDead}}
	if n, err := w.inbox.Retry(t.Context(), f, true); n != 1 || err != nil {
		t.Errorf("dry: %d, %v", n, err)
	}
	if n, err := w.inbox.Retry(t.Context(), f, false); n != 1 || err != nil {
		t.Errorf("retry: %d, %v", n, err)
	}
	if n := w.next().Header.Get("Relay-Attempt"); n != "4" {
		t.Errorf("attempt %s", n)
	}
	w.settled(id, relay.EventDelivered)
}

func TestWhichAnswersAreFinal(t *testing.T) {
	for _, tt := range []struct {
		status int
		want   relay.EventState
	}{
		{200, relay.EventDelivered},
		{299, relay.EventDelivered},
		{301, relay.EventDead},
		{400, relay.EventDead},
		{404, relay.EventDead},
		{410, relay.EventDead},
		{408, relay.EventPending},
		{425, relay.EventPending},
		{429, relay.EventPending},
		{500, relay.EventPending},
		{599, relay.EventPending},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			w := newWorld(t)
			w.endpoint("hooks", always())
			w.agent(true)
			w.serve(answers(tt.status, "", "Retry-After", "3600"))
			w.start()
			id := w.post("hooks", "x").id()
			d := w.attempted(id, 1)
			w.settled(id, tt.want)
			if tt.want == relay.EventPending && d.Next.Before(w.clock().Add(time.Hour)) {
				t.Errorf("Retry-After is not honoured: next at %v", d.Next)
			}
		})
	}
}

func TestAFailingEventBlocksOnlyInStrictOrder(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			w := newWorld(t)
			s := always()
			s.InFlight = 2
			if strict {
				s.InFlight = 1
			}
			w.endpoint("hooks", s)
			ok := make(chan struct{})
			w.serve(func(r *http.Request) (*http.Response, error) {
				select {
				case <-ok:
				default:
					if r.ContentLength == 3 {
						return nil, errors.New("connection refused")
					}
				}
				return answer(200, ""), nil
			})
			w.start()
			bad := w.post("hooks", "bad").id()
			good := w.post("hooks", "good").id()
			w.agent(true)
			w.attempted(bad, 1)
			if !strict {
				w.settled(good, relay.EventDelivered)
				return
			}
			for range 5 {
				w.poke()
			}
			close(ok)
			w.pass(5 * time.Second)
			w.settled(bad, relay.EventDelivered)
			w.settled(good, relay.EventDelivered)
			var order []string
			for _, c := range w.calls() {
				order = append(order, c.id())
			}
			if diff := cmp.Diff([]string{bad, bad, good}, order); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNoMoreThanInFlightAtATime(t *testing.T) {
	w := newWorld(t)
	s := always()
	s.InFlight = 3
	w.endpoint("hooks", s)
	hold := make(chan struct{})
	w.serve(func(*http.Request) (*http.Response, error) { <-hold; return answer(200, ""), nil })
	w.start()
	var ids []string
	for range 10 {
		ids = append(ids, w.post("hooks", "x").id())
	}
	w.agent(true)
	for range 3 {
		w.next()
	}
	claimed := 0
	for _, id := range ids {
		d, err := w.store.Deliveries(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if d[0].State == relay.DeliverySending {
			claimed++
		}
	}
	if claimed != 3 {
		t.Errorf("%d at a time", claimed)
	}
	close(hold)
	for _, id := range ids {
		w.settled(id, relay.EventDelivered)
	}
}

func TestAnAgentThatGoesCostsNoTryAndItsReturnDeliversAtOnce(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", always())
	w.agent(true)
	gone := make(chan struct{})
	w.serve(func(*http.Request) (*http.Response, error) {
		<-gone
		return nil, fmt.Errorf("link lost: %w", relay.ErrOffline)
	})
	w.start()
	id := w.post("hooks", "x").id()
	w.next()
	w.mu.Lock()
	w.live = false
	w.mu.Unlock()
	close(gone)
	d := w.attempted(id, 1)
	if d.State != relay.DeliveryPending || d.Attempt != 0 || d.Lost != 1 || !d.Next.IsZero() {
		t.Errorf("after the loss: %+v", d)
	}
	w.serve(answers(200, ""))
	w.agent(true)
	w.next()
	w.settled(id, relay.EventDelivered)
}

func TestACrashLosesNothing(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", always())
	w.agent(true)
	hold := make(chan struct{})
	w.serve(func(r *http.Request) (*http.Response, error) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
		return answer(200, ""), nil
	})
	w.start()
	var ids []string
	for range 30 {
		ids = append(ids, w.post("hooks", "x").id())
	}
	for range 8 {
		w.next()
	}
	w.serve(answers(200, ""))
	w.crash()
	for _, id := range ids {
		w.settled(id, relay.EventDelivered)
	}
	close(hold)
}

// brokenDisk is a store whose commits fail.
type brokenDisk struct {
	webhook.Store
	fails func() bool
}

func (b *brokenDisk) AddEvent(ctx context.Context, n relay.NewEvent) (relay.Kept, error) {
	if b.fails() {
		return relay.Kept{}, errors.New("commit: disk I/O error")
	}
	return b.Store.AddEvent(ctx, n)
}

func TestWhatCannotBeKeptIsNotAccepted(t *testing.T) {
	for _, mode := range []relay.InboxMode{relay.InboxAlways, relay.InboxFallback} {
		for _, live := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, agent %v", mode, live), func(t *testing.T) {
				w := newWorld(t)
				w.endpoint("hooks", relay.Settings{Inbox: mode})
				failing := true
				w.wrap = func(s webhook.Store) webhook.Store {
					return &brokenDisk{Store: s, fails: func() bool { return failing }}
				}
				w.agent(live)
				w.start()
				r := w.post("hooks", "x")
				if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || r.Header.Get("Relay-Error") != "not_kept" || strings.Contains(r.body, "evt_") {
					t.Errorf("answer %d %v %q", r.StatusCode, r.Header, r.body)
				}
				if n := len(w.events(relay.Filter{})); n != 0 {
					t.Errorf("%d events are there", n)
				}
				failing = false
				if r := w.post("hooks", "x"); r.StatusCode >= 300 {
					t.Errorf("after the repair: %d", r.StatusCode)
				}
			})
		}
	}
}
