package forward_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/client/forward"
	"github.com/relaytunnel/relay/internal/http1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// agent forwards the connections of a listener; the test is the server at their
// other ends.
type agent struct {
	t    *testing.T
	ln   *memListener
	pool http1.Pool
	told chan forward.Exchange
}

// newAgent starts one. It ends, with all its goroutines, before the test does.
func newAgent(t *testing.T, o forward.Options) *agent {
	t.Helper()
	a := &agent{t: t, ln: &memListener{t: t, conns: make(chan net.Conn), over: make(chan struct{})}, told: make(chan forward.Exchange, 100)}
	if o.OnExchange != nil {
		o.OnExchange = func(x forward.Exchange) { a.told <- x }
	}
	a.pool.Dial = a.ln.dial
	a.pool.Agent = true
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- forward.HTTP(ctx, a.ln, o) }()
	t.Cleanup(func() {
		a.pool.Close()
		a.ln.Close()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("HTTP = %v", err)
			}
		case <-time.After(patience):
			t.Error("HTTP does not return")
		}
	})
	return a
}

// recorded makes an agent look at HTTP.
func recorded(forward.Exchange) {}

// memListener gives the near ends of TCP connections that the test dials.
type memListener struct {
	t     *testing.T
	conns chan net.Conn
	over  chan struct{}
	once  sync.Once
}

func (l *memListener) dial(ctx context.Context) (net.Conn, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	near, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case l.conns <- &stream{Conn: near, t: l.t}:
		return far, nil
	case <-l.over:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.over) })
	return nil
}

func (l *memListener) Addr() net.Addr { return &net.TCPAddr{} }

// stream is a connection that can be broken off by its other end, as a link's.
type stream struct {
	net.Conn
	t       *testing.T
	mu      sync.Mutex
	reset   func()
	readers atomic.Int32
}

// Read wants to be alone: of two readers each gets a part.
func (s *stream) Read(p []byte) (int, error) {
	if s.readers.Add(1) > 1 {
		s.t.Error("two read the stream at once")
	}
	defer s.readers.Add(-1)
	return s.Conn.Read(p)
}

func (s *stream) OnReset(f func()) {
	s.mu.Lock()
	s.reset = f
	s.mu.Unlock()
}

// Write notices that the other end has gone, as a stream does by itself.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if err != nil {
		s.mu.Lock()
		if s.reset != nil {
			s.reset()
		}
		s.mu.Unlock()
	}
	return n, err
}

func (s *stream) CloseWrite() error { return s.Conn.(*net.TCPConn).CloseWrite() }

// serve runs an app on a free port and returns its address.
func serve(t *testing.T, network, addr string, h http.Handler, p *http.Protocols) string {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Skipf("no %s: %v", network, err)
	}
	srv := &http.Server{Handler: h, Protocols: p}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return ln.Addr().String()
}

