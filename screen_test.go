//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The screen of relay http, as somebody at a terminal meets it: the true program in
// tmux, which knows what its screen looks like.

// desk is a server, an app and a terminal.
type desk struct {
	t           *testing.T
	dir         string
	port, token string
	app         string // its port
	tmux        string // the socket
}

// sit starts them.
func sit(t *testing.T, app http.HandlerFunc) *desk {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not there: install it, or run make test")
	}
	// A socket's path has to be short.
	dir, err := os.MkdirTemp("", "relay-desk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &desk{t: t, dir: dir, tmux: filepath.Join(dir, "tmux")}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.write("bin/xdg-open", "#!/bin/sh\necho \"$1\" > "+dir+"/opened\n")
	srv := httptest.NewServer(app)
	t.Cleanup(srv.Close)
	d.app = strconv.Itoa(srv.Listener.Addr().(*net.TCPAddr).Port)

	server := exec.Command("relay", "server", "--dev", "--http-addr", "127.0.0.1:0", "--user", "alice", "--data", filepath.Join(dir, "data"))
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	})
	lines := bufio.NewScanner(out)
	for d.token == "" && lines.Scan() {
		if m := regexp.MustCompile(`^relay server for http://localhost:(\d+)`).FindStringSubmatch(lines.Text()); m != nil {
			d.port = m[1]
		}
		if m := regexp.MustCompile(`^  (rly_\w+)$`).FindStringSubmatch(lines.Text()); m != nil {
			d.token = m[1]
		}
	}
	if d.port == "" || d.token == "" {
		t.Fatal("the server did not start")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return d
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o700); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) read(name string) string {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Fatal(err)
	}
	return string(b)
}

// environ is that of programs at the desk.
func (d *desk) environ(more ...string) []string {
	return append([]string{
		"HOME=" + d.dir, "PATH=" + filepath.Join(d.dir, "bin") + ":" + os.Getenv("PATH"), "LANG=C.UTF-8",
		"RELAY_SERVER=http://localhost:" + d.port, "RELAY_TOKEN=" + d.token, "RELAY_INSPECT_ADDR=127.0.0.1:0",
	}, more...)
}

// relay runs a command to its end.
func (d *desk) relay(args ...string) {
	d.t.Helper()
	cmd := exec.Command("relay", args...)
	cmd.Env = d.environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("relay %v: %v\n%s", args, err, out)
	}
}

// types has somebody type a command into a terminal of 80 columns and 24 rows. What it
// writes goes to the file raw as well. The modes of the terminal are noted before and
// after.
func (d *desk) types(env []string, command string) {
	d.t.Helper()
	var set strings.Builder
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		fmt.Fprintf(&set, "export %s='%s'\n", name, value)
	}
	d.write("script", set.String()+"until [ -e go ]; do sleep 0.02; done\nstty -g > before\n"+command+" & echo $! > pid\nfg %1 >/dev/null\n"+
		"echo code=$?\nstty -g > after\necho over\nexec sleep 600\n")
	d.run("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-c", d.dir,
		"env -i "+quoted(d.environ("TERM=screen-256color"))+" bash -m script 2>&1")
	d.run("set", "-g", "set-clipboard", "on")
	d.run("pipe-pane", "cat > "+d.dir+"/raw")
	d.t.Cleanup(func() { _ = exec.Command("tmux", "-S", d.tmux, "kill-server").Run() })
	d.write("go", "")
}

func quoted(env []string) string {
	var words []string
	for _, kv := range env {
		words = append(words, "'"+kv+"'")
	}
	return strings.Join(words, " ")
}

// run runs tmux and returns what it prints.
func (d *desk) run(args ...string) string {
	d.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", d.tmux}, args...)...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// keys presses keys, by tmux's names.
func (d *desk) keys(names ...string) {
	d.t.Helper()
	d.run(append([]string{"send-keys"}, names...)...)
}

// sees waits until the screen shows what matches, and returns the groups.
func (d *desk) sees(pattern string) []string {
	d.t.Helper()
	re := regexp.MustCompile(`(?m)` + pattern)
	screen := ""
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		screen = d.run("capture-pane", "-p")
		if m := re.FindStringSubmatch(screen); m != nil {
			return m
		}
	}
	d.t.Fatalf("there is no %q on the screen:\n%s\nraw: %q", pattern, screen, d.read("raw"))
	return nil
}

