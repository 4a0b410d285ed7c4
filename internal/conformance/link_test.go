package conformance

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The link between agent and server: what visitors get while it breaks and mends, and what the command says when it cannot be made.

func hello(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	io.WriteString(w, "hello from "+r.URL.Path)
}

// The URL is printed when it works, not before: the first request after the line is served.
func TestURLWorksOnceItIsPrinted(t *testing.T) {
	needsBinary(t)
	app := handler(hello)(t)
	r := openServer(t)
	for i := range 15 {
		r.agent = r.startAgent(t, app)
		r.awaitOnline(t)
		if resp, body := r.lane(t, false).get(t, "/first"); resp.StatusCode != 200 {
			t.Errorf("start %d: the first request got %d %s %s", i, resp.StatusCode, resp.Header.Get("Relay-Error"), body)
		}
		r.agent.mayEnd()
		r.agent.signal(syscall.SIGTERM)
		r.agent.exit(t)
	}
}

// kill -9 and start again: the same URL at once, though the server may still believe in the old link.
func TestAgentKilledAndRestartedKeepsItsURL(t *testing.T) {
	overRoads(t, handler(hello), func(t *testing.T, r *road) {
		needsBinary(t)
		host := r.host
		for range 3 {
			r.agent.kill()
			started := time.Now()
			r.agent = r.startAgent(t, r.app)
			r.awaitOnline(t)
			if r.host != host {
				t.Fatalf("the URL is now %s, was %s", r.host, host)
			}
			r.mustServe(t, "/again", "hello from /again")
			if took := time.Since(started); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
		}
	})
}

// A stopped agent is a dead machine that sends no FIN. Its restarted self takes the name over at once.
func TestRestartBesideAHungAgent(t *testing.T) {
	needsBinary(t)
	r := openRoad(t, handler(hello)(t))
	host, hung := r.host, r.agent
	hung.freeze(t)
	r.agent = r.startAgent(t, r.app, "--takeover")
	r.awaitOnline(t)
	if r.host != host {
		t.Errorf("the URL is now %s, was %s", r.host, host)
	}
	r.mustServe(t, "/again", "hello from /again")
	hung.mayEnd()
	hung.signal(syscall.SIGCONT)
	// The old one must not fight for the name.
	select {
	case <-hung.done:
	case <-time.After(3 * time.Second):
	}
	for range 20 {
		r.mustServe(t, "/still", "hello from /still")
	}
}

// Requests in a short gap wait for the agent instead of failing.
func TestRequestsInAGapWait(t *testing.T) {
	overRoads(t, handler(hello), func(t *testing.T, r *road) {
		needsBinary(t)
		l := r.lane(t, false)
		l.get(t, "/before")
		r.agent.kill()
		// A POST that was sent before the server knew may have reached the app: it
		// is answered, not repeated.
		r.server.awaitLog(t, "agent gone")
		type result struct {
			status int
			body   string
			err    error
		}
		answers := make(chan result, 20)
		for i := range 20 {
			method, body := "GET", io.Reader(nil)
			if i%2 == 1 {
				method, body = "POST", strings.NewReader("a small body")
			}
			req := l.request(t, method, fmt.Sprintf("/gap/%d", i), body)
			go func() {
				resp, err := l.client.Do(req)
				if err != nil {
					answers <- result{err: err}
					return
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				answers <- result{resp.StatusCode, string(b), err}
			}()
		}
		time.Sleep(time.Second) // the gap
		select {
		case a := <-answers:
			t.Fatalf("answered %+v in the gap", a)
		default:
		}
		r.agent = r.startAgent(t, r.app)
		r.awaitOnline(t)
		for range 20 {
			if a := within(t, answers, "the waiting request is answered"); a.status != 200 || a.err != nil || !strings.HasPrefix(a.body, "hello from /gap/") {
				t.Errorf("after the gap: %+v", a)
			}
		}
	})
}

// When nobody returns, the wait ends.
func TestAgentGone(t *testing.T) {
	needsBinary(t)
	t.Parallel()
	r := openRoad(t, handler(hello)(t))
	l := r.lane(t, false)
	l.get(t, "/before")
	r.agent.kill()
	started := time.Now()
	resp := l.do(t, l.request(t, "GET", "/", nil))
	checkAway(t, resp, time.Since(started))
	// An agent that said goodbye is not waited for as if it were coming back.
	r.agent = r.startAgent(t, r.app)
	r.awaitOnline(t)
	r.agent.mayEnd()
	r.agent.signal(syscall.SIGTERM)
	r.agent.exit(t)
	started = time.Now()
	resp = l.do(t, l.request(t, "GET", "/", nil))
	checkAway(t, resp, time.Since(started))
}

func checkAway(t *testing.T, resp *http.Response, took time.Duration) {
	t.Helper()
	io.ReadAll(resp.Body)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Relay-Error") == "" || took > 8*time.Second {
		t.Errorf("agent away: %d after %v with %v; want 503, Retry-After and Relay-Error within 8 s", resp.StatusCode, took, resp.Header)
	}
}

