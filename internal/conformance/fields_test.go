package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Methods, targets and header fields: what goes in comes out, byte for byte, as far as HTTP lets an intermediary.

func TestEveryMethodPasses(t *testing.T) {
	book := newLedger()
	overLanes(t, book.open, func(t *testing.T, l *lane) {
		for _, method := range []string{
			"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PROPFIND", "PROPPATCH", "MKCOL",
			"COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "PURGE", "LINK", "UNLINK", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "BREW", "get", "x",
			"VERSION-CONTROL", "A!#$%&'*+-.^_`|~9",
		} {
			for _, content := range []string{"", "a body"} {
				var body io.Reader
				if content != "" {
					body = strings.NewReader(content)
				}
				resp := l.do(t, l.request(t, method, "/m", body))
				b, err := io.ReadAll(resp.Body)
				if resp.StatusCode != 200 || err != nil || method != "HEAD" && string(b) != "app saw /m\n" {
					t.Errorf("%s: %d %q, %v", method, resp.StatusCode, b, err)
				}
				seen := book.take()
				if len(seen) != 1 || seen[0].method != method || string(seen[0].body) != content || seen[0].fault != "" {
					t.Errorf("%s with %q: the app saw %v", method, content, seen)
				}
			}
		}
	})
}

// A request without a body must not grow one: some apps answer 411 or wait.
func TestRequestsWithoutBodyStayWithout(t *testing.T) {
	book := newLedger()
	overLanes(t, book.open, func(t *testing.T, l *lane) {
		for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND"} {
			l.do(t, l.request(t, method, "/", nil)).Body.Close()
			for _, s := range book.take() {
				if s.value("Transfer-Encoding") != "" || s.value("Content-Length") != "" {
					t.Errorf("%s without a body: the app saw %v", method, s)
				}
			}
		}
		// A POST of nothing keeps saying so.
		req := l.request(t, "POST", "/", http0{})
		req.ContentLength = 0
		req.Body = nil
		l.do(t, req).Body.Close()
		for _, s := range book.take() {
			if s.value("Transfer-Encoding") != "" || s.value("Content-Length") != "0" {
				t.Errorf("POST of 0 bytes: the app saw %v", s)
			}
		}
	})
}

type http0 struct{}

func (http0) Read([]byte) (int, error) { return 0, io.EOF }

// A length that the visitor told is told to the app; one that it did not tell is not made up by waiting for the end.
func TestFramingIsKept(t *testing.T) {
	book := newLedger()
	overLanes(t, book.open, func(t *testing.T, l *lane) {
		l.do(t, l.request(t, "POST", "/", strings.NewReader(string(pattern(100_000))))).Body.Close()
		for _, s := range book.take() {
			if s.value("Content-Length") != "100000" {
				t.Errorf("known length: the app saw %.600q", s.raw)
			}
		}
		l.do(t, l.request(t, "POST", "/", io.MultiReader(strings.NewReader("abc")))).Body.Close()
		for _, s := range book.take() {
			if s.value("Transfer-Encoding") != "chunked" || string(s.body) != "abc" {
				t.Errorf("unknown length: the app saw %v", s)
			}
		}
	})
}

var rawTargets = []string{
	"/", "//x", "//evil.com/x", "/a//b///c", "/..", "/../../etc/passwd", "/a/./b/../c", "/%2e%2e/%2E%2E", "/%2F%2f", "/%00", "/a%00b",
	`/a\b`, `/\..\`, "/a;b=c;d", "/a,b", "/:80", "/@host", "/~u", "/a+b", "/a%20b", "/a%25b", "/%7Euser", "/%C3%A9", "/\xc3\xa9", "/\xe9\xff", "/%e2%82%ac",
	"/a|b", `/a"b`, "/<script>", "/{a}", "/[a]", "/a^b", "/a`b", "/?", "/a?", "/??", "/?a=1;b=2", "/?a=%zz&b=%", "/?a=%", "/?a=b&a=c&&=&b", "/?q=a+b%20c",
	"/?url=http://x/y?z#", "/?\xc3\xa9=\xff", `/?a="<>\^{}|`, "/?a=/../..", "/a?b?c=d/e", "/a=b&c", "/.well-known/x", "/%", "/a%zz", "/%u0041",
	"/" + strings.Repeat("long/", 1500) + "?" + strings.Repeat("a=b&", 1500),
}

func TestTargetsPassByteForByte(t *testing.T) {
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		for _, target := range rawTargets {
			if strings.HasSuffix(target, "#") {
				continue // judged in the battery: refused
			}
			w := r.wire(t)
			w.ask(r.host, "GET "+target)
			a := w.mustAnswer(t, "GET")
			w.Close()
			path, _, _ := strings.Cut(target, "?")
			if strings.Contains(path, "%z") || path == "/%" || strings.Contains(path, "%u") {
				if a.StatusCode == 400 { // not a URI at all: refusing is as right as passing, changing is not
					continue
				}
			}
			seen := book.take()
			if a.StatusCode != 200 || len(seen) != 1 || seen[0].target != target {
				t.Errorf("%.100q: %d, the app saw %.300v", target, a.StatusCode, seen)
			}
		}
	})
}

