package webhook_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/webhook"
)

// fallback waits for the app for longer than any test does.
func fallback() relay.Settings {
	return relay.Settings{Inbox: relay.InboxFallback, AnswerWithin: relay.Duration(time.Hour), Timeout: relay.Duration(2 * time.Hour)}
}

// impatient is fallback for tests in which the app is late.
func impatient() relay.Settings {
	s := fallback()
	s.AnswerWithin = relay.Duration(30 * time.Millisecond)
	return s
}

func TestTheAppsOwnAnswerReachesTheSender(t *testing.T) {
	for _, status := range []int{200, 302, 404, 500} {
		w := newWorld(t)
		w.endpoint("hooks", fallback())
		w.agent(true)
		w.serve(answers(status, "<Response/>", "X-Twice", "b", "X-Twice", "a", "Connection", "X-Hop", "X-Hop", "1", "Location", "/x"))
		w.start()
		w.http.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		r := w.post("hooks", "x")
		if r.StatusCode != status || r.body != "<Response/>" || r.Header.Get("X-Hop") != "" || r.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("answer %d %q %v", r.StatusCode, r.body, r.Header)
		}
		if diff := cmp.Diff([]string{"b", "a"}, r.Header["X-Twice"]); diff != "" {
			t.Error(diff)
		}
		got := w.next()
		w.settled(got.id(), relay.EventClosed)
		w.pass(24 * time.Hour)
		w.halt()
		if n := len(w.calls()); n != 1 {
			t.Errorf("the app was called %d times for %d", n, status)
		}
		at, err := w.store.Attempts(t.Context(), got.id())
		if err != nil || len(at) != 1 || at[0].Status != status || string(at[0].Body) != "<Response/>" {
			t.Errorf("attempts %+v, %v", at, err)
		}
	}
}

func TestTheRelayTakesOverWhenTheAppCannotAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		agent bool
		app   func(*http.Request) (*http.Response, error)
	}{
		"the agent is away": {false, answers(200, "")},
		"the app refuses": {true, func(*http.Request) (*http.Response, error) {
			return nil, errors.New("connection refused")
		}},
		"the agent goes": {true, func(*http.Request) (*http.Response, error) { return nil, relay.ErrOffline }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.endpoint("hooks", fallback())
			w.agent(tt.agent)
			w.serve(tt.app)
			w.start()
			r := w.post("hooks", "x")
			if r.StatusCode != 202 || r.id() == "" {
				t.Fatalf("answer %d %q", r.StatusCode, r.body)
			}
			if tt.agent {
				w.attempted(r.id(), 1)
			}
			w.serve(answers(200, ""))
			w.agent(true)
			w.pass(5 * time.Second)
			w.settled(r.id(), relay.EventDelivered)
		})
	}
}

func TestALateAnswerCounts(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", impatient())
	w.agent(true)
	status := make(chan int)
	w.serve(func(*http.Request) (*http.Response, error) { return answer(<-status, ""), nil })
	w.start()
	first := w.post("hooks", "x")
	if first.StatusCode != 202 {
		t.Fatalf("answer %d", first.StatusCode)
	}
	status <- 200
	if e := w.settled(first.id(), relay.EventDelivered); e.Reason != "" {
		t.Errorf("reason %q", e.Reason)
	}
	second := w.post("hooks", "y")
	status <- 503
	if d := w.attempted(second.id(), 1); d.State != relay.DeliveryPending || d.Attempt != 1 {
		t.Errorf("after a late failure: %+v", d)
	}
	w.pass(5 * time.Second)
	status <- 200
	w.settled(second.id(), relay.EventDelivered)
	if n := len(w.calls()); n != 3 {
		t.Errorf("the app was called %d times", n)
	}
}

