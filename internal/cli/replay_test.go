package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/compare"
	"github.com/relaytunnel/relay/internal/signature"
)

// request is one that was recorded, with an answer.
func request(change func(*capture.Exchange)) *capture.Exchange {
	x := &capture.Exchange{
		ID: "req_1", State: capture.Done, Request: capture.Request{
			Method: "POST", Target: "/hooks", Host: "alice.relay.example.com", Scheme: "https",
			Header: capture.Header{"Content-Type": {"text/plain"}, "X-Forwarded-For": {"203.0.113.7"}},
			Body:   capture.Body{Size: 2, Kept: []byte("hi")},
		},
		Response: &capture.Response{Status: 200, Header: capture.Header{}, Body: capture.Body{Size: 2, Kept: []byte("ok")}},
	}
	if change != nil {
		change(x)
	}
	return x
}

func one(x *capture.Exchange) recorded {
	return recorded{x.ID, func(context.Context) (*capture.Exchange, error) { return x, nil }}
}

// newReplayer makes one that sends to a URL and writes into the buffer.
func newReplayer(t *testing.T, to string) (*replayer, *bytes.Buffer) {
	t.Helper()
	u, err := replayTo(to)
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	rp := &replayer{
		to: u, client: sender(nil), header: http.Header{}, compare: true, rules: &compare.Rules{}, concurrency: 1, asJSON: true,
		env: &env{out: out, err: io.Discard}, now: time.Now,
	}
	t.Cleanup(rp.client.CloseIdleConnections)
	return rp, out
}

// What is recorded is what the app gets: path, host, fields and body, byte for byte.
func TestReplayedRequest(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*capture.Exchange)
		to     string // below the app
		header http.Header
		want   string
		left   []string
	}{
		"as it was": {want: "POST /hooks HTTP/1.1 alice.relay.example.com\nContent-Length: 2\nContent-Type: text/plain\nX-Forwarded-For: 203.0.113.7\nhi"},
		"a path that is odd": {
			change: func(x *capture.Exchange) { x.Request.Target = "/a%2Fb/../ü?x=%2f&&y" },
			want:   "POST /a%2Fb/../ü?x=%2f&&y HTTP/1.1 alice.relay.example.com\nContent-Length: 2\nContent-Type: text/plain\nX-Forwarded-For: 203.0.113.7\nhi",
		},
		"two slashes": {
			change: func(x *capture.Exchange) { x.Request.Target = "//evil.example/x?" },
			want:   "POST //evil.example/x? HTTP/1.1 alice.relay.example.com\nContent-Length: 2\nContent-Type: text/plain\nX-Forwarded-For: 203.0.113.7\nhi",
		},
		"below a path": {
			to:   "/v1/",
			want: "POST /v1/hooks HTTP/1.1 alice.relay.example.com\nContent-Length: 2\nContent-Type: text/plain\nX-Forwarded-For: 203.0.113.7\nhi",
		},
		"nothing is added": {
			change: func(x *capture.Exchange) {
				x.Request.Method, x.Request.Body, x.Request.Header = "GET", capture.Body{}, nil
			},
			want: "GET /hooks HTTP/1.1 alice.relay.example.com\n",
		},
		"what was for one connection": {
			change: func(x *capture.Exchange) {
				x.Request.Header = capture.Header{"Connection": {"X-Hop"}, "X-Hop": {"1"}, "Transfer-Encoding": {"chunked"}, "Content-Length": {"99"}}
			},
			want: "POST /hooks HTTP/1.1 alice.relay.example.com\nContent-Length: 2\nhi",
		},
		"fields that are given": {
			header: http.Header{"Host": {"other.example"}, "X-Forwarded-For": {"a", "b"}},
			want:   "POST /hooks HTTP/1.1 other.example\nContent-Length: 2\nContent-Type: text/plain\nX-Forwarded-For: a\nX-Forwarded-For: b\nhi",
		},
		"a mask is never sent": {
			change: func(x *capture.Exchange) {
				x.Request.Header = capture.Header{"Authorization": {capture.Mask}, "Cookie": {capture.Mask, "a=1"}, "X-Part": {"key " + capture.Mask}}
			},
			want: "POST /hooks HTTP/1.1 alice.relay.example.com\nContent-Length: 2\nCookie: a=1\nhi", left: []string{"Authorization", "Cookie", "X-Part"},
		},
		"unless it is given": {
			change: func(x *capture.Exchange) { x.Request.Header = capture.Header{"Authorization": {capture.Mask}} },
			header: http.Header{"Authorization": {"Bearer x"}},
			want:   "POST /hooks HTTP/1.1 alice.relay.example.com\nAuthorization: Bearer x\nContent-Length: 2\nhi",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1)
			app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var b strings.Builder
				_, _ = b.WriteString(r.Method + " " + r.RequestURI + " " + r.Proto + " " + r.Host + "\n")
				_ = r.Header.Write(&b)
				body, _ := io.ReadAll(r.Body)
				got <- strings.ReplaceAll(b.String(), "\r", "") + string(body)
				w.WriteHeader(http.StatusNoContent)
			}))
			defer app.Close()
			rp, _ := newReplayer(t, app.URL+test.to)
			if test.header != nil {
				rp.header = test.header
			}
			result, err := rp.one(t.Context(), one(request(test.change)))
			if err != nil || result.Error != "" {
				t.Fatal(err, result.Error)
			}
			select {
			case asked := <-got:
				if diff := cmp.Diff(test.want, asked); diff != "" {
					t.Error(diff)
				}
			default:
				t.Errorf("the app was not asked, and the answer is %d", result.Status)
			}
			if !slices.Equal(result.LeftOut, test.left) {
				t.Errorf("left out %v, want %v", result.LeftOut, test.left)
			}
		})
	}
}

