package edge_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/edge"
	"github.com/relaytunnel/relay/server/policy"
)

// recording is a site of which everything is recorded and counted.
type recording struct {
	*site
	target  edge.Target
	traffic edge.Traffic
	ended   chan *capture.Exchange
}

func newRecording(t *testing.T, change func(*edge.Target), app func(*http.Request) (*http.Response, error)) *recording {
	t.Helper()
	r := &recording{ended: make(chan *capture.Exchange, 10)}
	rec := capture.New(capture.Options{Ended: func(x *capture.Exchange) { r.ended <- x }})
	r.target = edge.Target{
		Tunnel: &tunnel{app: func(req *http.Request) (*http.Response, error) { return r.app(req) }}, Known: true,
		Record: &edge.Record{Recorder: rec, Endpoint: "alice"}, Traffic: &r.traffic,
	}
	if change != nil {
		change(&r.target)
	}
	r.site = newSite(t, edge.Options{Resolve: func(string) edge.Target { return r.target }}, app)
	return r
}

// next is the exchange that ends next.
func (r *recording) next() *capture.Exchange {
	r.t.Helper()
	select {
	case x := <-r.ended:
		return x
	case <-time.After(patience):
		r.t.Fatal("nothing is recorded")
		return nil
	}
}

func TestRecordsWhatPasses(t *testing.T) {
	const post = "POST /hook?a=%20b HTTP/1.1\r\n" + host + "Content-Type: text/plain\r\nX-Forwarded-For: 6.6.6.6\r\nX-A: 1\r\nx-a: 2\r\n"
	long := strings.Repeat("x", 50_000)
	for name, c := range map[string]struct{ rest, body string }{
		"a known body":   {"Content-Length: 5\r\n\r\nhello", "hello"},
		"a chunked body": {"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!"},
		"a large body":   {"Content-Length: 50000\r\n\r\n" + long, long},
	} {
		eachWay(t, name, func(t *testing.T, way string) {
			var s seen
			w := newRecording(t, nil, func(req *http.Request) (*http.Response, error) {
				_, _ = s.app(req)
				return respond(201, "fine", "Content-Type", "text/css", "Connection", "X-Hop", "X-Hop", "h", "X-A", "b"), nil
			})
			head := post
			if way != "" {
				head += way + "\r\n"
			}
			w.do(head + c.rest)
			x := w.next()
			q, a := x.Request, x.Response
			if string(q.Body.Kept) != c.body || string(s.body) != c.body || q.Body.Type != "text/plain" {
				t.Errorf("request's body: kept %.20q, the app had %.20q, type %q", q.Body.Kept, s.body, q.Body.Type)
			}
			if q.Method != "POST" || q.Target != "/hook?a=%20b" || q.Host != "alice.relay.test" || q.Scheme != "http" ||
				len(q.Header["X-A"]) != 2 || q.Header.Get("X-Forwarded-For") != "" || x.Visitor != "127.0.0.1" || !requestID.MatchString(x.ID) {
				t.Errorf("request: %+v", x)
			}
			if a == nil || a.Status != 201 || string(a.Body.Kept) != "fine" || a.Header.Get("X-Hop") != "h" || a.Body.Type != "text/css" {
				t.Errorf("answer: %+v", a)
			}
			if x.State != capture.Done || x.Error != "" || x.Endpoint != "alice" || x.Duration <= 0 || x.ID != s.req.Header.Get("Relay-Request-Id") {
				t.Errorf("exchange: %+v", x)
			}
			if n, e := w.traffic.Requests.Load(), w.traffic.Errors.Load(); n != 1 || e != 0 {
				t.Errorf("counted %d, %d of them bad", n, e)
			}
		})
	}
}

