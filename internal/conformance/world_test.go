package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// soon is how long news may take to cross the whole road on one machine: a visitor who leaves, an event that is flushed.
	soon = time.Second
	// patience is how long a step may take before the test calls it a hang.
	patience = 20 * time.Second
)

// relayBin is the binary under judgement; empty on a stand-in road.
var relayBin string

// standIn is what takes the tunnel's place: "direct", "proxy", or "" for the true binary.
var standIn = os.Getenv("RELAY_ROAD")

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "6") // what runs in parallel here waits for timers of the product, and costs nothing
	log.SetOutput(io.Discard)      // net/http's complaints about hostile peers are what we provoke here
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if standIn != "" {
		return m.Run()
	}
	if relayBin = os.Getenv("RELAY_BIN"); relayBin != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "relay-conformance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	relayBin = filepath.Join(dir, "relay")
	args := []string{"build", "-o", relayBin}
	if os.Getenv("RELAY_RACE") != "" {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, ".")...)
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// needsBinary skips what has no meaning without a tunnel.
func needsBinary(t *testing.T) {
	t.Helper()
	if standIn != "" {
		t.Skipf("RELAY_ROAD=%s: there is no tunnel to judge", standIn)
	}
	lookAtSource()
}

// lookAtSource looks at every file of the module, so that go test knows what a verdict depends on: it does not see what the
// binary and the apps are made of, and would repeat an old one from its cache.
var lookAtSource = sync.OnceFunc(func() {
	filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if name := d.Name(); d.IsDir() && (name == ".git" || name == ".cache" || name == "node_modules") {
			return filepath.SkipDir
		}
		if !d.IsDir() && path != filepath.Join("..", "..", "relay") {
			os.Stat(path)
		}
		return nil
	})
})

// A road is one way from a visitor to an app.
type road struct {
	name   string // "inspect", "splice", or the stand-in's name
	addr   string // where a visitor connects
	host   string // what the visitor says in Host
	server *proc  // nil on a stand-in road
	agent  *proc
	token  string
	home   string // holds the state folders of server and agent
	app    string // host:port of the app
}

// agentModes are the two agents that everything is judged with.
var agentModes = []struct {
	name string
	args []string
}{
	{"inspect", nil},
	{"splice", []string{"--no-inspect"}},
}

// overRoads runs the check once for each kind of agent, with an app of its own each time. open starts the app and returns its
// host:port.
func overRoads(t *testing.T, open func(t *testing.T) string, check func(t *testing.T, r *road), agentArgs ...string) {
	t.Helper()
	if standIn != "" {
		t.Run(standIn, func(t *testing.T) { check(t, openStandIn(t, open(t))) })
		return
	}
	for _, mode := range agentModes {
		t.Run(mode.name, func(t *testing.T) {
			r := openRoad(t, open(t), append(append([]string(nil), mode.args...), agentArgs...)...)
			r.name = mode.name
			check(t, r)
		})
	}
}

// A lane is a road and the protocol that the visitor speaks on it.
type lane struct {
	*road
	h2     bool
	client *http.Client
}

// overLanes runs the check for each kind of agent and each visitor protocol.
func overLanes(t *testing.T, open func(t *testing.T) string, check func(t *testing.T, l *lane), agentArgs ...string) {
	t.Helper()
	overRoads(t, open, func(t *testing.T, r *road) {
		for _, h2 := range []bool{false, true} {
			name := "h1"
			if h2 {
				name = "h2c"
			}
			t.Run(name, func(t *testing.T) {
				if _, ok := speaksH2.Load(r.app); h2 && !ok && standIn == "direct" {
					t.Skip("this app speaks HTTP/1.1 alone")
				}
				check(t, r.lane(t, h2))
			})
		}
	}, agentArgs...)
}

// lane is this road with a client that speaks the protocol. The client follows no redirects, asks for no compression and
// connects to the road whatever host the URL names.
func (r *road) lane(t *testing.T, h2 bool) *lane {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetUnencryptedHTTP2(h2)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", r.addr)
		},
		Protocols:             protocols,
		DisableCompression:    true,
		MaxIdleConnsPerHost:   1024,
		ExpectContinueTimeout: patience,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &lane{road: r, h2: h2, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// url is the public address of a raw request target.
func (r *road) url(target string) string { return "http://" + r.host + target }

// request makes a request that a hang cannot outlive.
func (l *lane) request(t *testing.T, method, target string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, l.url("/"), body)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Path, req.URL.Opaque = "", target // byte for byte
	if pipe, ok := body.(*io.PipeReader); ok {
		context.AfterFunc(ctx, func() { pipe.CloseWithError(ctx.Err()) }) // http.Transport waits for a Read that never ends
	}
	return req
}

// do sends the request; the body is the caller's.
func (l *lane) do(t *testing.T, req *http.Request) *http.Response {
	t.Helper()
	resp, err := l.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// get fetches the target and returns the answer and its whole body.
func (l *lane) get(t *testing.T, target string) (*http.Response, string) {
	t.Helper()
	resp := l.do(t, l.request(t, "GET", target, nil))
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: body: %v", target, err)
	}
	return resp, string(body)
}

