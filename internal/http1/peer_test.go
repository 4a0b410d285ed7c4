package http1_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/http1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// app is the other end of a Pool: it plays a script on every connection.
type app struct {
	t     *testing.T
	ln    net.Listener
	conns atomic.Int32
	wg    sync.WaitGroup
}

// newApp listens and runs script on each connection; n counts them from 1. The
// connection is closed when script returns.
func newApp(t *testing.T, script func(n int, p *peer)) *app {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{t: t, ln: ln}
	a.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n := int(a.conns.Add(1))
			_ = c.SetDeadline(time.Now().Add(patience))
			p := &peer{Conn: c, r: bufio.NewReader(c), t: t}
			a.wg.Go(func() {
				defer c.Close()
				script(n, p)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		a.wg.Wait()
	})
	return a
}

// pool makes a pool to the app; it is closed before the app is waited for.
func (a *app) pool() *http1.Pool {
	p := &http1.Pool{Dial: a.dial}
	a.t.Cleanup(p.Close)
	return p
}

func (a *app) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", a.ln.Addr().String())
}

// peer is the app's end of a connection.
type peer struct {
	net.Conn
	r *bufio.Reader
	t *testing.T
}

// say writes bytes as they are; a pool that has closed by then is no fault.
func (p *peer) say(raw string) { _, _ = io.WriteString(p.Conn, raw) }

// head reads the head of a request with net/http; nil when there is no further one.
func (p *peer) head() *http.Request {
	req, err := http.ReadRequest(p.r)
	if err != nil {
		return nil
	}
	return req
}

// request reads a whole request; nil when there is no further one.
func (p *peer) request() (*http.Request, string) {
	req := p.head()
	if req == nil {
		return nil, ""
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, string(body)
	}
	return req, string(body)
}

// gone waits until the pool closes the connection.
func (p *peer) gone() {
	_, err := io.Copy(io.Discard, p.r)
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		p.t.Error("the connection stays open")
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// polite answers every request with 200 and the body ok.
func polite(p *peer) {
	for {
		if req, _ := p.request(); req == nil {
			return
		}
		p.say(okAnswer)
	}
}

func request(t *testing.T, method string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, "http://app.test/path", body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil && req.ContentLength == 0 {
		req.ContentLength = -1 // as in requests that a server has read
	}
	return req
}

// trip runs an exchange to its end.
func trip(p *http1.Pool, req *http.Request) (*http.Response, string, error) {
	res, err := p.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return res, string(body), err
}

func wantOK(t *testing.T, p *http1.Pool) {
	t.Helper()
	res, body, err := trip(p, request(t, "GET", nil))
	if err != nil || res.StatusCode != 200 || body != "ok" {
		t.Fatalf("got %v %q, %v; want 200 ok", res, body, err)
	}
}

// unknownLength hides the length of a body, so that it is sent chunked.
func unknownLength(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }

// stuckBody is a request body of which nothing more comes until it is aborted.
type stuckBody struct {
	first   io.Reader
	waiting chan struct{} // closed when the reader waits
	abort   chan struct{}
	once    sync.Once
	aborts  sync.Once
}

func newStuckBody(first string) *stuckBody {
	return &stuckBody{first: strings.NewReader(first), waiting: make(chan struct{}), abort: make(chan struct{})}
}

func (b *stuckBody) Read(p []byte) (int, error) {
	if n, _ := b.first.Read(p); n > 0 {
		return n, nil
	}
	b.once.Do(func() { close(b.waiting) })
	<-b.abort
	return 0, errAborted
}

func (b *stuckBody) Abort()       { b.aborts.Do(func() { close(b.abort) }) }
func (b *stuckBody) Close() error { return nil }

var errAborted = errors.New("aborted")

// soon waits for an event.
func soon(t *testing.T, what string, event <-chan struct{}) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
}

func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	soon(t, what, done)
}
