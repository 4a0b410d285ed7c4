package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/http1"
	"github.com/relaytunnel/relay/server/edge"
)

const evil = `<script>alert("x")</script>`

// Whatever fails has a code, and is said as a page to browsers and as JSON to
// others (row E37).
func TestProblems(t *testing.T) {
	fails := func(err error) edge.Target {
		return edge.Target{Tunnel: &tunnel{app: func(*http.Request) (*http.Response, error) { return nil, err }}, Known: true}
	}
	tests := []struct {
		name   string
		target edge.Target
		status int
		code   string
		says   string
		retry  bool
	}{
		{"nobody's name", edge.Target{}, 404, "unknown_name", "No tunnel", false},
		{"agent away", edge.Target{Known: true}, 503, "agent_away", "not connected", true},
		{"agent gone", fails(errOffline), 503, "agent_away", "not connected", true},
		{"app refuses", fails(&http1.Failed{Code: "upstream_refused", Message: "Nothing listens."}), 502, "upstream_refused", "Nothing listens.", false},
		{"app cannot be reached", fails(&http1.Failed{Code: "upstream_unreachable", Message: "No way."}), 502, "upstream_unreachable", "No way.", false},
		{"app gives nonsense", fails(&http1.Failed{Code: "upstream_invalid", Message: "Nonsense."}), 502, "upstream_invalid", "Nonsense.", false},
		{"app is slow, says the agent", fails(&http1.Failed{Code: "upstream_timeout", Message: "Slow."}), 504, "upstream_timeout", "Slow.", false},
		{"agent says nothing", fails(&http1.Failed{Code: "upstream_failed"}), 502, "upstream_failed", "closed the connection", false},
		{"agent says too much", fails(&http1.Failed{Code: "upstream_failed", Message: strings.Repeat("a", 1000)}), 502, "upstream_failed", "closed the connection", false},
		{"agent makes up a code", fails(&http1.Failed{Code: "free_money\r\nSet-Cookie: a=b", Message: "x"}), 502, "upstream_failed", "x", false},
		{"agent says a script", fails(&http1.Failed{Code: "upstream_failed", Message: evil}), 502, "upstream_failed", "alert", false},
		{"answer breaks the rules", fails(&http1.BadAnswerError{Reason: `status "` + evil + `"`}), 502, "upstream_invalid", "alert", false},
		{"anything else", fails(errors.New("secret address")), 502, "upstream_failed", "closed the connection", false},
	}
	for _, tt := range tests {
		eachWay(t, tt.name, func(t *testing.T, way string) {
			w := newSite(t, edge.Options{Resolve: func(string) edge.Target { return tt.target }}, nil)
			check := func(res *http.Response) {
				t.Helper()
				h := res.Header
				if res.StatusCode != tt.status || h.Get("Relay-Error") != tt.code || !requestID.MatchString(h.Get("Relay-Request-Id")) {
					t.Errorf("got %d %q %q, want %d %q", res.StatusCode, h.Get("Relay-Error"), h.Get("Relay-Request-Id"), tt.status, tt.code)
				}
				if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Set-Cookie") != "" {
					t.Errorf("header %v", h)
				}
				if (h.Get("Retry-After") != "") != tt.retry {
					t.Errorf("Retry-After %q", h.Get("Retry-After"))
				}
			}
			res, page := w.do(get(way, "Accept: text/html,application/xhtml+xml,*/*;q=0.8"))
			check(res)
			if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || !strings.Contains(page, "<!doctype html>") ||
				strings.Contains(page, "<script") || !strings.Contains(page, tt.code) || strings.Contains(page, "secret") {
				t.Errorf("page %q:\n%s", res.Header.Get("Content-Type"), page)
			}
			if !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Error("the page may load things")
			}
			for _, accept := range []string{"", "Accept: */*", "Accept: application/json"} {
				res, text := w.do(get(way, accept))
				check(res)
				var j struct {
					Error, Message string
					Status         int
					RequestID      string `json:"request_id"`
				}
				if err := json.Unmarshal([]byte(text), &j); err != nil || res.Header.Get("Content-Type") != "application/json" {
					t.Fatalf("%s: %v", text, err)
				}
				if j.Error != tt.code || j.Status != tt.status || j.RequestID != res.Header.Get("Relay-Request-Id") || !strings.Contains(j.Message, tt.says) {
					t.Errorf("JSON %s", text)
				}
				if strings.Contains(text, "<script") || strings.Contains(text, "secret") {
					t.Errorf("JSON %s", text)
				}
			}
		})
	}
}

func TestAppThatIsTooSlow(t *testing.T) {
	eachWay(t, "", func(t *testing.T, way string) {
		ended := make(chan struct{})
		w := newSite(t, edge.Options{AnswerWithin: 20 * time.Millisecond}, func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			close(ended)
			return nil, req.Context().Err()
		})
		res, _ := w.do(get(way))
		if res.StatusCode != 504 || res.Header.Get("Relay-Error") != "upstream_timeout" {
			t.Errorf("got %d %q", res.StatusCode, res.Header.Get("Relay-Error"))
		}
		soon(t, "the end of the request", ended)
	})
}