// mustServe proves that the road still works: hostile peers may lose their own exchange, nobody else's.
func (r *road) mustServe(t *testing.T, target, want string) {
	t.Helper()
	resp, body := r.lane(t, false).get(t, target)
	if resp.StatusCode != 200 || body != want {
		t.Fatalf("the next visitor got %d %.200q, want 200 %q", resp.StatusCode, body, want)
	}
}

// handler opens a net/http app, plain HTTP/1.1, for overRoads.
func handler(h http.HandlerFunc) func(t *testing.T) string {
	return func(t *testing.T) string { return serveApp(t, h) }
}

func serveApp(t *testing.T, h http.Handler) string {
	t.Helper()
	l := listenLocal(t)
	srv := &http.Server{Handler: h, DisableGeneralOptionsHandler: true, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true) // met only on the direct road, and by --upstream-protocol h2c
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	speaksH2.Store(l.Addr().String(), true)
	return l.Addr().String()
}

// speaksH2 knows the apps that a visitor on the direct road may meet by h2c.
var speaksH2 sync.Map

// bytesApp opens an app that speaks bytes: one call of serve per connection, closed when serve returns.
func bytesApp(serve func(net.Conn)) func(t *testing.T) string {
	return func(t *testing.T) string {
		l := listenLocal(t)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { defer c.Close(); serve(c) }()
			}
		}()
		return l.Addr().String()
	}
}

func listenLocal(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// openRoad starts a server and an agent for the app and returns when the URL works.
func openRoad(t *testing.T, app string, agentArgs ...string) *road {
	t.Helper()
	r := openServer(t)
	r.app = app
	r.agent = r.startAgent(t, app, agentArgs...)
	r.awaitOnline(t)
	return r
}

// openServer starts a server alone.
func openServer(t *testing.T) *road {
	t.Helper()
	needsBinary(t)
	r := &road{home: t.TempDir()}
	r.startServer(t, "127.0.0.1:0")
	return r
}

// startServer starts the server of this road, again after it was killed.
func (r *road) startServer(t *testing.T, addr string) {
	t.Helper()
	r.server = startProc(t, "server", r.env("server"), "server", "--dev", "--http-addr", addr,
		"--data", filepath.Join(r.home, "data"), "--user", "alice", "--json")
	ready := r.server.await(t, "ready")
	r.addr, _ = ready["http_addr"].(string)
	if token, _ := ready["token"].(string); token != "" {
		r.token = token
	}
	_, port, err := net.SplitHostPort(r.addr)
	if err != nil || r.token == "" {
		t.Fatalf("ready event tells no address or token: %v", ready)
	}
	r.host = "alice.localhost:" + port
}

// serverURL is what an agent is told.
func (r *road) serverURL() string {
	_, port, _ := net.SplitHostPort(r.addr)
	return "http://localhost:" + port
}

func (r *road) startAgent(t *testing.T, app string, args ...string) *proc {
	t.Helper()
	return startProc(t, "agent", r.env("agent"), append([]string{"http", app, "--json"}, args...)...)
}

// awaitOnline waits for the agent and takes the public host from what it prints.
func (r *road) awaitOnline(t *testing.T) {
	t.Helper()
	online := r.agent.await(t, "online")
	u, err := url.Parse(fmt.Sprint(online["url"]))
	if err != nil || u.Host == "" {
		t.Fatalf("online event tells no URL: %v", online)
	}
	r.host = u.Host
}

// env is a small environment of its own: nothing of the developer's settings reaches the binary.
func (r *road) env(who string) []string {
	home := filepath.Join(r.home, who)
	os.MkdirAll(home, 0o755)
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir(),
		"XDG_STATE_HOME=" + filepath.Join(home, "state"), "XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
		"GORACE=atexit_sleep_ms=0", // with the race detector in it, it would sleep a second before it exits
	}
	if who != "server" {
		env = append(env, "RELAY_SERVER="+r.serverURL(), "RELAY_TOKEN="+r.token)
	}
	return env
}

// openStandIn makes a road without the product.
func openStandIn(t *testing.T, app string) *road {
	t.Helper()
	r := &road{name: standIn, app: app, addr: app}
	if standIn == "proxy" {
		target := &url.URL{Scheme: "http", Host: app}
		transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256}
		t.Cleanup(transport.CloseIdleConnections)
		proxy := &httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.SetURL(target)
				p.Out.Host = p.In.Host
				p.Out.URL.RawQuery = p.In.URL.RawQuery
				p.SetXForwarded()
			},
			Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		}
		l := listenLocal(t)
		duplex := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			proxy.ServeHTTP(w, r)
		})
		srv := &http.Server{Handler: duplex, Protocols: new(http.Protocols)}
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetUnencryptedHTTP2(true)
		go srv.Serve(l)
		t.Cleanup(func() { srv.Close() })
		r.addr = l.Addr().String()
	}
	_, port, _ := net.SplitHostPort(r.addr)
	r.host = "alice.localhost:" + port
	return r
}