func TestAnEventWhoseSenderWasNeverAnsweredIsDelivered(t *testing.T) {
	t.Run("the server falls over", func(t *testing.T) {
		w := newWorld(t)
		w.endpoint("hooks", fallback())
		w.agent(true)
		w.serve(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		w.start()
		asked := make(chan error)
		go func() {
			_, err := w.try(http.MethodPost, "hooks", "/", "x")
			asked <- err
		}()
		id := w.next().id()
		for _, err := w.store.Event(t.Context(), id); err != nil; _, err = w.store.Event(t.Context(), id) {
			time.Sleep(time.Millisecond) // until it is on disk
		}
		w.serve(answers(200, ""))
		w.crash()
		<-asked
		w.settled(id, relay.EventDelivered)
	})
	t.Run("the sender leaves", func(t *testing.T) {
		w := newWorld(t)
		w.endpoint("hooks", fallback())
		w.agent(true)
		hold := make(chan struct{})
		goOn := sync.OnceFunc(func() { close(hold) })
		defer goOn()
		w.serve(func(*http.Request) (*http.Response, error) { <-hold; return answer(500, ""), nil })
		w.start()
		ctx, leave := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, w.http.URL, strings.NewReader("x"))
		req.Host = "hooks.relay.test"
		asked := make(chan error)
		go func() {
			_, err := w.http.Client().Do(req)
			asked <- err
		}()
		id := w.next().id()
		leave()
		<-asked
		select {
		case <-w.handled: // the server has noticed
		case <-time.After(patience):
			t.Fatal("the handler still waits for the app")
		}
		goOn()
		if d := w.attempted(id, 1); d.State != relay.DeliveryPending {
			t.Errorf("after 500 with nobody to tell: %+v", d)
		}
		w.serve(answers(200, ""))
		w.pass(5 * time.Second)
		w.settled(id, relay.EventDelivered)
	})
	t.Run("the answer breaks off", func(t *testing.T) {
		w := newWorld(t)
		w.endpoint("hooks", fallback())
		w.agent(true)
		w.serve(func(*http.Request) (*http.Response, error) {
			res := answer(500, "")
			res.ContentLength = 100
			res.Body = io.NopCloser(io.MultiReader(strings.NewReader("begin"), iotest.ErrReader(io.ErrUnexpectedEOF)))
			return res, nil
		})
		w.start()
		if r, err := w.try(http.MethodPost, "hooks", "/", "x"); err == nil {
			t.Errorf("the sender got a whole answer: %d %q", r.StatusCode, r.body)
		}
		id := w.next().id()
		if d := w.attempted(id, 1); d.State != relay.DeliveryPending {
			t.Errorf("%+v", d)
		}
	})
}

// slowDisk commits when it is told to.
type slowDisk struct {
	webhook.Store
	goOn chan struct{}
}

func (s *slowDisk) AddEvent(ctx context.Context, n relay.NewEvent) (relay.Kept, error) {
	<-s.goOn
	return s.Store.AddEvent(ctx, n)
}

func TestTheAppIsAskedAtOnceButNobodyIsAnsweredBeforeTheCommit(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", fallback())
	w.endpoint("later", always())
	disk := &slowDisk{goOn: make(chan struct{})}
	w.wrap = func(s webhook.Store) webhook.Store { disk.Store = s; return disk }
	w.agent(true)
	w.start()
	for _, name := range []string{"hooks", "later"} {
		answered := make(chan *reply, 1)
		go func() {
			r, _ := w.try(http.MethodPost, name, "/", "x")
			answered <- r
		}()
		if name == "hooks" {
			w.next() // has its answer, while nothing is on disk
		}
		select {
		case r := <-answered:
			t.Fatalf("%s: %d before the commit", name, r.StatusCode)
		case <-time.After(50 * time.Millisecond): // cannot be proved by waiting, but be noticed
		}
		disk.goOn <- struct{}{}
		if r := <-answered; r == nil || r.StatusCode >= 300 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestStrictOrderIsKeptByWhatIsLive(t *testing.T) {
	w := newWorld(t)
	s := fallback()
	s.InFlight = 1
	w.endpoint("hooks", s)
	w.start()
	first := w.post("hooks", "1")
	hold := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(hold) })
	defer goOn()
	w.serve(func(*http.Request) (*http.Response, error) { <-hold; return answer(200, ""), nil })
	w.agent(true)
	w.next()
	second := w.post("hooks", "2") // hangs if the app is asked
	if second.StatusCode != 202 || len(w.calls()) != 1 {
		t.Errorf("the second overtakes: %d", second.StatusCode)
	}
	goOn()
	w.settled(first.id(), relay.EventDelivered)
	w.settled(second.id(), relay.EventDelivered)
	if r := w.post("hooks", "3"); r.StatusCode != 200 {
		t.Errorf("with nothing before it: %d", r.StatusCode)
	}
}

func TestWhatIsNotTheInboxsGoesLive(t *testing.T) {
	w := newWorld(t)
	s := fallback()
	s.Path = "/hooks/github"
	w.endpoint("some", s)
	w.endpoint("all", always())
	w.endpoint("off", relay.Settings{})
	w.agent(true)
	w.start()
	for _, tt := range []struct {
		method, name, target string
		header               []string
		want                 string
	}{
		{"POST", "some", "/hooks/github", nil, "fine"},
		{"POST", "some", "/hooks/github/x?y", nil, "fine"},
		{"POST", "some", "/x/../hooks//GitHub;a", nil, "fine"}, // however the app reads it
		{"POST", "some", "/hooks/githubx", nil, "live"},
		{"POST", "some", "/", nil, "live"},
		{"GET", "some", "/hooks/github", nil, "live"},
		{"GET", "all", "/", []string{"Connection", "Upgrade", "Upgrade", "websocket"}, "live"},
		{"POST", "off", "/", nil, "404 page not found\n"},
	} {
		if r := w.send(tt.method, tt.name, tt.target, "", tt.header...); r.body != tt.want {
			t.Errorf("%s %s%s: %q, want %q", tt.method, tt.name, tt.target, r.body, tt.want)
		}
	}
	if r := w.send("GET", "all", "/", ""); r.StatusCode != 202 {
		t.Errorf("GET in always mode: %d", r.StatusCode)
	}
}
