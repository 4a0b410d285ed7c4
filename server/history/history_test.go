package history_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
	"github.com/relaytunnel/relay/server/history"
	"github.com/relaytunnel/relay/server/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// world is a history over a true store, with ann's endpoints "a" and "b" and bob's "c".
type world struct {
	*history.History
	t        *testing.T
	st       *store.Store
	ann, bob relay.User
	end      func()

	mu   sync.Mutex
	live map[relay.Name]bool
	app  func(relay.Name, history.Sender, *http.Request) (*http.Response, error)
}

func newWorld(t *testing.T, change func(*history.Options)) *world {
	t.Helper()
	st, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, st: st, live: map[relay.Name]bool{"a": true, "b": true, "c": true}}
	o := history.Options{
		Store: st,
		Carry: func(_ context.Context, n relay.Name, from history.Sender, r *http.Request) (*http.Response, error) {
			return w.app(n, from, r)
		},
		Sign: func(n relay.Name, r signature.Request) (signature.Request, error) {
			if n != "a" {
				return r, fmt.Errorf("%w: no secret", relay.ErrInvalid)
			}
			r.Header = r.Header.Clone()
			r.Header.Set("X-Signed", r.URL+" "+string(r.Body))
			return r, nil
		},
		Live: func(n relay.Name) bool { w.mu.Lock(); defer w.mu.Unlock(); return w.live[n] },
	}
	if change != nil {
		change(&o)
	}
	w.History = history.New(o)
	yes := true
	for _, name := range []string{"ann", "bob"} {
		u, err := st.AddUser(t.Context(), name, false)
		if err != nil {
			t.Fatal(err)
		}
		names := []relay.Name{"a", "b"}
		if w.ann.ID == "" {
			w.ann = u
		} else {
			w.bob, names = u, []relay.Name{"c"}
		}
		for _, n := range names {
			e, err := st.AddEndpoint(t.Context(), u.ID, n, relay.Settings{Record: &yes}, relay.Secrets{})
			if err != nil {
				t.Fatal(err)
			}
			w.Set(e)
		}
	}
	w.run()
	t.Cleanup(func() { w.end(); _ = st.Close() })
	return w
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	w.end = sync.OnceFunc(func() { cancel(); <-done })
}

// pass records one exchange of a name.
func (w *world) pass(name, method, target, in, out string) *capture.Tap {
	w.t.Helper()
	rec := w.Recorder(relay.Name(name))
	if rec == nil {
		w.t.Fatalf("%s is not recorded", name)
	}
	req := httptest.NewRequest(method, target, strings.NewReader(in))
	req.Host = name + ".relay.test"
	tap := rec.Open(req, capture.Opening{Endpoint: name, Scheme: "https", Visitor: "192.0.2.1", Header: http.Header{"X-A": {"1"}}})
	_, _ = io.ReadAll(tap.RequestBody(io.NopCloser(strings.NewReader(in)), int64(len(in)), func() http.Header { return nil }))
	tap.Answered(200, http.Header{"Content-Type": {"text/plain"}})
	tap.Body([]byte(out))
	return tap
}