// memory is the resident size of server and agent together, in bytes.
func (r *road) memory(t *testing.T) int64 {
	t.Helper()
	var sum int64
	for _, p := range []*proc{r.server, r.agent} {
		if p == nil {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			t.Skip("memory is read from /proc, which this system has not")
		}
		for line := range strings.Lines(string(status)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
				kb, _ := strconv.ParseInt(f[1], 10, 64)
				sum += kb << 10
			}
		}
	}
	return sum
}

// An event is one line of --json output.
type event map[string]any

// A proc is one running relay: its JSON lines as events, its output kept for the one who has to find out why.
type proc struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and its output is read

	mu     sync.Mutex
	events []event
	next   int           // events before it were awaited already
	woke   chan struct{} // closed and replaced at every event
	ended  bool          // the test meant it to end
	stdout bytes.Buffer
	stderr bytes.Buffer
}

// startProc starts the binary; the test's end stops it, and asks that it stop well.
func startProc(t *testing.T, name string, env []string, args ...string) *proc {
	t.Helper()
	p := &proc{name: name, cmd: exec.Command(relayBin, args...), done: make(chan struct{}), woke: make(chan struct{})}
	p.cmd.Env = env
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = locked{&p.mu, &p.stderr}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.readEvents(out)
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (p *proc) readEvents(out io.Reader) {
	dec := json.NewDecoder(io.TeeReader(out, locked{&p.mu, &p.stdout}))
	for {
		var e event
		if err := dec.Decode(&e); err != nil {
			if !errors.Is(err, io.EOF) {
				p.mu.Lock()
				fmt.Fprintf(&p.stderr, "\n[conformance: stdout is not JSON lines: %v]\n", err)
				p.mu.Unlock()
				io.Copy(locked{&p.mu, &p.stdout}, out)
			}
			return
		}
		p.mu.Lock()
		if e["event"] == "request" && len(p.events) > 10_000 {
			p.events, p.next = p.events[:0], 0 // a load test; nobody waits for one request among so many
		}
		p.events = append(p.events, e)
		close(p.woke)
		p.woke = make(chan struct{})
		p.mu.Unlock()
	}
}

// await returns the next event of this kind that was not awaited yet.
func (p *proc) await(t *testing.T, kind string) event {
	t.Helper()
	e, ok := p.awaitWithin(kind, patience)
	if !ok {
		t.Fatalf("%s: no %q event within %v", p.name, kind, patience)
	}
	return e
}

func (p *proc) awaitWithin(kind string, within time.Duration) (event, bool) {
	timeout := time.After(within)
	for {
		p.mu.Lock()
		for p.next < len(p.events) {
			e := p.events[p.next]
			p.next++
			if e["event"] == kind {
				p.mu.Unlock()
				return e, true
			}
		}
		woke := p.woke
		p.mu.Unlock()
		select {
		case <-woke:
		case <-p.done:
			return nil, false
		case <-timeout:
			return nil, false
		}
	}
}

// forget drops the events that came so far, so that the next await sees only news.
func (p *proc) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = len(p.events)
}

func (p *proc) signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

// freeze stops the process, and returns when it stands still.
func (p *proc) freeze(t *testing.T) {
	t.Helper()
	p.signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			t.Skip("a stopped process is told by /proc, which this system has not")
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(rest, "T") {
			return
		}
	}
	t.Fatalf("%s does not stop", p.name)
}

// mayEnd: from now on the end of the process is no surprise.
func (p *proc) mayEnd() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// kill is a kill -9: nothing of the process gets to say goodbye.
func (p *proc) kill() {
	p.mayEnd()
	p.cmd.Process.Kill()
	<-p.done
}

// exit waits for the end of the process and returns its exit code.
func (p *proc) exit(t *testing.T) int {
	t.Helper()
	p.mayEnd()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("%s did not end within %v", p.name, patience)
		return -1
	}
}

// said is all that the process wrote, for people and for programs.
func (p *proc) said() (stdout, stderr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String(), p.stderr.String()
}

// awaitLog waits until the process has written a line with these words.
func (p *proc) awaitLog(t *testing.T, words string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, log := p.said(); strings.Contains(log, words) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not say %q", p.name, words)
		}
	}
}

func (p *proc) stop(t *testing.T) {
	select {
	case <-p.done:
		p.mu.Lock()
		if !p.ended {
			t.Errorf("%s has died: %v", p.name, p.cmd.ProcessState)
		}
		p.mu.Unlock()
	default:
	}
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.signal(syscall.SIGQUIT) // the goroutines say what hangs
		select {
		case <-p.done:
		case <-time.After(2 * time.Second):
			p.kill()
		}
		t.Errorf("%s did not end within 15 s of SIGTERM", p.name)
	}
	stdout, stderr := p.said()
	for _, cry := range []string{"panic:", "panic serving", "fatal error:", "DATA RACE"} {
		if strings.Contains(stderr, cry) || strings.Contains(stdout, cry) {
			t.Errorf("%s: %q in its output", p.name, cry)
		}
	}
	if t.Failed() {
		t.Logf("%s, stdout:\n%s\n%s, stderr:\n%s", p.name, tail(stdout, 4<<10), p.name, tail(stderr, 64<<10))
	}
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}
