package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/server/edge"
)

// One host, one name (rows E08, E09, E10): it is read once, and whatever is not
// plainly a name is refused before anything is looked up.
func TestHosts(t *testing.T) {
	const ok, bad = "alice.relay.test", ""
	tests := []struct {
		name, raw string
		resolved  string // bad: 400 before any look-up
		seen      string // Host of the app
	}{
		{"plain", "GET / HTTP/1.1\r\nHost: alice.relay.test\r\n\r\n", ok, ok},
		{"capitals and a dot", "GET / HTTP/1.1\r\nHost: ALICE.ReLaY.test.\r\n\r\n", ok, ok},
		{"port", "GET / HTTP/1.1\r\nHost: alice.relay.test:8080\r\n\r\n", ok, "alice.relay.test:8080"},
		{"capitals, dot and port", "GET / HTTP/1.1\r\nHost: ALICE.relay.test.:8080\r\n\r\n", ok, "alice.relay.test:8080"},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: alice.relay.test\r\n\r\n", ok, ok},
		{"target wins", "GET http://alice.relay.test/ HTTP/1.1\r\nHost: bob.relay.test\r\n\r\n", ok, ok},
		{"target in capitals wins", "GET HTTP://Alice.Relay.Test:80/ HTTP/1.1\r\nHost: bob.relay.test\r\n\r\n", ok, "alice.relay.test:80"},
		{"https target", "GET https://alice.relay.test/ HTTP/1.1\r\nHost: bob.relay.test\r\n\r\n", ok, ok},
		{"slashes are no host", "GET //bob.relay.test/ HTTP/1.1\r\nHost: alice.relay.test\r\n\r\n", ok, ok},

		{"none in 1.0", "GET / HTTP/1.0\r\n\r\n", bad, ""},
		{"none in 1.1", "GET / HTTP/1.1\r\n\r\n", bad, ""},
		{"empty", "GET / HTTP/1.1\r\nHost: \r\n\r\n", bad, ""},
		{"two", "GET / HTTP/1.1\r\nHost: alice.relay.test\r\nHost: bob.relay.test\r\n\r\n", bad, ""},
		{"list", "GET / HTTP/1.1\r\nHost: alice.relay.test,bob.relay.test\r\n\r\n", bad, ""},
		{"junk port", "GET / HTTP/1.1\r\nHost: alice.relay.test:80abc\r\n\r\n", bad, ""},
		{"port 0", "GET / HTTP/1.1\r\nHost: alice.relay.test:0\r\n\r\n", bad, ""},
		{"port 65536", "GET / HTTP/1.1\r\nHost: alice.relay.test:65536\r\n\r\n", bad, ""},
		{"empty port", "GET / HTTP/1.1\r\nHost: alice.relay.test:\r\n\r\n", bad, ""},
		{"%00", "GET / HTTP/1.1\r\nHost: alice.relay.test%00.evil\r\n\r\n", bad, ""},
		{"%2e", "GET / HTTP/1.1\r\nHost: alice%2erelay.test\r\n\r\n", bad, ""},
		{"userinfo", "GET / HTTP/1.1\r\nHost: x@alice.relay.test\r\n\r\n", bad, ""},
		{"path", "GET / HTTP/1.1\r\nHost: alice.relay.test/evil\r\n\r\n", bad, ""},
		{"space", "GET / HTTP/1.1\r\nHost: alice.relay.test b\r\n\r\n", bad, ""},
		{"UTF-8", "GET / HTTP/1.1\r\nHost: \xc3\xa9.relay.test\r\n\r\n", bad, ""},
		{"0x80", "GET / HTTP/1.1\r\nHost: \x80.relay.test\r\n\r\n", bad, ""},
		{"underscore", "GET / HTTP/1.1\r\nHost: a_b.relay.test\r\n\r\n", bad, ""},
		{"two dots", "GET / HTTP/1.1\r\nHost: alice..relay.test\r\n\r\n", bad, ""},
		{"two trailing dots", "GET / HTTP/1.1\r\nHost: alice.relay.test..\r\n\r\n", bad, ""},
		{"too long", "GET / HTTP/1.1\r\nHost: " + strings.Repeat("a.", 130) + "test\r\n\r\n", bad, ""},
		{"too long a label", "GET / HTTP/1.1\r\nHost: " + strings.Repeat("a", 64) + ".relay.test\r\n\r\n", bad, ""},
		{"userinfo in the target", "GET http://u:p@alice.relay.test/ HTTP/1.1\r\nHost: alice.relay.test\r\n\r\n", bad, ""},
		{"empty userinfo in the target", "GET http://@alice.relay.test/ HTTP/1.1\r\nHost: alice.relay.test\r\n\r\n", bad, ""},
		{"ftp target", "GET ftp://alice.relay.test/ HTTP/1.1\r\nHost: alice.relay.test\r\n\r\n", bad, ""},
		{"target without a host", "GET http:///x HTTP/1.1\r\nHost: alice.relay.test\r\n\r\n", bad, ""},
		{"opaque target", "GET http:alice.relay.test HTTP/1.1\r\nHost: alice.relay.test\r\n\r\n", bad, ""},
		{"bad host in the target", "GET http://a_b.relay.test/ HTTP/1.1\r\nHost: alice.relay.test\r\n\r\n", bad, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s seen
			resolved := ""
			tun := &tunnel{app: s.app}
			w := newSite(t, edge.Options{Resolve: func(host string) edge.Target {
				resolved = host
				return edge.Target{Tunnel: tun, Known: true}
			}}, nil)
			v := w.visit()
			v.say(tt.raw)
			res, _, _ := v.reply("GET")
			if resolved != tt.resolved {
				t.Errorf("looked up %q, want %q", resolved, tt.resolved)
			}
			if tt.resolved == bad {
				if res.StatusCode != 400 || s.req != nil || !v.closed() {
					t.Errorf("status %d, seen %v; want 400, the connection closed and nothing seen", res.StatusCode, s.req != nil)
				}
				return
			}
			if res.StatusCode != 200 || s.req == nil || s.req.Host != tt.seen || s.req.Header.Get("X-Forwarded-Host") != tt.seen {
				t.Errorf("status %d; the app saw %+v", res.StatusCode, s.req)
			}
		})
	}
}

