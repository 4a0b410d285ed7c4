// Package e2e drives the inspector's page in a real browser, as relay http serves it.
package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
	"github.com/relaytunnel/relay/internal/npmtest"
)

// patience bounds everything that is waited for.
const patience = 3 * time.Minute

// TestPage lets page.mjs use the page of an agent: see there for what it looks at.
func TestPage(t *testing.T) {
	w := newWorld(t)
	app := httptest.NewServer(newApp(t))
	t.Cleanup(app.Close)
	ready := w.start("ready", "server", "--dev", "--http-addr", "127.0.0.1:0", "--user", "alice", "--data", w.dir+"/data", "--json")
	online := w.start("online", "http", app.Listener.Addr().String(), "--server", ready["url"], "--token", ready["token"],
		"--inspect-addr", "127.0.0.1:0", "--mask", ".card.number", "--json")
	w.use("page.mjs", "INSPECTOR="+online["inspector"], "PUBLIC="+online["url"], "ROWS="+manyRows(t))
}

// world has relay and a browser.
type world struct {
	t        *testing.T
	ctx      context.Context
	dir      string // to be used as one likes
	relay    string // the program
	chromium string
	modules  string // of npm
}

// newWorld skips the test where there is no browser, or nothing to drive it.
func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("drives a browser")
	}
	w := &world{t: t, dir: t.TempDir()}
	var err error
	if w.chromium, err = exec.LookPath("chromium"); err != nil {
		t.Skip("chromium is not here")
	}
	if w.modules, err = filepath.Abs("../ui/node_modules"); err != nil {
		t.Fatal(err)
	}
	npmtest.Install(t, filepath.Dir(w.modules))
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	w.relay = filepath.Join(w.dir, "relay")
	if out, err := exec.CommandContext(w.ctx, "go", "build", "-o", w.relay, "../../..").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return w
}

// use runs a script that drives the browser. With RELAY_SHOTS=FOLDER it leaves
// pictures of the page there.
func (w *world) use(script string, env ...string) {
	w.t.Helper()
	shots := os.Getenv("RELAY_SHOTS")
	if shots == "" {
		shots = filepath.Join(w.dir, "shots")
	}
	// What is read here, go test knows of: it would repeat an old result after a change.
	for _, name := range []string{script, "browser.mjs"} {
		if _, err := os.ReadFile(name); err != nil {
			w.t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(w.ctx, "node", script)
	cmd.Env = append(os.Environ(), "CHROMIUM="+w.chromium, "MODULES="+w.modules, "PROFILE="+filepath.Join(w.dir, "profile"), "SHOTS="+shots)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	w.t.Logf("%s", out)
	if err != nil {
		w.t.Fatalf("%s: %v", script, err)
	}
}

// start runs relay with --json until the test ends, and returns the strings of the
// event that is waited for.
func (w *world) start(event string, args ...string) map[string]string {
	t := w.t
	t.Helper()
	cmd := exec.CommandContext(w.ctx, w.relay, args...)
	cmd.Env = []string{"HOME=" + w.dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	read := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	for lines.Scan() {
		var all map[string]any
		if json.Unmarshal(lines.Bytes(), &all) != nil || all["event"] != event {
			continue
		}
		go func() {
			defer close(read)
			for lines.Scan() {
			}
		}()
		got := map[string]string{}
		for k, v := range all {
			got[k], _ = v.(string)
		}
		return got
	}
	close(read)
	t.Fatalf("relay %s ended without %q", args[0], event)
	return nil
}

// newApp answers with what strangers and bad apps would send.
func newApp(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	say := func(pattern string, status int, kind string, body []byte) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write(body)
		})
	}
	calls := 0
	mux.HandleFunc("/hook", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls++
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "session=very-secret-cookie")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"ok": true, "call": calls, "replay": r.Header.Get("Relay-Replay"), "auth": r.Header.Get("Authorization") == "Bearer very-secret-token",
			"length": len(body), "id": json.Number("12345678901234567890"),
		})
	})
	say("/fail", 500, "text/plain", []byte("panic: it broke\n"))
	say("/moved", 302, "text/plain", nil)
	const script = "<script>window.pwned=1;alert(1)</script><img src=x onerror=\"window.pwned=1;alert(1)\">"
	say("/html", 200, "text/html", []byte(script))
	say("/svg", 200, "image/svg+xml", []byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="window.pwned=1;alert(1)"><script>alert(1)</script></svg>`))
	say("/keys", 200, "application/json", fmt.Appendf(nil, `{%q:%q,"__proto__":{"polluted":1}}`, script, script))
	say("/deep", 200, "application/json", []byte(strings.Repeat("[", 5000)+strings.Repeat("]", 5000)))
	say("/large", 200, "application/json", []byte("["+strings.Repeat(`{"a":"bbbbbbbbbbbbbbbb"},`, 10<<20/25)+"0]"))
	say("/wide", 200, "application/json", []byte("["+strings.Repeat(`{"a":"bbbbbbbbbbbbbbbb"},`, 30_000)+"0]"))
	say("/invalid", 200, "text/plain", []byte("abc\xff\xfe\x80 def"))
	say("/form", 200, "application/x-www-form-urlencoded", []byte("a=1&b=%3Cscript%3E"))
	var picture bytes.Buffer
	img := image.NewRGBA(image.Rect(0, 0, 120, 80))
	for x := range 120 {
		for y := range 80 {
			img.Set(x, y, color.RGBA{uint8(2 * x), 107, uint8(3 * y), 255})
		}
	}
	if err := png.Encode(&picture, img); err != nil {
		t.Fatal(err)
	}
	say("/png", 200, "image/png", picture.Bytes())
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		zero := make([]byte, 1<<20)
		for range 100 {
			_, _ = z.Write(zero)
		}
		_ = z.Close()
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(b.Bytes())
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "event: tick\ndata: {\"n\":%d}\n\n", i)
			_ = http.NewResponseController(w).Flush()
		}
	})
	say("/", 404, "text/plain", []byte("no such page\n"))
	return mux
}

// manyRows serves a page with 10 000 requests.
func manyRows(t *testing.T) string {
	rec := capture.New(capture.Options{MaxExchanges: 20_000})
	for i := range 10_000 {
		req := httptest.NewRequest("GET", fmt.Sprintf("/item/%d?q=%d", i, i%7), nil)
		tap := rec.Begin(req, "localhost:1", "")
		res := &http.Response{StatusCode: []int{200, 200, 200, 404, 500}[i%5], Header: http.Header{"Content-Type": {"text/plain"}}, Body: http.NoBody}
		tap.Response(res)
		tap.End(nil)
	}
	h, err := inspector.Handler(inspector.Options{Source: readOnly{rec}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	ctx, stop := context.WithCancel(context.Background())
	srv.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.Config.Handler = inspector.Local(port, h)
	srv.Start()
	t.Cleanup(func() {
		stop()
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

type readOnly struct{ *capture.Recorder }

func (readOnly) Replay(context.Context, capture.Again) (string, error) {
	return "", fmt.Errorf("nothing is replayed here")
}

func (readOnly) Targets(context.Context) ([]capture.Target, error) { return nil, nil }