// A name whose agent was never here is known, and away; a name that nobody has is unknown.
func TestNamesWithoutAgent(t *testing.T) {
	r := openServer(t)
	l := r.lane(t, false)
	started := time.Now()
	resp := l.do(t, l.request(t, "GET", "/", nil))
	checkAway(t, resp, time.Since(started))
	r.host = strings.Replace(r.host, "alice", "nobody", 1)
	resp = l.do(t, l.request(t, "GET", "/", nil))
	if io.ReadAll(resp.Body); resp.StatusCode != 404 || resp.Header.Get("Relay-Error") == "" {
		t.Errorf("unknown name: %d, %v", resp.StatusCode, resp.Header)
	}
}

// The agent dies in the middle of answers: an error, never a clean end (E31).
func TestAgentKilledMidBody(t *testing.T) {
	begun := make(chan bool, 8)
	app := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/length") {
			w.Header().Set("Content-Length", "1000000")
		}
		io.WriteString(w, strings.Repeat("x", 5000))
		w.(http.Flusher).Flush()
		begun <- true
		<-r.Context().Done()
	}
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		needsBinary(t)
		var wg sync.WaitGroup
		for _, h2 := range []bool{false, true} {
			l := r.lane(t, h2)
			for _, target := range []string{"/length", "/chunked"} {
				resp := l.do(t, l.request(t, "GET", target, nil))
				if _, err := io.ReadFull(resp.Body, make([]byte, 5000)); err != nil {
					t.Fatalf("%d %s: %v", resp.StatusCode, resp.Header.Get("Relay-Error"), err)
				}
				within(t, begun, "the answer has begun")
				wg.Go(func() {
					if n, err := io.Copy(io.Discard, resp.Body); err == nil {
						t.Errorf("h2c %v %s: a clean end after %d more bytes", l.h2, target, n)
					}
				})
			}
		}
		killed := time.Now()
		r.agent.kill()
		wg.Wait()
		if took := time.Since(killed); took > 2*soon {
			t.Errorf("the visitors saw it after %v", took)
		}
	})
}

// The server is killed: the agent says so, comes back by itself, and the URL is the same.
func TestServerKilledAndRestarted(t *testing.T) {
	overRoads(t, handler(hello), func(t *testing.T, r *road) {
		needsBinary(t)
		host, addr := r.host, r.addr
		r.mustServe(t, "/before", "hello from /before")
		r.agent.forget()
		r.server.kill()
		offline := r.agent.await(t, "offline")
		if offline["reason"] == "" || offline["reason"] == nil || offline["retry_in_ms"] == nil {
			t.Errorf("offline event %v tells no reason or time", offline)
		}
		r.startServer(t, addr)
		r.host = host
		// A request that comes before the agent waits for it: the server knows the name from its store.
		started := time.Now()
		r.mustServe(t, "/gap", "hello from /gap")
		t.Logf("served again after %v", time.Since(started))
		online := r.agent.await(t, "online")
		if online["url"] != "http://"+host {
			t.Errorf("back as %v, was http://%s", online["url"], host)
		}
		r.mustServe(t, "/after", "hello from /after")
	})
}