// A host of its own gets its own name, and not that of the relay.
func TestReplayHostElsewhere(t *testing.T) {
	rp, _ := newReplayer(t, "https://staging.example.com")
	req, _, _, err := rp.request(t.Context(), request(nil))
	if err != nil || req.Host != "staging.example.com" || req.URL.String() != "https://staging.example.com/hooks" {
		t.Errorf("got %v for %s (%v)", req.URL, req.Host, err)
	}
}

func TestReplayOutcomes(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not see that somebody leaves
		switch r.URL.Path {
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/half":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/slow":
			<-r.Context().Done()
		case "/moved":
			http.Redirect(w, r, "/hooks", http.StatusFound)
		default:
			_, _ = io.WriteString(w, "ok")
		}
	}))
	defer app.Close()
	for name, test := range map[string]struct {
		change  func(*capture.Exchange)
		sends   bool // nobody compares
		outcome outcome
		status  int
		err     string
	}{
		"same":              {outcome: outcomeSame, status: 200},
		"nobody looks":      {sends: true, change: func(x *capture.Exchange) { x.Response.Status = 500 }, outcome: outcomeSent, status: 200},
		"changed":           {change: func(x *capture.Exchange) { x.Response.Status = 500 }, outcome: outcomeChanged, status: 200},
		"a redirection":     {change: func(x *capture.Exchange) { x.Request.Target = "/moved" }, outcome: outcomeChanged, status: 302},
		"broken off":        {change: func(x *capture.Exchange) { x.Request.Target = "/cut" }, outcome: outcomeFailed, err: "closed the connection"},
		"an answer cut off": {change: func(x *capture.Exchange) { x.Request.Target = "/half" }, outcome: outcomeFailed, err: "the answer broke off"},
		"too slow":          {change: func(x *capture.Exchange) { x.Request.Target = "/slow" }, outcome: outcomeFailed, err: "no answer within 50ms"},
		"no answer, as before": {
			change: func(x *capture.Exchange) { x.Request.Target, x.Response = "/cut", nil }, outcome: outcomeSame, err: "closed the connection",
		},
		"an answer at last": {change: func(x *capture.Exchange) { x.Response = nil }, outcome: outcomeChanged, status: 200},
		"live":              {change: func(x *capture.Exchange) { x.State = capture.Live }, outcome: outcomeSkipped, err: "not over"},
		"an upgrade": {
			change: func(x *capture.Exchange) { x.Request.Header["Upgrade"] = []string{"websocket"} }, outcome: outcomeSkipped, err: "WebSocket",
		},
		"a truncated body": {change: func(x *capture.Exchange) { x.Request.Body.Truncated = true }, outcome: outcomeSkipped, err: "its body was kept"},
		"a truncated answer": {
			change: func(x *capture.Exchange) { x.Response.Body.Truncated = true }, outcome: outcomeSkipped, err: "its answer was kept",
		},
		"a truncated answer that nobody looks at": {
			sends: true, change: func(x *capture.Exchange) { x.Response.Body.Truncated = true }, outcome: outcomeSent, status: 200,
		},
		"a body that was left out": {
			change: func(x *capture.Exchange) { x.Request.Body = capture.Body{Size: 5, Omitted: true} }, outcome: outcomeSkipped, err: "its body was kept",
		},
		"an error of the relay": {
			change:  func(x *capture.Exchange) { x.Response.Header["Relay-Error"] = []string{"agent_away"} },
			outcome: outcomeSkipped, err: "not the app",
		},
		"an answer of an inbox": {
			change: func(x *capture.Exchange) {
				x.Response.Status, x.Response.Body.Kept = 202, []byte(`{"id":"evt_01K8"}`+"\n")
			}, outcome: outcomeSkipped, err: "not the app",
		},
		"a masked body": {
			change:  func(x *capture.Exchange) { x.Request.Body.Kept = []byte(`{"a":"` + capture.Mask + `"}`) },
			outcome: outcomeSkipped, err: "masked values",
		},
		"a method that cannot be": {change: func(x *capture.Exchange) { x.Request.Method = "A B" }, outcome: outcomeSkipped, err: "method"},
	} {
		t.Run(name, func(t *testing.T) {
			rp, _ := newReplayer(t, app.URL)
			rp.compare = !test.sends
			rp.answered.Store(true)
			if name == "too slow" {
				rp.client.Timeout = 50 * time.Millisecond
			}
			got, err := rp.one(t.Context(), one(request(test.change)))
			if err != nil || got.Outcome != test.outcome || got.Status != test.status || !strings.Contains(got.Error, test.err) || (test.err == "") != (got.Error == "") {
				t.Errorf("got %+v (%v)", got, err)
			}
		})
	}
}

