package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// What a user types and sees is in testdata/script. The program in the scripts is
// this test binary running main, which is why this file is in package main.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"relay": main})
}

// patience is how long a script waits for what it waits for.
const patience = 30 * time.Second

func TestScripts(t *testing.T) {
	docs, err := readDocs("docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			home, tmp := filepath.Join(e.WorkDir, "home"), filepath.Join(e.WorkDir, "tmp")
			e.Setenv("HOME", home)
			e.Setenv("TMPDIR", tmp)
			s := &stage{dir: e.WorkDir, procs: map[string]*proc{}, docs: docs}
			e.Values[stageKey{}] = s
			e.Defer(s.close)
			return errors.Join(os.MkdirAll(home, 0o700), os.MkdirAll(tmp, 0o700))
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Getuid() == 0, nil
			case "4040": // somebody listens where inspectors usually are
				c, err := net.Dial("tcp", "127.0.0.1:4040")
				if err == nil {
					_ = c.Close()
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": cmdStart, "until": cmdUntil, "signal": cmdSignal, "ended": cmdEnded, "code": cmdCode, "soon": cmdSoon,
			"app": cmdApp, "port": cmdPort, "get": cmdGet, "post": cmdPost, "mode": cmdMode, "documented": cmdDocumented,
		},
	})
}

// stage is what belongs to one script.
type stage struct {
	dir   string
	procs map[string]*proc
	docs  map[string]document
	undo  []func()
}

type stageKey struct{}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

func (s *stage) close() {
	for _, p := range s.procs {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	for _, f := range s.undo {
		f()
	}
}

// proc is a program in the background. What it writes goes to NAME.out and NAME.err.
type proc struct {
	cmd      *exec.Cmd
	done     chan struct{}
	out, err *watched
}

// watched is a file that tells when something is written to it.
type watched struct {
	mu   sync.Mutex
	f    *os.File
	all  bytes.Buffer
	news chan struct{} // closed at the next write
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.Write(b)
	close(w.news)
	w.news = make(chan struct{})
	return w.f.Write(b)
}

func (w *watched) look() (string, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String(), w.news
}

func usage(ts *testscript.TestScript, ok bool, how string) {
	if !ok {
		ts.Fatalf("usage: %s", how)
	}
}

func find(ts *testscript.TestScript, name string) *proc {
	p := stageOf(ts).procs[name]
	if p == nil {
		ts.Fatalf("nothing was started as %q", name)
	}
	return p
}

// start NAME PROGRAM ARG... runs a program in the background.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "start NAME PROGRAM ARG...")
	s, name := stageOf(ts), args[0]
	if old := s.procs[name]; old != nil {
		select {
		case <-old.done:
		default:
			ts.Fatalf("%s is still running", name)
		}
	}
	p := &proc{done: make(chan struct{})}
	for ext, w := range map[string]**watched{".out": &p.out, ".err": &p.err} {
		f, err := os.Create(filepath.Join(s.dir, name+ext))
		ts.Check(err)
		*w = &watched{f: f, news: make(chan struct{})}
	}
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	p.cmd = exec.Command(path, args[2:]...)
	p.cmd.Dir = ts.MkAbs(".")
	for _, k := range []string{"HOME", "TMPDIR", "PATH", "RELAY_SERVER", "RELAY_TOKEN", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "APP", "OTHER", "HOOK_TOKEN", "RELAY_INSPECTOR"} {
		if v := ts.Getenv(k); v != "" {
			p.cmd.Env = append(p.cmd.Env, k+"="+v)
		}
	}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	ts.Check(p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		_ = p.out.f.Close()
		_ = p.err.f.Close()
		close(p.done)
	}()
	s.procs[name] = p
}

// until NAME[.err] REGEXP [VAR...] waits until the program has written what
// matches, and keeps the groups in variables.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "until NAME[.err] REGEXP [VAR...]")
	name, isErr := strings.CutSuffix(args[0], ".err")
	p := find(ts, name)
	w := p.out
	if isErr {
		w = p.err
	}
	re, err := regexp.Compile(`(?m)` + args[1])
	ts.Check(err)
	late := time.After(patience)
	for ended := false; ; {
		text, news := w.look()
		if m := re.FindStringSubmatch(text); m != nil {
			usage(ts, len(m)-1 >= len(args)-2, "as many groups as variables")
			for i, v := range args[2:] {
				ts.Setenv(v, m[i+1])
			}
			return
		}
		if ended {
			all, _ := p.err.look()
			ts.Fatalf("%s ended without %q; it wrote:\n%s%s", name, args[1], text, all)
		}
		select {
		case <-news:
		case <-p.done:
			ended = true
		case <-late:
			ts.Fatalf("%s did not write %q; it wrote:\n%s", args[0], args[1], text)
		}
	}
}

