package edge_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/relaytunnel/relay/server/edge"
)

// gap is a name whose agent is away for a moment.
type gap struct {
	mu   sync.Mutex
	now  edge.Tunnel
	wake chan struct{}
	asks int
	nots []edge.Tunnel
}

func newGap() *gap { return &gap{wake: make(chan struct{})} }

func (g *gap) resolve(string) edge.Target {
	g.mu.Lock()
	defer g.mu.Unlock()
	return edge.Target{Tunnel: g.now, Known: true, Wait: true}
}

func (g *gap) await(ctx context.Context, _ string, not edge.Tunnel) (edge.Target, error) {
	g.mu.Lock()
	g.asks++
	g.nots = append(g.nots, not)
	wake := g.wake
	g.mu.Unlock()
	for {
		g.mu.Lock()
		now := g.now
		g.mu.Unlock()
		if now != nil && now != not {
			return edge.Target{Tunnel: now, Known: true}, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return edge.Target{}, ctx.Err()
		}
	}
}

func (g *gap) back(t edge.Tunnel) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = t
	close(g.wake)
	g.wake = make(chan struct{})
}

// visit runs one request without a network, for tests with a clock of their own.
func visit(e http.Handler, method, body string) *httptest.ResponseRecorder {
	var r *http.Request
	if body == "" {
		r = httptest.NewRequest(method, "http://alice.relay.test/", nil)
	} else {
		r = httptest.NewRequest(method, "http://alice.relay.test/", strings.NewReader(body))
	}
	r.RequestURI = "/"
	w := httptest.NewRecorder()
	e.ServeHTTP(deadliner{w}, r)
	return w
}

// deadliner is a recorder that takes deadlines.
type deadliner struct{ *httptest.ResponseRecorder }

func (deadliner) SetReadDeadline(time.Time) error { return nil }
func (deadliner) EnableFullDuplex() error         { return nil }

func ok(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		return respond(200, "ok"), nil
	}
	b, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	return respond(200, "ok "+string(b)), err
}

func TestRequestWaitsForAnAgentThatWasJustHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGap()
		e := edge.New(edge.Options{Resolve: g.resolve, Await: g.await})
		began := time.Now()
		go func() {
			time.Sleep(3 * time.Second)
			g.back(&tunnel{app: ok})
		}()
		w := visit(e, "POST", "hello")
		if w.Code != 200 || w.Body.String() != "ok hello" || time.Since(began) != 3*time.Second {
			t.Errorf("got %d %q after %v", w.Code, w.Body, time.Since(began))
		}
	})
}

func TestTheWaitIsBoundedInTime(t *testing.T) {
	for _, holdFor := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			g := newGap()
			e := edge.New(edge.Options{Resolve: g.resolve, Await: g.await, HoldFor: holdFor})
			began := time.Now()
			w := visit(e, "GET", "")
			want := holdFor
			if want == 0 {
				want = 5 * time.Second
			}
			if w.Code != 503 || w.Header().Get("Relay-Error") != "agent_away" || w.Header().Get("Retry-After") == "" || time.Since(began) != want {
				t.Errorf("got %d %q after %v, want 503 after %v", w.Code, w.Header().Get("Relay-Error"), time.Since(began), want)
			}
		})
	}
}

// Also a request that finds one dying tunnel after another waits no longer in all.
func TestTheWaitIsBoundedWhenAgentsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGap()
		e := edge.New(edge.Options{Resolve: g.resolve, Await: g.await})
		over := make(chan struct{})
		go func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(time.Second):
				}
				dying := &tunnel{app: func(*http.Request) (*http.Response, error) { return nil, errOffline }}
				dying.gone.Store(true)
				g.back(dying)
			}
		}()
		began := time.Now()
		w := visit(e, "GET", "")
		close(over)
		if took := time.Since(began); w.Code != 503 || took > 5*time.Second {
			t.Errorf("got %d after %v", w.Code, took)
		}
	})
}

func TestTheWaitIsBoundedInNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGap()
		e := edge.New(edge.Options{Resolve: g.resolve, Await: g.await, MaxHeld: 3})
		codes := make(chan int, 3)
		for range 3 {
			go func() { codes <- visit(e, "GET", "").Code }()
		}
		synctest.Wait()
		began := time.Now()
		if w := visit(e, "GET", ""); w.Code != 503 || time.Since(began) != 0 {
			t.Errorf("one too many: %d after %v, want 503 at once", w.Code, time.Since(began))
		}
		g.back(&tunnel{app: ok})
		for range 3 {
			if code := <-codes; code != 200 {
				t.Errorf("one who waited: %d", code)
			}
		}
		// And there is room again.
		g.back(nil)
		go func() { codes <- visit(e, "GET", "").Code }()
		synctest.Wait()
		g.back(&tunnel{app: ok})
		if code := <-codes; code != 200 {
			t.Errorf("one who came later: %d", code)
		}
	})
}