// ends waits for the end of the command, and checks the exit code and that the terminal
// is as it was.
func (d *desk) ends(code int) {
	d.t.Helper()
	d.sees(fmt.Sprintf(`^code=%d$`, code))
	d.sees(`^over$`)
	if before, after := d.read("before"), d.read("after"); before == "" || before != after {
		d.t.Errorf("the modes of the terminal were %q and are %q", before, after)
	}
	if got := strings.TrimSpace(d.run("display", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_cursor_flag}")); got != "0 1 0 0" {
		d.t.Errorf("alternate screen, cursor, mouse and cursor keys are %q", got)
	}
}

// visit is a visitor's request to a name.
func (d *desk) visit(name, method, path, body string) int {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1:"+d.port+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Host = name + ".localhost:" + d.port
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer hunter2")
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		d.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}

// echo is an app that answers 418 to teapots.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if strings.HasPrefix(r.URL.Path, "/teapot") {
		w.WriteHeader(http.StatusTeapot)
	}
	_, _ = fmt.Fprintf(w, `{"path":%q,"again":%q}`, r.URL.Path, r.Header.Get("Relay-Replay"))
}

func TestScreen(t *testing.T) {
	d := sit(t, echo)
	d.types(nil, "relay http "+d.app)
	url := "http://alice.localhost:" + d.port
	d.sees(`^ relay +● online +(<1|\d+)ms$`)
	d.sees(`^ ` + url + ` → localhost:` + d.app + `$`)
	inspector := d.sees(`^ inspector  (http://127\.0\.0\.1:\d+)$`)[1]
	d.sees(`^ curl ` + url + `$`)

	// What comes is listed, the newest first.
	d.visit("alice", "GET", "/hello", "")
	d.sees(`^ ▸ \d\d:\d\d:\d\d  GET     /hello +200 +\d+(µ|m)s +\d+B$`)
	d.visit("alice", "POST", "/teapot?a=1", `{"action":"opened"}`)
	d.sees(`^ ▸ \d\d:\d\d:\d\d  POST    /teapot\?a=1 +418 .*\n   \d\d:\d\d:\d\d  GET     /hello `)
	d.visit("alice", "GET", "/last", "")
	d.sees(`^ ── 3 requests ─`)

	// It is filtered,
	d.keys("/")
	d.keys("-l", "status:4xx json:.action=opened")
	d.sees(`^ ── 1 of 3 match status:4xx json:\.action=opened ─`)
	d.keys("Enter")
	d.sees(`^ ▸ .* POST    /teapot`)
	// seen in detail,
	d.keys("Enter")
	d.sees(`^ ── POST 418 I'm a teapot ─`)
	d.sees(`^ Authorization: ••••••••$`)
	d.keys("-l", "G")
	d.sees(`^   "action": "opened"$`)
	d.sees(`^   "path": "/teapot",$`)
	// and sent again, as a reader of the app can tell.
	d.keys("r")
	d.sees(`^ Sent again: 418 I'm a teapot after \d+(µ|m)s$`)
	d.sees(`^ sent again: req_\w+$`)
	d.keys("-l", "G")
	d.sees(`^   "again": "true"$`)
	d.keys("Escape")
	d.sees(`^ ▸ .* POST    ↻ /teapot`)
	d.keys("Escape")
	d.sees(`^ ── 4 requests ─`)

	// A QR code, also in a small window; then a small and a large one.
	d.keys("q")
	d.sees(`^ ── QR code of ` + url + ` ─`)
	d.sees(`^ █+ ▄▄▄▄▄ █`)
	d.run("resize-window", "-x", "60", "-y", "15")
	d.sees(`^ █+ ▄▄▄▄▄ █.*  http://alice\.localhost:`)
	d.keys("Escape")
	d.sees(`^ ▸ \d\d:\d\d:\d\d  POST    ↻ /teapot\?a=1 +418`)
	d.run("resize-window", "-x", "160", "-y", "50")
	d.keys("Enter")
	d.sees(`^ ▸ .* POST    ↻ /teapot.* │ `)
	d.run("resize-window", "-x", "80", "-y", "24")
	d.keys("?")
	d.sees(`^ ── Keys and filter ─`)
	d.keys("Escape") // with a key right behind it, it would be another key
	d.sees(`^ ── 4 requests ─`)

	// The clipboard, and a browser.
	d.keys("c")
	d.sees(`^ Copied ` + url + `$`)
	if got := d.run("show-buffer"); got != url {
		t.Errorf("the clipboard has %q", got)
	}
	d.keys("i")
	d.sees(`^ Opening ` + inspector + `$`)
	for began := time.Now(); d.read("opened") != inspector+"\n"; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("the browser was told %q", d.read("opened"))
		}
	}

	d.keys("C-c")
	d.ends(130)
	d.sees(`^` + url + ` -> localhost:` + d.app + `\n4 requests, in .*\nended by Ctrl-C\ncode=130$`)
}

func TestScreenEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(*desk)
		code int
		last string
	}{
		"ctrl-d":  {func(d *desk) { d.keys("C-d") }, 0, `ended by Ctrl-D`},
		"SIGTERM": {func(d *desk) { d.signals(syscall.SIGTERM) }, 0, `ended by the signal terminated`},
		"SIGINT":  {func(d *desk) { d.signals(syscall.SIGINT) }, 130, `ended by the signal interrupt`},
		// The server says that somebody else has the name now.
		"takeover": {func(d *desk) {
			other := exec.Command("relay", "http", d.app, "--name", "one", "--takeover")
			other.Env = d.environ("XDG_STATE_HOME=" + d.dir + "/other")
			if err := other.Start(); err != nil {
				d.t.Fatal(err)
			}
			d.t.Cleanup(func() {
				_ = other.Process.Signal(syscall.SIGTERM)
				_ = other.Wait()
			})
		}, 5, `relay: .*took over.*`},
	} {
		t.Run(name, func(t *testing.T) {
			d := sit(t, echo)
			d.types(nil, "relay http --name one "+d.app)
			d.sees(`● online`)
			tt.end(d)
			d.ends(tt.code)
			url := "http://one-alice.localhost:" + d.port
			d.sees(`^` + url + ` -> localhost:` + d.app + `\nno requests, in [^\n]*\n` + tt.last + `$`)
		})
	}
}

// signals sends a signal to the command, and to it alone.
func (d *desk) signals(sig syscall.Signal) {
	d.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(d.read("pid")))
	if err != nil {
		d.t.Fatal(err)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		d.t.Fatal(err)
	}
}

// The screen is for those who can see it and want it.
func TestNoScreen(t *testing.T) {
	for name, tt := range map[string]struct {
		env   []string
		flags string
		want  string
	}{
		"log":  {nil, "--log", `^\d\d:\d\d:\d\d  online   http://alice\.`},
		"json": {nil, "--json", `^{"event":"online","name":"alice"`},
		"CI":   {[]string{"CI=true"}, "", `^\d\d:\d\d:\d\d  online   http://alice\.`},
		"dumb": {[]string{"TERM=dumb"}, "", `^\d\d:\d\d:\d\d  online   http://alice\.`},
		"pipe": {nil, "| (trap '' INT; cat)", `^\d\d:\d\d:\d\d  online   http://alice\.`},
	} {
		t.Run(name, func(t *testing.T) {
			d := sit(t, echo)
			d.types(tt.env, "relay http "+d.app+" "+tt.flags)
			d.sees(tt.want)
			d.keys("C-c")
			d.sees(`^over$`)
			if raw := d.read("raw"); strings.Contains(raw, "\x1b[?1049h") {
				t.Errorf("there was a screen: %q", raw)
			}
		})
	}
}

