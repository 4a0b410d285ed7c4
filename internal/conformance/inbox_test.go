//go:build linux

package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// arrivals counts what an app has got, by the id in the body.
type arrivals struct {
	mu  sync.Mutex
	got map[string]int
}

func (l *arrivals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // broken off: nothing was taken
	}
	l.mu.Lock()
	l.got[string(body)]++
	l.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}

// missing are those of ids that have not come.
func (l *arrivals) missing(ids []string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if l.got[id] == 0 {
			n++
		}
	}
	return n
}

// senders send events until stop, each with an id of its own, and note those that were
// accepted: answered 2xx.
type senders struct {
	addr, host string
	prefix     string

	mu       sync.Mutex
	accepted []string
	refused  int
	failed   int
	sent     atomic.Int64
}

func (s *senders) run(ctx context.Context, n int) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", s.addr)
			}}
			defer tr.CloseIdleConnections()
			c := &http.Client{Transport: tr, Timeout: 10 * time.Second}
			for ctx.Err() == nil {
				id := fmt.Sprintf("%s-%d", s.prefix, s.sent.Add(1))
				res, err := c.Post("http://"+s.host+"/hook", "text/plain", strings.NewReader(id))
				s.mu.Lock()
				switch {
				case err != nil:
					s.failed++
				case res.StatusCode/100 == 2:
					s.accepted = append(s.accepted, id)
				default:
					s.refused++
				}
				s.mu.Unlock()
				if res != nil {
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
				if err != nil {
					time.Sleep(5 * time.Millisecond) // the server is dead, most likely
				}
			}
		})
	}
	wg.Wait()
}

// relay runs a command of the agent's user and returns what it printed.
func (r *road) relay(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), relayBin, args...)
	cmd.Env = r.env("agent")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("relay %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// rounds is how often a crash test crashes.
func rounds() int {
	if testing.Short() {
		return 3
	}
	return 20
}

// kill -9 of the server under load, again and again, and of the agent in between:
// whatever was answered 2xx arrives at least once.
func TestNothingAcceptedIsLostInCrashes(t *testing.T) {
	for _, mode := range []string{"always", "fallback"} {
		t.Run(mode, func(t *testing.T) {
			l := &arrivals{got: map[string]int{}}
			r := openRoad(t, serveApp(t, l), "--name", "hooks", "--inbox", mode, "--no-inspect", "--keep-events", "1000000")
			s := &senders{addr: r.addr, host: r.host, prefix: mode}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			began := time.Now()
			go func() { defer close(done); s.run(ctx, 8) }()
			addr := r.addr
			for n := range rounds() {
				time.Sleep(400 * time.Millisecond) // of load
				if n%4 == 3 {
					r.agent.kill()
				}
				r.server.kill()
				r.startServer(t, addr)
				if n%4 == 3 {
					r.agent = r.startAgent(t, r.app, "--name", "hooks", "--no-inspect", "--takeover")
				}
			}
			time.Sleep(400 * time.Millisecond)
			stop()
			<-done
			took := time.Since(began)
			for deadline := time.Now().Add(2 * patience); ; time.Sleep(50 * time.Millisecond) {
				n := l.missing(s.accepted)
				if n == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%d of %d accepted events never came\n%s", n, len(s.accepted), r.relay(t, "events", "list", "--limit", "10"))
				}
			}
			twice := 0
			for _, n := range l.got {
				if n > 1 {
					twice++
				}
			}
			t.Logf("%d crashes: %d events sent in %v (%.0f/s), %d accepted, 0 lost, %d delivered more than once, %d refused, %d sent to a dead server",
				rounds(), s.sent.Load(), took.Round(time.Second), float64(s.sent.Load())/took.Seconds(), len(s.accepted), twice, s.refused, s.failed)
			if len(s.accepted) < 50*rounds() {
				t.Errorf("only %d events were accepted: this was no load", len(s.accepted))
			}
		})
	}
}

