package webhook_test

import (
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

func TestARepeatIsMarkedAndDelivered(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", always())
	w.agent(true)
	w.start()
	h := []string{"X-GitHub-Delivery", "abc", "X-GitHub-Event", "push"}
	first := w.post("hooks", "x", h...)
	again := w.post("hooks", "x", h...)
	w.settled(first.id(), relay.EventDelivered)
	e := w.settled(again.id(), relay.EventDelivered)
	if e.AgainOf != first.id() || e.Provider != "github" || e.ProviderID != "abc" || e.Type != "push" {
		t.Errorf("the repeat is %+v", e)
	}
}

func TestDedupeDropsARepeatAndGivesTheSameAnswer(t *testing.T) {
	w := newWorld(t)
	s := fallback()
	s.Dedupe = relay.Duration(time.Hour)
	w.endpoint("hooks", s)
	w.agent(true)
	w.serve(answers(201, "made", "X-Made", "1"))
	w.start()
	h := []string{"X-GitHub-Delivery", "abc", "X-GitHub-Event", "push"}
	w.post("hooks", "x", h...)
	id := w.next().id()
	w.settled(id, relay.EventClosed)
	again := w.post("hooks", "x", h...)
	if again.StatusCode != 201 || again.body != "made" || again.Header.Get("X-Made") != "1" {
		t.Errorf("the repeat gets %d %q", again.StatusCode, again.body)
	}
	dup := w.events(relay.Filter{States: []relay.EventState{relay.EventDuplicate}})
	if len(dup) != 1 || dup[0].AgainOf != id {
		t.Errorf("recorded %+v", dup)
	}
	if n := len(w.calls()); n != 1 {
		t.Errorf("the app was called %d times", n)
	}
	w.pass(time.Hour + time.Second)
	w.post("hooks", "x", h...)
	if n := len(w.calls()); n != 2 {
		t.Errorf("after the window: %d calls", n)
	}
}

func TestDedupeLetsARepeatThroughThatTheSenderHasReasonFor(t *testing.T) {
	w := newWorld(t)
	s := fallback()
	s.Dedupe = relay.Duration(time.Hour)
	s.Provider = "github"
	s.Verify = relay.VerifyEnforce
	w.endpoint("hooks", s, secret)
	w.agent(true)
	w.serve(answers(500, ""))
	w.start()
	h := []string{"X-GitHub-Delivery", "abc", "X-GitHub-Event", "push"}
	// A stranger cannot use the id up.
	if r := w.post("hooks", "x", h...); r.StatusCode != 401 {
		t.Fatalf("unsigned: %d", r.StatusCode)
	}
	h = signed(t, "github", "", "x", w.clock(), h...)
	if r := w.post("hooks", "x", h...); r.StatusCode != 500 {
		t.Fatalf("the app's answer: %d", r.StatusCode)
	}
	if e := w.settled(w.next().id(), relay.EventClosed); e.AgainOf != "" {
		t.Errorf("again of %s, which was rejected", e.AgainOf)
	}
	// The app has refused, the sender tries again.
	w.serve(answers(200, "now"))
	if r := w.post("hooks", "x", h...); r.body != "now" {
		t.Errorf("the second try: %d %q", r.StatusCode, r.body)
	}
}

func TestDedupeOfWhatTheRelayOwns(t *testing.T) {
	w := newWorld(t)
	s := always()
	s.Dedupe = relay.Duration(time.Hour)
	s.Answer = &relay.Answer{Status: 200, Header: map[string][]string{"x-by": {"relay"}}, Body: "ok"}
	w.endpoint("hooks", s)
	w.start()
	h := []string{"Webhook-Id", "abc", "Webhook-Timestamp", "1", "Webhook-Signature", "v1,x"}
	for range 3 {
		if r := w.post("hooks", "x", h...); r.StatusCode != 200 || r.body != "ok" || r.Header.Get("X-By") != "relay" {
			t.Errorf("answer %d %q", r.StatusCode, r.body)
		}
	}
	w.agent(true)
	id := w.next().id()
	w.settled(id, relay.EventDelivered)
	if n := len(w.calls()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

func TestReplayByFilter(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", always())
	other := w.endpoint("other", always())
	w.agent(true)
	w.start()
	for range 3 {
		w.settled(w.post("hooks", "x").id(), relay.EventDelivered)
	}
	w.settled(w.post("other", "y").id(), relay.EventDelivered)
	for range 4 {
		w.next()
	}
	n, err := w.inbox.Replay(t.Context(), relay.Filter{EndpointID: other.ID}, true)
	if n != 1 || err != nil {
		t.Errorf("dry: %d, %v", n, err)
	}
	if n, err = w.inbox.Replay(t.Context(), relay.Filter{Path: "/hook"}, false); n != 4 || err != nil {
		t.Errorf("replay: %d, %v", n, err)
	}
	for range 4 {
		if got := w.next(); got.Header.Get("Relay-Replay") != "true" {
			t.Errorf("replayed with %v", got.Header)
		}
	}
	if n := len(w.calls()); n != 8 {
		t.Errorf("%d calls", n)
	}
}

func TestCancelGivesUpWhatWaits(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", always())
	w.start()
	id := w.post("hooks", "x").id()
	kept := w.post("hooks", "y").id()
	if n, err := w.inbox.Cancel(t.Context(), relay.Filter{IDs: []string{id}}, false); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	w.agent(true)
	w.settled(kept, relay.EventDelivered)
	if e := w.settled(id, relay.EventCancelled); e.Reason != "cancelled" {
		t.Errorf("reason %q", e.Reason)
	}
	if n := len(w.calls()); n != 1 {
		t.Errorf("%d calls", n)
	}
	w.inbox.Retry(t.Context(), relay.Filter{IDs: []string{id}}, false)
	w.settled(id, relay.EventDelivered)
}
