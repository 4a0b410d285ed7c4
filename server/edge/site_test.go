package edge_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/http1"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, lingering) }

// lingering is net/http's half second before it closes a connection.
var lingering = goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait")

const patience = 10 * time.Second

// tunnel is a fake way to an agent: a function is the app.
type tunnel struct {
	app  func(*http.Request) (*http.Response, error)
	gone atomic.Bool
}

func (t *tunnel) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.app(req)
	if res != nil {
		res.Request = req
	}
	return res, err
}

func (t *tunnel) Live() bool { return !t.gone.Load() }

// errOffline is what a tunnel says whose agent is gone; errUnsent when nothing of
// the request had left by then.
var (
	errOffline = fmt.Errorf("alice: %w", relay.ErrOffline)
	errUnsent  = fmt.Errorf("alice: %w: %w", relay.ErrOffline, &http1.DialError{Err: errors.New("no link")})
)

func respond(status int, body string, header ...string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body))}
	res.Header.Set("Content-Length", strconv.Itoa(len(body)))
	for i := 0; i < len(header); i += 2 {
		res.Header.Add(header[i], header[i+1])
	}
	return res
}

// site is an edge behind a true http.Server, set up as the server does it.
type site struct {
	t    *testing.T
	addr string
	app  func(*http.Request) (*http.Response, error) // of alice.relay.test
	wg   sync.WaitGroup
}

// newSite starts an edge. alice.relay.test leads to the app, unless o.Resolve says
// otherwise.
func newSite(t *testing.T, o edge.Options, app func(*http.Request) (*http.Response, error)) *site {
	t.Helper()
	return newSiteOf(t, o, 1000, app)
}

// newSiteOf starts an edge for no more than limit connections.
func newSiteOf(t *testing.T, o edge.Options, limit int, app func(*http.Request) (*http.Response, error)) *site {
	t.Helper()
	w := &site{t: t, app: app}
	tun := &tunnel{app: func(req *http.Request) (*http.Response, error) { return w.app(req) }}
	if o.Resolve == nil {
		o.Resolve = func(host string) edge.Target {
			if host != "alice.relay.test" {
				return edge.Target{}
			}
			return edge.Target{Tunnel: tun, Known: true}
		}
	}
	if o.Domain == "" {
		o.Domain = "relay.test"
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	e := edge.New(o)
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler: e, Protocols: &p, DisableGeneralOptionsHandler: true, ReadHeaderTimeout: edge.HeaderTimeout,
		IdleTimeout: edge.IdleTimeout, MaxHeaderBytes: edge.MaxHeaderBytes, ConnContext: edge.ConnContext,
	}
	front := edge.NewFront(e, ln, limit)
	w.wg.Go(func() { _ = front.Run() })
	w.wg.Go(func() { _ = srv.Serve(front) })
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Close()
		front.Shutdown(over)
		w.wg.Wait()
	})
	return w
}

// ways are the two in which a request is read: a header that is not simple takes it
// to net/http.
var ways = map[string]string{"front": "", "net/http": "Keep-Alive: x"}

// visitor is a connection to the edge on which bytes are said.
type visitor struct {
	net.Conn
	r *bufio.Reader
	t *testing.T
}

func (w *site) visit() *visitor {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	w.t.Cleanup(func() { c.Close() })
	return &visitor{Conn: c, r: bufio.NewReader(c), t: w.t}
}

func (v *visitor) say(raw string) {
	v.t.Helper()
	if _, err := io.WriteString(v.Conn, raw); err != nil {
		v.t.Fatal(err)
	}
}

// reply reads an answer; its body is read, and err is what came of that.
func (v *visitor) reply(method string) (res *http.Response, body string, err error) {
	v.t.Helper()
	res, err = http.ReadResponse(v.r, &http.Request{Method: method})
	if err != nil {
		v.t.Fatalf("no answer: %v", err)
	}
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// closed tells whether the edge closes the connection.
func (v *visitor) closed() bool {
	_, err := v.r.ReadByte()
	var ne net.Error
	return err != nil && (!errors.As(err, &ne) || !ne.Timeout())
}

// do sends raw on a connection of its own and reads the answer.
func (w *site) do(raw string) (*http.Response, string) {
	w.t.Helper()
	method, _, _ := strings.Cut(raw, " ")
	v := w.visit()
	defer v.Close()
	v.say(raw)
	res, body, err := v.reply(method)
	if err != nil {
		w.t.Errorf("broken answer: %v", err)
	}
	return res, body
}

// h2 is a visitor who speaks HTTP/2 with prior knowledge; dials counts its
// connections.
func (w *site) h2() (c *http.Client, dials *atomic.Int32) {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	dials = &atomic.Int32{}
	t := &http.Transport{Protocols: &p, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		dials.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, network, w.addr)
	}}
	w.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}, dials
}

const host = "Host: alice.relay.test\r\n"

// get is a raw request, with more lines.
func get(lines ...string) string {
	var b strings.Builder
	b.WriteString("GET /x HTTP/1.1\r\n" + host)
	for _, l := range lines {
		if l != "" {
			b.WriteString(l + "\r\n")
		}
	}
	return b.String() + "\r\n"
}

func soon(t *testing.T, what string, event <-chan struct{}) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
}

// seen keeps the last request that an app saw, with its body.
type seen struct {
	req  *http.Request
	body []byte
	n    int
}

// app answers ok and keeps what it saw.
func (s *seen) app(req *http.Request) (*http.Response, error) {
	s.req = req.Clone(context.Background())
	s.n++
	s.body = nil
	if req.Body != nil {
		var err error
		if s.body, err = io.ReadAll(req.Body); err != nil {
			return nil, &http1.BodyError{Err: err}
		}
		_ = req.Body.Close()
	}
	return respond(200, "ok"), nil
}