// raw is an app that plays a script on each connection.
func raw(t *testing.T, script func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			wg.Go(func() {
				defer c.Close()
				script(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

func (a *agent) request(method, target string, body io.Reader, header ...string) *http.Request {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	a.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, "http://alice.relay.test"+target, body)
	if err != nil {
		a.t.Fatal(err)
	}
	if body != nil && req.ContentLength == 0 {
		req.ContentLength = -1
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return req
}

func (a *agent) do(req *http.Request) (*http.Response, string, error) {
	res, err := a.pool.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return res, string(body), err
}

// exchange waits for what is told next.
func (a *agent) exchange() forward.Exchange {
	a.t.Helper()
	select {
	case x := <-a.told:
		return x
	case <-time.After(patience):
		a.t.Fatal("no exchange was told")
		return forward.Exchange{}
	}
}

// modes are the ways in which an agent carries HTTP/1.1.
var modes = map[string]func(forward.Exchange){"spliced": nil, "parsed": recorded}

func eachMode(t *testing.T, test func(t *testing.T, on func(forward.Exchange))) {
	for name, on := range modes {
		t.Run(name, func(t *testing.T) { test(t, on) })
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// What goes wrong with the app has a code and a sentence that helps.
func TestFailuresOfTheApp(t *testing.T) {
	reset := func(c net.Conn, r *bufio.Reader) {
		_, _ = http.ReadRequest(r)
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	tests := []struct {
		name, addr string
		code       string
		says       string
	}{
		{"nothing listens", closedPort(t), "upstream_refused", "Nothing listens on ADDR"},
		{"no such host", "no-such-host.invalid:80", "upstream_unreachable", "ADDR cannot be reached"},
		{"closes", raw(t, func(_ net.Conn, r *bufio.Reader) { _, _ = http.ReadRequest(r) }), "upstream_failed", "The app on ADDR closed the connection"},
		{"resets", raw(t, reset), "upstream_failed", "The app on ADDR closed the connection"},
		{"half a head", raw(t, func(c net.Conn, r *bufio.Reader) {
			_, _ = http.ReadRequest(r)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX")
		}), "upstream_failed", "closed the connection"},
		{"speaks something else", raw(t, func(c net.Conn, _ *bufio.Reader) { _, _ = io.WriteString(c, "220 mail ESMTP\r\n\r\n") }), "upstream_invalid", "did not answer with valid HTTP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAgent(t, forward.Options{Addr: tt.addr, OnExchange: recorded})
			for _, body := range []io.Reader{nil, strings.NewReader("hello")} {
				_, _, err := a.do(a.request("POST", "/x", body))
				var failed *http1.Failed
				if !errors.As(err, &failed) || failed.Code != tt.code || !strings.Contains(failed.Message, strings.ReplaceAll(tt.says, "ADDR", tt.addr)) {
					t.Fatalf("got %v, want %s: %s", err, tt.code, tt.says)
				}
				x := a.exchange()
				if x.Status != 0 || x.Method != "POST" || x.Path != "/x" || !errors.As(x.Err, &failed) || failed.Code != tt.code {
					t.Errorf("told %+v", x)
				}
			}
		})
	}
	t.Run("nothing listens, spliced", func(t *testing.T) {
		addr := closedPort(t)
		a := newAgent(t, forward.Options{Addr: addr})
		_, _, err := a.do(a.request("GET", "/", nil))
		var failed *http1.Failed
		if !errors.As(err, &failed) || failed.Code != "upstream_refused" || !strings.Contains(failed.Message, addr) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("closes, spliced", func(t *testing.T) {
		a := newAgent(t, forward.Options{Addr: raw(t, func(_ net.Conn, r *bufio.Reader) { _, _ = http.ReadRequest(r) })})
		if _, _, err := a.do(a.request("POST", "/", nil)); err == nil {
			t.Error("got an answer from nowhere")
		}
	})
}

// A refusal reaches a visitor who is still sending.
func TestRefusalOfALongUpload(t *testing.T) {
	eachMode(t, func(t *testing.T, on func(forward.Exchange)) {
		a := newAgent(t, forward.Options{Addr: closedPort(t), OnExchange: on})
		_, _, err := a.do(a.request("POST", "/", io.LimitReader(zeros{}, 100<<20)))
		var failed *http1.Failed
		if !errors.As(err, &failed) || failed.Code != "upstream_refused" {
			// A pool that could not write on may not see why; it must not hang or invent.
			var body *http1.BodyError
			if err == nil || errors.As(err, &body) {
				t.Errorf("got %v", err)
			}
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestRequestsReachTheAppAsTheyWere(t *testing.T) {
	eachMode(t, func(t *testing.T, on func(forward.Exchange)) {
		type got struct{ method, target, host, body, tag string }
		seen := make(chan got, 1)
		addr := serve(t, "tcp", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			seen <- got{r.Method, r.RequestURI, r.Host, string(body), r.Header.Get("Tag")}
			w.Header().Set("X-App", "1")
			w.WriteHeader(201)
			_, _ = w.Write(body)
		}), nil)
		a := newAgent(t, forward.Options{Addr: addr, OnExchange: on})
		for _, n := range []int{0, 5, 32 << 10, 1 << 20} {
			body := strings.Repeat("0123456789abcdef", n/16+1)[:n]
			for _, chunked := range []bool{false, true} {
				var r io.Reader = strings.NewReader(body)
				if chunked {
					r = struct{ io.Reader }{r}
				}
				res, back, err := a.do(a.request("PUT", "/a%2Fb?c;d=%zz", r, "Tag", "t"))
				if err != nil || res.StatusCode != 201 || res.Header.Get("X-App") != "1" || back != body {
					t.Fatalf("%d bytes: %v, %d back, %v", n, res, len(back), err)
				}
				if want := (got{"PUT", "/a%2Fb?c;d=%zz", "alice.relay.test", body, "t"}); <-seen != want {
					t.Errorf("%d bytes: the app saw something else", n)
				}
			}
		}
	})
}

// Many requests on few connections: of the link, and of the app.
func TestConnectionsToTheAppAreKept(t *testing.T) {
	eachMode(t, func(t *testing.T, on func(forward.Exchange)) {
		var mu sync.Mutex
		peers := map[string]bool{}
		addr := serve(t, "tcp", "127.0.0.1:0", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			peers[r.RemoteAddr] = true
			mu.Unlock()
		}), nil)
		a := newAgent(t, forward.Options{Addr: addr, OnExchange: on})
		for range 50 {
			if _, _, err := a.do(a.request("GET", "/", nil)); err != nil {
				t.Fatal(err)
			}
		}
		if len(peers) != 1 {
			t.Errorf("%d connections to the app, want 1", len(peers))
		}
	})
}

// localhost is tried as both of its addresses.
func TestLocalhostIsBoth(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	for network, addr := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		t.Run(network, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(serve(t, network, addr, hello, nil))
			eachMode(t, func(t *testing.T, on func(forward.Exchange)) {
				a := newAgent(t, forward.Options{Addr: "localhost:" + port, OnExchange: on})
				if _, body, err := a.do(a.request("GET", "/", nil)); err != nil || body != "hello" {
					t.Errorf("got %q, %v", body, err)
				}
			})
		})
	}
	t.Run("neither", func(t *testing.T) {
		_, port, _ := net.SplitHostPort(closedPort(t))
		a := newAgent(t, forward.Options{Addr: "localhost:" + port})
		_, _, err := a.do(a.request("GET", "/", nil))
		var failed *http1.Failed
		if !errors.As(err, &failed) || failed.Code != "upstream_refused" {
			t.Errorf("got %v", err)
		}
	})
}

// What is told of an exchange is what happened.
func TestExchangesAreTold(t *testing.T) {
	addr := serve(t, "tcp", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bytes":
			_, _ = w.Write(bytes.Repeat([]byte("x"), 100_000))
		case "/small":
			w.WriteHeader(404)
			_, _ = io.WriteString(w, "small")
		case "/nothing":
			w.WriteHeader(204)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "cut")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}), nil)
	a := newAgent(t, forward.Options{Addr: addr, OnExchange: recorded})
	tests := []struct {
		method, target string
		status         int
		bytes          int64
		fails          bool
	}{
		{"GET", "/bytes?a=b", 200, 100_000, false},
		{"HEAD", "/bytes", 200, 0, false},
		{"GET", "/small", 404, 5, false},
		{"GET", "/nothing", 204, 0, false},
		{"GET", "/cut", 200, 3, true},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			began := time.Now()
			_, _, err := a.do(a.request(tt.method, tt.target, nil, "Relay-Request-Id", "req_1", "X-Forwarded-For", "1.2.3.4"))
			if (err != nil) != tt.fails {
				t.Fatal(err)
			}
			x := a.exchange()
			if x.ID != "req_1" || x.Method != tt.method || x.Path != tt.target || x.Host != "alice.relay.test" || x.Visitor != "1.2.3.4" ||
				x.Status != tt.status || x.Bytes != tt.bytes || (x.Err != nil) != tt.fails {
				t.Errorf("told %+v", x)
			}
			if x.Time.Before(began) || x.Duration <= 0 || x.Duration > time.Since(began) {
				t.Errorf("told %v, %v", x.Time, x.Duration)
			}
		})
	}
}

func TestVisitorWhoLeavesIsTold(t *testing.T) {
	addr := serve(t, "tcp", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}), nil)
	a := newAgent(t, forward.Options{Addr: addr, OnExchange: recorded})
	res, err := a.pool.RoundTrip(a.request("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if x := a.exchange(); x.Status != 200 || x.Bytes < 100_000 || x.Err == nil || !strings.Contains(x.Err.Error(), "visitor left") {
		t.Errorf("told %+v; want that the visitor left", x)
	}
}

