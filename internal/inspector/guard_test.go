package inspector_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/inspector"
)

// The page can be reached by every site that a browser of this machine shows, so each
// way that a site has is tried.
func TestLocalLetsOnlyItsOwnPageThrough(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{id: "req_1"})
	a := newAPI(t, s)
	replay := "/api/v1/requests/" + id + "/replay"
	for _, tt := range []struct {
		why            string
		method, target string
		header         []string
		want           int
		code           string // of the problem
	}{
		{"a program", "GET", "/api/v1/requests", nil, 200, ""},
		{"by name", "GET", "/api/v1/requests", []string{"Host", "localhost:4040"}, 200, ""},
		{"by IPv6", "GET", "/api/v1/requests", []string{"Host", "[::1]:4040"}, 200, ""},
		{"the page", "GET", "/api/v1/requests", []string{"Sec-Fetch-Site", "same-origin"}, 200, ""},
		{"an address that was typed", "GET", "/", []string{"Sec-Fetch-Site", "none"}, 200, ""},
		{"a link of another site", "GET", "/", []string{"Sec-Fetch-Site", "cross-site"}, 200, ""},

		{"rebound name", "GET", "/", []string{"Host", "evil.example:4040"}, 421, "wrong_host"},
		{"rebound name, API", "GET", "/api/v1/requests", []string{"Host", "evil.example:4040"}, 421, "wrong_host"},
		{"rebound name, says same-origin", "POST", replay, []string{"Host", "evil.example:4040", "Sec-Fetch-Site", "same-origin"}, 421, "wrong_host"},
		{"name below ours", "GET", "/", []string{"Host", "localhost.evil.example:4040"}, 421, "wrong_host"},
		{"address in a name", "GET", "/", []string{"Host", "127.0.0.1.nip.io:4040"}, 421, "wrong_host"},
		{"other port", "GET", "/", []string{"Host", "127.0.0.1:4041"}, 421, "wrong_host"},
		{"no port", "GET", "/", []string{"Host", "127.0.0.1"}, 421, "wrong_host"},
		{"no host", "GET", "/", []string{"Host", ""}, 421, "wrong_host"},
		{"other loopback address", "GET", "/", []string{"Host", "127.0.0.2:4040"}, 421, "wrong_host"},

		{"another site reads", "GET", "/api/v1/requests", []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross_site"},
		{"another port of this machine reads", "GET", "/api/v1/requests", []string{"Sec-Fetch-Site", "same-site"}, 403, "cross_site"},
		{"another site embeds", "GET", "/index.html", []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross_site"},
		{"another site listens", "GET", "/api/v1/requests/stream", []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross_site"},
		{"another site posts", "POST", replay, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403, "cross_site"},
		{"another site posts to the root", "POST", "/", []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross_site"},
		{"an old browser", "POST", replay, []string{"Origin", "https://evil.example"}, 403, "cross_site"},
		{"an old browser, many", "POST", "/api/v1/requests/replay", []string{"Origin", "https://evil.example"}, 403, "cross_site"},
		{"a sandboxed frame", "POST", replay, []string{"Origin", "null"}, 403, "cross_site"},
		{"another port posts", "POST", replay, []string{"Origin", "http://127.0.0.1:3000"}, 403, "cross_site"},
		{"the page posts", "POST", replay, []string{"Origin", "http://127.0.0.1:4040", "Sec-Fetch-Site", "same-origin"}, 200, ""},
		{"an old browser's page posts", "POST", replay, []string{"Origin", "http://127.0.0.1:4040"}, 200, ""},
	} {
		w := a.call(tt.method, tt.target, "", tt.header...)
		if w.Code != tt.want {
			t.Errorf("%s: %s %s %v: got %d %s, want %d", tt.why, tt.method, tt.target, tt.header, w.Code, w.Body, tt.want)
			continue
		}
		if tt.code != "" {
			if f := a.fails(w); f.Code != tt.code {
				t.Errorf("%s: code %q, want %q", tt.why, f.Code, tt.code)
			}
		}
		if refused := tt.code != ""; tt.method == "POST" && refused == (len(s.replays()) > 0) {
			t.Errorf("%s: replayed: %v", tt.why, !refused)
		}
		safe(t, tt.why, w.Header())
	}
}

// safe checks the headers that every answer has, also a refusal.
func safe(t *testing.T, what string, h http.Header) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
	} {
		if got := h.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s is %q, want %q", what, name, got, want)
		}
	}
	csp := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'self'", "object-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("%s: the policy %q has no %s", what, csp, want)
		}
	}
	if strings.Contains(csp, "unsafe-") {
		t.Errorf("%s: the policy %q lets scripts of anybody run", what, csp)
	}
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s: %s lets other sites read", what, name)
		}
	}
}

func TestPort80NeedsNoPort(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, tt := range []struct {
		port, host string
		want       int
	}{
		{"80", "127.0.0.1", 204},
		{"80", "localhost", 204},
		{"80", "[::1]", 204},
		{"80", "evil.example", 421},
		{"4040", "localhost", 421},
	} {
		a := api{t, inspector.Local(tt.port, h)}
		if w := a.call("GET", "/", "", "Host", tt.host); w.Code != tt.want {
			t.Errorf("%s at port %s: %d, want %d", tt.host, tt.port, w.Code, tt.want)
		}
	}
}

func TestMethodsAndPathsThatAreNot(t *testing.T) {
	a := newAPI(t, newSource())
	for _, tt := range []struct {
		method, target string
		want           int
	}{
		{"POST", "/api/v1/requests", 404},
		{"DELETE", "/api/v1/requests/req_1", 404},
		{"PUT", "/api/v1/requests/req_1/replay", 404},
		{"GET", "/api/v1/requests/replay", 404}, // there is no request of this id
		{"GET", "/api/v1/requests/req_1", 404},
		{"GET", "/api/v1/nothing", 404},
		{"GET", "/api/v2/requests", 404},
	} {
		w := a.call(tt.method, tt.target, "")
		if w.Code != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.target, w.Code, tt.want)
			continue
		}
		if f := a.fails(w); f.Code != "not_found" {
			t.Errorf("%s %s: code %q", tt.method, tt.target, f.Code)
		}
	}
	for _, tt := range []struct {
		method, target string
		want           int
	}{
		{"POST", "/", 405},
		{"DELETE", "/index.html", 405},
		{"GET", "/etc/passwd", 404},
		{"GET", "/assets/%2e%2e/%2e%2e/page.go", 404},
		{"HEAD", "/", 200},
	} {
		if w := a.call(tt.method, tt.target, ""); w.Code != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.target, w.Code, tt.want)
		}
	}
}

func TestSessionOfAnAgent(t *testing.T) {
	var got map[string]string
	newAPI(t, newSource()).get("/api/v1/session", &got)
	if len(got) != 1 || got["mode"] != "agent" {
		t.Errorf("got %v", got)
	}
}