// Whatever goes on at once, what came of it is told in order.
func TestReplayKeepsTheOrder(t *testing.T) {
	var (
		mu      sync.Mutex
		waiting []chan struct{}
	)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		mine := make(chan struct{})
		mu.Lock()
		if waiting = append(waiting, mine); len(waiting) == 3 { // the last that came is answered first
			for _, c := range slices.Backward(waiting) {
				close(c)
			}
			waiting = nil
		}
		mu.Unlock()
		<-mine
		_, _ = io.WriteString(w, "ok")
	}))
	defer app.Close()
	rp, out := newReplayer(t, app.URL)
	rp.concurrency = 3
	var list []recorded
	var want []string
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		list = append(list, one(request(func(x *capture.Exchange) { x.ID = id })))
		want = append(want, `{"event":"replayed","id":"`+id+`"`)
	}
	if err := rp.run(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(want)+1 {
		t.Fatalf("got %q", lines)
	}
	for i, begin := range want {
		if !strings.HasPrefix(lines[i], begin) {
			t.Errorf("line %d is %s", i, lines[i])
		}
	}
	if !strings.HasPrefix(lines[6], `{"event":"summary","ok":true,"to":"`+app.URL+`","chosen":6,"sent":6,"same":6,`) {
		t.Errorf("the end is %s", lines[6])
	}
}

