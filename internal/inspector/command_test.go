package inspector_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// programs run a command as a user who has copied it does. Each has its own limits:
// what it cannot send at all.
func programs() []program {
	return []program{
		{"curl", "curl", "bash", []string{"HEAD with a body"}},
		{"httpie", "http", "bash", []string{"path", "Latin-1"}}, // it writes %5B for [, and reads arguments as UTF-8
		{"fetch", "node", "node", []string{"path", "body of a GET", "HEAD with a body"}},
	}
}

type program struct {
	format, needs, run string
	cannot             []string
}

// TestCommandsSendWhatWasSent lets the real programs run what was copied, and looks at
// what arrives.
func TestCommandsSendWhatWasSent(t *testing.T) {
	const json = "application/json"
	nasty := `'"` + "`" + `$HOME $(id) \n \' !! %s {a,b} [x] * ? ~ # ; & | < > \`
	for _, tt := range []struct {
		name string
		exchange
	}{
		{"GET", exchange{target: "/a/b?c=d&e=%20f", header: fields("Accept", "text/plain", "User-Agent", "me/1.0")}},
		{"path", exchange{target: "/a/../b//c/./[1-3]/{x,y}?q='\"`$(id)&z=;|*", header: fields("Accept", "*/*")}},
		{"POST without a body", exchange{method: "POST"}},
		{"JSON", exchange{method: "POST", header: fields("Content-Type", json), body: "{\n\t\"a\": \"b\"\n}\n"}},
		{"form", exchange{method: "POST", header: fields("Content-Type", "application/x-www-form-urlencoded"), body: "a=b&c=d%20e"}},
		{"no type", exchange{method: "PUT", body: `{"a":1}`}},
		{"quotes", exchange{method: "POST", header: fields("Content-Type", "text/plain", "X-Nasty", nasty), body: nasty + "\n" + nasty}},
		{"looks like a file", exchange{method: "POST", header: fields("Content-Type", "text/plain", "X-File", "@/etc/hostname"), body: "@/etc/hostname"}},
		{"looks like an option", exchange{method: "POST", header: fields("Content-Type", "text/plain", "X-Dash", "--help"), body: "--help"}},
		{"odd fields", exchange{header: fields("X-Equals", "=1", "X-Colon", ":1", "X-Semi", "a;b", "X-Empty", "", "X-Back", `a\b`, "X-Many", "one", "X-Many", "two")}},
		{"UTF-8", exchange{method: "POST", header: fields("Content-Type", "text/plain; charset=utf-8", "X-Name", "Zoë"), body: "Zoë ☃ \u202e"}},
		{"Latin-1", exchange{method: "POST", header: fields("Content-Type", "text/plain", "X-Name", "Zo\xeb"), body: "Zo\xeb"}},
		{"control characters", exchange{method: "POST", header: fields("Content-Type", "text/plain", "X-Tab", "a\tb"), body: "a\x1b[31mred\r\nnext\x07\x7f"}},
		{"bytes", exchange{method: "POST", header: fields("Content-Type", "application/octet-stream"), body: "\x00\x01\xff\xfe" + strings.Repeat("\x80", 300)}},
		{"compressed", exchange{method: "POST", header: fields("Content-Type", json, "Content-Encoding", "gzip"), body: zipped(t, `{"a":1}`)}},
		{"large", exchange{method: "POST", header: fields("Content-Type", json), body: `"` + strings.Repeat("large ", 60_000) + `"`}},
		{"body of a GET", exchange{header: fields("Content-Type", json), body: `{"query":{}}`}},
		{"DELETE with a body", exchange{method: "DELETE", header: fields("Content-Type", json), body: `[1]`}},
		{"HEAD with a body", exchange{method: "HEAD", header: fields("Content-Type", json), body: "[1]"}},
		{"HEAD", exchange{method: "HEAD", target: "/h", header: fields("X-A", "b")}},
		{"own method", exchange{method: "PROPFIND", header: fields("Depth", "1")}},
		{"secrets of the sender", exchange{header: fields("Authorization", "Bearer abc", "Cookie", "a=b; c=d")}},
		{"of the relay", exchange{header: fields("X-A", "b", "Relay-Request-Id", "req_1", "X-Forwarded-For", "192.0.2.1", "Forwarded", "for=192.0.2.1")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan *http.Request, 4)
			bodies := make(chan string, 4)
			app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				bodies <- string(b)
				got <- r
			}))
			defer app.Close()
			s := newSource()
			tt.host, tt.scheme = app.Listener.Addr().String(), "http"
			if tt.header == nil {
				tt.header = http.Header{}
			}
			tt.header.Set("Content-Length", "99") // of then; a client makes its own
			id := record(t, s.Recorder, tt.exchange)
			a := newAPI(t, s)
			for _, p := range programs() {
				t.Run(p.format, func(t *testing.T) {
					if slices.Contains(p.cannot, tt.name) {
						t.Skip(p.format + " cannot send that")
					}
					runs(t, p, a.text("/api/v1/requests/"+id+"/export?reveal=1&format="+p.format))
					if len(got) != 1 {
						t.Fatalf("%d requests came", len(got))
					}
					arrived(t, <-got, <-bodies, tt.exchange)
				})
			}
		})
	}
}

// runs lets a program run a command.
func runs(t *testing.T, p program, command string) {
	t.Helper()
	if _, err := exec.LookPath(p.needs); err != nil {
		t.Skipf("%s is not installed", p.needs)
	}
	if testing.Short() && p.needs == "http" {
		t.Skip("it takes a while to start")
	}
	file := filepath.Join(t.TempDir(), "command.mjs")
	if err := os.WriteFile(file, []byte(command), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), p.run, file)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%.2000s", err, out, command)
	}
}

// arrived compares what came with what was recorded.
func arrived(t *testing.T, r *http.Request, body string, want exchange) {
	t.Helper()
	if want.method == "" {
		want.method = http.MethodGet
	}
	if want.target == "" {
		want.target = "/"
	}
	if r.Method != want.method || r.RequestURI != want.target {
		t.Errorf("got %s %s, want %s %s", r.Method, r.RequestURI, want.method, want.target)
	}
	if body != want.body {
		t.Errorf("got the body %.300q, want %.300q", body, want.body)
	}
	for name, values := range want.header {
		got := r.Header.Values(name)
		switch {
		case strings.HasPrefix(name, "Relay-") || strings.Contains(name, "Forwarded"):
			if len(got) != 0 {
				t.Errorf("%s: %q, but it is of the relay", name, got)
			}
		case name == "Content-Length":
			if len(got) == 1 && got[0] == "99" {
				t.Errorf("the length of then was sent")
			}
		case strings.Join(got, ", ") != strings.Join(values, ", "): // fetch joins
			t.Errorf("%s: got %q, want %q", name, got, values)
		}
	}
	if len(want.body) > 0 && want.header.Get("Content-Type") == "" && strings.Contains(r.Header.Get("Content-Type"), "form") {
		t.Errorf("it is called a form: %s", r.Header.Get("Content-Type"))
	}
}

// What a program refuses to send is not written as a command that fails.
func TestCommandsThatCannotBe(t *testing.T) {
	s := newSource()
	a := newAPI(t, s)
	for _, tt := range []struct {
		method, format string
		want           int
	}{
		{"GET", "curl", 200},
		{"GET", "httpie", 200},
		{"GET", "fetch", 409},
		{"HEAD", "curl", 409},
		{"HEAD", "httpie", 200},
		{"HEAD", "fetch", 409},
		{"POST", "curl", 200},
		{"POST", "httpie", 200},
		{"POST", "fetch", 200},
	} {
		id := record(t, s.Recorder, exchange{method: tt.method, body: "x"})
		w := a.call(http.MethodGet, "/api/v1/requests/"+id+"/export?format="+tt.format, "")
		if w.Code != tt.want {
			t.Errorf("%s with a body as %s: %d %s", tt.method, tt.format, w.Code, w.Body)
		} else if tt.want == 409 && a.fails(w).Code != "cannot_write" {
			t.Errorf("%s with a body as %s: %s", tt.method, tt.format, w.Body)
		}
	}
}

// What is pasted into a terminal must not steer it, nor show something else than it is.
func TestCommandsAreSafeToPaste(t *testing.T) {
	s := newSource()
	a := newAPI(t, s)
	for _, odd := range []string{"\x1b]0;title\x07", "\x9b31m", "\u009b31m", "a\u202egnp.exe", "\u2066x", "\x7f", "a\rb"} {
		id := record(t, s.Recorder, exchange{
			method: "POST", target: "/" + odd, header: fields("Content-Type", "text/plain", "X-Odd", odd), body: odd,
		})
		for _, format := range []string{"curl", "httpie", "fetch"} {
			text := a.text("/api/v1/requests/" + id + "/export?format=" + format)
			if !utf8.ValidString(text) {
				t.Errorf("%q: %s is no text: %q", odd, format, text)
			}
			for _, c := range text {
				if c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 {
					t.Errorf("%q: %s has %q: %q", odd, format, c, text)
					break
				}
			}
		}
	}
}

func TestUnknownFormats(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{})
	a := newAPI(t, s)
	for target, want := range map[string]string{
		"/api/v1/requests/" + id + "/export":             "format is curl, httpie, fetch, har, json or fixture.",
		"/api/v1/requests/" + id + "/export?format=CURL": "format is curl, httpie, fetch, har, json or fixture.",
		"/api/v1/requests/export":                        "format is har, json or fixture.",
		"/api/v1/requests/export?format=curl":            "format is har, json or fixture.",
	} {
		w := a.call(http.MethodGet, target, "")
		if f := a.fails(w); w.Code != 422 || f.Code != "invalid" || f.Detail != want {
			t.Errorf("%s: %d %+v", target, w.Code, f)
		}
	}
}
