package http1_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A kept connection that dies just when it is used again: the request is tried
// once more on a new one where that is safe, and only there.
func TestStaleConnectionIsTriedOnceMoreWhereSafe(t *testing.T) {
	tests := []struct {
		method  string
		body    io.Reader
		retried bool
	}{
		{"GET", nil, true},
		{"HEAD", nil, true},
		{"OPTIONS", nil, true},
		{"DELETE", nil, true},
		{"PUT", strings.NewReader("hello"), true},
		{"POST", nil, false},
		{"POST", strings.NewReader("hello"), false},
		{"PATCH", strings.NewReader("hello"), false},
		{"FOO", nil, false},
		{"PUT", unknownLength("hello"), false}, // the body is gone by then
	}
	for _, tt := range tests {
		name := tt.method
		if tt.body != nil {
			name += " with a body"
		}
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			a := newApp(t, func(n int, p *peer) {
				if n > 1 {
					for {
						req, body := p.request()
						if req == nil {
							return
						}
						if requests.Add(1); tt.body != nil && body != "hello" {
							t.Errorf("the second try has the body %q", body)
						}
						p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				}
				p.request()
				p.say(okAnswer)
				// The next request is read, and not answered.
				if req, _ := p.request(); req != nil {
					requests.Add(1)
				}
			})
			p := a.pool()
			wantOK(t, p)
			res, _, err := trip(p, request(t, tt.method, tt.body))
			if tt.retried && (err != nil || res.StatusCode != 200) {
				t.Errorf("got %v, want a second try", err)
			}
			if !tt.retried && err == nil {
				t.Error("it was tried again")
			}
			if got, want := int(requests.Load()), map[bool]int{true: 2, false: 1}[tt.retried]; got != want {
				t.Errorf("the app saw the request %d times, want %d", got, want)
			}
		})
	}
}

func TestStaleConnectionIsTriedOnceMoreAndNoOftener(t *testing.T) {
	a := newApp(t, func(n int, p *peer) {
		if n == 1 {
			p.request()
			p.say(okAnswer)
		}
		p.request()
	})
	p := a.pool()
	wantOK(t, p)
	if _, err := p.RoundTrip(request(t, "GET", nil)); err == nil {
		t.Error("got an answer from nowhere")
	}
	if n := a.conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestNewConnectionThatFailsIsNotTriedAgain(t *testing.T) {
	a := newApp(t, func(_ int, p *peer) { p.request() })
	p := a.pool()
	if _, err := p.RoundTrip(request(t, "GET", nil)); err == nil {
		t.Error("got an answer from nowhere")
	}
	if n := a.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// Once something of an answer has come, the app was at work.
func TestAnswerThatHasBegunIsNotAskedForAgain(t *testing.T) {
	for name, begin := range map[string]string{
		"half a line":             "HTTP/1.1 2",
		"half a head":             "HTTP/1.1 200 OK\r\nContent-Le",
		"half a long head":        "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 10_000),
		"a full buffer of a head": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 4096-len("HTTP/1.1 200 OK\r\nX: ")),
		"an interim answer":       "HTTP/1.1 103 Early Hints\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(n int, p *peer) {
				if n > 1 {
					polite(p)
					return
				}
				p.request()
				p.say(okAnswer)
				p.request()
				p.say(begin)
			})
			p := a.pool()
			wantOK(t, p)
			if _, err := p.RoundTrip(request(t, "GET", nil)); err == nil {
				t.Error("it was asked for again")
			}
			if n := a.conns.Load(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

// An app that refuses an upload by its head may close before it has read it. The
// answer is still the app's.
func TestAnswerBeforeAFailedWriteIsSeen(t *testing.T) {
	a := newApp(t, func(_ int, p *peer) {
		p.say("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
		p.head()
		// The close resets the connection: much of the body was not read.
	})
	p := a.pool()
	for range 20 {
		res, err := p.RoundTrip(request(t, "POST", io.LimitReader(zeros{}, 1<<20)))
		if err != nil {
			continue // the reset overtook the answer: an error is honest too
		}
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", res.StatusCode)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	if p.Idle() != 0 {
		t.Error("a half-written connection was kept")
	}
}
