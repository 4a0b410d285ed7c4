package inspector_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is when everything in these tests happens.
func noon() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) }

// source is a recorder with somebody who answers replays.
type source struct {
	*capture.Recorder
	targets []capture.Target
	answer  func(context.Context, capture.Again) (string, error) // nil: what is sent is recorded as a replay
	fail    error                                                // of everything

	mu   sync.Mutex
	sent []capture.Again
}

func newSource() *source {
	return &source{Recorder: capture.New(capture.Options{Now: noon})}
}

func (s *source) List(ctx context.Context, q capture.Query) ([]*capture.Exchange, bool, error) {
	if s.fail != nil {
		return nil, false, s.fail
	}
	return s.Recorder.List(ctx, q)
}

func (s *source) Get(ctx context.Context, id string) (*capture.Exchange, bool, error) {
	if s.fail != nil {
		return nil, false, s.fail
	}
	return s.Recorder.Get(ctx, id)
}

func (s *source) Targets(context.Context) ([]capture.Target, error) { return s.targets, s.fail }

func (s *source) Replay(ctx context.Context, a capture.Again) (string, error) {
	s.mu.Lock()
	s.sent = append(s.sent, a)
	s.mu.Unlock()
	if s.answer != nil {
		return s.answer(ctx, a)
	}
	return "again-" + a.Of, nil
}

// replays are what was sent so far, and forgets them.
func (s *source) replays() []capture.Again {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.sent
	s.sent = nil
	return sent
}

// exchange is one to be recorded. What is not set is that of a small GET that went well.
type exchange struct {
	id, method, target, host string
	scheme                   string
	header                   http.Header
	body                     string
	status                   int
	answerHeader             http.Header
	answer                   string
	replayOf                 string
	open                     bool // its end does not come
	mute                     bool // nor an answer
}

// fields makes a header of names and values.
func fields(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

// record lets an exchange pass, and returns its id.
func record(t *testing.T, r *capture.Recorder, e exchange) string {
	t.Helper()
	if e.method == "" {
		e.method = http.MethodGet
	}
	if e.target == "" {
		e.target = "/"
	}
	if e.host == "" {
		e.host = "alice.relay.test"
	}
	if e.scheme == "" {
		e.scheme = "https"
	}
	if e.status == 0 {
		e.status = http.StatusOK
	}
	req := &http.Request{Method: e.method, RequestURI: e.target, Host: e.host, Header: e.header}
	tap := r.Open(req, capture.Opening{
		RequestID: e.id, Visitor: "192.0.2.7", Scheme: e.scheme, Upstream: "127.0.0.1:3000", Header: e.header,
		Replay: e.replayOf != "", ReplayOf: e.replayOf,
	})
	pass(t, tap.RequestBody(io.NopCloser(strings.NewReader(e.body)), int64(len(e.body)), func() http.Header { return nil }))
	if !e.mute {
		if e.answerHeader == nil {
			e.answerHeader = http.Header{}
		}
		res := &http.Response{StatusCode: e.status, Header: e.answerHeader, Body: io.NopCloser(strings.NewReader(e.answer)), ContentLength: int64(len(e.answer))}
		tap.Response(res)
		if !e.open {
			pass(t, res.Body)
		}
	}
	if !e.open {
		tap.End(nil)
	}
	return tap.ID()
}

func pass(t *testing.T, body io.ReadCloser) {
	t.Helper()
	if _, err := io.Copy(io.Discard, body); err != nil {
		t.Fatal(err)
	}
	if err := body.Close(); err != nil {
		t.Fatal(err)
	}
}

// api is the handler under test, as an agent serves it.
type api struct {
	t *testing.T
	http.Handler
}

// newAPI serves s; masks are beside the default ones.
func newAPI(t *testing.T, s inspector.Source, masks ...string) api {
	t.Helper()
	m, err := capture.NewMasks(masks...)
	if err != nil {
		t.Fatal(err)
	}
	h, err := inspector.Handler(inspector.Options{Source: s, Masks: m, Target: "127.0.0.1:3000", Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	return api{t, inspector.Local("4040", h)}
}

// call asks as a program of this machine does. header are names and values.
func (a api) call(method, target, body string, header ...string) *httptest.ResponseRecorder {
	a.t.Helper()
	r := httptest.NewRequestWithContext(a.t.Context(), method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:4040"
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// get reads a JSON answer, which has to be a 200.
func (a api) get(target string, into any) {
	a.t.Helper()
	a.read(a.call(http.MethodGet, target, ""), into)
}

func (a api) post(target, body string, into any) {
	a.t.Helper()
	a.read(a.call(http.MethodPost, target, body), into)
}

func (a api) read(w *httptest.ResponseRecorder, into any) {
	a.t.Helper()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		a.t.Fatalf("got %d %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		a.t.Fatalf("%v: %s", err, w.Body)
	}
}

// text is a body that has to be a 200.
func (a api) text(target string) string {
	a.t.Helper()
	w := a.call(http.MethodGet, target, "")
	if w.Code != http.StatusOK {
		a.t.Fatalf("GET %s: %d %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}

// failure is a problem document.
type failure struct {
	Title  string               `json:"title"`
	Status int                  `json:"status"`
	Detail string               `json:"detail"`
	Code   string               `json:"code"`
	Filter *capture.FilterError `json:"filter"`
}

// fails reads a problem, and checks its form.
func (a api) fails(w *httptest.ResponseRecorder) failure {
	a.t.Helper()
	var f failure
	if kind := w.Header().Get("Content-Type"); kind != "application/problem+json" {
		a.t.Fatalf("got %d %s: %.300s", w.Code, kind, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil {
		a.t.Fatal(err)
	}
	if f.Status != w.Code || f.Title != http.StatusText(w.Code) || f.Code == "" || f.Detail == "" || f.Code != "filter" && !strings.HasSuffix(f.Detail, ".") {
		a.t.Errorf("a problem of %d: %+v", w.Code, f)
	}
	return f
}

// page is a part of the list.
type page struct {
	Items []inspector.Summary `json:"items"`
	Next  string              `json:"next"`
}

func (p page) targets() []string {
	out := []string{}
	for _, s := range p.Items {
		out = append(out, s.Target)
	}
	return out
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