// A stopped agent: the link is found dead, nobody hangs for ever, and it comes back when it is woken (a laptop lid).
func TestAgentAsleep(t *testing.T) {
	long(t)
	t.Parallel()
	overRoads(t, handler(hello), func(t *testing.T, r *road) {
		needsBinary(t)
		t.Parallel()
		l := r.lane(t, false)
		l.get(t, "/before")
		r.agent.freeze(t)
		req, _ := http.NewRequestWithContext(t.Context(), "GET", r.url("/asleep"), nil)
		started := time.Now()
		resp, err := l.client.Do(req)
		took := time.Since(started)
		if err != nil {
			t.Fatalf("after %v: %v", took, err)
		}
		io.ReadAll(resp.Body)
		resp.Body.Close()
		if code := resp.StatusCode; code != 502 && code != 503 && code != 504 || resp.Header.Get("Relay-Error") == "" || took > 25*time.Second {
			t.Errorf("asleep: %d after %v, Relay-Error %q", code, took, resp.Header.Get("Relay-Error"))
		}
		r.agent.forget()
		r.agent.signal(syscall.SIGCONT)
		r.agent.await(t, "online")
		if resp, body := l.get(t, "/awake"); resp.StatusCode != 200 || body != "hello from /awake" {
			t.Errorf("awake: %d %q", resp.StatusCode, body)
		}
	})
}

// A quiet link is not a dead one: no traffic, and an exchange that is quiet, for longer than any ping tolerance.
func TestQuietLinkStaysUp(t *testing.T) {
	long(t)
	t.Parallel()
	const quiet = 25 * time.Second
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quiet" {
			w.Header().Set("Content-Length", "4")
			w.(http.Flusher).Flush()
			select {
			case <-time.After(quiet):
			case <-r.Context().Done():
				return
			}
		}
		io.WriteString(w, "done")
	}
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		needsBinary(t)
		t.Parallel()
		r.agent.forget()
		l := r.lane(t, false)
		req, _ := http.NewRequestWithContext(t.Context(), "GET", r.url("/quiet"), nil)
		started := time.Now()
		resp, err := l.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); string(b) != "done" || err != nil {
			t.Errorf("quiet exchange: %q, %v after %v", b, err, time.Since(started))
		}
		if e, ok := r.agent.awaitWithin("offline", 10*time.Millisecond); ok {
			t.Errorf("the link went down while it was quiet: %v", e)
		}
	})
}

// What the command says and how it ends when it cannot work. One clear sentence, an exit code that a script can use.
func TestExitCodes(t *testing.T) {
	needsBinary(t)
	app := handler(hello)(t)
	r := openRoad(t, app, "--name", "taken")
	badToken := append(r.env("agent"), "RELAY_TOKEN=rly_0000000000000000000000000000000000000000")
	noServer := append(r.env("agent"), "RELAY_SERVER=http://"+closedPort(t))
	noToken := append(r.env("fresh"), "RELAY_TOKEN=")
	for _, c := range []struct {
		name string
		env  []string
		args []string
		code int
	}{
		{"bad token", badToken, []string{"http", app}, 4},
		{"bad token, json", badToken, []string{"http", app, "--json"}, 4},
		{"no token", noToken, []string{"http", app}, 2}, // nothing was asked of a server: RELAY_TOKEN or `relay login` is missing usage
		{"server unreachable", noServer, []string{"http", app}, 3},
		{"name taken by a brother", r.env("brother"), []string{"http", app, "--name", "taken"}, 5},
		{"name taken, flag first", r.env("brother"), []string{"http", "--name", "taken", app}, 5},
		{"no such flag", r.env("agent"), []string{"http", app, "--nonsense"}, 2},
		{"no such command", r.env("agent"), []string{"nonsense"}, 2},
		{"no port", r.env("agent"), []string{"http"}, 2},
		{"port is no number", r.env("agent"), []string{"http", "eighty"}, 2},
		{"port out of range", r.env("agent"), []string{"http", "70000"}, 2},
		{"too many arguments", r.env("agent"), []string{"http", "3000", "3001"}, 2},
		{"bad name", r.env("agent"), []string{"http", app, "--name", "No_Good!"}, 2},
		{"bad upstream protocol", r.env("agent"), []string{"http", app, "--upstream-protocol", "h9"}, 2},
		{"server: address in use", r.env("server2"), []string{"server", "--dev", "--http-addr", r.addr, "--data", t.TempDir(), "--json"}, 1},
		{"server: bad address", r.env("server2"), []string{"server", "--dev", "--http-addr", "nonsense:port", "--data", t.TempDir()}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := startProc(t, c.name, c.env, c.args...)
			code := p.exit(t)
			stdout, stderr := p.said()
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			said := strings.TrimSpace(stderr)
			if said == "" {
				said = strings.TrimSpace(stdout)
			}
			if said == "" || strings.Count(said, "\n") > 3 || strings.Contains(said, "goroutine ") || strings.Contains(said, "<nil>") {
				t.Errorf("it says %q; want a clear sentence with the next step", said)
			}
		})
	}
	// The refused ones have not hurt the one that runs.
	r.mustServe(t, "/still", "hello from /still")
}

