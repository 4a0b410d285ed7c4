//go:build unix

package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/term"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/capture"
)

const patience = 15 * time.Second

// terminal is a true one, and what was written to it.
type terminal struct {
	t        *testing.T
	far, tty *os.File
	before   *term.State

	mu   sync.Mutex
	all  bytes.Buffer
	news chan struct{}
	read chan struct{} // closed when nothing is read any more
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	far, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(far, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, far: far, tty: tty, before: before, news: make(chan struct{}), read: make(chan struct{})}
	go func() {
		defer close(x.read)
		b := make([]byte, 4096)
		for {
			n, err := far.Read(b)
			x.mu.Lock()
			x.all.Write(b[:n])
			close(x.news)
			x.news = make(chan struct{})
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		_ = far.Close()
		<-x.read
	})
	return x
}

func (x *terminal) written() (string, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all.String(), x.news
}

// until waits until something was written.
func (x *terminal) until(what string) {
	x.t.Helper()
	late := time.After(patience)
	for {
		all, news := x.written()
		if strings.Contains(all, what) {
			return
		}
		select {
		case <-news:
		case <-late:
			x.t.Fatalf("%q was not written; this was:\n%q", what, all)
		}
	}
}

// sane checks that the terminal is as it was: its modes, the screen, the cursor, pasting.
func (x *terminal) sane() {
	x.t.Helper()
	after, err := term.GetState(int(x.tty.Fd()))
	if err != nil {
		x.t.Fatal(err)
	}
	if !reflect.DeepEqual(after, x.before) {
		x.t.Error("the terminal's modes are not what they were")
	}
	x.until("\x1b[?1049l")
	all, _ := x.written()
	for _, mode := range []string{"\x1b[?1049", "\x1b[?2004"} {
		if strings.LastIndex(all, mode+"h") > strings.LastIndex(all, mode+"l") {
			x.t.Errorf("the mode %q is left on", mode)
		}
	}
	if strings.LastIndex(all, "\x1b[?25l") > strings.LastIndex(all, "\x1b[?25h") {
		x.t.Error("the cursor is left hidden")
	}
}

// show runs a screen on the terminal; the function ends it and returns how that was.
func (x *terminal) show(s *Screen) (stop func(), ended func() (End, error)) {
	ctx, cancel := context.WithCancel(x.t.Context())
	var (
		end  End
		err  error
		over = make(chan struct{})
	)
	go func() {
		defer close(over)
		end, err = s.Run(ctx)
	}()
	wait := func() (End, error) {
		x.t.Helper()
		select {
		case <-over:
		case <-time.After(patience):
			x.t.Fatal("the screen does not end")
		}
		return end, err
	}
	x.t.Cleanup(func() { cancel(); <-over })
	return cancel, wait
}

func (x *terminal) options() Options {
	return Options{In: x.tty, Out: x.tty, Environ: []string{"TERM=xterm-256color"}, Recorder: capture.New(capture.Options{})}
}

// online is a screen of an agent that is connected.
func online(o Options) *Screen {
	s := New(o)
	ln := client.New(client.Options{}).Listen(client.Spec{})
	s.Serves(ln, "localhost:3000")
	on := client.Online{Name: "alice", URL: "http://alice.localhost:8080", Listener: ln}
	s.Event(on)
	s.Works(on, "")
	return s
}

// passes has one exchange pass by the recorder.
func passes(t *testing.T, r *capture.Recorder, path string) {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	tap := r.Begin(req, "localhost:3000", "")
	res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("hello"))}
	tap.Response(res)
	_, _ = io.Copy(io.Discard, res.Body)
	tap.End(nil)
}

func TestTheTerminalIsAsBefore(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(x *terminal, stop func())
		want End
	}{
		"context": {func(_ *terminal, stop func()) { stop() }, Over},
		"ctrl-c":  {func(x *terminal, _ func()) { _, _ = x.far.WriteString("\x03") }, Interrupted},
		"ctrl-d":  {func(x *terminal, _ func()) { _, _ = x.far.WriteString("\x04") }, Left},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTerminal(t)
			o := x.options()
			s := online(o)
			stop, ended := x.show(s)
			x.until("alice.localhost:8080")
			passes(t, o.Recorder, "/here")
			x.until("/here")
			tt.end(x, stop)
			if end, err := ended(); end != tt.want || err != nil {
				t.Errorf("it ended with %v, %v; want %v", end, err, tt.want)
			}
			x.sane()
			if last := strings.Join(s.Last(), "\n"); !strings.Contains(last, "http://alice.localhost:8080 -> localhost:3000\n1 request, in ") {
				t.Errorf("the last lines are %q", last)
			}
		})
	}
}

// A panic ends the process, so it is another one's: panics is what that does.
func TestAPanicLeavesTheTerminalAsBefore(t *testing.T) {
	for _, where := range []string{"command", "model"} {
		t.Run(where, func(t *testing.T) {
			x := newTerminal(t)
			var stderr bytes.Buffer
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), panicIn+"="+where, "TERM=xterm-256color")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = x.tty, x.tty, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			x.until("/here")
			_, _ = x.far.WriteString(map[string]string{"command": "r", "model": "/a"}[where])
			err := cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 7 || !strings.Contains(stderr.String(), "a bug on purpose") {
				t.Errorf("it ended with %v and said %q", err, stderr.String())
			}
			x.sane()
		})
	}
}