// The same from h2c, with those that a client library lets through.
func TestTargetsPassByteForByteFromH2(t *testing.T) {
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		if standIn == "direct" {
			t.Skip("the ledger speaks HTTP/1.1 alone")
		}
		l := r.lane(t, true)
		for _, target := range []string{"/a/../b", "/%2e%2e/x", "/%00", "/a;b", "/?a=1;b=2&c=%zz", "/?", "/?a=%", "/a//b", `/a\b`, "/%C3%A9", "/a+b?c+d"} {
			resp := l.do(t, l.request(t, "GET", target, nil))
			resp.Body.Close()
			seen := book.take()
			if resp.StatusCode != 200 || len(seen) != 1 || seen[0].target != target {
				t.Errorf("%.100q: %d, the app saw %.300v", target, resp.StatusCode, seen)
			}
		}
	})
}

// Odd but legal request fields: repetition in order per name, empty values, latin-1, inner space, long cookies.
func TestRequestFieldsPass(t *testing.T) {
	long8k := "session=" + strings.Repeat("0123456789abcdef", 512)
	fields := [][2]string{
		{"X-Repeat", "one"},
		{"X-Other", "between"},
		{"X-Repeat", "two"},
		{"X-Repeat", ""},
		{"X-Repeat", "one"},
		{"X-Empty", ""},
		{"X-Latin", "caf\xe9 \xff\x80"},
		{"X-Utf", "é€😀"},
		{"X-Inner", "a  b\tc"},
		{"X-Quotes", `"a, b"; c="d\"e"`},
		{"X-Comma", "a, b,c , d"},
		{"Cookie", long8k},
		{"Accept", "text/html;q=0.9, */*;q=0.1"},
		{"Accept-Encoding", "br;q=1.0, gzip;q=0.8, *;q=0.1"},
		{"Authorization", "Basic dTpw"},
		{"User-Agent", ""},
		{"If-None-Match", `W/"a", "b"`},
		{"Range", "bytes=0-1"},
		{"Referer", "http://x/y?z"},
		{"Origin", "null"},
		{"Date", "Tue, 15 Nov 1994 08:12:31 GMT"},
		{"Via", "1.0 fred"},
		{"Cache-Control", "no-cache"},
		{"Pragma", "no-cache"},
		{"X-" + strings.Repeat("Long", 100), "x"},
		{"X.Dots_and-all!#$%&'*+^`|~", "legal name"},
		{"Max-Forwards", "10"},
		{"Content-Type", "text/plain; charset=\"x\""},
		{"Content-Language", "de"},
		{"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		{"Early-Data", "1"},
		{"Upgrade-Insecure-Requests", "1"},
	}
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		var lines []string
		for _, f := range fields {
			lines = append(lines, f[0]+": "+f[1])
		}
		w := r.wire(t)
		w.ask(r.host, "GET /fields", lines...)
		if a := w.mustAnswer(t, "GET"); a.StatusCode != 200 {
			t.Fatalf("answer %d %q", a.StatusCode, a.body)
		}
		seen := book.take()
		if len(seen) != 1 || seen[0].fault != "" {
			t.Fatalf("the app saw %v", seen)
		}
		checkFields(t, fields, seen[0].fields)
		// And nothing that nobody sent, but what is documented.
		for _, f := range seen[0].fields {
			known := slices.ContainsFunc(fields, func(g [2]string) bool { return strings.EqualFold(f[0], g[0]) })
			added := slices.ContainsFunc(append(addedToRequests, "Host"), func(a string) bool { return strings.EqualFold(f[0], a) })
			if !known && !added {
				t.Errorf("the app saw %q, which nobody sent", f)
			}
		}
	})
}

func checkFields(t *testing.T, want, got [][2]string) {
	t.Helper()
	values := func(fields [][2]string, name string) (vv []string) {
		for _, f := range fields {
			if strings.EqualFold(f[0], name) {
				vv = append(vv, f[1])
			}
		}
		return vv
	}
	for _, f := range want {
		if a, b := values(want, f[0]), values(got, f[0]); !slices.Equal(a, b) {
			t.Errorf("%s: sent %.200q, arrived %.200q", f[0], a, b)
		}
	}
}

// Cookies may come split over h2; an HTTP/1.1 app gets one line (RFC 9113 8.2.3).
func TestCookieCrumbsAreJoined(t *testing.T) {
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		if standIn == "direct" {
			t.Skip("the ledger speaks HTTP/1.1 alone")
		}
		l := r.lane(t, true)
		req := l.request(t, "GET", "/", nil)
		req.Header.Set("Cookie", "a=1; b=2; c=3")
		l.do(t, req)
		for _, s := range book.take() {
			if got := s.values("Cookie"); len(got) != 1 || got[0] != "a=1; b=2; c=3" {
				t.Errorf("the app saw Cookie %q", got)
			}
		}
	})
}