func TestHostHeaderIsReplacedWhereAsked(t *testing.T) {
	var s seen
	tun := &tunnel{app: s.app}
	w := newSite(t, edge.Options{Resolve: func(string) edge.Target {
		return edge.Target{Tunnel: tun, HostHeader: "localhost:3000", Known: true}
	}}, nil)
	w.do(get())
	if s.req.Host != "localhost:3000" || s.req.Header.Get("X-Forwarded-Host") != "alice.relay.test" {
		t.Errorf("Host %q, X-Forwarded-Host %q", s.req.Host, s.req.Header.Get("X-Forwarded-Host"))
	}
}

// Targets pass byte for byte, or not at all (row E34).
func TestTargets(t *testing.T) {
	const bad = ""
	tests := []struct{ method, target, want string }{
		{"GET", "/", "/"},
		{"GET", "/a/b?c=d&e", "/a/b?c=d&e"},
		{"GET", "/?", "/?"},
		{"GET", "//evil.com/x", "//evil.com/x"},
		{"GET", "/a/../../etc/passwd", "/a/../../etc/passwd"},
		{"GET", "/a/%2e%2e/%2E%2e%2fetc", "/a/%2e%2e/%2E%2e%2fetc"},
		{"GET", "/a%00b", "/a%00b"},
		{"GET", `/a\b`, `/a\b`},
		{"GET", "/\xc3\xa9\xff", "/\xc3\xa9\xff"},
		{"GET", "/a;b=c?d;e=%zz&f=%", "/a;b=c?d;e=%zz&f=%"},
		{"GET", `/"<>^{|}` + "`", `/"<>^{|}` + "`"},
		{"GET", "/a//b/./c/", "/a//b/./c/"},
		{"GET", "http://alice.relay.test", "/"},
		{"GET", "http://alice.relay.test?a=b", "/?a=b"},
		{"GET", "http://alice.relay.test/a%2Fb?c//d", "/a%2Fb?c//d"},
		{"OPTIONS", "*", "*"},
		{"get", "/", "/"},
		{"FOO!BAR", "/x", "/x"},
		{"GET", "/" + strings.Repeat("a", 16<<10-1), "/" + strings.Repeat("a", 16<<10-1)},

		{"GET", "*", bad},
		{"GET", "/a#frag", bad},
		{"GET", "/a?b#", bad},
		{"GET", "alice.relay.test", bad},
		{"GET", "/a%zz", bad}, // net/http refuses it
		{"GET", "/\x01", bad},
		{"GET", "/\x7f", bad},
		{"GET", "/a b", bad},
		{"PRI", "*", bad},
	}
	for _, tt := range tests {
		eachWay(t, fmt.Sprintf("%s %.40s", tt.method, tt.target), func(t *testing.T, way string) {
			var s seen
			w := newSite(t, edge.Options{}, s.app)
			if way != "" {
				way += "\r\n"
			}
			res, _ := w.do(tt.method + " " + tt.target + " HTTP/1.1\r\n" + host + way + "\r\n")
			if tt.want == bad {
				if res.StatusCode != 400 || s.req != nil {
					t.Errorf("status %d, seen %v; want 400 and nothing seen", res.StatusCode, s.req != nil)
				}
				return
			}
			if res.StatusCode != 200 || s.req == nil || s.req.RequestURI != tt.want || s.req.Method != tt.method {
				t.Errorf("status %d, the app saw %+v", res.StatusCode, s.req)
			}
		})
	}
}