func TestTakeoverEndsTheOtherAgent(t *testing.T) {
	needsBinary(t)
	r := openRoad(t, handler(hello)(t), "--name", "shared")
	host, first := r.host, r.agent
	first.mayEnd()
	r.agent = r.startAgent(t, handler(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the other") })(t), "--name", "shared", "--takeover")
	r.awaitOnline(t)
	if r.host != host {
		t.Errorf("the name is now %s, was %s", r.host, host)
	}
	r.mustServe(t, "/", "the other")
	if code := first.exit(t); code != 5 {
		t.Errorf("the first agent ended with %d, want 5: its name was taken over", code)
	}
	r.mustServe(t, "/", "the other")
}

// A second tunnel beside the first has a name of its own.
func TestTwoTunnelsOfOneUser(t *testing.T) {
	needsBinary(t)
	r := openRoad(t, handler(hello)(t))
	first := *r
	r.agent = r.startAgent(t, handler(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "second") })(t))
	r.awaitOnline(t)
	if r.host == first.host {
		t.Fatalf("both tunnels are %s", r.host)
	}
	r.mustServe(t, "/", "second")
	first.mustServe(t, "/1", "hello from /1")
	name, _, _ := strings.Cut(r.host, ".")
	if !strings.HasSuffix(name, "-alice") {
		t.Errorf("the second tunnel is %s, want <something>-alice", name)
	}
}

func TestInterruptEndsCleanly(t *testing.T) {
	overRoads(t, handler(hello), func(t *testing.T, r *road) {
		needsBinary(t)
		r.mustServe(t, "/", "hello from /")
		started := time.Now()
		r.agent.mayEnd()
		r.agent.signal(syscall.SIGINT)
		if code := r.agent.exit(t); code != 130 {
			t.Errorf("exit code %d, want 130", code)
		}
		if took := time.Since(started); took > 3*time.Second {
			t.Errorf("it took %v with nothing to wait for", took)
		}
	})
}

// The second Ctrl-C does not wait, whatever is under way.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	begun := make(chan bool, 1)
	app := func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-r.Context().Done()
	}
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		needsBinary(t)
		w := r.wire(t)
		w.ask(r.host, "GET /hang")
		within(t, begun, "a request is under way")
		r.agent.mayEnd()
		r.agent.signal(syscall.SIGINT)
		time.Sleep(100 * time.Millisecond) // two signals at once are one
		second := time.Now()
		r.agent.signal(syscall.SIGINT)
		if code := r.agent.exit(t); code != 130 {
			t.Errorf("exit code %d, want 130", code)
		}
		if took := time.Since(second); took > soon {
			t.Errorf("it took %v after the second", took)
		}
	})
}