// Without an app there is no use in going on.
func TestReplayToNobody(t *testing.T) {
	app := httptest.NewServer(http.NotFoundHandler())
	app.Close()
	rp, out := newReplayer(t, app.URL)
	err := rp.run(t.Context(), []recorded{one(request(nil)), one(request(nil))})
	var none *client.UnreachableError
	if !errors.As(err, &none) || codeOf(err) != exitUnreachable || out.Len() != 0 {
		t.Errorf("got %v, %q", err, out)
	}
}

// A record that goes away in the middle ends the replay, and says so.
func TestReplayLosesItsRecord(t *testing.T) {
	app := httptest.NewServer(http.NotFoundHandler())
	defer app.Close()
	rp, _ := newReplayer(t, app.URL)
	lost := errors.New("lost")
	err := rp.run(t.Context(), []recorded{
		one(request(nil)), {"req_2", func(context.Context) (*capture.Exchange, error) { return nil, lost }}, one(request(nil)),
	})
	if !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
}

func TestReplayConclusion(t *testing.T) {
	for name, test := range map[string]struct {
		sum  summaryEvent
		err  string
		line string
	}{
		"all same":     {summaryEvent{Chosen: 2, Sent: 2, Same: 2}, "", "2 requests sent in 0µs: 2 same\n"},
		"one changed":  {summaryEvent{Chosen: 2, Sent: 2, Same: 1, Changed: 1}, "failed", "2 requests sent in 0µs: 1 same, 1 changed\n"},
		"one failed":   {summaryEvent{Chosen: 1, Sent: 1, Failed: 1}, "failed", "1 request sent in 0µs: 1 failed\n"},
		"some skipped": {summaryEvent{Chosen: 2, Sent: 1, Same: 1, Skipped: 1}, "", "1 request sent in 0µs: 1 same, 1 skipped\n"},
		"all skipped":  {summaryEvent{Chosen: 1, Skipped: 1}, "none of the chosen requests could be sent", "0 requests sent in 0µs: 1 skipped\n"},
	} {
		rp, out := newReplayer(t, "http://127.0.0.1:1")
		rp.asJSON = false
		err := rp.conclude(test.sum)
		if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err || out.String() != test.line {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
}

// A signature with a time in it is too old for an app when the recording is: --sign makes
// one that is good now.
func TestReplaySigns(t *testing.T) {
	t.Setenv("HOOK_SECRET", "whsec_test")
	scheme, _ := signature.Lookup("stripe")
	verdict := make(chan error, 1)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		verdict <- signature.Verify(scheme, []string{"whsec_test"}, signature.Request{Method: r.Method, Header: r.Header, Body: body}, time.Now())
	}))
	defer app.Close()
	old, err := signature.Sign(scheme, "whsec_test", signature.Request{Method: "POST", Header: http.Header{}, Body: []byte("hi")}, time.Now().Add(-24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	x := request(func(x *capture.Exchange) { x.Request.Header = capture.Header(old.Header) })
	rp, _ := newReplayer(t, app.URL)
	if _, err := rp.one(t.Context(), one(x)); err != nil {
		t.Fatal(err)
	}
	if err := <-verdict; err == nil {
		t.Fatal("the old signature was taken")
	}
	if err := rp.signs("stripe", "HOOK_SECRET"); err != nil {
		t.Fatal(err)
	}
	if _, err := rp.one(t.Context(), one(x)); err != nil {
		t.Fatal(err)
	}
	if err := <-verdict; err != nil {
		t.Error(err)
	}
}

func TestReplayTo(t *testing.T) {
	for _, good := range []string{"http://localhost:3000", "https://app.example.com/base", "http://[::1]:80"} {
		if _, err := replayTo(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "3000", "localhost:3000", "ftp://x", "http://", "http://x?y=1", "http://u:p@x", "http://x#y", "http://x:y"} {
		if _, err := replayTo(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	at := &url.URL{Scheme: "http", Host: "x"}
	if u, err := targetBelow(at, "/%zz"); err != nil || u.RequestURI() != "/%zz" {
		t.Errorf("got %v (%v)", u, err)
	}
	if u, err := targetBelow(at, "//%zz"); err == nil {
		t.Errorf("got %v", u)
	}
}