// signal NAME INT|TERM|KILL
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "signal NAME INT|TERM|KILL")
	sig, ok := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}[args[1]]
	usage(ts, ok, "signal NAME INT|TERM|KILL")
	ts.Check(find(ts, args[0]).cmd.Process.Signal(sig))
}

// ended NAME CODE waits for the end of a program. stdout and stderr look at what
// it wrote. The code of a killed program is -1.
func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "ended NAME CODE")
	p := find(ts, args[0])
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("%s does not end", args[0])
	}
	out, _ := p.out.look()
	errOut, _ := p.err.look()
	_, _ = io.WriteString(ts.Stdout(), out)
	_, _ = io.WriteString(ts.Stderr(), errOut)
	if got := strconv.Itoa(p.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s ended with %s (%v), want %s; it wrote:\n%s%s", args[0], got, p.cmd.ProcessState, args[1], out, errOut)
	}
}

// code N PROGRAM ARG... runs a program that must end with exit code N.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "code N PROGRAM ARG...")
	got := "0"
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = strconv.Itoa(exit.ExitCode())
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// soon REGEXP PROGRAM ARG... runs a program again and again until it writes that: what is
// told in two places is not there in both at once.
func cmdSoon(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "soon REGEXP PROGRAM ARG...")
	re, err := regexp.Compile(`(?m)` + args[0])
	ts.Check(err)
	for late := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && re.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(late) {
			ts.Fatalf("it did not write %q", args[0])
		}
	}
}

// app NAME [json] starts a web app and keeps its port in the variable NAME. It answers
// with its name and what it was asked, or with JSON.
func cmdApp(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 1 || len(args) == 2 && args[1] == "json"), "app NAME [json]")
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(args) == 2 {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Set-Cookie", "session=1")
			_, _ = fmt.Fprintf(w, `{"id":8,"path":%q,"items":[1,2]}`, r.URL.Path)
			return
		}
		_, _ = fmt.Fprintf(w, "%s got %s %s for %s from %s by %s\n", args[0], r.Method, r.RequestURI, r.Host,
			r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
	}))
	s := stageOf(ts)
	s.undo = append(s.undo, app.Close)
	ts.Setenv(args[0], strconv.Itoa(app.Listener.Addr().(*net.TCPAddr).Port))
}

// port VAR [taken] keeps a port in VAR: one on which nothing listens, or one that
// another program has.
func cmdPort(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 1 || len(args) == 2 && args[1] == "taken"), "port VAR [taken]")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	if len(args) == 1 {
		ts.Check(ln.Close())
		return
	}
	s := stageOf(ts)
	s.undo = append(s.undo, func() { _ = ln.Close() })
}

// get URL [HEADER: VALUE]... is a visitor. stdout looks at the answer. The visitor
// goes to this machine, whatever the host, or to HOST:PORT with "via: HOST:PORT".
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 1, "get URL [HEADER: VALUE]...")
	visit(ts, http.MethodGet, args[0], "", args[1:])
}

// post URL BODY [HEADER: VALUE]... is a visitor that sends something.
func cmdPost(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "post URL BODY [HEADER: VALUE]...")
	visit(ts, http.MethodPost, args[0], args[1], args[2:])
}

func visit(ts *testscript.TestScript, method, url, content string, headers []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(content))
	ts.Check(err)
	to := "127.0.0.1:" + req.URL.Port()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "via" {
			to = value
			continue
		}
		req.Header.Set(name, value)
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", to)
	}}
	defer tr.CloseIdleConnections()
	res, err := tr.RoundTrip(req)
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	ts.Check(err)
	w := ts.Stdout()
	_, _ = fmt.Fprintf(w, "%s\n", res.Status)
	_ = res.Header.Write(w)
	_, _ = fmt.Fprintf(w, "\n%s", body)
}

// mode FILE MODE checks who may read a file.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "mode FILE MODE")
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// document is what docs/json.md says of one JSON object.
type document struct {
	fields   map[string]string // to the type
	optional []string
}

// readDocs reads the tables of docs/json.md. An object has a heading with its event
// in it, as in "### `online`", and a row for each field: name, type and meaning,
// which begins with "Optional" where the field may be absent.
func readDocs(path string) (map[string]document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	docs := map[string]document{}
	heading := regexp.MustCompile("^### `([a-z]+)`")
	row := regexp.MustCompile("^\\| `([a-z_]+)` +\\| (string|number|integer|boolean|array|object) +\\| (.*) \\|$")
	event := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if m := heading.FindStringSubmatch(lines.Text()); m != nil {
			event = m[1]
			docs[event] = document{fields: map[string]string{}}
		}
		if m := row.FindStringSubmatch(lines.Text()); m != nil {
			d := docs[event]
			d.fields[m[1]] = m[2]
			if strings.HasPrefix(m[3], "Optional") {
				d.optional = append(d.optional, m[1])
			}
			docs[event] = d
		}
	}
	return docs, lines.Err()
}