// What is refused at the door never reaches anybody (rows E12, E17).
func TestRefusedAtTheDoor(t *testing.T) {
	lines := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: v\r\n", i%50)
		}
		return b.String()
	}
	tests := []struct {
		name, raw, code string
		status          int
	}{
		{"TRACE", "TRACE / HTTP/1.1\r\n" + host + "Cookie: secret\r\n\r\n", "method_not_allowed", 405},
		{"CONNECT a host", "CONNECT alice.relay.test:443 HTTP/1.1\r\n" + host + "\r\n", "method_not_allowed", 405},
		{"CONNECT a path", "CONNECT /x HTTP/1.1\r\n" + host + "\r\n", "method_not_allowed", 405},
		{"a target of more than 16 KiB", "GET /" + strings.Repeat("a", 16<<10) + " HTTP/1.1\r\n" + host + "\r\n", "target_too_long", 414},
		{"200 lines", "GET / HTTP/1.1\r\n" + host + lines(200) + "\r\n", "", 200},
		{"201 lines", "GET / HTTP/1.1\r\n" + host + lines(201) + "\r\n", "too_many_headers", 431},
		{"a head of more than 64 KiB", "GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", "", 431},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s seen
			w := newSite(t, edge.Options{}, s.app)
			v := w.visit()
			v.say(tt.raw)
			method, _, _ := strings.Cut(tt.raw, " ")
			res, _, _ := v.reply(method)
			if res.StatusCode != tt.status || res.Header.Get("Relay-Error") != tt.code {
				t.Errorf("got %d %q, want %d %q", res.StatusCode, res.Header.Get("Relay-Error"), tt.status, tt.code)
			}
			if tt.status == 405 && res.Header.Get("Allow") == "" {
				t.Error("no Allow")
			}
			if tt.status != 200 && (s.req != nil || !v.closed()) {
				t.Errorf("seen %v; want nothing seen and the connection closed", s.req != nil)
			}
		})
	}
}

// HTTP/2 has its own ways to say a thing twice.
func TestHTTP2AtTheDoor(t *testing.T) {
	var s seen
	w := newSite(t, edge.Options{}, s.app)
	c, _ := w.h2()
	do := func(change func(*http.Request)) *http.Response {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://alice.relay.test/x?y", nil)
		change(req)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	if res := do(func(*http.Request) {}); res.StatusCode != 200 || res.ProtoMajor != 2 || s.req.RequestURI != "/x?y" || s.req.Host != "alice.relay.test" {
		t.Errorf("got %d, the app saw %+v", res.StatusCode, s.req)
	}
	n := s.n
	if res := do(func(r *http.Request) { r.Host = "a_b.relay.test" }); res.StatusCode != 400 || s.n != n {
		t.Errorf("bad :authority: %d", res.StatusCode)
	}
	if res := do(func(r *http.Request) { r.Method = "TRACE" }); res.StatusCode != 405 || s.n != n {
		t.Errorf("TRACE: %d", res.StatusCode)
	}
	if res := do(func(r *http.Request) { r.Header.Set("X-Forwarded-For", "6.6.6.6") }); res.StatusCode != 200 || s.req.Header.Get("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("spoofed: %d, %q", res.StatusCode, s.req.Header.Get("X-Forwarded-For"))
	}
}
