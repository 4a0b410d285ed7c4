package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/relaytest"
	"github.com/relaytunnel/relay/protocol"
	"github.com/relaytunnel/relay/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 15 * time.Second

func says(what string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, what) })
}

func mustSay(t *testing.T, w *relaytest.World, url, want string) {
	t.Helper()
	if status, body := w.Get(t, url); status != 200 || body != want {
		t.Errorf("GET %s: %d %q, want 200 %q", url, status, body, want)
	}
}

// mustLeave waits until the server knows that nobody serves the URL any more. A
// visitor is told so a moment earlier, when the link has ended.
func mustLeave(t *testing.T, w *relaytest.World, url string) {
	t.Helper()
	c := client.New(client.Options{Server: w.URL})
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := c.Probe(t.Context(), url)
		if err != nil && strings.Contains(err.Error(), "does not know yet") {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%s is still served: %v", url, err)
		}
	}
}

func TestListen(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	own := w.Agent(t, client.Options{}, client.Spec{Hint: "http:3000"}, says("own"))
	if o := own.Online(t, 1); o.Name != "alice" || o.URL != own.URL() || own.Addr().String() != o.URL || own.Addr().Network() != "relay" {
		t.Errorf("online as %+v, the listener says %s", o, own.Addr())
	}
	second := w.Agent(t, client.Options{}, client.Spec{Hint: "http:8080"}, says("second"))
	if o := second.Online(t, 1); o.Name != "8080-alice" {
		t.Errorf("a second agent is %s, want 8080-alice", o.Name)
	}
	named := w.Agent(t, client.Options{}, client.Spec{Name: "api"}, says("named"))
	if o := named.Online(t, 1); o.Name != "api-alice" {
		t.Errorf("--name api is %s, want api-alice", o.Name)
	}
	for _, a := range []*relaytest.Agent{own, second, named} {
		want := map[*relaytest.Agent]string{own: "own", second: "second", named: "named"}[a]
		mustSay(t, w, a.URL(), want)
	}
	// Tomorrow, the same command in another order: the same names.
	for _, a := range []*relaytest.Agent{own, second} {
		if err := a.Stop(t); err != nil {
			t.Error(err)
		}
		mustLeave(t, w, a.URL())
	}
	second = w.Agent(t, client.Options{}, client.Spec{Hint: "http:8080"}, says("second"))
	if o := second.Online(t, 1); o.Name != "8080-alice" {
		t.Errorf("the same command is %s the next day", o.Name)
	}
}

func TestClosedListener(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Config: func(c *server.Config) { c.HoldFor = 1 }})
	a := w.Agent(t, client.Options{}, client.Spec{}, says("here"))
	a.Online(t, 1)
	mustSay(t, w, a.URL(), "here")
	_ = a.Close()
	_ = a.Close()
	if _, err := a.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	mustLeave(t, w, a.URL())
	if status, _ := w.Get(t, a.URL()); status != 503 {
		t.Errorf("a closed listener answers %d", status)
	}
}