// buildWith builds the binary with other linker flags.
func buildWith(t *testing.T, ldflags string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "relay")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "-ldflags", ldflags, ".")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// traced runs a server under strace, with an always inbox, and returns its address and
// a function that ends it and gives what strace saw.
func traced(t *testing.T, bin string, strace ...string) (post func(body string) (int, error), end func() string) {
	t.Helper()
	needsBinary(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	r := openServer(t)
	r.relay(t, "endpoint", "create", "hooks", "--inbox", "always")
	r.server.stop(t)
	r.server.mayEnd()

	log := filepath.Join(r.home, "strace")
	args := append([]string{"-f", "-qq", "-s", "48", "-o", log}, strace...)
	args = append(args, bin, "server", "--dev", "--http-addr", r.addr, "--data", filepath.Join(r.home, "data"), "--json")
	cmd := exec.Command("strace", args...)
	cmd.Env = r.env("server")
	var out lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop := func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Signal(os.Interrupt)
		_ = exec.Command("pkill", "-TERM", "-P", fmt.Sprint(cmd.Process.Pid)).Run()
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	for deadline := time.Now().Add(patience); !strings.Contains(out.String(), `"event":"ready"`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			if strings.Contains(out.String(), "ptrace") {
				t.Skipf("this machine traces no processes: %s", out.String())
			}
			t.Fatalf("the traced server does not start: %s", out.String())
		}
	}
	host := strings.Replace(r.host, "alice.", "hooks-alice.", 1)
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", r.addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	post = func(body string) (int, error) {
		res, err := (&http.Client{Transport: tr, Timeout: patience}).Post("http://"+host+"/hook", "text/plain", strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		_ = res.Body.Close()
		return res.StatusCode, nil
	}
	return post, func() string {
		stop()
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

var (
	requestRead = regexp.MustCompile(`POST /hook`)
	synced      = regexp.MustCompile(`f(data)?sync(\([^)]*\)| resumed>.*\)) += 0`)
	answered    = regexp.MustCompile(`HTTP/1\.1 2[0-9][0-9]`)
)

// unsynced counts the answers of success before which nothing was synced since the
// request was read, and all such answers.
func unsynced(trace string) (bad, all int) {
	open, sync := false, false
	for line := range strings.Lines(trace) {
		switch {
		case requestRead.MatchString(line):
			open, sync = true, false
		case synced.MatchString(line):
			sync = true
		case answered.MatchString(line) && open:
			all++
			if !sync {
				bad++
			}
			open = false
		}
	}
	return bad, all
}

// A kill proves nothing about the disk: what was not synced survives it. The order of
// system calls does.
func TestSyncComesBeforeYes(t *testing.T) {
	const calls = "trace=fsync,fdatasync,read,write,recvfrom,sendto,readv,writev,recvmsg,sendmsg"
	run := func(t *testing.T, bin string) (bad, all int) {
		post, end := traced(t, bin, "-e", calls)
		for n := range 10 {
			if status, err := post(fmt.Sprint("event ", n)); err != nil || status != http.StatusAccepted {
				t.Fatalf("event %d: %d, %v", n, status, err)
			}
		}
		return unsynced(end())
	}
	if bad, all := run(t, relayBin); bad > 0 || all != 10 {
		t.Errorf("%d of %d answers came before a sync", bad, all)
	}
	// This test would see it.
	if bad, _ := run(t, buildWith(t, "-X github.com/relaytunnel/relay/server/store.synchronous=normal")); bad == 0 {
		t.Error("with synchronous=normal every answer comes after a sync as well: this test sees nothing")
	}
}

// A disk that fails to sync is not believed, now or later.
func TestFailedSyncIsNoYes(t *testing.T) {
	post, _ := traced(t, relayBin, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=40+")
	yes, no := 0, 0
	for n := range 200 {
		status, err := post(fmt.Sprint("event ", n))
		switch {
		case err != nil:
			t.Fatalf("event %d: %v", n, err)
		case status == http.StatusAccepted && no > 0:
			t.Fatalf("event %d was accepted after the disk had failed", n)
		case status == http.StatusAccepted:
			yes++
		case status == http.StatusServiceUnavailable:
			no++
		default:
			t.Fatalf("event %d: status %d", n, status)
		}
		if no > 20 {
			break
		}
	}
	if yes == 0 || no == 0 {
		t.Errorf("%d accepted, %d refused: the failure was not met", yes, no)
	}
}

// A full disk: senders are told to come again, what is there stays whole, and it goes
// on by itself when there is space.
func TestFullDisk(t *testing.T) {
	needsBinary(t)
	if os.Geteuid() != 0 {
		t.Skip("a small file system is made by root only")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("this machine mounts no file systems: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	l := &arrivals{got: map[string]int{}}
	r := &road{home: t.TempDir()}
	_ = os.Symlink(dir, filepath.Join(r.home, "data"))
	r.startServer(t, "127.0.0.1:0")
	r.relay(t, "endpoint", "create", "hooks", "--inbox", "always")
	host := strings.Replace(r.host, "alice.", "hooks-alice.", 1)
	lane := r.lane(t, false)
	post := func(body string) *http.Response {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "POST", "http://"+host+"/", strings.NewReader(body))
		return lane.do(t, req)
	}
	filler := strings.Repeat("x", 100_000)
	var accepted []string
	full := 0
	for n := 0; full < 5; n++ {
		if n > 300 {
			t.Fatal("the disk is never full")
		}
		body := fmt.Sprint(n, filler)
		switch res := post(body); res.StatusCode {
		case http.StatusAccepted:
			if full > 0 {
				full = 0 // it may find room for a smaller write; what counts is that it is honest
			}
			accepted = append(accepted, body)
		case http.StatusServiceUnavailable:
			if res.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			full++
		default:
			t.Fatalf("event %d: %s", n, res.Status)
		}
	}
	// Tunnels live on.
	r.app = serveApp(t, l)
	if out, err := exec.Command("mount", "-o", "remount,size=64m", dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v %s", err, out)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		body := fmt.Sprint("again", time.Now().UnixNano())
		if post(body).StatusCode == http.StatusAccepted {
			accepted = append(accepted, body)
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not recover")
		}
	}
	r.agent = r.startAgent(t, r.app, "--name", "hooks")
	r.awaitOnline(t)
	for deadline := time.Now().Add(2 * patience); l.missing(accepted) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d accepted events did not come", l.missing(accepted), len(accepted))
		}
	}
	t.Logf("%d accepted on a disk of 6 MB, all delivered", len(accepted))
	if check, err := exec.Command("sh", "-c", "command -v sqlite3 >/dev/null || exit 0; sqlite3 "+filepath.Join(dir, "relay.db")+" 'pragma integrity_check'").Output(); err != nil || len(check) > 0 && !bytes.HasPrefix(check, []byte("ok")) {
		t.Errorf("the database: %s, %v", check, err)
	}
}
