package http1_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/http1"
)

// Clean or closed: a connection serves a second exchange only when the first was
// provably complete. Whatever the first one leaves behind must never be taken for
// the second's answer.
func TestConnectionIsKeptOnlyAfterACompleteExchange(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
	tests := []struct {
		name   string
		method string // GET when empty
		answer string
		body   string
		fails  bool // reading the answer
		unread bool // the body of the answer is closed unread
		kept   bool
	}{
		{name: "length", answer: okAnswer, body: "ok", kept: true},
		{name: "no body", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", kept: true},
		{name: "chunked", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", body: "ok", kept: true},
		{name: "chunked with trailer", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: 1\r\n\r\n", body: "ok", kept: true},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", kept: true},
		{name: "204 with length 0", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", kept: true},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", kept: true},
		{name: "HEAD", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", kept: true},
		{name: "HEAD chunked", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", kept: true},
		{name: "HTTP/1.0 with keep-alive", answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", body: "ok", kept: true},
		{name: "after interim answers", answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okAnswer, body: "ok", kept: true},

		{name: "Connection: close", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", body: "ok"},
		{name: "Connection: x, Close", answer: "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", body: "ok"},
		{name: "HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", body: "ok"},
		{name: "extra bytes", answer: okAnswer + evil, body: "ok"},
		{name: "one extra byte", answer: okAnswer + "\n", body: "ok"},
		{name: "extra bytes after chunks", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + evil, body: "ok"},
		{name: "unread body", answer: okAnswer, unread: true},
		{name: "unread chunked body", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", unread: true},
		{name: "204 with a body", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello" + evil},
		{name: "204 that promises a body", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"},
		{name: "204 that promises chunks", answer: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{name: "304 with a body", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello" + evil},
		{name: "HEAD with a body", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" + evil},
		{name: "broken chunk", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n" + evil, body: "ok", fails: true},
		{name: "broken trailer", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nno colon\r\n\r\n" + evil, body: "ok", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t, func(n int, p *peer) {
				if n == 1 {
					if req, _ := p.request(); req == nil {
						return
					}
					p.say(tt.answer)
				}
				polite(p)
			})
			p := a.pool()
			method := tt.method
			if method == "" {
				method = "GET"
			}
			res, err := p.RoundTrip(request(t, method, nil))
			if err != nil {
				t.Fatal(err)
			}
			if !tt.unread {
				body, err := io.ReadAll(res.Body)
				if (err != nil) != tt.fails || string(body) != tt.body {
					t.Errorf("body %q, %v; want %q", body, err, tt.body)
				}
			}
			_ = res.Body.Close()
			wantOK(t, p)
			if kept := a.conns.Load() == 1; kept != tt.kept {
				t.Errorf("kept = %v, want %v", kept, tt.kept)
			}
		})
	}
}

// What an app says or does between two exchanges is seen before the next request
// is written.
func TestKeptConnectionThatTalksOrClosesIsNotUsed(t *testing.T) {
	for name, between := range map[string]func(p *peer){
		"talks":      func(p *peer) { p.say("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n") },
		"closes":     func(p *peer) { p.Close() },
		"half-close": func(p *peer) { _ = p.Conn.(interface{ CloseWrite() error }).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			answered, done := make(chan struct{}), make(chan struct{})
			a := newApp(t, func(n int, p *peer) {
				if n > 1 {
					polite(p)
					return
				}
				p.request()
				p.say(okAnswer)
				<-answered
				between(p)
				close(done)
				if name != "closes" {
					if req := p.head(); req != nil {
						t.Error("the connection was used again")
					}
				}
			})
			p := a.pool()
			wantOK(t, p)
			close(answered)
			soon(t, "the app's word", done)
			// A POST: it would not be tried again.
			res, body, err := trip(p, request(t, "POST", nil))
			if err != nil || res.StatusCode != 200 || body != "ok" {
				t.Fatalf("got %v %q, %v", res, body, err)
			}
		})
	}
}

func TestAbortedExchangeClosesTheConnection(t *testing.T) {
	t.Run("before the answer", func(t *testing.T) {
		asked := make(chan struct{})
		a := newApp(t, func(_ int, p *peer) {
			p.request()
			close(asked)
			p.gone()
		})
		p := a.pool()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-asked
			cancel()
		}()
		_, err := p.RoundTrip(request(t, "GET", nil).WithContext(ctx))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		if p.Idle() != 0 {
			t.Error("the connection was kept")
		}
	})
	t.Run("within the answer", func(t *testing.T) {
		a := newApp(t, func(_ int, p *peer) {
			p.request()
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin")
			p.gone()
		})
		p := a.pool()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		res, err := p.RoundTrip(request(t, "GET", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(res.Body, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(res.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		_ = res.Body.Close()
		if p.Idle() != 0 {
			t.Error("the connection was kept")
		}
	})
	t.Run("within the request body", func(t *testing.T) {
		a := newApp(t, func(_ int, p *peer) { p.gone() })
		p := a.pool()
		body := newStuckBody("begin")
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-body.waiting
			cancel()
		}()
		_, err := p.RoundTrip(request(t, "POST", body).WithContext(ctx))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}

// A truncated answer is an error for whoever reads it, never a clean end.
func TestTruncatedAnswerIsAnError(t *testing.T) {
	for name, answer := range map[string]string{
		"length":               "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"chunk":                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
		"between chunks":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"within a chunk line":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n1",
		"before the last line": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
		"within the trailer":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX-A: 1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(_ int, p *peer) {
				p.request()
				p.say(answer)
			})
			_, body, err := trip(a.pool(), request(t, "GET", nil))
			if body != "half" || err == nil || errors.Is(err, io.EOF) {
				t.Errorf("got %q, %v; want half and an error", body, err)
			}
		})
	}
}

func TestAnswerUntilTheEndOfTheConnection(t *testing.T) {
	a := newApp(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\n\r\nall of it")
	})
	p := a.pool()
	res, body, err := trip(p, request(t, "GET", nil))
	if err != nil || body != "all of it" || res.ContentLength != -1 {
		t.Errorf("got %q, length %d, %v", body, res.ContentLength, err)
	}
	if p.Idle() != 0 {
		t.Error("an ended connection was kept")
	}
}

// An answer may end before the request has. Its connection is only kept when the
// request was complete too.
func TestEarlyAnswer(t *testing.T) {
	t.Run("to an endless upload", func(t *testing.T) {
		for name, answer := range map[string]string{
			"keep-alive": "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",
			"close":      "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
			"no body":    "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		} {
			t.Run(name, func(t *testing.T) {
				read := make(chan struct{})
				a := newApp(t, func(n int, p *peer) {
					if n > 1 {
						polite(p)
						return
					}
					p.head()
					p.say(answer)
					<-read // the app does not read on, and does not close
				})
				defer close(read)
				p := a.pool()
				// More than the sockets between the two hold: the sender blocks in Write.
				upload := io.LimitReader(zeros{}, 1<<30)
				res, err := p.RoundTrip(request(t, "POST", upload))
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != 413 {
					t.Errorf("status %d", res.StatusCode)
				}
				if _, err := io.ReadAll(res.Body); err != nil {
					t.Error(err)
				}
				within(t, "Close after an early answer", func() { _ = res.Body.Close() })
				if p.Idle() != 0 {
					t.Error("a connection with half a request on it was kept")
				}
				wantOK(t, p)
			})
		}
	})
	t.Run("to a stuck upload", func(t *testing.T) {
		a := newApp(t, func(_ int, p *peer) {
			p.head()
			p.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			p.gone()
		})
		p := a.pool()
		body := newStuckBody("begin")
		res, text, err := trip(p, request(t, "POST", body))
		if err != nil || res.StatusCode != 403 || text != "no" {
			t.Fatalf("got %v %q, %v", res, text, err)
		}
		soon(t, "Abort of the request body", body.abort)
		if p.Idle() != 0 {
			t.Error("a connection with half a request on it was kept")
		}
	})
	t.Run("that crosses the end of the upload", func(t *testing.T) {
		a := newApp(t, func(_ int, p *peer) {
			for {
				req := p.head()
				if req == nil {
					return
				}
				p.say(okAnswer)
				if _, err := io.Copy(io.Discard, req.Body); err != nil {
					return
				}
			}
		})
		p := a.pool()
		for i := range 20 {
			_, body, err := trip(p, request(t, "POST", unknownLength(strings.Repeat("x", 100_000))))
			if err != nil || body != "ok" {
				t.Fatalf("exchange %d: %q, %v", i, body, err)
			}
		}
		if n := a.conns.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Answers go to those who asked: many visitors, apps that leave dirt behind.
func TestNobodyGetsAnothersAnswer(t *testing.T) {
	a := newApp(t, func(n int, p *peer) {
		for i := 0; ; i++ {
			req, body := p.request()
			if req == nil {
				return
			}
			tag := req.Header.Get("Tag")
			if body != "" && body != "body of "+tag {
				t.Errorf("request %s has the body %q", tag, body)
			}
			switch (n + i) % 5 {
			case 0: // says more than it promised
				p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(tag), tag, len(tag), tag))
			case 1: // and then goes
				p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(tag), tag))
				return
			default:
				p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(tag), tag))
			}
		}
	})
	p := a.pool()
	const visitors, each = 8, 100
	done := make(chan struct{}, visitors)
	for v := range visitors {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range each {
				tag := fmt.Sprintf("%d-%d", v, i)
				var req *http.Request
				if i%2 == 0 {
					req = request(t, "GET", nil)
				} else {
					req = request(t, "PUT", strings.NewReader("body of "+tag))
				}
				req.Header.Set("Tag", tag)
				res, err := p.RoundTrip(req)
				if err != nil {
					t.Errorf("%s: %v", tag, err)
					return
				}
				if i%7 == 3 { // this visitor does not wait for its answer
					_ = res.Body.Close()
					continue
				}
				got, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || string(got) != tag {
					t.Errorf("%s got %q, %v", tag, got, err)
				}
			}
		}()
	}
	for range visitors {
		<-done
	}
}

var _ http.RoundTripper = (*http1.Pool)(nil)