// panicIn is the variable that makes the test binary show a screen that panics.
const panicIn = "RELAY_TUI_PANIC_IN"

// panics shows a screen that panics after a key, and returns the exit code.
func panics(where string) int {
	o := Options{In: os.Stdin, Out: os.Stdout, Recorder: capture.New(capture.Options{})}
	switch where {
	case "command":
		o.Replay = func(context.Context, *capture.Exchange) (string, error) { panic("a bug on purpose") }
	case "model":
		first := true
		o.Now = func() time.Time {
			if !first {
				panic("a bug on purpose")
			}
			first = false
			return time.Now()
		}
	}
	tap := o.Recorder.Begin(httptest.NewRequest(http.MethodGet, "/here", http.NoBody), "localhost:3000", "")
	tap.End(nil)
	if _, err := online(o).Run(context.Background()); err == nil || !strings.Contains(err.Error(), "--log") {
		return 1
	}
	return 7
}

func TestMain(m *testing.M) {
	if where := os.Getenv(panicIn); where != "" {
		os.Exit(panics(where))
	}
	goleak.VerifyTestMain(m)
}

func TestNothingIsWrittenBeforeTheAgentIsConnected(t *testing.T) {
	x := newTerminal(t)
	s := New(x.options())
	s.Note("a note")
	s.Event(client.Offline{Reason: "not there"})
	stop, ended := x.show(s)
	stop()
	if end, err := ended(); end != Over || err != nil {
		t.Errorf("it ended with %v, %v", end, err)
	}
	if all, _ := x.written(); all != "" || s.Last() != nil {
		t.Errorf("it wrote %q, and last %q", all, s.Last())
	}
}

// A terminal that shows what is so already is not written to, and one that has much to
// show is written to now and then.
func TestRepaintsAreFew(t *testing.T) {
	x := newTerminal(t)
	o := x.options()
	_, ended := x.show(online(o))
	x.until("alice.localhost:8080")
	passes(t, o.Recorder, "/first")
	x.until("/first")
	time.Sleep(300 * time.Millisecond) // nothing is to happen, so there is no event to wait for
	before, _ := x.written()
	time.Sleep(500 * time.Millisecond)
	if after, _ := x.written(); after != before {
		t.Errorf("with no news it wrote %q", strings.TrimPrefix(after, before))
	}
	began := time.Now()
	for time.Since(began) < time.Second {
		passes(t, o.Recorder, "/again")
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	after, _ := x.written()
	// Each repaint begins with the count of requests, in the third line.
	if n := strings.Count(strings.TrimPrefix(after, before), "\x1b[3;"); n < 2 || float64(n) > 20*took.Seconds()+2 {
		t.Errorf("%d repaints in %v", n, took)
	}
	_, _ = x.far.WriteString("\x03")
	_, _ = ended()
	x.sane()
}

func TestTheScreenFollowsTheWindow(t *testing.T) {
	x := newTerminal(t)
	_, ended := x.show(online(x.options()))
	x.until("curl http://alice.localhost:8080")
	if err := pty.Setsize(x.far, &pty.Winsize{Rows: 15, Cols: 200}); err != nil {
		t.Fatal(err)
	}
	// The kernel tells only those whose terminal it is.
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	x.until(strings.Repeat("─", 150))
	_, _ = x.far.WriteString("\x03")
	_, _ = ended()
	x.sane()
}

// A command that does not come to an end by itself is ended with the screen.
func TestTheEndWaitsForCommands(t *testing.T) {
	x := newTerminal(t)
	o := x.options()
	began := make(chan struct{})
	var over bool
	o.Replay = func(ctx context.Context, _ *capture.Exchange) (string, error) {
		close(began)
		<-ctx.Done()
		over = true
		return "", ctx.Err()
	}
	passes(t, o.Recorder, "/here")
	_, ended := x.show(online(o))
	x.until("/here")
	_, _ = x.far.WriteString("r")
	<-began
	_, _ = x.far.WriteString("\x03")
	if end, err := ended(); end != Interrupted || err != nil || !over {
		t.Errorf("it ended with %v, %v; the replay was over: %v", end, err, over)
	}
	x.sane()
}

func TestTheInboxIsAskedFor(t *testing.T) {
	x := newTerminal(t)
	o := x.options()
	var mu sync.Mutex
	asked := map[string]int{}
	waiting := 3 // one less with every look
	o.Backlog = func(_ context.Context, name string) (int, bool, error) {
		mu.Lock()
		defer mu.Unlock()
		asked[name]++
		if name != "alice" {
			return 0, false, errors.New("of no other")
		}
		waiting--
		return waiting + 1, true, nil
	}
	o.Ping = func(context.Context) (time.Duration, error) { return 42 * time.Millisecond, nil }
	_, ended := x.show(online(o))
	x.until("0 of 3 done, 3 to go")
	x.until("42ms")
	x.until("█") // a third of the bar
	_, _ = x.far.WriteString("\x03")
	_, _ = ended()
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 1 || asked["alice"] < 2 || asked["alice"] > 4 {
		t.Errorf("asked were %v", asked)
	}
}