// Before the agent is connected there is no screen: a refusal is a sentence.
func TestRefusalIsNoScreen(t *testing.T) {
	d := sit(t, echo)
	d.types([]string{"RELAY_TOKEN=rly_nonsense"}, "relay http "+d.app)
	d.sees(`^relay: `)
	d.ends(4)
	if raw := d.read("raw"); strings.Contains(raw, "\x1b") {
		t.Errorf("there was more than a sentence: %q", raw)
	}
}

func TestScreenWithoutColors(t *testing.T) {
	d := sit(t, echo)
	d.types([]string{"NO_COLOR=yes"}, "relay http "+d.app)
	d.visit("alice", "GET", "/teapot", "")
	d.sees(`^ ▸ .* GET     /teapot +418`)
	d.keys("q")
	d.sees(`^ █+ ▄▄▄▄▄ █`)
	d.keys("/")
	d.sees(`^ filter`)
	d.keys("C-c")
	d.ends(130)
	if raw := d.read("raw"); strings.Contains(raw, "\x1b]12;") {
		t.Errorf("the cursor has a color: %q", raw)
	}
	if m := regexp.MustCompile(`\x1b\[([0-9]+[;:])*([34][0-8]|9[0-7]|10[0-7])[;:m]`).FindString(d.read("raw")); m != "" {
		t.Errorf("there are colors: %q", m)
	}
}

// What waited for the agent is delivered under its eyes.
func TestScreenShowsTheInboxDrain(t *testing.T) {
	release := make(chan struct{})
	d := sit(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		w.WriteHeader(http.StatusOK)
	})
	d.relay("endpoint", "create", "hooks", "--inbox", "always", "--in-flight", "1")
	for _, path := range []string{"/first", "/second", "/wait", "/fourth"} {
		if got := d.visit("hooks-alice", "POST", path, "{}"); got != 202 {
			t.Fatalf("the inbox answered %d", got)
		}
	}
	d.types(nil, "relay http --name hooks "+d.app)
	d.sees(`^ inbox      █*░+  \d of \d done, [1-4] to go$`)
	d.sees(`POST    /wait +…`)
	close(release)
	d.sees(`^ Inbox: (all \d events that waited are|the event that waited is) done\.`)
	d.keys("C-c")
	d.ends(130)
}

// relay up has the same screen, with more URLs.
func TestScreenOfUp(t *testing.T) {
	d := sit(t, echo)
	d.write("relay.yml", "version: 1\nendpoints:\n  - target: "+d.app+"\n    name: aa\n  - target: "+d.app+"\n    name: bb\n")
	d.types(nil, "relay up")
	d.sees(`^ ▸ http://aa-alice\.localhost`)
	d.sees(`^   http://bb-alice\.localhost`)
	d.keys("Tab")
	d.sees(`^ ▸ http://bb-alice\.localhost`)
	d.visit("bb-alice", "GET", "/second", "")
	d.sees(`GET     bb-alice/second +200`)
	d.keys("C-d")
	d.ends(0)
	d.sees(`^http://aa-alice.*\nhttp://bb-alice.*\n1 request, in`)
}

// Who types a token sees nothing of it, and neither does who reads the terminal later.
func TestLoginAtATerminal(t *testing.T) {
	d := sit(t, echo)
	d.types([]string{"RELAY_TOKEN="}, "relay login http://localhost:"+d.port)
	d.sees(`^Token:`)
	d.keys("-l", d.token)
	d.keys("Enter")
	d.sees(`^Logged in to http://localhost:` + d.port + ` as alice\.`)
	d.ends(0)
	if strings.Contains(d.read("raw"), d.token) {
		t.Error("the terminal shows the token")
	}
}

// Ctrl-C ends the question, and the terminal shows again what is typed.
func TestLoginIsInterrupted(t *testing.T) {
	d := sit(t, echo)
	d.types([]string{"RELAY_TOKEN="}, "relay login http://localhost:"+d.port)
	d.sees(`^Token:`)
	d.keys("-l", "rly_")
	d.keys("C-c")
	d.ends(130)
}
