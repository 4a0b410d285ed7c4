package conformance

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tool finds a real client, or skips.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// curl runs it against the road and returns what it wrote, `status version` last.
func (r *road) curl(t *testing.T, stdin io.Reader, args ...string) (out, stderr string, code int) {
	t.Helper()
	args = append([]string{"-sS", "--max-time", "30", "--resolve", r.host + ":127.0.0.1", "-w", "\n%{http_code} %{http_version}"}, args...)
	cmd := exec.Command(tool(t, "curl"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	cmd.Stdin = stdin
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

func TestCurl(t *testing.T) {
	tool(t, "curl")
	big := pattern(30 << 20)
	app := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			w.Write(big)
		case "/refuse":
			w.WriteHeader(417)
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "half")
		case "/cut-chunked":
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			b, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			fmt.Fprintf(w, "%s %s %s %d %s expect=%q upgrade=%q", r.Method, r.RequestURI, r.Proto, len(b), hex.EncodeToString(sum(b)), r.Header["Expect"], r.Header["Upgrade"])
		}
	}
	file := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(file, big, 0o644); err != nil {
		t.Fatal(err)
	}
	empty, bigSum := hex.EncodeToString(sum(nil)), hex.EncodeToString(sum(big))
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		// The app is met by HTTP/1.1, but for the direct road.
		inner := func(version string) string {
			if standIn == "direct" && version == "2" {
				return "HTTP/2.0"
			}
			return "HTTP/1.1"
		}
		for _, c := range []struct {
			name  string
			args  []string
			stdin bool
			want  string
		}{
			{"get", []string{"--http1.1", r.url("/a?b;c")}, false, "GET /a?b;c HTTP/1.1 0 " + empty + ` expect=[] upgrade=[]` + "\n200 1.1"},
			{"prior knowledge", []string{"--http2-prior-knowledge", r.url("/a")}, false, "GET /a " + inner("2") + " 0 " + empty + ` expect=[] upgrade=[]` + "\n200 2"},
			{"upgrade h2c is ignored", []string{"--http2", r.url("/a")}, false, "GET /a HTTP/1.1 0 " + empty + ` expect=[] upgrade=[]` + "\n200 1.1"},
			{"chunked upload", []string{"--http1.1", "-T", "-", r.url("/up")}, true, "PUT /up HTTP/1.1 31457280 " + bigSum},
			{"chunked upload over h2c", []string{"--http2-prior-knowledge", "-T", "-", r.url("/up")}, true, "PUT /up " + inner("2") + " 31457280 " + bigSum},
			{"upload with a length", []string{"--http1.1", "-T", file, r.url("/up")}, false, "PUT /up HTTP/1.1 31457280 " + bigSum},
			{
				"post with expect",
				[]string{"--http1.1", "-H", "Expect: 100-continue", "--expect100-timeout", "20", "--data-binary", "@" + file, r.url("/up")},
				false,
				"POST /up HTTP/1.1 31457280 " + bigSum,
			},
			{"form", []string{"--http1.1", "-d", "a=b", "-d", "c=d", r.url("/form")}, false, "POST /form HTTP/1.1 7 " + hex.EncodeToString(sum([]byte("a=b&c=d")))},
			{"as it is", []string{"--http1.1", "--path-as-is", r.url("/a/../b/./%2e%2e")}, false, "GET /a/../b/./%2e%2e HTTP/1.1"},
			{"star", []string{"--http1.1", "-X", "OPTIONS", "--request-target", "*", r.url("/")}, false, "OPTIONS * HTTP/1.1"},
			{"http/1.0", []string{"--http1.0", r.url("/old")}, false, "GET /old HTTP/1"},
		} {
			if (c.name == "star" || c.name == "upgrade h2c is ignored") && standIn != "" || strings.Contains(c.name, "h2c") && standIn == "proxy" {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				var in io.Reader
				if c.stdin {
					in = bytes.NewReader(big)
				}
				started := time.Now()
				out, stderr, code := r.curl(t, in, c.args...)
				if code != 0 || !strings.HasPrefix(out, c.want) || !strings.Contains(out, "\n200 ") {
					t.Errorf("exit %d, %.300q, %s; want %q", code, out, stderr, c.want)
				}
				if c.name == "post with expect" && time.Since(started) > 15*time.Second {
					t.Error("curl was never told to go on, and waited")
				}
			})
		}
		t.Run("download", func(t *testing.T) {
			for _, v := range []string{"--http1.1", "--http2-prior-knowledge"} {
				out, stderr, code := r.curl(t, nil, v, r.url("/big"))
				if code != 0 || len(out) < len(big) || out[:len(big)] != string(big) {
					t.Errorf("%s: exit %d, %d bytes, %s", v, code, len(out), stderr)
				}
			}
		})
		t.Run("keep-alive", func(t *testing.T) {
			out, stderr, code := r.curl(t, nil, "--http1.1", "-w", "\n%{num_connects};", r.url("/1"), r.url("/2"), r.url("/3"))
			if got := regexp.MustCompile(`\n(\d);`).FindAllStringSubmatch(out, -1); code != 0 || len(got) != 3 || got[0][1] != "1" || got[1][1] != "0" || got[2][1] != "0" {
				t.Errorf("exit %d, connections made %v, %s", code, got, stderr)
			}
		})
		// 18: partial file, 92 and 56: the stream or connection was cut. 0 would be a short answer that looks whole.
		t.Run("a cut answer is an error", func(t *testing.T) {
			for _, v := range []string{"--http1.1", "--http2-prior-knowledge"} {
				for _, path := range []string{"/cut", "/cut-chunked"} {
					if out, _, code := r.curl(t, nil, v, r.url(path)); code != 18 && code != 92 && code != 56 && !strings.Contains(out, "\n502 ") {
						t.Errorf("%s %s: exit %d, %q", v, path, code, out)
					}
				}
			}
		})
		t.Run("refused expectation", func(t *testing.T) {
			out, _, code := r.curl(t, nil, "--http1.1", "-H", "Expect: 100-continue", "-T", file, r.url("/refuse"))
			// curl tries again without Expect, and may then meet a closing connection in the middle of its upload.
			if !strings.Contains(out, "\n417 ") && !strings.Contains(out, "\n200 ") && code != 55 && code != 56 {
				t.Errorf("exit %d, %q", code, out)
			}
		})
	})
}