func TestUpgradesPass(t *testing.T) {
	eachMode(t, func(t *testing.T, on func(forward.Exchange)) {
		a := newAgent(t, forward.Options{OnExchange: on, Addr: raw(t, func(c net.Conn, r *bufio.Reader) {
			if req, err := http.ReadRequest(r); err != nil || req.Header.Get("Upgrade") != "echo" {
				t.Errorf("the app saw %v, %v", req, err)
			}
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ")
			_, _ = io.Copy(c, r)
		})})
		res, err := a.pool.RoundTrip(a.request("GET", "/", nil, "Connection", "Upgrade", "Upgrade", "echo"))
		if err != nil || res.StatusCode != 101 {
			t.Fatalf("got %v, %v", res, err)
		}
		rw := res.Body.(io.ReadWriteCloser)
		_, _ = io.WriteString(rw, "world")
		_ = rw.(interface{ CloseWrite() error }).CloseWrite()
		if got, err := io.ReadAll(rw); err != nil || string(got) != "hello world" {
			t.Errorf("got %q, %v", got, err)
		}
		_ = rw.Close()
		if on != nil {
			if x := a.exchange(); x.Status != 101 || x.Err != nil {
				t.Errorf("told %+v", x)
			}
		}
	})
}

func h2c() *http.Protocols {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &p
}