// documented FILE EVENT... checks that each line of FILE is what docs/json.md says
// of its event, and that the events came in this order; an event with three dots
// stands for one or more of it, one with a question mark for none or one. A line without an event is the object "version".
func cmdDocumented(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "documented FILE EVENT...")
	var got []string
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var v map[string]any
		dec := json.NewDecoder(strings.NewReader(line))
		dec.UseNumber()
		ts.Check(dec.Decode(&v))
		event, ok := v["event"].(string)
		if !ok {
			event = "version"
		}
		got = append(got, event)
		d, ok := stageOf(ts).docs[event]
		if !ok {
			ts.Fatalf("docs/json.md does not tell of the event %q: %s", event, line)
		}
		for name, value := range v {
			switch want, ok := d.fields[name]; {
			case !ok:
				ts.Fatalf("docs/json.md does not tell of %q in %q: %s", name, event, line)
			case !slices.Contains(typesOf(value), want):
				ts.Fatalf("%q in %q is not of type %s: %s", name, event, want, line)
			}
		}
		for name := range d.fields {
			if _, ok := v[name]; !ok && !slices.Contains(d.optional, name) {
				ts.Fatalf("%q has no %q: %s", event, name, line)
			}
		}
	}
	pattern := "^"
	for _, want := range args[1:] {
		switch one := strings.TrimRight(want, ".?"); {
		case strings.HasSuffix(want, "..."):
			pattern += "(" + one + " )+"
		case strings.HasSuffix(want, "?"):
			pattern += "(" + one + " )?"
		default:
			pattern += one + " "
		}
	}
	if !regexp.MustCompile(pattern + "$").MatchString(strings.Join(got, " ") + " ") {
		ts.Fatalf("the events were %v, want %v", got, args[1:])
	}
}

func typesOf(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{"string"}
	case bool:
		return []string{"boolean"}
	case []any:
		return []string{"array"}
	case map[string]any:
		return []string{"object"}
	case json.Number:
		if _, err := v.Int64(); err == nil {
			return []string{"integer", "number"}
		}
		return []string{"number"}
	}
	return nil
}

// A flag or variable that docs/cli.md does not tell of is not there for its reader.
func TestDocsTellOfEveryFlag(t *testing.T) {
	page, err := os.ReadFile("docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	flag := regexp.MustCompile(`(?m)^ +(--[a-z0-9-]+)|\$(RELAY_[A-Z0-9_]+)`)
	checked := 0
	var check func(section string, command ...string)
	check = func(section string, command ...string) {
		checked++
		help := helpOf(t, command...)
		for _, m := range flag.FindAllStringSubmatch(help, -1) {
			if word := m[1] + m[2]; word != "--help" && !strings.Contains(section, "`"+word) && !strings.Contains(section, word+"`") {
				t.Errorf("the section on relay %s does not tell of %s", strings.Join(command, " "), word)
			}
		}
		for _, sub := range commandsIn(help) {
			if !strings.Contains(section, "relay "+strings.Join(command, " ")+" "+sub) {
				t.Errorf("the section on relay %s has no example of %s", command[0], sub)
			}
			check(section, append(command[:len(command):len(command)], sub)...)
		}
	}
	for _, command := range commandsIn(helpOf(t)) {
		if command == "help" {
			continue
		}
		_, section, found := strings.Cut(string(page), "\n## relay "+command+"\n")
		if !found {
			t.Errorf("there is no section on relay %s", command)
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		check(section, command)
	}
	if checked < 15 {
		t.Fatalf("only %d commands were found: is the help written in another way now?", checked)
	}
}

func helpOf(t *testing.T, command ...string) string {
	t.Helper()
	help, err := exec.Command("relay", append(command, "--help")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(help)
}

// commandsIn are the commands that a help page lists.
func commandsIn(help string) []string {
	_, list, _ := strings.Cut(help, "\nCOMMANDS:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	var names []string
	for line := range strings.Lines(list) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), " "); name != "" {
			names = append(names, strings.TrimSuffix(name, ","))
		}
	}
	return names
}

// Every code that a visitor may find in Relay-Error has its row in docs/errors.md.
func TestDocsTellOfEveryError(t *testing.T) {
	page, err := os.ReadFile("docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?:Code: *"|badRequest\("|Relay-Error: )([a-z]+(?:_[a-z]+)+)`)
	seen := map[string]bool{}
	for _, pattern := range []string{"server/edge/*.go", "server/webhook/*.go", "client/forward/*.go", "internal/http1/*.go", "server/policy/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			for _, m := range code.FindAllSubmatch(src, -1) {
				seen[string(m[1])] = true
			}
		}
	}
	if len(seen) < 10 {
		t.Fatalf("only %d codes were found in the source: is it written in another way now?", len(seen))
	}
	for c := range seen {
		if !strings.Contains(string(page), "\n| `"+c+"` | ") {
			t.Errorf("docs/errors.md has no row for %s", c)
		}
	}
}