func (w *world) list(u relay.User, q capture.Query) (ids []string, more bool) {
	w.t.Helper()
	all, more, err := w.View(u.ID).List(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, x := range all {
		ids = append(ids, strings.TrimPrefix(x.Request.Target, "/"))
	}
	return ids, more
}

// kept waits until the store has n of the user's.
func (w *world) kept(u relay.User, n int) {
	w.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		s, err := w.Stats(w.t.Context(), u.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		if s.Kept == n {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("the store has %d exchanges, want %d (%d dropped)", s.Kept, n, s.Dropped)
		}
	}
}

func filter(t *testing.T, s string) *capture.Filter {
	t.Helper()
	f, err := capture.ParseFilter(s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestListJoinsMemoryAndStore(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 7 {
		w.pass("a", "POST", fmt.Sprint("/", i), fmt.Sprint("in", i), "out").End(nil)
	}
	w.kept(w.ann, 7)
	live := w.pass("b", "GET", "/live", "", "out")
	check := func(when string) {
		t.Helper()
		for _, c := range []struct {
			q    capture.Query
			want string
			more bool
		}{
			{capture.Query{}, "[live 6 5 4 3 2 1 0]", false},
			{capture.Query{Limit: 3}, "[live 6 5]", true},
			{capture.Query{Limit: 8}, "[live 6 5 4 3 2 1 0]", false},
			{capture.Query{Filter: filter(t, "endpoint:a"), Limit: 2}, "[6 5]", true},
			{capture.Query{Filter: filter(t, "in3")}, "[3]", false}, // in a body
			{capture.Query{Filter: filter(t, "path:/1")}, "[1]", false},
			{capture.Query{Filter: filter(t, "is:live")}, "[live]", false},
			{capture.Query{Filter: filter(t, "after:1h endpoint:b")}, "[live]", false},
			{capture.Query{Filter: filter(t, "before:1h")}, "[]", false},
		} {
			if ids, more := w.list(w.ann, c.q); fmt.Sprint(ids) != c.want || more != c.more {
				t.Errorf("%s, %+v: %v, %v; want %s, %v", when, c.q, ids, more, c.want, c.more)
			}
		}
		if ids, _ := w.list(w.bob, capture.Query{}); len(ids) > 0 {
			t.Errorf("bob sees %v", ids)
		}
	}
	check("in both")
	w.Recorder("a").Forget(time.Now().Add(time.Hour))
	check("in the store")

	all, _, _ := w.View(w.ann.ID).List(t.Context(), capture.Query{Limit: 3})
	if ids, _ := w.list(w.ann, capture.Query{Before: all[2].Seq, Limit: 2}); fmt.Sprint(ids) != "[4 3]" {
		t.Errorf("the next page is %v", ids)
	}
	x, ok, err := w.View(w.ann.ID).Get(t.Context(), all[1].ID)
	if err != nil || !ok || string(x.Request.Body.Kept) != "in6" || string(x.Response.Body.Kept) != "out" || x.Request.Header.Get("X-A") != "1" {
		t.Errorf("from the store: %+v, %v, %v", x, ok, err)
	}
	if _, ok, err := w.View(w.bob.ID).Get(t.Context(), all[1].ID); ok || err != nil {
		t.Error("bob gets what is ann's", err)
	}
	live.End(nil)
	w.kept(w.ann, 8)
}

func TestNextTellsWhatChanges(t *testing.T) {
	w := newWorld(t, nil)
	v := w.View(w.ann.ID)
	w.pass("a", "GET", "/old", "", "").End(nil)
	w.kept(w.ann, 1)
	w.Recorder("a").Forget(time.Now().Add(time.Hour))
	c, err := v.Next(t.Context(), 0)
	if err != nil || c.Stats.Kept != 1 || len(c.Changed) != 0 || c.Missed {
		t.Fatalf("%+v, %v", c, err)
	}
	all, _, _ := v.List(t.Context(), capture.Query{})
	if c.Oldest != all[0].Seq {
		t.Errorf("the oldest is %d, not %d", c.Oldest, all[0].Seq)
	}
	w.pass("a", "GET", "/new", "", "").End(nil)
	if c, err = v.Next(t.Context(), c.Version); err != nil || len(c.Changed) != 1 || c.Missed {
		t.Fatalf("%+v, %v", c, err)
	}
	// What went from memory before it was told cannot be told of: the page asks anew.
	after := c.Version
	w.pass("a", "GET", "/gone", "", "").End(nil)
	w.Recorder("a").Forget(time.Now().Add(time.Hour))
	w.pass("a", "GET", "/newer", "", "").End(nil)
	if c, err = v.Next(t.Context(), after); err != nil || !c.Missed {
		t.Errorf("%+v, %v", c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.View(w.bob.ID).Next(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("bob is told of what is ann's: %v", err)
	}
}

func TestEventsAreWhole(t *testing.T) {
	w := newWorld(t, nil)
	e, err := w.st.EndpointByName(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 3<<20)
	kept, err := w.st.AddEvent(t.Context(), relay.NewEvent{Event: relay.Event{EndpointID: e.ID, Body: []byte(body), Verified: "ok", Received: time.Now()}})
	if err != nil {
		t.Fatal(err)
	}
	tap := w.pass("a", "POST", "/", body, "")
	tap.Event(kept.Event.ID, "ok")
	tap.End(nil)
	w.kept(w.ann, 1)
	look := func(when string) {
		t.Helper()
		x, ok, err := w.View(w.ann.ID).Get(t.Context(), tap.ID())
		if err != nil || !ok || x.Request.Body.Truncated || string(x.Request.Body.Kept) != body || x.Verified != "ok" || x.EventID != kept.Event.ID {
			t.Errorf("%s: %v %v, %d bytes, truncated %v", when, ok, err, len(x.Request.Body.Kept), x.Request.Body.Truncated)
		}
	}
	look("in memory")
	w.Recorder("a").Forget(time.Now().Add(time.Hour))
	look("in the store")
	if s, _ := w.Stats(t.Context(), w.ann.ID); s.Bytes > 10_000 {
		t.Errorf("the body is kept twice: %d bytes", s.Bytes)
	}
}

func TestReplay(t *testing.T) {
	w := newWorld(t, nil)
	v := w.View(w.ann.ID)
	first := w.pass("a", "POST", "/hook", "body", "out")
	first.End(nil)
	type carried struct {
		name relay.Name
		from history.Sender
		req  *http.Request
		body string
	}
	var got carried
	w.app = func(n relay.Name, from history.Sender, r *http.Request) (*http.Response, error) {
		got = carried{n, from, r.Clone(context.Background()), ""}
		if r.Body != nil {
			b, _ := io.ReadAll(r.Body)
			got.body = string(b)
		}
		return &http.Response{StatusCode: 201, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("again"))}, nil
	}
	again := func() capture.Again {
		return capture.Again{Of: first.ID(), Method: "PUT", Target: "/hook?n=2", Host: "a.relay.test", Header: http.Header{"X-B": {"2"}}, Body: []byte("edited")}
	}
	id, err := v.Replay(t.Context(), again())
	if err != nil {
		t.Fatal(err)
	}
	if got.name != "a" || got.from != (history.Sender{Visitor: "192.0.2.1", Scheme: "https", Host: "a.relay.test"}) || got.body != "edited" ||
		got.req.Method != "PUT" || got.req.RequestURI != "/hook?n=2" || got.req.Header.Get("X-B") != "2" || got.req.Header.Get("Relay-Replay") != "true" {
		t.Errorf("carried %+v", got)
	}
	x, _, _ := v.Get(t.Context(), id)
	if !x.Replay || x.ReplayOf != first.ID() || x.Status() != 201 || string(x.Response.Body.Kept) != "again" || string(x.Request.Body.Kept) != "edited" ||
		x.Request.Header.Get("Relay-Replay") != "" || x.State != capture.Done {
		t.Errorf("recorded %+v", x)
	}

	elsewhere := again()
	elsewhere.To = "b"
	if _, err := v.Replay(t.Context(), elsewhere); err != nil || got.name != "b" {
		t.Errorf("to b: %v, %+v", err, got)
	}
	signed := again()
	signed.Sign = true
	if _, err := v.Replay(t.Context(), signed); err != nil || got.req.Header.Get("X-Signed") != "https://a.relay.test/hook?n=2 edited" {
		t.Errorf("signed: %v, %+v", err, got.req.Header)
	}
	for what, c := range map[string]struct {
		change func(*capture.Again)
		kind   error
	}{
		"another's endpoint":  {func(a *capture.Again) { a.To = "c" }, relay.ErrNotFound},
		"nobody's endpoint":   {func(a *capture.Again) { a.To = "x" }, relay.ErrNotFound},
		"an address":          {func(a *capture.Again) { a.To = "http://169.254.169.254/" }, relay.ErrNotFound},
		"an unknown exchange": {func(a *capture.Again) { a.Of = "req_x" }, relay.ErrNotFound},
		"without a secret":    {func(a *capture.Again) { a.To, a.Sign = "b", true }, relay.ErrInvalid},
		"nobody is there":     {func(*capture.Again) { w.live["a"] = false }, relay.ErrOffline},
	} {
		w.live["a"] = true
		a := again()
		c.change(&a)
		got = carried{}
		if _, err := v.Replay(t.Context(), a); !errors.Is(err, c.kind) || got.name != "" {
			t.Errorf("%s: %v, carried to %q", what, err, got.name)
		}
	}
	w.live["a"] = false
	if targets, _ := v.Targets(t.Context()); len(targets) != 2 || targets[0].ID != "a" || targets[0].Live || !targets[1].Live {
		t.Errorf("targets: %+v", targets)
	}
	// That an app fails is something to see, and no failure of the replay.
	w.live["a"] = true
	w.app = func(relay.Name, history.Sender, *http.Request) (*http.Response, error) {
		return nil, errors.New("broken pipe")
	}
	id, err = v.Replay(t.Context(), again())
	x, _, _ = v.Get(t.Context(), id)
	if err != nil || x.State != capture.Failed || x.Error != "broken pipe" {
		t.Errorf("%v, %+v", err, x)
	}
}

// slowStore does not answer.
type slowStore struct {
	history.Store
	gate chan struct{}
}

func (s slowStore) AddRecorded(ctx context.Context, all []relay.Recorded) error {
	<-s.gate
	return s.Store.AddRecorded(ctx, all)
}

// A slow disk holds nobody up, and what it loses is counted.
func TestASlowDiskStallsNothing(t *testing.T) {
	gate := make(chan struct{})
	w := newWorld(t, func(o *history.Options) {
		o.Store, o.Memory = slowStore{o.Store, gate}, 4<<20
	})
	body := strings.Repeat("x", 100_000)
	for range 50 { // 5 MB, of which 2 MiB may wait
		w.pass("a", "POST", "/", body, "").End(nil)
	}
	s, err := w.Stats(t.Context(), w.ann.ID)
	if err != nil || s.Dropped == 0 || s.Dropped > 40 {
		t.Errorf("%+v, %v", s, err)
	}
	close(gate)
	w.kept(w.ann, 50-int(s.Dropped))
}

// Memory is bounded for all together, and one user cannot take what another has.
func TestAFloodPushesOutItsOwn(t *testing.T) {
	w := newWorld(t, func(o *history.Options) { o.Memory = 1 << 20 })
	w.pass("c", "GET", "/bobs", "", "")
	for range 100 {
		w.pass("a", "POST", "/", strings.Repeat("x", 50_000), "")
	}
	list := func(name relay.Name) []*capture.Exchange {
		all, _, _ := w.Recorder(name).List(t.Context(), capture.Query{})
		return all
	}
	if n := len(list("a")); n == 0 || n > 5 {
		t.Errorf("ann has %d exchanges of 50 kB in memory, with 256 KiB for her", n)
	}
	if n := len(list("c")); n != 1 {
		t.Errorf("bob has %d", n)
	}
}

func TestWhatWaitsIsWrittenAtTheEnd(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 250 {
		w.pass("a", "GET", fmt.Sprint("/", i), "", "").End(nil)
	}
	w.end()
	if s, err := w.Stats(t.Context(), w.ann.ID); err != nil || s.Kept != 250 || s.Dropped != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestEndpointsComeAndGo(t *testing.T) {
	w := newWorld(t, nil)
	e, _ := w.st.EndpointByName(t.Context(), "a")
	tap := w.pass("a", "GET", "/x", "", "")
	no := false
	e.Settings.Record = &no
	w.Set(e)
	if w.Recorder("a") != nil {
		t.Error("it is recorded still")
	}
	tap.End(nil)
	e.Settings = relay.Settings{Inbox: relay.InboxAlways}
	w.Set(e)
	if w.Recorder("a") == nil {
		t.Error("an inbox is not recorded")
	}
	w.Drop("a")
	if w.Recorder("a") != nil {
		t.Error("it is recorded after it is gone")
	}
	w.end()
}

// memoryStore counts what is removed.
type memoryStore struct {
	history.Store
	mu     sync.Mutex
	purges map[string]int
}

func (s *memoryStore) RecordedUsers(context.Context) ([]string, error) {
	return []string{"u", "v"}, nil
}

func (s *memoryStore) PurgeRecorded(_ context.Context, id string, keep relay.Retention, _ time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purges[id]++
	if keep.Count != 10_000 {
		return 0, errors.New("what to keep is not told")
	}
	return max(0, 3-s.purges[id]), nil
}

func TestOldOnesAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &memoryStore{purges: map[string]int{}}
		h := history.New(history.Options{Store: s})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = h.Run(ctx) }()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		cancel()
		<-done
		if s.purges["u"] != 3 || s.purges["v"] != 3 {
			t.Errorf("purged %v", s.purges)
		}
	})
}