// Answers: every field the app sends, as often and in the order it sends it, and nothing made up but the request id.
func TestResponseFieldsPass(t *testing.T) {
	fields := [][2]string{
		{"Content-Type", "text/html"},
		{"Set-Cookie", "a=1; Path=/; HttpOnly"},
		{"X-Other", "between"},
		{"Set-Cookie", "b=2"},
		{"Set-Cookie", "a=3; Secure"},
		{"Vary", "Accept"},
		{"Vary", "Cookie"},
		{"X-Empty", ""},
		{"X-Latin", "caf\xe9 \xff\x80"},
		{"X-Utf", "é€😀"},
		{"X-Inner", "a  b\tc"},
		{"WWW-Authenticate", `Basic realm="a"`},
		{"WWW-Authenticate", `Digest realm="b", nonce="c"`},
		{"Link", "</a>; rel=x, </b>; rel=y"},
		{"Link", "</c>"},
		{"ETag", `W/"x"`},
		{"Location", "http://other.example/%zz?a;b"},
		{"Server", "app/1.0"},
		{"Date", "Tue, 15 Nov 1994 08:12:31 GMT"},
		{"Last-Modified", "yesterday"},
		{"Cache-Control", "no-store"},
		{"Content-Encoding", "x-odd"},
		{"Strict-Transport-Security", "max-age=1"},
		{"Content-Security-Policy", "default-src 'self'"},
		{"Access-Control-Allow-Origin", "*"},
		{"Refresh", "0; url=/x"},
		{"X-Long", strings.Repeat("v", 30_000)},
		{"Retry-After", "1"},
		{"Via", "1.1 app"},
		{"Alt-Svc", "clear"},
		{"Age", "1"},
		{"X.Dots_and-all!#$%&'*+^`|~", "legal"},
	}
	app := func(c net.Conn) {
		r := bufio.NewReader(c)
		var mu sync.Mutex
		for readRequest(r, func(*sighting) {}, &mu) != nil {
			var b strings.Builder
			b.WriteString("HTTP/1.1 200 Fine With Me\r\n")
			for _, f := range fields {
				fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
			}
			b.WriteString("Content-Length: 2\r\n\r\nok")
			io.WriteString(c, b.String())
		}
	}
	overRoads(t, bytesApp(app), func(t *testing.T, r *road) {
		w := r.wire(t)
		w.ask(r.host, "GET /")
		head := w.head(t)
		lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
		if !strings.HasPrefix(lines[0], "HTTP/1.1 200") {
			t.Errorf("status line %q", lines[0])
		}
		var got [][2]string
		for _, line := range lines[1:] {
			name, value, _ := strings.Cut(line, ":")
			got = append(got, [2]string{name, strings.Trim(value, " \t")})
		}
		checkFields(t, append(fields, [2]string{"Content-Length", "2"}), got)
		for _, f := range got {
			known := slices.ContainsFunc(fields, func(g [2]string) bool { return strings.EqualFold(f[0], g[0]) })
			if !known && !strings.EqualFold(f[0], "Content-Length") && !strings.EqualFold(f[0], "Relay-Request-Id") {
				t.Errorf("the visitor got %q, which the app did not send", f)
			}
		}
	})
}

// What an app says without a type or a date keeps saying nothing: a guessed type is an alteration.
func TestNothingIsGuessedIntoAnAnswer(t *testing.T) {
	app := func(c net.Conn) {
		r := bufio.NewReader(c)
		var mu sync.Mutex
		for readRequest(r, func(*sighting) {}, &mu) != nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n<html>guess me</html>")
		}
	}
	overLanes(t, bytesApp(app), func(t *testing.T, l *lane) {
		resp, body := l.get(t, "/")
		if body != "<html>guess me</html>" || resp.Header.Get("Content-Type") != "" || resp.Header.Get("Server") != "" || resp.Header.Get("X-Content-Type-Options") != "" {
			t.Errorf("%q with %v", body, resp.Header)
		}
	})
}

// A cookie for the whole domain would reach every sibling name; it is cut back to the name that set it.
func TestCookieForSiblingNamesIsCutBack(t *testing.T) {
	app := func(c net.Conn) {
		r := bufio.NewReader(c)
		var mu sync.Mutex
		for readRequest(r, func(*sighting) {}, &mu) != nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Domain=localhost; Path=/x\r\nSet-Cookie: b=2; domain=.LocalHost\r\n"+
				"Set-Cookie: c=3; Domain=alice.localhost\r\nSet-Cookie: d=4; Domain=other.example\r\nContent-Length: 0\r\n\r\n")
		}
	}
	overLanes(t, bytesApp(app), func(t *testing.T, l *lane) {
		needsBinary(t)
		resp, _ := l.get(t, "/")
		cookies := resp.Header.Values("Set-Cookie")
		if len(cookies) != 4 {
			t.Fatalf("Set-Cookie %q", cookies)
		}
		for _, c := range cookies[:2] {
			if strings.Contains(strings.ToLower(c), "domain=") {
				t.Errorf("Set-Cookie %q covers sibling names", c)
			}
		}
		if !strings.HasPrefix(cookies[0], "a=1") || !strings.Contains(cookies[0], "Path=/x") || !strings.Contains(cookies[2], "lice.localhost") {
			t.Errorf("more was cut than the domain: %q", cookies)
		}
	})
}