// The app is not running: said at once, and mended without a restart of the agent.
func TestAppNotRunning(t *testing.T) {
	overRoads(t, closedPort, func(t *testing.T, r *road) {
		needsBinary(t)
		for _, h2 := range []bool{false, true} {
			l := r.lane(t, h2)
			for _, method := range []string{"GET", "POST"} {
				started := time.Now()
				var body io.Reader
				if method == "POST" {
					body = strings.NewReader("hello")
				}
				resp := l.do(t, l.request(t, method, "/", body))
				b, err := io.ReadAll(resp.Body)
				if resp.StatusCode != 502 || resp.Header.Get("Relay-Error") != "upstream_refused" || err != nil || len(b) == 0 {
					t.Errorf("h2c %v %s: %d %q %q, %v", h2, method, resp.StatusCode, resp.Header.Get("Relay-Error"), b, err)
				}
				if took := time.Since(started); took > soon {
					t.Errorf("h2c %v: it took %v", h2, took)
				}
			}
		}
		listener, err := net.Listen("tcp", r.app)
		if err != nil {
			t.Skip("the port was taken meanwhile")
		}
		srv := &http.Server{Handler: http.HandlerFunc(hello)}
		go srv.Serve(listener)
		defer srv.Close()
		r.mustServe(t, "/now", "hello from /now")
	})
}

// An app that is restarted under traffic costs requests only while it is down: kept connections of its former life do not.
func TestAppRestarted(t *testing.T) {
	overRoads(t, closedPort, func(t *testing.T, r *road) {
		needsBinary(t)
		l := r.lane(t, false)
		for life := range 4 {
			listener, err := net.Listen("tcp", r.app)
			if err != nil {
				t.Skip("the port was taken meanwhile")
			}
			srv := &http.Server{Handler: http.HandlerFunc(hello)}
			go srv.Serve(listener)
			for i := range 20 {
				method, body := "GET", io.Reader(nil)
				if i%2 == 1 {
					method, body = "POST", strings.NewReader("hello")
				}
				resp := l.do(t, l.request(t, method, "/x", body))
				if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
					t.Fatalf("life %d, request %d %s: %d %s %s", life, i, method, resp.StatusCode, resp.Header.Get("Relay-Error"), b)
				}
			}
			srv.Close()
		}
	})
}

// POSTs of 4 KiB to an app that answers at once: the classic way to lose an answer (DESIGN 5.6).
func TestPostsToAnAppThatAnswersAtOnce(t *testing.T) {
	total := 5000
	if testing.Short() {
		total = 1000
	}
	if os.Getenv("RELAY_LONG") != "" {
		total = 100_000
	}
	answer := bytes.Repeat([]byte("0123456789abcdef"), 64)
	app := func(w http.ResponseWriter, r *http.Request) { w.Write(answer) } // never reads
	data := pattern(4096)
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		for _, connections := range []int{1, 32, 256} {
			t.Run(fmt.Sprintf("%d connections", connections), func(t *testing.T) {
				l := r.lane(t, false)
				var left, failed, short atomic.Int64
				left.Store(int64(total))
				var once sync.Once
				var wg sync.WaitGroup
				for range connections {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							resp, err := l.client.Post(l.url("/"), "application/octet-stream", bytes.NewReader(data))
							if err != nil {
								failed.Add(1)
								once.Do(func() { t.Logf("first failure: %v", err) })
								continue
							}
							b, err := io.ReadAll(resp.Body)
							resp.Body.Close()
							if resp.StatusCode != 200 {
								failed.Add(1)
								once.Do(func() { t.Logf("first failure: %d %s %.200q", resp.StatusCode, resp.Header.Get("Relay-Error"), b) })
							} else if err != nil || !bytes.Equal(b, answer) {
								short.Add(1)
								once.Do(func() { t.Logf("first short answer: %d bytes, %v", len(b), err) })
							}
						}
					})
				}
				wg.Wait()
				if failed.Load() > 0 || short.Load() > 0 {
					t.Errorf("of %d POSTs %d failed and %d were short", total, failed.Load(), short.Load())
				}
			})
		}
	})
}
