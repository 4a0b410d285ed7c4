package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
	"github.com/relaytunnel/relay/server/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a step may take before a test calls it a hang.
const patience = 10 * time.Second

// a world is an inbox over a true store, with a fake app behind it and a clock of
// its own.
type world struct {
	t     *testing.T
	dir   string
	store *store.Store
	inbox *webhook.Inbox
	http  *httptest.Server
	wrap  func(webhook.Store) webhook.Store
	opts  func(*webhook.Options)
	user  relay.User

	stop    context.CancelFunc
	stopped chan error
	changes chan struct{}

	mu   sync.Mutex
	now  time.Time
	live bool
	app  func(*http.Request) (*http.Response, error)
	got  []seen
	came chan seen // each request to the app

	handled chan struct{} // each request to the inbox, when its handler returns
}

// seen is a request that the app got.
type seen struct {
	*http.Request
	body []byte
}

func (s seen) id() string { return s.Header.Get("Relay-Event-Id") }

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, dir: t.TempDir(), now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC),
		app: answers(200, "fine"), came: make(chan seen, 10_000), changes: make(chan struct{}, 1),
		handled: make(chan struct{}, 10_000),
	}
	w.open()
	user, err := w.store.AddUser(t.Context(), "ann", false)
	if err != nil {
		t.Fatal(err)
	}
	w.user = user
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.t.Helper()
	st, err := store.Open(context.Background(), w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	st.Now = w.clock
	w.store = st
}

// start runs the inbox.
func (w *world) start() {
	w.t.Helper()
	var st webhook.Store = w.store
	if w.wrap != nil {
		st = w.wrap(st)
	}
	o := webhook.Options{
		Store: st, Now: w.clock, Rand: func() float64 { return 0.999 }, DrainFor: time.Second,
		Forward: w.forward,
		Live: func(relay.Name) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.live
		},
		Watch: func() (<-chan struct{}, func()) { return w.changes, func() {} },
	}
	if w.opts != nil {
		w.opts(&o)
	}
	w.inbox = webhook.New(o)
	if err := w.inbox.Load(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.stopped = stop, make(chan error, 1)
	go func() { w.stopped <- w.inbox.Run(ctx) }()
	w.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer func() { w.handled <- struct{}{} }()
		name, _, _ := strings.Cut(r.Host, ".")
		live := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "live") })
		h, ok := w.inbox.Handler(relay.Name(name), live)
		if !ok {
			h = http.NotFoundHandler()
		}
		h.ServeHTTP(rw, r)
	}))
	w.http.Client().Timeout = patience
}

func (w *world) halt() {
	if w.stop == nil {
		return
	}
	w.stop()
	w.http.CloseClientConnections()
	w.http.Close()
	select {
	case err := <-w.stopped:
		if err != nil {
			w.t.Errorf("run: %v", err)
		}
	case <-time.After(patience):
		w.t.Error("Run does not end")
	}
	w.stop = nil
}

func (w *world) close() {
	w.halt()
	if err := w.store.Close(); err != nil {
		w.t.Errorf("close store: %v", err)
	}
}

// crash ends everything without finishing anything, and starts again.
func (w *world) crash() {
	w.t.Helper()
	w.store.Close()
	w.halt()
	w.open()
	w.start()
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass and wakes who waits for it.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	w.poke()
}

func (w *world) agent(there bool) {
	w.mu.Lock()
	w.live = there
	w.mu.Unlock()
	w.poke()
}

func (w *world) poke() {
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

func (w *world) serve(app func(*http.Request) (*http.Response, error)) {
	w.mu.Lock()
	w.app = app
	w.mu.Unlock()
}

// forward is the road to the app.
func (w *world) forward(ctx context.Context, _ relay.Name, _ webhook.Visitor, r *http.Request) (*http.Response, error) {
	s := seen{Request: r}
	if r.Body != nil {
		s.body, _ = io.ReadAll(r.Body)
	}
	w.mu.Lock()
	app, live := w.app, w.live
	if live {
		w.got = append(w.got, s)
	}
	w.mu.Unlock()
	if !live {
		return nil, errors.Join(relay.ErrOffline, webhook.ErrUnsent)
	}
	w.came <- s
	return app(r.WithContext(ctx))
}

// calls is what the app got until now.
func (w *world) calls() []seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]seen(nil), w.got...)
}

// next waits for the next request to the app.
func (w *world) next() seen {
	w.t.Helper()
	select {
	case s := <-w.came:
		return s
	case <-time.After(patience):
		w.t.Fatal("the app gets nothing")
		return seen{}
	}
}

func answer(status int, body string, more ...string) *http.Response {
	res := &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"text/plain"}}, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)),
	}
	for i := 0; i+1 < len(more); i += 2 {
		res.Header.Add(more[i], more[i+1])
	}
	return res
}

func answers(status int, body string, more ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return answer(status, body, more...), nil }
}

// endpoint makes one, before the inbox starts.
func (w *world) endpoint(name string, s relay.Settings, secrets ...string) relay.Endpoint {
	w.t.Helper()
	e, err := w.store.AddEndpoint(context.Background(), w.user.ID, relay.Name(name), s, relay.Secrets{Signing: secrets})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// post sends a request to an endpoint.
func (w *world) post(name, body string, header ...string) *reply {
	w.t.Helper()
	return w.send(http.MethodPost, name, "/hook?x=1", body, header...)
}

type reply struct {
	*http.Response
	body string
}

func (r *reply) id() string {
	_, rest, _ := strings.Cut(r.body, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

func (w *world) try(method, name, target, body string, header ...string) (*reply, error) {
	req, err := http.NewRequest(method, w.http.URL+target, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.Host = name + ".relay.test"
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := w.http.Client().Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return &reply{res, string(b)}, err
}

func (w *world) send(method, name, target, body string, header ...string) *reply {
	w.t.Helper()
	r, err := w.try(method, name, target, body, header...)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// settled waits until an event has a state.
func (w *world) settled(id string, state relay.EventState) relay.Event {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		e, err := w.store.Event(context.Background(), id)
		if err == nil && e.State == state {
			return e
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("event %s is %q (%s), %v; want %q", id, e.State, e.Reason, err, state)
		}
	}
}

// attempted waits until an event has n attempts that ended, and returns its newest
// delivery.
func (w *world) attempted(id string, n int) relay.Delivery {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		all, err := w.store.Attempts(context.Background(), id)
		if err == nil && len(all) >= n {
			d, err := w.store.Deliveries(context.Background(), id)
			if err != nil || len(d) == 0 {
				w.t.Fatalf("deliveries of %s: %v, %v", id, d, err)
			}
			return d[len(d)-1]
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("event %s has %d attempts, %v; want %d", id, len(all), err, n)
		}
	}
}

func (w *world) events(f relay.Filter) []relay.Event {
	w.t.Helper()
	all, err := w.store.Events(context.Background(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}
