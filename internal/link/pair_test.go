package link

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a step may take before a test calls it a hang.
const patience = 10 * time.Second

// ends are the options of a pair: of its two links, and of the way between.
type ends struct {
	server, agent Options
	dial          func(ctx context.Context, network, addr string) (net.Conn, error)
}

// newPair makes a link over loopback TCP and returns both ends of it. They are
// closed when the test ends.
func newPair(t testing.TB, e ends) (server, agent *Link) {
	t.Helper()
	h := listen(t, e.server)
	agent, _, err := Dial(t.Context(), DialOptions{URL: h.url, DialContext: e.dial}, e.agent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Close() })
	return h.next(t), agent
}

// host accepts links.
type host struct {
	url   string
	links chan *Link
}

func listen(t testing.TB, o Options) *host {
	t.Helper()
	h := &host{links: make(chan *Link, 16)}
	var mu sync.Mutex
	var all []*Link
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l, err := Accept(w, r, nil, o)
		if err != nil {
			return
		}
		mu.Lock()
		all = append(all, l)
		mu.Unlock()
		h.links <- l
	}))
	t.Cleanup(func() {
		srv.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, l := range all {
			_ = l.Close()
		}
	})
	h.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	return h
}

// next is the server's end of the link that was dialed last.
func (h *host) next(t testing.TB) *Link {
	t.Helper()
	select {
	case l := <-h.links:
		return l
	case <-time.After(patience):
		t.Fatal("no link came up")
		return nil
	}
}

// raw connects to the host without a link of our own: what is sent is the test's.
func (h *host) raw(t testing.TB) (*Link, *websocket.Conn) {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}}
	ws, resp, err := d.DialContext(t.Context(), h.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	return h.next(t), ws
}

// open opens a stream and returns both ends of it, the agent's with the preface
// read.
func open(t testing.TB, server, agent *Link) (s, a *Stream) {
	t.Helper()
	s, err := server.Open(t.Context(), protocol.Preface{Tunnel: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(nil); err != nil {
		t.Fatal(err)
	}
	a, err = agent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := protocol.ReadPreface(a); err != nil || p.Tunnel != 1 {
		t.Fatalf("preface %+v, %v", p, err)
	}
	return s, a
}

// within runs f and fails the test when it hangs.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("%s hangs\n%s", what, buf[:runtime.Stack(buf, true)])
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never happened: %s", what)
		}
	}
}

// ended waits for the end of a link and returns its reason.
func ended(t testing.TB, l *Link) error {
	t.Helper()
	select {
	case <-l.Done():
	case <-time.After(patience):
		t.Fatal("the link does not end")
	}
	return l.Err()
}

// journal is a log that a test can look at.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) lines() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Count(j.buf.Bytes(), []byte("\n"))
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// far is a TCP relay that delivers everything late by delay, in order.
func far(t testing.TB, delay time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		var d net.Dialer
		near, err := d.DialContext(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return nil, err
		}
		in, err := ln.Accept()
		if err != nil {
			return nil, err
		}
		out, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		var wg sync.WaitGroup
		wg.Go(func() { late(out, in, delay) })
		wg.Go(func() { late(in, out, delay) })
		t.Cleanup(func() {
			_ = in.Close()
			_ = out.Close()
			wg.Wait()
		})
		return near, nil
	}
}

func late(dst, src net.Conn, delay time.Duration) {
	type piece struct {
		b   []byte
		due time.Time
	}
	pieces := make(chan piece, 4096)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			if _, err := dst.Write(p.b); err != nil {
				_ = src.Close()
			}
		}
		_ = dst.Close()
	})
	defer close(pieces)
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		pieces <- piece{bytes.Clone(buf[:n]), time.Now().Add(delay)}
	}
}

// slow is a connection whose writes take as long as on a line of rate bytes a
// second that buffers nothing.
type slow struct {
	net.Conn
	rate int
}

func (s *slow) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		m := min(1024, len(p)-n)
		time.Sleep(time.Duration(m) * time.Second / time.Duration(s.rate))
		w, err := s.Conn.Write(p[n : n+m])
		if n += w; err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// noise is what patterns are cut from; its length is a prime.
var noise = func() []byte {
	b := make([]byte, 1048573)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

// patterned is an endless, repeatable stream of bytes in which a lost, doubled or
// moved piece shows.
type patterned struct{ at uint64 }

func (p *patterned) Read(b []byte) (int, error) {
	n := copy(b, noise[p.at%uint64(len(noise)):])
	p.at += uint64(n)
	return n, nil
}

func pattern(seed uint64, n int64) io.Reader {
	return io.LimitReader(&patterned{seed * 7919}, n)
}

func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	return err
}

func mustAddr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// drain takes what comes and answers nothing.
func drain(ws *websocket.Conn) {
	ws.SetPingHandler(func(string) error { return nil })
	for {
		_, r, err := ws.NextReader()
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r)
	}
}