// An answer that has begun may take as long as it wants.
func TestAnswerThatHasBegunIsNotTooSlow(t *testing.T) {
	more := make(chan struct{})
	w := newSite(t, edge.Options{AnswerWithin: 20 * time.Millisecond}, func(req *http.Request) (*http.Response, error) {
		r, wr := io.Pipe()
		go func() {
			_, _ = io.WriteString(wr, "begin ")
			<-more
			if err := req.Context().Err(); err != nil {
				wr.CloseWithError(err)
				return
			}
			_, _ = io.WriteString(wr, "end")
			wr.Close()
		}()
		res := respond(200, "")
		res.Header.Del("Content-Length")
		res.ContentLength, res.Body = -1, r
		return res, nil
	})
	v := w.visit()
	v.say(get())
	res, err := http.ReadResponse(v.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(40 * time.Millisecond) // twice the limit: that nothing happens has no event
	close(more)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "end" {
		t.Errorf("got %q, %v", rest, err)
	}
}

// An answer that breaks off must not look whole (row E31).
func TestBrokenAnswerIsBrokenForTheVisitor(t *testing.T) {
	broken := func(length int64) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			res := respond(200, "")
			res.Header.Del("Content-Length")
			if res.ContentLength = length; length > 0 {
				res.Header.Set("Content-Length", strconv.Itoa(int(length)))
			}
			res.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), errReader{}))
			return res, nil
		}
	}
	for _, length := range []int64{100, -1} {
		eachWay(t, fmt.Sprint("length ", length), func(t *testing.T, way string) {
			w := newSite(t, edge.Options{}, broken(length))
			v := w.visit()
			v.say(get(way))
			res, err := http.ReadResponse(v.r, nil)
			if err != nil {
				return // not even a head: as honest
			}
			if got, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("%q looks whole", got)
			}
		})
		t.Run(fmt.Sprint("HTTP/2, length ", length), func(t *testing.T) {
			w := newSite(t, edge.Options{}, broken(length))
			c, _ := w.h2()
			res, err := c.Get("http://alice.relay.test/")
			if err != nil {
				return
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("%q looks whole", got)
			}
		})
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

// A handler of the server's own gets what the visitor sent, with a clean host.
func TestHandlerAnswersItself(t *testing.T) {
	w := newSite(t, edge.Options{Resolve: func(host string) edge.Target {
		return edge.Target{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s", host, r.Host)
		})}
	}}, nil)
	res, body := w.do("GET / HTTP/1.1\r\nHost: RELAY.test.:80\r\n\r\n")
	if body != "relay.test relay.test:80" || !requestID.MatchString(res.Header.Get("Relay-Request-Id")) {
		t.Errorf("got %q, id %q", body, res.Header.Get("Relay-Request-Id"))
	}
}

func TestVisitorWhoLeavesEndsTheRequest(t *testing.T) {
	eachWay(t, "", func(t *testing.T, way string) {
		asked, ended := make(chan struct{}), make(chan struct{})
		w := newSite(t, edge.Options{}, func(req *http.Request) (*http.Response, error) {
			close(asked)
			<-req.Context().Done()
			close(ended)
			return nil, req.Context().Err()
		})
		v := w.visit()
		v.say(get(way))
		soon(t, "the request", asked)
		v.Close()
		soon(t, "the end of the request", ended)
	})
	t.Run("HTTP/2", func(t *testing.T) {
		asked, ended := make(chan struct{}), make(chan struct{})
		w := newSite(t, edge.Options{}, func(req *http.Request) (*http.Response, error) {
			close(asked)
			<-req.Context().Done()
			close(ended)
			return nil, req.Context().Err()
		})
		c, _ := w.h2()
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://alice.relay.test/", nil)
		go func() {
			<-asked
			cancel()
		}()
		if _, err := c.Do(req); err == nil {
			t.Error("got an answer")
		}
		soon(t, "the end of the request", ended)
	})
}

// A panic in one request is told of, ends that request, and nothing else.
func TestAPanicIsToldOfAndEndsOneRequest(t *testing.T) {
	var log lockedLog
	w := newSite(t, edge.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Resolve: func(string) edge.Target {
		return edge.Target{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("the roof is on fire")
			}
			_, _ = io.WriteString(w, "well")
		})}
	}}, nil)
	v := w.visit()
	v.say("GET /panic HTTP/1.1\r\nHost: relay.test\r\n\r\n")
	if b, err := io.ReadAll(v); len(b) > 0 {
		t.Errorf("got %q, %v", b, err)
	}
	if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "the roof is on fire") || !strings.Contains(text, "problem_test.go") {
		t.Errorf("the log says %q", text)
	}
	if _, body := w.do("GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n"); body != "well" {
		t.Errorf("after it: %q", body)
	}
}

type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