func TestRecordsWhatFails(t *testing.T) {
	door, err := policy.Parse(relay.Door{MaxBody: 3}, relay.DoorTokens{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*edge.Target)
		app    func(*http.Request) (*http.Response, error)
		status int
		says   string
		errors int64
	}{
		"the door": {
			func(e *edge.Target) { e.Door = door }, nil, 413, "larger than", 0,
		},
		"nobody there":  {func(e *edge.Target) { e.Tunnel = nil }, nil, 503, "agent is not connected", 1},
		"the app fails": {nil, func(*http.Request) (*http.Response, error) { return nil, errors.New("broken") }, 502, "", 1},
		"half an answer": {nil, func(*http.Request) (*http.Response, error) {
			return streamed(io.MultiReader(strings.NewReader("half"), brokenBody{})), nil
		}, 200, "broke off", 1},
		"a panic": {nil, func(*http.Request) (*http.Response, error) { panic("bug") }, 0, "the relay failed", 1},
	} {
		eachWay(t, name, func(t *testing.T, way string) {
			w := newRecording(t, c.change, c.app)
			v := w.visit()
			v.say("POST / HTTP/1.1\r\n" + host + strings.TrimPrefix(way+"\r\n", "\r\n") + "Content-Length: 5\r\n\r\nhello")
			x := w.next()
			if x.State != capture.Failed || x.Status() != c.status || !strings.Contains(x.Error, c.says) || x.Error == "" {
				t.Errorf("recorded %s, %d, %q; want %d, %q", x.State, x.Status(), x.Error, c.status, c.says)
			}
			if c.status > 400 && !strings.Contains(string(x.Response.Body.Kept), x.Error) {
				t.Errorf("the answer of the relay is recorded as %q", x.Response.Body.Kept)
			}
			if n, e := w.traffic.Requests.Load(), w.traffic.Errors.Load(); n != 1 || e != c.errors {
				t.Errorf("counted %d, %d of them bad", n, e)
			}
		})
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestRecordsAVisitorWhoLeaves(t *testing.T) {
	came := make(chan struct{})
	w := newRecording(t, nil, func(req *http.Request) (*http.Response, error) {
		close(came)
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	v := w.visit()
	v.say(get())
	soon(t, "request", came)
	v.Close()
	if x := w.next(); x.State != capture.Failed || x.Error != "the visitor left" || x.Response != nil {
		t.Errorf("recorded %+v", x)
	}
}

// The frames of a conversation are there while it goes on.
func TestRecordsAnUpgrade(t *testing.T) {
	w := newRecording(t, nil, func(*http.Request) (*http.Response, error) {
		res := respond(101, "", "Connection", "Upgrade", "Upgrade", "websocket")
		res.Body = newEcho("")
		return res, nil
	})
	v := w.visit()
	v.say(get("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"))
	res, err := http.ReadResponse(v.r, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	v.say("\x81\x82\x00\x00\x00\x00hi")
	if _, err := io.ReadFull(v.r, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	rec := w.target.Record.Recorder
	until(t, "frame of a live connection", func() bool {
		all, _, _ := rec.List(t.Context(), capture.Query{})
		return len(all) == 1 && all[0].State == capture.Live && len(all[0].Frames) > 0 && all[0].Frames[0].Text == "hi"
	})
	v.Close()
	if x := w.next(); x.Status() != 101 || x.State != capture.Done || x.Response.Header.Get("Upgrade") != "websocket" {
		t.Errorf("recorded %+v", x)
	}
}

// An inbox answers itself, or lets what is not its own go on.
func TestRecordsBeforeAnInbox(t *testing.T) {
	inbox := func(live http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				live.ServeHTTP(w, r)
				return
			}
			_, _ = io.ReadAll(r.Body)
			capture.TapOf(r.Context()).Event("evt_1", "ok")
			w.Header().Set("X-Inbox", "1")
			w.WriteHeader(202)
			_, _ = io.WriteString(w, "kept")
		})
	}
	w := newRecording(t, func(e *edge.Target) { e.Inbox = inbox }, func(*http.Request) (*http.Response, error) { return respond(200, "live"), nil })
	w.do("POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello")
	x := w.next()
	if x.EventID != "evt_1" || x.Verified != "ok" || x.Status() != 202 || string(x.Response.Body.Kept) != "kept" || x.Response.Header.Get("X-Inbox") != "1" {
		t.Errorf("recorded %+v, answer %+v", x, x.Response)
	}
	w.do(get())
	if x := w.next(); x.EventID != "" || x.Status() != 200 || string(x.Response.Body.Kept) != "live" {
		t.Errorf("recorded %+v, answer %+v", x, x.Response)
	}
	if n := w.traffic.Requests.Load(); n != 2 {
		t.Errorf("counted %d", n)
	}
}

// Without a record nothing is different.
func TestNothingIsRecordedUnlessWanted(t *testing.T) {
	w := newRecording(t, func(e *edge.Target) { e.Record, e.Traffic = nil, nil }, func(*http.Request) (*http.Response, error) { return respond(200, "live"), nil })
	w.do(get())
	if len(w.ended) != 0 || w.traffic.Requests.Load() != 0 {
		t.Error("something was recorded")
	}
}

// A user's requests are bounded, and what is refused is counted and recorded.
func TestRequestsOfAUserAreBounded(t *testing.T) {
	came, go1 := make(chan struct{}, 1), make(chan struct{})
	w := newRecording(t, nil, func(*http.Request) (*http.Response, error) {
		came <- struct{}{}
		<-go1
		return respond(200, "ok"), nil
	})
	w.traffic.Concurrent.Store(1)
	first := w.visit()
	first.say(get())
	soon(t, "request", came)
	if res, body := w.do(get()); res.StatusCode != 429 || res.Header.Get("Relay-Error") != "busy" || res.Header.Get("Retry-After") != "1" {
		t.Errorf("beside another: %d %s", res.StatusCode, body)
	}
	if x := w.next(); x.Status() != 429 {
		t.Errorf("recorded %+v", x)
	}
	close(go1)
	if res, _, _ := first.reply("GET"); res.StatusCode != 200 {
		t.Errorf("the first: %d", res.StatusCode)
	}
	w.next()
	if res, _ := w.do(get()); res.StatusCode != 200 {
		t.Errorf("after it: %d", res.StatusCode)
	}
	<-came
	full := func(time.Time) time.Duration { return 1500 * time.Millisecond }
	w.traffic.Rate.Store(&full)
	if res, body := w.do(get()); res.StatusCode != 429 || res.Header.Get("Relay-Error") != "user_rate" || res.Header.Get("Retry-After") != "2" {
		t.Errorf("too fast: %d %s", res.StatusCode, body)
	}
	if n := w.traffic.Limited.Load(); n != 2 {
		t.Errorf("counted %d", n)
	}
}
