package edge_test

import (
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/server/edge"
)

var requestID = regexp.MustCompile(`^req_[0-9A-Z]{26}$`)

// eachWay runs a test for each way in which a request is read.
func eachWay(t *testing.T, name string, test func(t *testing.T, way string)) {
	for by, line := range ways {
		t.Run(strings.TrimPrefix(name+" by "+by, " "), func(t *testing.T) { test(t, line) })
	}
}

// told is what the edge tells every app of a visitor without anything to add.
func told(more http.Header) http.Header {
	h := http.Header{
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"alice.relay.test"}, "X-Forwarded-Proto": {"http"},
		"Forwarded": {`for=127.0.0.1;host="alice.relay.test";proto=http`},
	}
	for k, vs := range more {
		h[k] = vs
	}
	return h
}

// What an app learns of a visitor comes from the edge and from nobody else (rows
// E15, E16); what is meant for one connection does not pass it.
func TestHeaderHygiene(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  http.Header // beside what is always told
	}{
		{"nothing", nil, nil},
		{"plain", []string{"Accept: a", "x-custom: b", "X-Custom: c"}, http.Header{"Accept": {"a"}, "X-Custom": {"b", "c"}}},
		{"forwarding headers", []string{
			"X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /evil",
			"X-Forwarded-Server: e", "X-Forwarded-Anything: e", "x-forwarded-for: 1.2.3.4", "Forwarded: for=1.2.3.4", "X-Real-IP: 9.9.9.9",
			"True-Client-IP: 5.5.5.5", "CF-Connecting-IP: 5.5.5.5", "X-Client-IP: 5.5.5.5", "X-Cluster-Client-IP: 5.5.5.5", "Fastly-Client-IP: 5.5.5.5",
			"X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-Original-Host: evil", "Client-IP: 5.5.5.5",
		}, nil},
		{"ours", []string{"Relay-Request-Id: mine", "Relay-Error: mine", "Relay-Anything: mine", "relay-user: root"}, nil},
		{"twins with underscores", []string{
			"X_Forwarded_For: 7.7.7.7", "X_Forwarded-Proto: https", "x-forwarded_host: evil", "X_Real_IP: 7.7.7.7", "Relay_Request_Id: mine", "RELAY_USER: root",
			"Content_Length: 5", "Transfer_Encoding: chunked", "Host_: x", "True_Client_IP: 7.7.7.7",
		}, http.Header{"Host_": {"x"}}},
		{"honest underscores", []string{"X_Custom_Header: a"}, http.Header{"X_custom_header": {"a"}}},
		{"hop by hop", []string{
			"Connection: keep-alive, X-Hop", "X-Hop: a", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic x", "TE: gzip",
		}, nil},
		{"TE: trailers", []string{"Connection: TE", "TE: gzip, Trailers;q=0.5, trailers"}, http.Header{"Te": {"trailers"}}},
		{"Connection takes ours away", []string{
			"Connection: close, X-Forwarded-For, x-forwarded-host, X-FORWARDED-PROTO, Forwarded, Relay-Request-Id",
		}, nil},
		{"Connection takes what checks read", []string{
			"Connection: close, Authorization, cookie, Content-Type, Origin, Host", "Authorization: a", "Cookie: b=c", "Content-Type: d", "Origin: e",
		}, http.Header{"Authorization": {"a"}, "Cookie": {"b=c"}, "Content-Type": {"d"}, "Origin": {"e"}}},
		{"upgrade to HTTP/2", []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"}, nil},
		{"upgrade to HTTP/2 by another name", []string{"Connection: Upgrade", "Upgrade: H2C/1"}, nil},
		{"upgrade to TLS", []string{"Connection: Upgrade", "Upgrade: TLS/1.0"}, nil},
		{"upgrade to one of two", []string{"Connection: Upgrade", "Upgrade: websocket, h2c"}, nil},
		{"two upgrades", []string{"Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c", "Sec-WebSocket-Key: x"}, http.Header{"Sec-Websocket-Key": {"x"}}},
		{"upgrade without Connection", []string{"Upgrade: websocket", "Sec-WebSocket-Key: x"}, http.Header{"Sec-Websocket-Key": {"x"}}},
		{"WebSocket without a key", []string{"Connection: Upgrade", "Upgrade: websocket"}, nil},
		{"upgrade above ASCII", []string{"Connection: Upgrade", "Upgrade: we\x80b"}, nil},
		{
			"WebSocket",
			[]string{"Connection: keep-alive, upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: x"},
			http.Header{"Connection": {"Upgrade"}, "Upgrade": {"WebSocket"}, "Sec-Websocket-Key": {"x"}},
		},
		{"other upgrade", []string{"Connection: Upgrade", "Upgrade: foo/1"}, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"foo/1"}}},
	}
	for _, tt := range tests {
		eachWay(t, tt.name, func(t *testing.T, way string) {
			var s seen
			w := newSite(t, edge.Options{}, s.app)
			res, _ := w.do(get(append([]string{way}, tt.lines...)...))
			if res.StatusCode != 200 {
				t.Fatalf("status %d", res.StatusCode)
			}
			id := s.req.Header.Get("Relay-Request-Id")
			if !requestID.MatchString(id) || id != res.Header.Get("Relay-Request-Id") {
				t.Errorf("the app sees the id %q, the visitor %q", id, res.Header.Get("Relay-Request-Id"))
			}
			s.req.Header.Del("Relay-Request-Id")
			if diff := cmp.Diff(told(tt.want), s.req.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

// Only listed proxies are believed, and of what they say only what they have added
// themselves: the right-most hop that is no such proxy.
func TestTrustedProxies(t *testing.T) {
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	tests := []struct {
		name    string
		trusted []netip.Prefix
		lines   []string
		client  string
		proto   string
	}{
		{"nobody is trusted", nil, []string{"X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"}, "127.0.0.1", "http"},
		{"others are trusted", local[1:], []string{"X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"}, "127.0.0.1", "http"},
		{"one hop", local, []string{"X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"}, "1.2.3.4", "https"},
		{"says nothing", local, nil, "127.0.0.1", "http"},
		{"a visitor's lie before it", local, []string{"X-Forwarded-For: 6.6.6.6, 1.2.3.4"}, "1.2.3.4", "http"},
		{"a visitor's lie on another line", local, []string{"X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.2.3.4"}, "1.2.3.4", "http"},
		{"two trusted hops", local, []string{"X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.1.1.1"}, "1.2.3.4", "http"},
		{"all hops are trusted", local, []string{"X-Forwarded-For: 10.1.1.1, 10.2.2.2"}, "10.1.1.1", "http"},
		{"nonsense", local, []string{"X-Forwarded-For: unknown"}, "127.0.0.1", "http"},
		{"nonsense before a hop", local, []string{"X-Forwarded-For: unknown, 10.1.1.1"}, "10.1.1.1", "http"},
		{"nonsense after a hop", local, []string{"X-Forwarded-For: 1.2.3.4, unknown"}, "127.0.0.1", "http"},
		{"IPv6", local, []string{"X-Forwarded-For: 2001:DB8::1"}, "2001:db8::1", "http"},
		{"IPv4 in IPv6", local, []string{"X-Forwarded-For: ::ffff:1.2.3.4"}, "1.2.3.4", "http"},
		{"trusted IPv4 in IPv6", local, []string{"X-Forwarded-For: 1.2.3.4, ::ffff:10.1.1.1"}, "1.2.3.4", "http"},
		{"a zone", local, []string{`X-Forwarded-For: fe80::1%"];proto=https;x="`}, "fe80::1", "http"},
		{"a trusted hop with a zone", local, []string{"X-Forwarded-For: 1.2.3.4, fd00::1%eth0"}, "1.2.3.4", "http"},
		{"other proto", local, []string{"X-Forwarded-Proto: ftp"}, "127.0.0.1", "http"},
		{"proto in capitals", local, []string{"X-Forwarded-Proto: HTTPS"}, "127.0.0.1", "https"},
		{"a visitor's proto before the proxy's", local, []string{"X-Forwarded-Proto: https", "X-Forwarded-Proto: http"}, "127.0.0.1", "http"},
		{"a visitor's proto in the list", local, []string{"X-Forwarded-Proto: https, http"}, "127.0.0.1", "http"},
		{"the proxy's proto in the list", local, []string{"X-Forwarded-Proto: http, https"}, "127.0.0.1", "https"},
		{"other headers", local, []string{"X-Forwarded-Host: evil", "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6;proto=https", "X_Forwarded_For: 6.6.6.6"}, "127.0.0.1", "http"},
	}
	for _, tt := range tests {
		eachWay(t, tt.name, func(t *testing.T, way string) {
			var s seen
			w := newSite(t, edge.Options{Trusted: tt.trusted}, s.app)
			w.do(get(append([]string{way}, tt.lines...)...))
			node := tt.client
			if strings.Contains(node, ":") {
				node = `"[` + node + `]"`
			}
			want := http.Header{
				"X-Forwarded-For": {tt.client}, "X-Forwarded-Host": {"alice.relay.test"}, "X-Forwarded-Proto": {tt.proto},
				"Forwarded": {"for=" + node + `;host="alice.relay.test";proto=` + tt.proto},
			}
			s.req.Header.Del("Relay-Request-Id")
			if diff := cmp.Diff(want, s.req.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}

			// The same address counts where requests are not carried.
			r, _ := http.NewRequest("GET", "/", nil)
			r.RemoteAddr = "127.0.0.1:1000"
			for _, line := range tt.lines {
				k, v, _ := strings.Cut(line, ": ")
				r.Header.Add(k, v)
			}
			if got := edge.New(edge.Options{Trusted: tt.trusted}).ClientAddr(r).String(); got != tt.client {
				t.Errorf("ClientAddr = %s, want %s", got, tt.client)
			}
		})
	}
}

// Cookies of one tunnel must not reach its siblings (row T25).
func TestCookieDomains(t *testing.T) {
	tests := []struct{ set, want string }{
		{"a=b", "a=b"},
		{"a=b; Path=/; HttpOnly", "a=b; Path=/; HttpOnly"},
		{"a=b; Domain=relay.test", "a=b"},
		{"a=b; Domain=.relay.test; Path=/", "a=b; Path=/"},
		{"a=b; Path=/; DOMAIN=RELAY.TEST", "a=b; Path=/"},
		{"a=b;domain = relay.test ;Secure", "a=b;Secure"},
		{"a=b; Domain=test", "a=b"},
		{"a=b; Domain=.test.", "a=b"},
		{"a=b; Domain=relay.test.", "a=b"},
		{"a=b; Domain=", "a=b"},
		{"a=b; Domain", "a=b"},
		{"a=b; Domain=alice.relay.test", "a=b; Domain=alice.relay.test"},
		{"a=b; Domain=.alice.relay.test", "a=b; Domain=.alice.relay.test"},
		{"a=b; Domain=other.example", "a=b; Domain=other.example"},
		{"a=b; Domain=notrelay.test", "a=b; Domain=notrelay.test"},
		{"a=b; Domain=lay.test", "a=b; Domain=lay.test"},
		{"a=b; Domain=alice.relay.test; Domain=relay.test", "a=b; Domain=alice.relay.test"},
		{"a=b; Domain=relay.test; Domain=alice.relay.test", "a=b; Domain=alice.relay.test"},
		{"a=Domain=relay.test; Path=/", "a=Domain=relay.test; Path=/"},
		{"domain=relay.test; Path=/", "domain=relay.test; Path=/"},
		{"a=b; X-Domain=relay.test", "a=b; X-Domain=relay.test"},
	}
	for _, tt := range tests {
		eachWay(t, tt.set, func(t *testing.T, way string) {
			w := newSite(t, edge.Options{}, func(*http.Request) (*http.Response, error) {
				return respond(200, "", "Set-Cookie", "first=1; Domain=alice.relay.test", "Set-Cookie", tt.set, "Set-Cookie", "last=1"), nil
			})
			res, _ := w.do(get(way))
			want := []string{"first=1; Domain=alice.relay.test", tt.want, "last=1"}
			if diff := cmp.Diff(want, res.Header["Set-Cookie"]); diff != "" {
				t.Errorf("Set-Cookie (-want +got):\n%s", diff)
			}
		})
	}
}

// An answer passes as the app gave it, less what was meant for the connection to
// the app and what only the edge says.
func TestAnswerHeaders(t *testing.T) { eachWay(t, "", answerHeaders) }

func answerHeaders(t *testing.T, way string) {
	w := newSite(t, edge.Options{}, func(*http.Request) (*http.Response, error) {
		return respond(200, "ok",
			"X-A", "1", "X-A", "2", "x-b", " 3 ", "Server", "app", "Date", "Mon, 01 Jan 2024 00:00:00 GMT", "Etag", `"x"`,
			"Connection", "keep-alive, X-Hop, Set-Cookie, Content-Length", "X-Hop", "a", "Keep-Alive", "timeout=5", "Proxy-Connection", "x",
			"Upgrade", "h2c", "Relay-Error", "forged", "Relay-Request-Id", "forged", "Set-Cookie", "a=b"), nil
	})
	res, body := w.do(get(way))
	if res.StatusCode != 200 || body != "ok" || !requestID.MatchString(res.Header.Get("Relay-Request-Id")) {
		t.Errorf("got %d %q, id %q", res.StatusCode, body, res.Header.Get("Relay-Request-Id"))
	}
	res.Header.Del("Relay-Request-Id")
	want := http.Header{
		"X-A": {"1", "2"}, "X-B": {"3"}, "Server": {"app"}, "Date": {"Mon, 01 Jan 2024 00:00:00 GMT"}, "Etag": {`"x"`}, "Set-Cookie": {"a=b"},
		"Content-Length": {"2"},
	}
	if diff := cmp.Diff(want, res.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

func TestRequestIdsAreNeverTheSame(t *testing.T) {
	var s seen
	w := newSite(t, edge.Options{}, s.app)
	ids := map[string]bool{}
	last := ""
	v := w.visit()
	for range 500 {
		v.say(get())
		res, _, _ := v.reply("GET")
		id := res.Header.Get("Relay-Request-Id")
		if ids[id] || id <= last {
			t.Fatalf("id %s after %s", id, last)
		}
		ids[id], last = true, id
	}
}