// Load from programs that count every short, wrong or missing answer.
func TestWrkHasNoErrors(t *testing.T) {
	long(t)
	wrk := tool(t, "wrk")
	body := strings.Repeat("x", 1024)
	overRoads(t, handler(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }), func(t *testing.T, r *road) {
		for _, connections := range []string{"1", "64"} {
			out, err := exec.Command(wrk, "-t1", "-c"+connections, "-d2s", "-H", "Host: "+r.host, "http://"+r.addr+"/").CombinedOutput()
			m := regexp.MustCompile(`(\d+) requests in`).FindSubmatch(out)
			if err != nil || m == nil || string(m[1]) == "0" || bytes.Contains(out, []byte("Socket errors")) || bytes.Contains(out, []byte("Non-2xx")) {
				t.Errorf("%s connections: %v\n%s", connections, err, out)
			}
		}
	})
}

func TestH2loadHasNoErrors(t *testing.T) {
	long(t)
	h2load := tool(t, "h2load")
	body := strings.Repeat("x", 1024)
	app := func(w http.ResponseWriter, r *http.Request) {
		if n, _ := io.Copy(io.Discard, r.Body); r.Method == "POST" && n != 4096 {
			w.WriteHeader(400)
		}
		io.WriteString(w, body)
	}
	data := filepath.Join(t.TempDir(), "data")
	os.WriteFile(data, pattern(4096), 0o644)
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		for _, args := range [][]string{{"-m", "1"}, {"-m", "16"}, {"-m", "16", "-d", data}, {"--h1", "-d", data}} {
			const n = 4000
			cmd := exec.Command(h2load, append(args, "-n", strconv.Itoa(n), "-c", "8", "-T", "15", "--connect-to", r.addr, r.url("/"))...)
			out, err := cmd.CombinedOutput()
			want := fmt.Sprintf("%d total, %d started, %d done, %d succeeded, 0 failed, 0 errored, 0 timeout", n, n, n, n)
			if err != nil || !bytes.Contains(out, []byte(want)) || !bytes.Contains(out, []byte(fmt.Sprintf("%d 2xx, 0 3xx, 0 4xx, 0 5xx", n))) {
				t.Errorf("%q: %v\n%s", args, err, out)
			}
		}
	})
}