// What Run returns when the first try fails: one clear sentence, of the type
// that decides the exit code.
func TestRunErrors(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Users: []string{"alice", "bob"}})
	holder := w.Agent(t, client.Options{}, client.Spec{Name: "api"}, says("holder"))
	holder.Online(t, 1)
	bobs := w.Agent(t, client.Options{Token: w.Token("bob")}, client.Spec{}, says("bob"))
	bobs.Online(t, 1)
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	web := httptest.NewServer(says("a web site"))
	defer web.Close()
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	defer failing.Close()
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"code":"denied","message":"Tunnels are closed today."}`)
	}))
	defer liar.Close()

	for _, c := range []struct {
		name string
		o    client.Options
		s    client.Spec
		code protocol.Code // empty for *UnreachableError
		says string
	}{
		{"nobody listens", client.Options{Server: "http://" + free.Addr().String()}, client.Spec{}, "", "connection was refused"},
		{"no such host", client.Options{Server: "http://no-such-host.invalid"}, client.Spec{}, "", "no-such-host.invalid is not known"},
		{"a web site", client.Options{Server: web.URL}, client.Spec{}, protocol.CodeProtocol, "does not look like a relay server"},
		{"a failing proxy", client.Options{Server: failing.URL}, client.Spec{}, "", "503"},
		{"a refusal", client.Options{Server: liar.URL}, client.Spec{}, protocol.CodeDenied, "Tunnels are closed today."},
		{"bad token", client.Options{Token: "rly_nonsense"}, client.Spec{}, protocol.CodeAuth, "relay login"},
		{"another's name", client.Options{}, client.Spec{Name: "bob"}, "-", ""},
		{"name in use", client.Options{}, client.Spec{Name: "api"}, protocol.CodeTaken, "--takeover"},
		{"no name", client.Options{}, client.Spec{Name: "a b"}, protocol.CodeBadRequest, ""},
		{"bad host header", client.Options{}, client.Spec{Name: "hh", HostHeader: "a/b"}, protocol.CodeBadRequest, "not a host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.Agent(t, c.o, c.s, says("never"))
			if c.code == "-" { // another's name gives one's own below it
				if o := a.Online(t, 1); o.Name != "bob-alice" {
					t.Errorf("online as %s", o.Name)
				}
				return
			}
			err := a.Wait(t)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %q in it", err, c.says)
			}
			var refused *protocol.Error
			var unreachable *client.UnreachableError
			if c.code == "" && !errors.As(err, &unreachable) || c.code != "" && (!errors.As(err, &refused) || refused.Code != c.code) {
				t.Errorf("error %T %v, want code %q", err, err, c.code)
			}
			for _, e := range a.Events() {
				t.Errorf("event %+v before Run failed", e)
			}
		})
	}
}

func TestTakeoverEndsTheOther(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	one := w.Agent(t, client.Options{Hostname: "desk"}, client.Spec{Name: "api"}, says("one"))
	one.Online(t, 1)
	two := w.Agent(t, client.Options{Hostname: "sofa"}, client.Spec{Name: "api", Takeover: true}, says("two"))
	two.Online(t, 1)
	var e *protocol.Error
	if err := one.Wait(t); !errors.As(err, &e) || e.Code != protocol.CodeReplaced || !strings.Contains(e.Message, "sofa") {
		t.Errorf("the one that was replaced ended with %v", err)
	}
	mustSay(t, w, two.URL(), "two")
}

// A server that restarts is found again; the name and the URL stay, also when the
// name came from a default that would be another by now.
func TestServerRestart(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	a := w.Agent(t, client.Options{}, client.Spec{Hint: "http:1"}, says("a"))
	a.Online(t, 1)
	b := w.Agent(t, client.Options{}, client.Spec{Hint: "http:2"}, says("b"))
	b.Online(t, 1)
	urls := [2]string{a.URL(), b.URL()}
	for n := 2; n <= 3; n++ {
		w.Stop(t)
		if o := a.Offline(t, n-1); o.Reason == "" {
			t.Error("offline for no reason")
		}
		w.Restart(t)
		b.Online(t, n) // the other order
		a.Online(t, n)
		if got := [2]string{a.URL(), b.URL()}; got != urls {
			t.Fatalf("after restart %d the URLs are %v, were %v", n-1, got, urls)
		}
		mustSay(t, w, a.URL(), "a")
		mustSay(t, w, b.URL(), "b")
	}
	drained := 0
	for _, e := range a.Events() {
		if d, ok := e.(client.Draining); ok && d.Reason != "" {
			drained++
		}
	}
	if drained != 2 {
		t.Errorf("%d of 2 stops were announced", drained)
	}
}

// cable is a dialer whose connections can be cut, and stay silent if so wanted.
type cable struct {
	mu    sync.Mutex
	conns []net.Conn
	down  bool
	dials atomic.Int32
}

func (c *cable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c.dials.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return nil, errors.New("the cable is out")
	}
	conn, err := client.DialContext(ctx, network, addr)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cable) cut(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

func (c *cable) plug() {
	c.mu.Lock()
	c.down = false
	c.mu.Unlock()
}

// The line drops: the agent is back at once, requests in the gap wait, and when
// the line stays away the waits grow.
func TestReconnect(t *testing.T) {
	// Requests wait for longer than the sixth wait of the agent can be.
	w := relaytest.Start(t, relaytest.Options{Config: func(c *server.Config) { c.HoldFor = 14 * time.Second }})
	var line cable
	var secrets []string
	var mu sync.Mutex
	a := w.Agent(t, client.Options{DialContext: line.dial, SaveResume: func(s string) {
		mu.Lock()
		secrets = append(secrets, s)
		mu.Unlock()
	}}, client.Spec{}, says("here"))
	a.Online(t, 1)
	for n := 2; n <= 4; n++ {
		line.cut(false)
		mustSay(t, w, a.URL(), "here") // in the gap, or after it
		a.Online(t, n)
	}
	line.cut(true)
	var waits []time.Duration
	for n := 4; n <= 6; n++ {
		waits = append(waits, a.Offline(t, n).RetryIn)
	}
	answers := make(chan string, 10)
	for range cap(answers) {
		go func() {
			_, body := w.Get(t, a.URL())
			answers <- body
		}()
	}
	line.plug()
	for range cap(answers) {
		if got := <-answers; got != "here" {
			t.Errorf("a request in the gap got %q", got)
		}
	}
	if waits[2] > 15*time.Second {
		t.Errorf("waits %v", waits)
	}
	mu.Lock()
	defer mu.Unlock()
	seen := map[string]bool{}
	for _, s := range secrets {
		if s == "" || seen[s] {
			t.Errorf("resume secrets %d: one is empty or comes twice", len(secrets))
		}
		seen[s] = true
	}
}

// A server that is there but says nothing is given up.
func TestSilentServer(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	proxy := newFreezer(t, w.Addr)
	a := w.Agent(t, client.Options{
		DialContext: proxy.dial, DeadAfter: 400 * time.Millisecond, PingEvery: 100 * time.Millisecond,
	}, client.Spec{}, says("here"))
	a.Online(t, 1)
	time.Sleep(time.Second) // quiet, but alive: the pings keep it
	if n := len(a.Events()); n != 1 {
		t.Fatalf("a quiet link did not stay: %+v", a.Events())
	}
	proxy.freeze()
	if o := a.Offline(t, 1); !strings.Contains(o.Reason, "silent") {
		t.Errorf("offline because %q", o.Reason)
	}
	proxy.thaw()
	a.Online(t, 2)
	mustSay(t, w, a.URL(), "here")
}

// freezer passes connections on, until it is frozen: then nothing passes, and
// nothing closes.
type freezer struct {
	to string
	mu sync.Mutex
	on chan struct{} // closed while bytes pass
}

func newFreezer(t *testing.T, to string) *freezer {
	f := &freezer{to: to, on: make(chan struct{})}
	close(f.on)
	t.Cleanup(f.thaw)
	return f
}

func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = make(chan struct{})
}

func (f *freezer) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.on:
	default:
		close(f.on)
	}
}

func (f *freezer) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	f.mu.Lock()
	on := f.on
	f.mu.Unlock()
	c, err := client.DialContext(ctx, network, f.to)
	if err != nil {
		return nil, err
	}
	select {
	case <-on:
	default:
		_ = c.Close()
		return nil, errors.New("frozen")
	}
	return &frozenConn{Conn: c, f: f, closed: make(chan struct{})}, nil
}

// frozenConn loses what is written, and holds back what is read, while frozen.
type frozenConn struct {
	net.Conn
	f      *freezer
	once   sync.Once
	closed chan struct{}
}

func (c *frozenConn) passes() bool {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	select {
	case <-c.f.on:
		return true
	default:
		return false
	}
}

func (c *frozenConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.passes() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *frozenConn) Write(b []byte) (int, error) {
	if !c.passes() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *frozenConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// While downloads run, the agent opens further links, up to its bound; what they
// carry is right.
func TestFurtherLinksForBulk(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	release := make(chan struct{})
	bulk := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			_, _ = io.WriteString(w, "small")
			return
		}
		for {
			select {
			case <-release:
				return
			default:
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}
	})
	var line cable
	a := w.Agent(t, client.Options{DialContext: line.dial, MaxLinks: 3}, client.Spec{}, bulk)
	a.Online(t, 1)
	c := w.Client(t)
	var wg sync.WaitGroup
	// One after the other: a link comes once all that are there are busy.
	for deadline := time.Now().Add(patience); line.dials.Load() < 3; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d links under bulk, want 3", line.dials.Load())
		}
		wg.Go(func() {
			res, err := c.Get(a.URL()) //nolint:noctx // the client has a timeout
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = res.Body.Close() }()
			buf := make([]byte, len(chunk))
			for {
				n, err := io.ReadFull(res.Body, buf)
				if !bytes.Equal(buf[:n], chunk[:n]) {
					t.Error("bytes are not the app's")
					return
				}
				if err != nil {
					if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	for range 20 {
		mustSay(t, w, a.URL()+"/small", "small")
	}
	close(release)
	wg.Wait()
	if n := line.dials.Load(); n != 3 {
		t.Errorf("%d links, 3 are allowed", n)
	}
}

// Agents that come and go leave no goroutines, on either side.
func TestNothingStays(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	round := func() {
		a := w.Agent(t, client.Options{}, client.Spec{}, says("here"))
		a.Online(t, 1)
		mustSay(t, w, a.URL(), "here")
		if err := a.Stop(t); err != nil {
			t.Error(err)
		}
	}
	round()
	time.Sleep(50 * time.Millisecond)
	before := runtime.NumGoroutine()
	for range 20 {
		round()
	}
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before+2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, were %d\n%s", runtime.NumGoroutine(), before, b[:runtime.Stack(b, true)])
		}
	}
}

func ExampleClient() {
	c := client.New(client.Options{Server: "https://relay.example.com", Token: "rly_…"})
	ln := c.Listen(client.Spec{Name: "api"})
	go func() {
		srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintln(w, "hello from", ln.URL())
		})}
		_ = srv.Serve(ln)
	}()
	_ = c.Run(context.Background())
}

func TestPing(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	c := client.New(client.Options{Server: w.URL, Token: w.Token("alice")})
	if _, err := c.Ping(t.Context()); err == nil {
		t.Error("an agent that is not connected has an answer to a ping")
	}
	online := make(chan struct{})
	c = client.New(client.Options{Server: w.URL, Token: w.Token("alice"), OnEvent: func(ev client.Event) {
		if _, ok := ev.(client.Online); ok {
			close(online)
		}
	}})
	c.Listen(client.Spec{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	<-online
	if d, err := c.Ping(ctx); err != nil || d <= 0 || d > patience {
		t.Errorf("Ping: %v, %v", d, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
