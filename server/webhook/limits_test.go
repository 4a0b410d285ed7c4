package webhook_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/webhook"
)

func TestBodiesHaveALimit(t *testing.T) {
	w := newWorld(t)
	s := always()
	s.MaxBody = 100_000
	w.endpoint("hooks", s)
	w.start()
	for _, tt := range []struct {
		size   int
		chunks bool
		want   int
	}{{100_000, false, 202}, {100_001, false, 413}, {100_000, true, 202}, {100_001, true, 413}, {0, true, 202}, {16 << 10, true, 202}} {
		var body io.Reader = strings.NewReader(strings.Repeat("x", tt.size))
		if tt.chunks {
			body = io.MultiReader(body) // of unknown length
		}
		req, err := http.NewRequest(http.MethodPost, w.http.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "hooks.relay.test"
		res, err := w.http.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tt.want {
			t.Errorf("%d bytes, chunks %v: %d, want %d", tt.size, tt.chunks, res.StatusCode, tt.want)
		}
	}
	for _, e := range w.events(relay.Filter{}) {
		full, err := w.store.Event(t.Context(), e.ID)
		if err != nil || int64(len(full.Body)) != e.Size {
			t.Errorf("%d bytes kept of %d, %v", len(full.Body), e.Size, err)
		}
	}
}

func TestMemoryHasALimit(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", fallback())
	w.opts = func(o *webhook.Options) { o.MaxBuffered = 200_000 } // half of it for arrivals
	w.agent(true)
	hold := make(chan struct{})
	w.serve(func(*http.Request) (*http.Response, error) { <-hold; return answer(200, ""), nil })
	w.start()
	body := strings.Repeat("x", 60_000)
	first := make(chan *reply)
	go func() {
		r, _ := w.try(http.MethodPost, "hooks", "/", body)
		first <- r
	}()
	w.next() // it is in memory now, and waits
	if r := w.post("hooks", body); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || r.Header.Get("Relay-Error") != "inbox_busy" {
		t.Errorf("a second: %d %v", r.StatusCode, r.Header)
	}
	close(hold)
	if r := <-first; r == nil || r.StatusCode != 200 {
		t.Errorf("the first: %+v", r)
	}
	if r := w.post("hooks", body); r.StatusCode != 200 {
		t.Errorf("after it: %d", r.StatusCode)
	}
	// What is larger than the budget for deliveries gets its turn alone.
	w.store.AddEvent(t.Context(), relay.NewEvent{Event: relay.Event{
		EndpointID: w.events(relay.Filter{})[0].EndpointID, Method: "POST", Target: "/", URL: "http://x/", Body: make([]byte, 150_000), Received: w.clock(),
	}})
	w.inbox.Retry(t.Context(), relay.Filter{}, false)
	w.halt()
	w.start()
	for range 3 {
		if len(w.next().body) == 150_000 {
			return
		}
	}
	t.Error("the large one is not delivered")
}

func TestAFullEndpointRefusesAndThrowsNothingAway(t *testing.T) {
	w := newWorld(t)
	s := always()
	s.Keep.Count = 10
	w.endpoint("hooks", s)
	w.start()
	var ids []string
	for range 10 {
		ids = append(ids, w.post("hooks", "x").id())
	}
	r := w.post("hooks", "x")
	if r.StatusCode != 503 || r.Header.Get("Relay-Error") != "inbox_full" {
		t.Fatalf("the eleventh: %d", r.StatusCode)
	}
	w.agent(true)
	for _, id := range ids {
		w.settled(id, relay.EventDelivered)
	}
	w.pass(time.Second)
	if r := w.post("hooks", "x"); r.StatusCode != 202 {
		t.Errorf("after delivery: %d", r.StatusCode)
	}
}

func TestRetentionMakesRoomBehindTraffic(t *testing.T) {
	w := newWorld(t)
	s := always()
	s.Keep.Count = 50
	e := w.endpoint("hooks", s)
	w.opts = func(o *webhook.Options) { o.PurgeEvery = 5 * time.Millisecond }
	w.agent(true)
	w.start()
	var last string
	for range 300 {
		r := w.post("hooks", "x")
		if r.StatusCode == 503 { // a burst that is not delivered yet
			w.pass(time.Second)
			continue
		}
		last = r.id()
	}
	w.settled(last, relay.EventDelivered)
	deadline := time.Now().Add(patience)
	for {
		u, err := w.store.Usage(t.Context(), e.ID)
		if err == nil && u.Events <= 50 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, %v", u, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