// A service that speaks HTTP/2 without TLS gets what was sent, with trailers both
// ways, as gRPC needs them.
func TestH2C(t *testing.T) {
	addr := serve(t, "tcp", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/trailers":
			if r.ProtoMajor != 2 || r.Host != "alice.relay.test" || r.Header.Get("Te") != "trailers" {
				t.Errorf("the app saw %s to %s, TE %q", r.Proto, r.Host, r.Header.Get("Te"))
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != "hello" || r.Trailer.Get("X-Sum") != "1" {
				t.Errorf("the app got %q, %v, %v", body, r.Trailer, err)
			}
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = io.WriteString(w, "answer")
			w.Header().Set("Grpc-Status", "0")
			w.Header().Set(http.TrailerPrefix+"Grpc-Message", "fine")
		case "/echo": // both ways at once
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			b := make([]byte, 100)
			for {
				n, err := r.Body.Read(b)
				_, _ = w.Write(b[:n])
				_ = http.NewResponseController(w).Flush()
				if err != nil {
					return
				}
			}
		case "/hints":
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
			w.Header().Del("Link")
			_, _ = io.WriteString(w, "ok")
		default:
			_, _ = fmt.Fprint(w, r.Method, " ", r.RequestURI, " ", r.Header.Get("User-Agent"))
		}
	}), h2c())
	a := newAgent(t, forward.Options{Addr: addr, H2C: true, OnExchange: recorded})
	t.Run("plain", func(t *testing.T) {
		for range 3 {
			if _, body, err := a.do(a.request("DELETE", "/a%2Fb//c?d;e=%zz", nil)); err != nil || body != "DELETE /a%2Fb//c?d;e=%zz " {
				t.Errorf("got %q, %v", body, err)
			}
			if x := a.exchange(); x.Status != 200 || x.Path != "/a%2Fb//c?d;e=%zz" || x.Err != nil {
				t.Errorf("told %+v", x)
			}
		}
	})
	t.Run("trailers", func(t *testing.T) {
		req := a.request("POST", "/trailers", nil, "Te", "trailers", "Content-Type", "application/grpc")
		req.Trailer = http.Header{"X-Sum": nil}
		req.ContentLength = -1
		req.Body = io.NopCloser(io.MultiReader(strings.NewReader("hello"), onEOF(func() { req.Trailer.Set("X-Sum", "1") })))
		res, body, err := a.do(req)
		if err != nil || body != "answer" || res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("Grpc-Message") != "fine" {
			t.Errorf("got %q, %v, %v", body, res, err)
		}
		a.exchange()
	})
	t.Run("both ways at once", func(t *testing.T) {
		r, w := io.Pipe()
		res, err := a.pool.RoundTrip(a.request("POST", "/echo", r))
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		for _, s := range []string{"hello", "world"} {
			_, _ = io.WriteString(w, s)
			if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != s {
				t.Fatalf("got %q, %v", b, err)
			}
		}
		w.Close()
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
			t.Errorf("got %q, %v at the end", rest, err)
		}
		_ = res.Body.Close()
		if x := a.exchange(); x.Bytes != 10 || x.Err != nil {
			t.Errorf("told %+v", x)
		}
	})
	t.Run("interim answers", func(t *testing.T) {
		var links []string
		req := a.request("GET", "/hints", nil)
		req = req.WithContext(http1.WithInterim(req.Context(), func(status int, h http.Header) error {
			links = append(links, fmt.Sprint(status, h.Get("Link")))
			return nil
		}))
		if _, body, err := a.do(req); err != nil || body != "ok" || !slices.Equal(links, []string{"103</a>"}) {
			t.Errorf("got %q, %v, %v", body, links, err)
		}
		a.exchange()
	})
}