func TestVisitorWhoLeavesDoesNotWaitOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGap()
		e := edge.New(edge.Options{Resolve: g.resolve, Await: g.await, MaxHeld: 1})
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan any)
		go func() {
			defer func() { left <- recover() }()
			r := httptest.NewRequest("GET", "http://alice.relay.test/", nil).WithContext(ctx)
			r.RequestURI = "/"
			e.ServeHTTP(httptest.NewRecorder(), r)
		}()
		synctest.Wait()
		cancel()
		if p := <-left; p != http.ErrAbortHandler {
			t.Errorf("it ended with %v", p)
		}
		go func() { // its place is free
			synctest.Wait()
			g.back(&tunnel{app: ok})
		}()
		if w := visit(e, "GET", ""); w.Code != 200 {
			t.Errorf("the next: %d", w.Code)
		}
	})
}

// When an agent is lost with a request in its hands, the request goes to the next
// one only if that does no harm: a POST, only when nothing of it has left.
func TestRequestIsRepeatedOnlyWhereThatIsSafe(t *testing.T) {
	tests := []struct {
		method, body string
		err          error
		repeated     bool
	}{
		{"GET", "", errOffline, true},
		{"HEAD", "", errOffline, true},
		{"OPTIONS", "", errOffline, true},
		{"PUT", "hello", errOffline, true},
		{"DELETE", "", errOffline, true},
		{"POST", "hello", errOffline, false},
		{"POST", "", errOffline, false},
		{"PATCH", "hello", errOffline, false},
		{"FOO", "", errOffline, false},
		{"PUT", strings.Repeat("x", 40<<10), errOffline, false}, // is not in memory
		{"POST", "hello", errUnsent, true},
		{"POST", strings.Repeat("x", 40<<10), errUnsent, true},
		{"FOO", "", errUnsent, true},
		{"GET", "", errors.New("the app broke off"), false},
	}
	for _, tt := range tests {
		name := tt.method + " " + tt.err.Error()
		if len(tt.body) > 0 {
			name += " with a body"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGap()
				first, second := 0, 0
				dying := &tunnel{}
				dying.app = func(*http.Request) (*http.Response, error) {
					first++
					dying.gone.Store(true)
					return nil, tt.err
				}
				g.now = dying
				e := edge.New(edge.Options{Resolve: g.resolve, Await: g.await})
				go func() {
					time.Sleep(time.Second)
					g.back(&tunnel{app: func(req *http.Request) (*http.Response, error) {
						second++
						return ok(req)
					}})
				}()
				w := visit(e, tt.method, tt.body)
				if first != 1 || (second == 1) != tt.repeated || (w.Code == 200) != tt.repeated {
					t.Errorf("%d, then %d tries, answered %d; repeated should be %v", first, second, w.Code, tt.repeated)
				}
				if tt.repeated && tt.body != "" && w.Body.String() != "ok "+tt.body {
					t.Errorf("the second try had another body: %.40q", w.Body)
				}
				if tt.repeated && (len(g.nots) != 1 || g.nots[0] != edge.Tunnel(dying)) {
					t.Error("it did not ask for another tunnel than the lost one")
				}
				time.Sleep(2 * time.Second)
			})
		})
	}
}

// A tunnel that lost one link but lives on another is tried again at once, a few
// times.
func TestLivingTunnelIsTriedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGap()
		tries := 0
		g.now = &tunnel{app: func(req *http.Request) (*http.Response, error) {
			if tries++; tries < 3 {
				return nil, errOffline
			}
			return ok(req)
		}}
		e := edge.New(edge.Options{Resolve: g.resolve, Await: g.await})
		began := time.Now()
		if w := visit(e, "GET", ""); w.Code != 200 || tries != 3 || time.Since(began) != 0 {
			t.Errorf("got %d after %d tries and %v", w.Code, tries, time.Since(began))
		}
		g.now = &tunnel{app: func(*http.Request) (*http.Response, error) {
			tries++
			return nil, errOffline
		}}
		tries = 0
		if w := visit(e, "GET", ""); w.Code != 503 || tries > 5 {
			t.Errorf("got %d after %d tries", w.Code, tries)
		}
	})
}

func TestNobodyWaitsForWhoWasNotHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := edge.New(edge.Options{
			Resolve: func(string) edge.Target { return edge.Target{Known: true} },
			Await: func(context.Context, string, edge.Tunnel) (edge.Target, error) {
				t.Error("it waits")
				return edge.Target{}, nil
			},
		})
		if w := visit(e, "GET", ""); w.Code != 503 {
			t.Errorf("got %d", w.Code)
		}
	})
}
