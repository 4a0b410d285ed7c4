package http1_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/relaytunnel/relay/internal/http1"
)

// watchedBody tells when it is read first.
type watchedBody struct {
	io.Reader
	once sync.Once
	read chan struct{}
}

func watched(s string) *watchedBody {
	return &watchedBody{Reader: strings.NewReader(s), read: make(chan struct{})}
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.once.Do(func() { close(b.read) })
	return b.Reader.Read(p)
}

func (b *watchedBody) wasRead() bool {
	select {
	case <-b.read:
		return true
	default:
		return false
	}
}

func expecting(t *testing.T, body io.Reader, length int64) *http.Request {
	req := request(t, "POST", body)
	req.ContentLength = length
	req.Header.Set("Expect", "100-continue")
	return req
}

// What an app makes of Expect: 100-continue (row E27): one final answer, the body
// at most once, and a connection that is kept only when it is clean.
func TestExpectContinue(t *testing.T) {
	tests := []struct {
		name   string
		app    func(p *peer, body *watchedBody) // until the first answer is given
		status int
		sent   bool // the body
		kept   bool
	}{
		{"is granted", func(p *peer, body *watchedBody) {
			req := p.head()
			if req.Header.Get("Expect") != "100-continue" {
				p.t.Error("the app is not asked")
			}
			if body.wasRead() {
				p.t.Error("the body was sent before the app's word")
			}
			p.say("HTTP/1.1 100 Continue\r\n\r\n")
			if got, _ := io.ReadAll(req.Body); string(got) != "hello" {
				p.t.Errorf("the app got %q", got)
			}
			p.say(okAnswer)
		}, 200, true, true},
		{"is granted twice", func(p *peer, _ *watchedBody) {
			req := p.head()
			p.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
			if got, _ := io.ReadAll(req.Body); string(got) != "hello" {
				p.t.Errorf("the app got %q", got)
			}
			p.say(okAnswer)
		}, 200, true, true},
		{"is refused", func(p *peer, _ *watchedBody) {
			p.head()
			p.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
			p.gone()
		}, 417, false, false},
		{"is answered with 200", func(p *peer, _ *watchedBody) {
			p.head()
			p.say(okAnswer)
			p.gone()
		}, 200, false, false},
		{"is not understood", func(p *peer, _ *watchedBody) {
			req := p.head()
			if got, _ := io.ReadAll(req.Body); string(got) != "hello" { // comes all the same, after a while
				p.t.Errorf("the app got %q", got)
			}
			p.say(okAnswer)
		}, 200, true, true},
		{"is granted late", func(p *peer, _ *watchedBody) {
			req := p.head()
			if got, _ := io.ReadAll(req.Body); string(got) != "hello" {
				p.t.Errorf("the app got %q", got)
			}
			p.say("HTTP/1.1 100 Continue\r\n\r\n" + okAnswer)
		}, 200, true, true},
	}
	for _, tt := range tests {
		for name, length := range map[string]int64{"length": 5, "chunked": -1} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				t.Parallel() // some wait a second
				body := watched("hello")
				a := newApp(t, func(n int, p *peer) {
					if n == 1 {
						tt.app(p, body)
					}
					polite(p)
				})
				p := a.pool()
				res, _, err := trip(p, expecting(t, body, length))
				if err != nil || res.StatusCode != tt.status {
					t.Fatalf("got %v, %v; want %d", res, err, tt.status)
				}
				if body.wasRead() != tt.sent {
					t.Errorf("the body was sent: %v, want %v", body.wasRead(), tt.sent)
				}
				wantOK(t, p)
				if kept := a.conns.Load() == 1; kept != tt.kept {
					t.Errorf("kept = %v, want %v", kept, tt.kept)
				}
			})
		}
	}
}

// Whoever asks for 100-continue is told to go on when the handler reads, and only
// then.
func TestServerGrantsContinueWhenTheBodyIsRead(t *testing.T) {
	const ask = "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	t.Run("read", func(t *testing.T) {
		c := serve(t, func(req *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(req.Body)
			return textAnswer(string(body)), err
		})
		c.say(ask)
		c.want("HTTP/1.1 100 Continue\r\n\r\n")
		c.say("hello")
		c.want("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	})
	t.Run("not read", func(t *testing.T) {
		c := serve(t, func(*http.Request) (*http.Response, error) { return textAnswer("no"), nil })
		c.say(ask)
		c.want("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
		c.wantEnd()
	})
	t.Run("without a body", func(t *testing.T) {
		c := serve(t, func(req *http.Request) (*http.Response, error) {
			_, err := io.ReadAll(req.Body)
			return textAnswer("ok"), err
		})
		c.say("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
		c.want("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	// The body may be read late, by one who sends it on: what has begun is an answer,
	// and a 100 in the middle of it would be taken for a part of its body.
	t.Run("read after the answer has begun", func(t *testing.T) {
		c := serve(t, func(req *http.Request) (*http.Response, error) {
			res := textAnswer("")
			res.ContentLength = 10
			res.Body = io.NopCloser(io.MultiReader(strings.NewReader("head "), req.Body))
			return res, nil
		})
		c.say(ask)
		c.want("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhead ")
		c.say("hello")
		c.want("hello")
	})
}

// The wait for an app's word is bounded, and ends nothing else.
func TestExpectWaitsASecondForTheApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipePair()
		p := &http1.Pool{Dial: dialOnce(near)}
		defer p.Close()
		began := time.Now()
		go func() {
			peer := newPipePeer(t, far)
			if _, body := peer.request(); body != "hello" {
				t.Errorf("the app got %q", body)
			}
			if waited := time.Since(began); waited != time.Second {
				t.Errorf("the body came after %v", waited)
			}
			peer.say(okAnswer)
		}()
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://a.test/", strings.NewReader("hello"))
		req.Header.Set("Expect", "100-continue")
		if _, body, err := trip(p, req); err != nil || body != "ok" {
			t.Errorf("got %q, %v", body, err)
		}
	})
}