type onEOF func()

func (f onEOF) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

func TestH2CThatIsNotThere(t *testing.T) {
	http11 := serve(t, "tcp", "127.0.0.1:0", http.NotFoundHandler(), nil)
	for _, tt := range []struct{ name, addr, code string }{
		{"nothing listens", closedPort(t), "upstream_refused"},
		{"no such host", "no-such-host.invalid:80", "upstream_unreachable"},
		{"speaks HTTP/1.1", http11, "upstream_failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAgent(t, forward.Options{Addr: tt.addr, H2C: true, OnExchange: recorded})
			_, _, err := a.do(a.request("GET", "/", nil))
			var failed *http1.Failed
			if !errors.As(err, &failed) || failed.Code != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
		})
	}
}

// A service may answer before it has read all; what is then done with the stream
// must not be done while somebody still reads the request from it.
func TestH2CEarlyAnswer(t *testing.T) {
	addr := serve(t, "tcp", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(413)
		_, _ = io.WriteString(w, "no")
	}), h2c())
	a := newAgent(t, forward.Options{Addr: addr, H2C: true, OnExchange: recorded})
	for range 20 {
		body := newStuckBody("begin")
		res, text, err := a.do(a.request("POST", "/", body))
		if err != nil || res.StatusCode != 413 || text != "no" {
			t.Fatalf("got %v %q, %v", res, text, err)
		}
		if x := a.exchange(); x.Status != 413 {
			t.Errorf("told %+v", x)
		}
		res, _, err = a.do(a.request("POST", "/", io.LimitReader(zeros{}, 10<<20)))
		if err != nil || res.StatusCode != 413 {
			t.Fatalf("a long upload: %v, %v", res, err)
		}
		a.exchange()
	}
}

// stuckBody is a request body of which nothing more comes until it is aborted.
type stuckBody struct {
	first io.Reader
	abort chan struct{}
	once  sync.Once
}

func newStuckBody(first string) *stuckBody {
	return &stuckBody{first: strings.NewReader(first), abort: make(chan struct{})}
}

func (b *stuckBody) Read(p []byte) (int, error) {
	if n, _ := b.first.Read(p); n > 0 {
		return n, nil
	}
	<-b.abort
	return 0, errors.New("aborted")
}

func (b *stuckBody) Abort()       { b.once.Do(func() { close(b.abort) }) }
func (b *stuckBody) Close() error { return nil }
