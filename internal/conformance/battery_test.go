package conformance

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// The battery is 118 raw requests (the probe edge_battery.py) and what must become of each, by rows E01 to E34, and further down
// some more of our own. A case is judged from both ends: what the visitor is told, and what the app was made to see.

const (
	hostLine = "Host: alice.localhost\r\n"
	postLine = "POST /p HTTP/1.1\r\n"
	smuggled = "GET /smuggled HTTP/1.1\r\n" + hostLine + "\r\n"
)

type rawCase struct {
	name string
	raw  string
	verdict
}

// A verdict is what may become of a raw request.
type verdict struct {
	check    func(*sighting) error // of the one request that the app sees; nil: it must not be served
	statuses []int                 // of a refusal
	closes   bool                  // also when it is served, the connection ends with the answer
	partial  bool                  // the app may have seen the beginning of a refused request, never a whole one
	stays    bool                  // a refusal may leave the connection open: its framing is beyond doubt
	next     string                // the raw bytes hold a second, honest request with this target
	silent   bool                  // no answer in HTTP/1.1 is an answer too
}

func served(check func(*sighting) error) verdict { return verdict{check: check} }

// refused: this status, the connection closed, and nothing at all reaches the app.
func refused(statuses ...int) verdict { return verdict{statuses: statuses} }

// broken: refused in the middle of the body, when the app may have seen the head.
func broken(statuses ...int) verdict { return verdict{statuses: statuses, partial: true} }

// unknown: refused for its name, which says nothing against the connection.
func unknown(statuses ...int) verdict { return verdict{statuses: statuses, stays: true} }

func closing(v verdict) verdict                 { v.closes = true; return v }
func silent(v verdict) verdict                  { v.silent = true; return v }
func followed(target string, v verdict) verdict { v.next = target; return v }
func either(yes, no verdict) verdict {
	yes.statuses, yes.partial, yes.stays = no.statuses, no.partial, no.stays
	return yes
}

func all(checks ...func(*sighting) error) func(*sighting) error {
	return func(s *sighting) (err error) {
		for _, check := range checks {
			err = errors.Join(err, check(s))
		}
		return err
	}
}

func is(method, target string) func(*sighting) error {
	return func(s *sighting) error {
		if s.method != method || s.target != target {
			return fmt.Errorf("the app saw %q %q, want %q %q", s.method, s.target, method, target)
		}
		return nil
	}
}

func body(want string) func(*sighting) error {
	return func(s *sighting) error {
		if string(s.body) != want {
			return fmt.Errorf("the app saw the body %.200q, want %.200q", s.body, want)
		}
		return nil
	}
}

func field(name, want string) func(*sighting) error { return fieldIn(name, want) }

func fieldIn(name string, want ...string) func(*sighting) error {
	return func(s *sighting) error {
		if got := s.value(name); !slices.Contains(want, got) {
			return fmt.Errorf("the app saw %s %.200q, want one of %.200q", name, got, want)
		}
		return nil
	}
}

func absent(names ...string) func(*sighting) error {
	return func(s *sighting) (err error) {
		for _, name := range names {
			if got := s.values(name); len(got) > 0 {
				err = errors.Join(err, fmt.Errorf("the app saw %s %q, want none", name, got))
			}
		}
		return err
	}
}

// nowhere: what a visitor made up must not be in any field.
func nowhere(lies ...string) func(*sighting) error {
	return func(s *sighting) (err error) {
		for _, f := range s.fields {
			for _, lie := range lies {
				if strings.Contains(f[1], lie) {
					err = errors.Join(err, fmt.Errorf("the app saw the made-up %s: %s", f[0], f[1]))
				}
			}
		}
		return err
	}
}

func onlyTrailers(names ...string) func(*sighting) error {
	return func(s *sighting) error {
		for _, f := range s.trailers {
			if !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f[0]) }) {
				return fmt.Errorf("the app saw the trailer %s: %s", f[0], f[1])
			}
		}
		return nil
	}
}

func ranges(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf("%d-", i)
	}
	return strings.Join(parts, ",")
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d:b\r\n", i)
	}
	return b.String()
}

var battery = []rawCase{
	{
		"baseline", "GET / HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("GET", "/")),
	},
	{
		"CL.TE both", postLine + hostLine + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
		either(closing(served(body(""))), refused(400)),
	},
	{
		"TE.CL both + smuggled", postLine + hostLine + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + smuggled,
		either(closing(served(body("hello"))), refused(400)),
	},
	{
		"CL dup same", postLine + hostLine + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		either(served(body("hello")), refused(400)),
	},
	{
		"CL dup diff", postLine + hostLine + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		refused(400),
	},
	{
		`CL "5, 5"`, postLine + hostLine + "Content-Length: 5, 5\r\n\r\nhello",
		refused(400),
	},
	{
		"CL +5", postLine + hostLine + "Content-Length: +5\r\n\r\nhello",
		refused(400),
	},
	{
		"CL -1", postLine + hostLine + "Content-Length: -1\r\n\r\nhello",
		refused(400),
	},
	{
		"CL 0x5", postLine + hostLine + "Content-Length: 0x5\r\n\r\nhello",
		refused(400),
	},
	{
		"CL 5_0", postLine + hostLine + "Content-Length: 5_0\r\n\r\nhello",
		refused(400),
	},
	{
		"CL huge overflow", postLine + hostLine + "Content-Length: 99999999999999999999\r\n\r\nhello",
		refused(400),
	},
	{
		"CL empty", postLine + hostLine + "Content-Length: \r\n\r\nhello",
		refused(400),
	},
	{
		"CL space inside", postLine + hostLine + "Content-Length: 1 0\r\n\r\nhello",
		refused(400),
	},
	{
		"TE xchunked", postLine + hostLine + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		refused(400, 501),
	},
	{
		"TE chunked, chunked", postLine + hostLine + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		refused(400, 501),
	},
	{
		"TE identity", postLine + hostLine + "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
		refused(400, 501),
	},
	{
		"TE chunked, identity", postLine + hostLine + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		refused(400, 501),
	},
	{
		"TE dup", postLine + hostLine + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		refused(400, 501),
	},
	{
		"TE dup cow", postLine + hostLine + "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		refused(400, 501),
	},
	{
		"TE gzip, chunked", postLine + hostLine + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		refused(400, 501),
	},
	{
		`TE \x0bchunked`, postLine + hostLine + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		refused(400, 501),
	},
	{
		`TE chunked\x0b + CL`, postLine + hostLine + "Transfer-Encoding: chunked\x0b\r\nContent-Length: 5\r\n\r\nhello",
		refused(400, 501),
	},
	{
		"TE tab", postLine + hostLine + "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
		served(body("")),
	},
	{
		"TE space before colon", postLine + hostLine + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		refused(400),
	},
	{
		"TE leading space line(first hdr)", postLine + " Transfer-Encoding: chunked\r\n" + hostLine + "\r\n0\r\n\r\n",
		refused(400),
	},
	{
		"TE obs-fold", postLine + hostLine + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		either(served(body("")), refused(400)),
	},
	{
		"hdr obs-fold", "GET / HTTP/1.1\r\n" + hostLine + "X-A: b\r\n\tc\r\n\r\n",
		either(served(field("X-A", "b c")), refused(400)),
	},
	{
		"TE via underscore", postLine + hostLine + "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
		either(served(body("hello")), refused(400)),
	},
	{
		"TE in HTTP/1.0", "POST /p HTTP/1.0\r\n" + hostLine + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		either(closing(served(body(""))), refused(400, 501)),
	},
	{
		"TE quoted", postLine + hostLine + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
		refused(400, 501),
	},
	{
		`TE x\nTE smash`, postLine + hostLine + "X: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		either(served(all(body(""), field("X", "x"))), refused(400)),
	},
	{
		`TE x\rTE smash`, postLine + hostLine + "X: x\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
		refused(400),
	},
	{
		"bare LF all lines", "GET / HTTP/1.1\nHost: alice.localhost\n\n",
		either(served(is("GET", "/")), refused(400)),
	},
	{
		"bare LF chunk size", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
		broken(400),
	},
	{
		"bare LF chunk ext (Funky)", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n",
		broken(400),
	},
	{
		"bare CR in chunk ext", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n",
		broken(400),
	},
	{
		"chunk size 0x5", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
		broken(400),
	},
	{
		"chunk size neg", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
		broken(400),
	},
	{
		"chunk size leading space", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
		broken(400),
	},
	{
		"chunk size trailing space", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
		either(served(body("hello")), broken(400)),
	},
	{
		"chunk size 17 hex", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n00000000000000005\r\nhello\r\n0\r\n\r\n",
		broken(400),
	},
	{
		"chunk missing CRLF after data", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
		broken(400),
	},
	{
		"chunk data XX instead CRLF", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
		broken(400),
	},
	{
		"chunk ext 3 MB ratio", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("a", 4000)+"\r\nx\r\n", 700) + "0\r\n\r\n",
		broken(400, 413),
	},
	{
		"trailer section CL", postLine + hostLine + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
		broken(400),
	},
	{
		"trailer Authorization", postLine + hostLine + "Transfer-Encoding: chunked\r\nTrailer: X-Evil, Authorization\r\n\r\n0\r\nX-Evil: 1\r\nAuthorization: x\r\n\r\n",
		either(served(onlyTrailers("X-Evil")), broken(400)),
	},
	{
		"trailer undeclared", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Evil: 1\r\n\r\n",
		either(served(onlyTrailers()), broken(400)),
	},
	{
		"GET with CL body + pipelined", "GET / HTTP/1.1\r\n" + hostLine + "Content-Length: 5\r\n\r\nhello" + smuggled,
		followed("/smuggled", served(all(is("GET", "/"), body("hello")))),
	},
	{
		"HEAD with CL body (CL.0)", "HEAD / HTTP/1.1\r\n" + hostLine + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(smuggled)) + smuggled,
		served(all(is("HEAD", "/"), body(smuggled))),
	},
	{
		"dup Host", "GET / HTTP/1.1\r\n" + hostLine + "Host: bob.localhost\r\n\r\n",
		refused(400),
	},
	{
		"no Host 1.1", "GET / HTTP/1.1\r\n\r\n",
		refused(400),
	},
	{
		"no Host 1.0", "GET / HTTP/1.0\r\n\r\n",
		refused(400),
	},
	{
		"empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n",
		refused(400),
	},
	{
		"abs-form differs", "GET http://bob.localhost/x HTTP/1.1\r\n" + hostLine + "\r\n",
		unknown(404),
	},
	{
		"abs-form ftp", "GET ftp://bob.localhost/x HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(400),
	},
	{
		"abs-form userinfo", "GET http://u:p@bob.localhost/x HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(400),
	},
	{
		"Host userinfo", "GET / HTTP/1.1\r\nHost: x@alice.localhost\r\n\r\n",
		refused(400),
	},
	{
		"Host path", "GET / HTTP/1.1\r\nHost: alice.localhost/evil\r\n\r\n",
		refused(400),
	},
	{
		"Host space", "GET / HTTP/1.1\r\nHost: alice.localhost b\r\n\r\n",
		refused(400),
	},
	{
		"Host upper+dot", "GET / HTTP/1.1\r\nHost: aLiCe.LocalHost.\r\n\r\n",
		served(is("GET", "/")),
	},
	{
		"Host port junk", "GET / HTTP/1.1\r\nHost: alice.localhost:80abc\r\n\r\n",
		refused(400),
	},
	{
		"Host %00", "GET / HTTP/1.1\r\nHost: alice.localhost%00.evil\r\n\r\n",
		refused(400),
	},
	{
		"Host comma", "GET / HTTP/1.1\r\nHost: alice.localhost,bob.localhost\r\n\r\n",
		refused(400),
	},
	{
		"Host utf8", "GET / HTTP/1.1\r\nHost: \xc3\xa9.relay.test\r\n\r\n",
		refused(400),
	},
	{
		"Host 0x80", "GET / HTTP/1.1\r\nHost: \x80.relay.test\r\n\r\n",
		refused(400),
	},
	{
		"Host leading space line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
		refused(400),
	},
	{
		"X-Forwarded-For spoof", "GET / HTTP/1.1\r\n" + hostLine + "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 9.9.9.9\r\nX_Forwarded_For: 7.7.7.7\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Server: e\r\nTrue-Client-IP: 5.5.5.5\r\n\r\n",
		either(served(nowhere("1.2.3.4", "evil", "9.9.9.9", "7.7.7.7", "5.5.5.5")), refused(400)),
	},
	{
		"Connection strips XFF", "GET / HTTP/1.1\r\n" + hostLine + "Connection: close, X-Forwarded-For, X-Forwarded-Host, x-forwarded-proto, Authorization, Cookie\r\nAuthorization: a\r\nCookie: b=c\r\n\r\n",
		closing(served(all(field("Authorization", "a"), field("Cookie", "b=c")))),
	},
	{
		"Upgrade h2c", "GET / HTTP/1.1\r\n" + hostLine + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
		served(absent("Upgrade", "HTTP2-Settings", "Connection")),
	},
	{
		"Upgrade weird", "GET / HTTP/1.1\r\n" + hostLine + "Connection: Upgrade\r\nUpgrade: foo/1\r\n\r\n",
		served(is("GET", "/")),
	},
	{
		"Upgrade non-ascii", "GET / HTTP/1.1\r\n" + hostLine + "Connection: Upgrade\r\nUpgrade: we\x80b\r\n\r\n",
		either(served(absent("Upgrade")), refused(400)),
	},
	{
		"WS bad version", "GET / HTTP/1.1\r\n" + hostLine + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\nSec-WebSocket-Key: x\r\n\r\n" + smuggled,
		followed("/smuggled", either(served(is("GET", "/")), refused(400, 426))),
	},
	{
		"TRACE", "TRACE / HTTP/1.1\r\n" + hostLine + "Cookie: secret\r\n\r\n",
		refused(405),
	},
	{
		"CONNECT host", "CONNECT alice.localhost:443 HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(405),
	},
	{
		"CONNECT path", "CONNECT /x HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(405),
	},
	{
		"method lowercase", "get / HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("get", "/")),
	},
	{
		"method odd", "FOO!BAR / HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("FOO!BAR", "/")),
	},
	{
		"method bad char", "GE(T / HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(400),
	},
	{
		"PRI preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		silent(refused(400, 405, 505)),
	},
	{
		"HTTP/1.2", "GET / HTTP/1.2\r\n" + hostLine + "\r\n",
		either(served(is("GET", "/")), refused(400, 505)),
	},
	{
		"HTTP/2.0 on h1", "GET / HTTP/2.0\r\n" + hostLine + "\r\n",
		refused(400, 505),
	},
	{
		"HTTP/0.9", "GET /\r\n\r\n",
		refused(400),
	},
	{
		"HTTP/1.1 extra sp", "GET  / HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(400),
	},
	{
		"URI with space", "GET /a b HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(400),
	},
	{
		"URI fragment", "GET /a#frag HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(400),
	},
	{
		"URI //evil", "GET //evil.com/x HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("GET", "//evil.com/x")),
	},
	{
		"URI dotdot", "GET /a/../../etc/passwd HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("GET", "/a/../../etc/passwd")),
	},
	{
		"URI enc dotdot", "GET /a/%2e%2e/%2e%2e%2fetc HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("GET", "/a/%2e%2e/%2e%2e%2fetc")),
	},
	{
		"URI %00", "GET /a%00b HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("GET", "/a%00b")),
	},
	{
		"URI bad pct", "GET /a%zz HTTP/1.1\r\n" + hostLine + "\r\n",
		either(served(is("GET", "/a%zz")), refused(400)),
	},
	{
		"URI backslash", "GET /a\\b HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("GET", `/a\b`)),
	},
	{
		"URI raw utf8", "GET /\xc3\xa9 HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("GET", "/\xc3\xa9")),
	},
	{
		"URI 0x01", "GET /\x01 HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(400),
	},
	{
		"URI * GET", "GET * HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(400),
	},
	{
		"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("OPTIONS", "*")),
	},
	{
		"query semicolon", "GET /?a=1;b=2&c=%zz HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("GET", "/?a=1;b=2&c=%zz")),
	},
	{
		"NUL in value", "GET / HTTP/1.1\r\n" + hostLine + "X: a\x00b\r\n\r\n",
		refused(400),
	},
	{
		"0x7f/ctl in value", "GET / HTTP/1.1\r\n" + hostLine + "X: a\x01b\r\n\r\n",
		refused(400),
	},
	{
		"bare CR in value", "GET / HTTP/1.1\r\n" + hostLine + "X: a\rb\r\n\r\n",
		refused(400),
	},
	{
		"hdr name space", "GET / HTTP/1.1\r\n" + hostLine + "X Y: a\r\n\r\n",
		refused(400),
	},
	{
		"hdr empty name", "GET / HTTP/1.1\r\n" + hostLine + ": a\r\n\r\n",
		refused(400),
	},
	{
		"hdr no colon", "GET / HTTP/1.1\r\n" + hostLine + "XY\r\n\r\n",
		refused(400),
	},
	{
		"hdr non-ascii name", "GET / HTTP/1.1\r\n" + hostLine + "X\xc3\xa9: a\r\n\r\n",
		refused(400),
	},
	{
		"hdr latin1 value", "GET / HTTP/1.1\r\n" + hostLine + "X: \xe9\xff\r\n\r\n",
		served(field("X", "\xe9\xff")),
	},
	{
		"leading CRLF", "\r\n\r\nGET / HTTP/1.1\r\n" + hostLine + "\r\n",
		either(served(is("GET", "/")), refused(400)),
	},
	{
		"Expect 100", postLine + hostLine + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
		served(body("hello")),
	},
	{
		"Expect junk", postLine + hostLine + "Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello",
		refused(417),
	},
	{
		"Expect 100 CL0", postLine + hostLine + "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
		served(body("")),
	},
	{
		"5000 headers 60KB", "GET / HTTP/1.1\r\n" + hostLine + manyFields(5000) + "\r\n",
		refused(431),
	},
	{
		"900KB one hdr", "GET / HTTP/1.1\r\n" + hostLine + "X: " + strings.Repeat("a", 900_000) + "\r\n\r\n",
		refused(431),
	},
	{
		"1.2MB hdr", "GET / HTTP/1.1\r\n" + hostLine + "X: " + strings.Repeat("a", 1_200_000) + "\r\n\r\n",
		refused(431),
	},
	{
		"URI 100KB", "GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\n" + hostLine + "\r\n",
		refused(414, 431),
	},
	{
		"Transfer-Encoding in Connection", postLine + hostLine + "Connection: Transfer-Encoding, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		either(served(body("hello")), refused(400)),
	},
	{
		"Content-Length in Connection", postLine + hostLine + "Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
		either(served(body("hello")), refused(400)),
	},
	{
		"Range dos", "GET / HTTP/1.1\r\n" + hostLine + "Range: bytes=" + ranges(2000) + "\r\n\r\n",
		served(field("Range", "bytes="+ranges(2000))),
	},
	{
		"Max-Forwards OPTIONS", "OPTIONS / HTTP/1.1\r\n" + hostLine + "Max-Forwards: 0\r\n\r\n",
		served(is("OPTIONS", "/")),
	},
	{
		"Proxy-Connection/Proxy-Authorization", "GET / HTTP/1.1\r\n" + hostLine + "Proxy-Authorization: Basic x\r\nProxy-Connection: keep-alive\r\nKeep-Alive: x\r\nTE: trailers, gzip\r\n\r\n",
		served(all(absent("Proxy-Authorization", "Proxy-Connection", "Keep-Alive"), fieldIn("TE", "", "trailers"))),
	},
	{
		"many dup XFF", "GET / HTTP/1.1\r\n" + hostLine + strings.Repeat("X-Forwarded-For: 1.1.1.1\r\n", 100) + "\r\n",
		served(nowhere("1.1.1.1")),
	},
}

// ourBattery are raw requests that the probe does not send.
var ourBattery = []rawCase{
	{
		"abs-form names the host, Host lies", "GET http://alice.localhost/x?y HTTP/1.1\r\nHost: bob.localhost\r\n\r\n",
		served(is("GET", "/x?y")),
	},
	{
		"abs-form without path", "GET http://alice.localhost HTTP/1.1\r\n" + hostLine + "\r\n",
		either(served(is("GET", "/")), refused(400)),
	},
	{
		"abs-form with a query and no path", "GET http://alice.localhost?q HTTP/1.1\r\n" + hostLine + "\r\n",
		either(served(is("GET", "/?q")), refused(400)),
	},
	{"Host of 300 bytes", "GET / HTTP/1.1\r\nHost: " + strings.Repeat("a", 300) + ".localhost\r\n\r\n", refused(400)},
	{"Host port too big", "GET / HTTP/1.1\r\nHost: alice.localhost:99999\r\n\r\n", refused(400)},
	{"Host port negative", "GET / HTTP/1.1\r\nHost: alice.localhost:-1\r\n\r\n", refused(400)},
	{"Host two dots", "GET / HTTP/1.1\r\nHost: alice..localhost\r\n\r\n", refused(400)},
	{"Host dot first", "GET / HTTP/1.1\r\nHost: .localhost\r\n\r\n", refused(400)},
	{"Host underscore", "GET / HTTP/1.1\r\nHost: a_b.localhost\r\n\r\n", either(unknown(404), unknown(400, 404))},
	{"Host in brackets", "GET / HTTP/1.1\r\nHost: [alice.localhost]\r\n\r\n", refused(400)},
	{"Host backslash", "GET / HTTP/1.1\r\nHost: alice.localhost\\evil\r\n\r\n", refused(400)},
	{"Host hash", "GET / HTTP/1.1\r\nHost: alice.localhost#evil\r\n\r\n", refused(400)},
	{"Host query", "GET / HTTP/1.1\r\nHost: alice.localhost?evil\r\n\r\n", refused(400)},
	{"unknown name", "GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n", unknown(404)},
	{"foreign domain", "GET / HTTP/1.1\r\nHost: alice.example.com\r\n\r\n", unknown(400, 404, 421)},
	{"name below the name", "GET / HTTP/1.1\r\nHost: x.alice.localhost\r\n\r\n", unknown(400, 404)},
	{"199 header lines", "GET / HTTP/1.1\r\n" + hostLine + manyFields(190) + "\r\n", served(is("GET", "/"))},
	{"201 header lines", "GET / HTTP/1.1\r\n" + hostLine + manyFields(201) + "\r\n", refused(431)},
	{
		"32 KB in one header", "GET / HTTP/1.1\r\n" + hostLine + "Cookie: a=" + strings.Repeat("b", 32<<10) + "\r\n\r\n",
		served(field("Cookie", "a="+strings.Repeat("b", 32<<10))),
	},
	{"70 KB in one header", "GET / HTTP/1.1\r\n" + hostLine + "X: " + strings.Repeat("b", 70<<10) + "\r\n\r\n", refused(431)},
	{
		"target of 15 KB", "GET /" + strings.Repeat("a", 15<<10) + " HTTP/1.1\r\n" + hostLine + "\r\n",
		served(is("GET", "/"+strings.Repeat("a", 15<<10))),
	},
	{"target of 17 KB", "GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\n" + hostLine + "\r\n", refused(414)},
	{"TRACE with a body", "TRACE / HTTP/1.1\r\n" + hostLine + "Content-Length: 5\r\n\r\nhello", refused(405)},
	{
		"OPTIONS with CL body", "OPTIONS /o HTTP/1.1\r\n" + hostLine + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(smuggled)) + smuggled,
		served(all(is("OPTIONS", "/o"), body(smuggled))),
	},
	{
		"GET with chunked body", "GET /g HTTP/1.1\r\n" + hostLine + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		served(all(is("GET", "/g"), body("hello"))),
	},
	{"pipelined three deep", "GET /1 HTTP/1.1\r\n" + hostLine + "\r\n" + smuggled, followed("/smuggled", served(is("GET", "/1")))},
	{
		"chunked, all sizes hex", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\na\r\n0123456789\r\n00\r\n\r\n",
		served(body("01234567890123456789")),
	},
	{
		"chunk extension, honest", postLine + hostLine + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
		either(served(body("hello")), broken(400)),
	},
	{
		"Transfer-Encoding: Chunked", postLine + hostLine + "Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		either(served(body("hello")), refused(400, 501)),
	},
	{
		"Relay-Request-Id made up", "GET / HTTP/1.1\r\n" + hostLine + "Relay-Request-Id: madeup\r\nRelay-Error: madeup\r\nCF-Connecting-IP: madeup\r\n\r\n",
		served(nowhere("madeup")),
	},
	{
		"trailers that route or frame", postLine + hostLine + "Transfer-Encoding: chunked\r\nTrailer: X-Ok, Host, X-Forwarded-For, Cookie\r\n\r\n" +
			"0\r\nX-Ok: 1\r\nHost: evil\r\nX-Forwarded-For: 6.6.6.6\r\nCookie: a=b\r\n\r\n",
		either(served(onlyTrailers("X-Ok")), broken(400)),
	},
	{
		"two Expect", postLine + hostLine + "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
		either(served(body("hello")), refused(400, 417)),
	},
}

func TestBatteryOfRawRequests(t *testing.T) { runBattery(t, battery) }

func TestMoreRawRequests(t *testing.T) { runBattery(t, ourBattery) }

func runBattery(t *testing.T, cases []rawCase) {
	if standIn == "direct" {
		t.Skip("it judges what an edge makes of raw requests")
	}
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		j := &judge{road: r, book: book, ids: map[string]string{}, plain: r.lane(t, false)}
		var table strings.Builder
		w := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
		for _, c := range cases {
			ok := t.Run(c.name, func(t *testing.T) {
				if err := j.judge(t, c); err != nil {
					t.Error(err)
				}
			})
			fmt.Fprintf(w, "%s\t%s\t%s\n", map[bool]string{true: "ok", false: "FAIL"}[ok], c.name, j.happened)
		}
		w.Flush()
		if t.Failed() {
			t.Log("what became of each:\n" + table.String())
		}
	})
}

// The probe's table must stay whole.
func TestBatteryHas118Cases(t *testing.T) {
	names := map[string]bool{}
	for _, c := range battery {
		names[c.name] = true
		if c.check == nil && len(c.statuses) == 0 {
			t.Errorf("%s: no verdict", c.name)
		}
	}
	if len(names) != 118 {
		t.Errorf("%d cases, want 118", len(names))
	}
}

// A judge sends one raw request after the other over one road.
type judge struct {
	*road
	book     *ledger
	plain    *lane
	ids      map[string]string // request id to the case that had it
	happened string            // to the last case, for the table
	fences   int
}

func (j *judge) judge(t *testing.T, c rawCase) error {
	j.book.take() // what a failed case has left
	w := j.wire(t)
	defer w.Close()
	if c.silent {
		w.SetDeadline(time.Now().Add(2 * time.Second))
	}
	go func() {
		w.send(c.raw)
		// net/http waits for the 14 bytes that tell an HTTP/2 preface, with its limit for heads; no request is that short.
		if c.silent || len(c.raw) < 14 {
			w.CloseWrite()
		}
	}()
	method, _, _ := strings.Cut(strings.TrimLeft(c.raw, "\r\n"), " ")
	asked := time.Now()
	a, err := w.answer(method)
	j.happened = fmt.Sprint(err)
	if took := time.Since(asked); took > 5*time.Second {
		return errors.Join(fmt.Errorf("answered after %v, though all was said", took), j.nothingSeen(c))
	}
	if err != nil {
		err = fmt.Errorf("no answer: %w", err)
		if c.silent {
			err = nil
		}
		return errors.Join(err, j.nothingSeen(c))
	}
	j.happened = a.Status
	switch {
	case a.err != nil && !(slices.Contains(c.statuses, a.StatusCode) && isReset(a.err)): // a reset may overtake the page of a refusal
		return fmt.Errorf("answer %d: body: %w", a.StatusCode, a.err)
	case a.StatusCode == 200 && c.check != nil:
		return j.judgeServed(c, w, a)
	case slices.Contains(c.statuses, a.StatusCode):
		return j.judgeRefused(c, w, a)
	default:
		return errors.Join(fmt.Errorf("answer %d, want %v%s; body %.200q", a.StatusCode, c.statuses,
			map[bool]string{true: " or 200"}[c.check != nil], a.body), j.fence())
	}
}

func (j *judge) judgeServed(c rawCase, w *wire, a *answer) error {
	var errs []error
	seen := j.book.take()
	if len(seen) == 0 {
		return errors.New("answered 200, but the app saw nothing")
	}
	first := seen[0]
	errs = append(errs, j.sound(c.name, first), c.check(first))
	if want := "app saw " + first.target + "\n"; string(a.body) != want && first.method != "HEAD" {
		errs = append(errs, fmt.Errorf("the body is %q, want %q", a.body, want))
	}
	switch {
	case c.closes:
		if err := w.ended(2 * time.Second); err != nil {
			errs = append(errs, fmt.Errorf("the connection must end with the answer: %w", err))
		}
	case c.next != "":
		errs = append(errs, follow(w, c.next))
	default:
		w.send("GET /after HTTP/1.1\r\n" + hostLine + "\r\n")
		errs = append(errs, follow(w, "/after"))
	}
	for i, s := range append(seen[1:], j.book.take()...) {
		if i > 0 || s.target != cmp.Or(c.next, "/after") {
			errs = append(errs, fmt.Errorf("the app saw one more request: %v", s))
			continue
		}
		errs = append(errs, j.sound(c.name, s))
	}
	j.happened += ", served"
	return errors.Join(append(errs, j.fence())...)
}

// follow: the next thing on the connection is the whole answer to this request, or its end.
func follow(w *wire, target string) error {
	a, err := w.answer("GET")
	switch {
	case err != nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err)):
		return nil
	case err != nil:
		return fmt.Errorf("after the answer: %w", err)
	case a.StatusCode != 200 || string(a.body) != "app saw "+target+"\n" || a.err != nil:
		return fmt.Errorf("the next answer on the connection is %d %.200q (%v), want that of %s", a.StatusCode, a.body, a.err, target)
	}
	return nil
}

func (j *judge) judgeRefused(c rawCase, w *wire, a *answer) error {
	var errs []error
	if !c.stays {
		if err := w.ended(2 * time.Second); err != nil {
			errs = append(errs, fmt.Errorf("refused, but the connection must end: %w", err))
		}
	}
	if a.StatusCode == http.StatusMethodNotAllowed && a.Header.Get("Allow") == "" {
		errs = append(errs, errors.New("405 without Allow"))
	}
	return errors.Join(append(errs, j.nothingSeen(c))...)
}

// nothingSeen: a refused request has not reached the app, also not a moment later.
func (j *judge) nothingSeen(c rawCase) error {
	fenced := j.fence()
	var errs []error
	for _, s := range j.book.take() {
		switch {
		case s.whole:
			errs = append(errs, fmt.Errorf("refused, but the app saw it whole: %v", s))
		case !c.partial:
			errs = append(errs, fmt.Errorf("refused, but the app saw its beginning: %v", s))
		case !isCut(s.fault):
			errs = append(errs, fmt.Errorf("the app saw broken bytes: %v", s))
		}
	}
	return errors.Join(append(errs, fenced)...)
}

// isCut: a request whose connection ended within it, which is how a broken one is taken back.
func isCut(fault string) bool {
	return fault == "" || strings.Contains(fault, "EOF") || strings.Contains(fault, "reset by peer")
}

// fence proves that the road still works after the case, and lets what was under way arrive.
func (j *judge) fence() error {
	j.fences++
	target := fmt.Sprintf("/fence/%d", j.fences)
	resp, err := j.plain.client.Get(j.plain.url(target))
	if err != nil {
		return fmt.Errorf("the next visitor: %w", err)
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || string(got) != "app saw "+target+"\n" {
		return fmt.Errorf("the next visitor got %d %.200q", resp.StatusCode, got)
	}
	j.book.mu.Lock()
	defer j.book.mu.Unlock()
	j.book.seen = slices.DeleteFunc(j.book.seen, func(s *sighting) bool { return s.target == target })
	return nil
}

// sound: whatever came in, what goes out to the app is clean, whole, and went through the edge as a request of its own.
func (j *judge) sound(name string, s *sighting) error {
	var errs []error
	if s.fault != "" || !s.whole {
		errs = append(errs, fmt.Errorf("the app objects: %v", s))
	}
	if standIn != "" {
		return errors.Join(errs...)
	}
	_, port, _ := net.SplitHostPort(j.addr)
	ours := []string{"alice.localhost", "alice.localhost:" + port}
	errs = append(errs, fieldIn("Host", ours...)(s), fieldIn("X-Forwarded-Host", ours...)(s), field("X-Forwarded-Proto", "http")(s),
		field("X-Forwarded-For", "127.0.0.1")(s))
	id := s.value("Relay-Request-Id")
	if other, twice := j.ids[id]; id == "" || strings.Contains(id, "|") || twice {
		errs = append(errs, fmt.Errorf("Relay-Request-Id %q (also of %q)", id, other))
	}
	j.ids[id] = name
	return errors.Join(errs...)
}

// Whatever bytes stand around "chunked" or the name of the field, the request is one: the edge takes it by its Content-Length
// (and what looks like a second request is body), or by its chunks (and closes, E01), or refuses it.
func TestMutatedTransferEncodingNeverSmuggles(t *testing.T) {
	junk := []string{"", " ", "\t", "\v", "\f", "\x00", "\x01", "\x7f", "\x80", "\xa0", "\r", "\n", "\r\n ", "\"", "'", ",", ", ", ";", "x", "-"}
	forms := []string{
		"J Transfer-Encoding: chunked", "Transfer-EncodingJ: chunked", "Transfer-Encoding:J chunked",
		"Transfer-Encoding: chunkedJ", "Transfer-EncodingJ:chunked", "X: xJTransfer-Encoding: chunked", "TransferJEncoding: chunked",
		"Transfer-Encoding: JchunkedJ", "Transfer-Encoding: identityJchunked", "TransferJ-Encoding: chunked",
	}
	if standIn == "direct" {
		t.Skip("it judges what an edge makes of raw requests")
	}
	inner := "0\r\n\r\n" + smuggled
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		j := &judge{road: r, book: book, ids: map[string]string{}, plain: r.lane(t, false)}
		for _, form := range forms {
			for _, junk := range junk {
				line := strings.ReplaceAll(form, "J", junk)
				for _, order := range []string{"%[1]s\r\nContent-Length: %[2]d\r\n\r\n", "Content-Length: %[2]d\r\n%[1]s\r\n\r\n"} {
					raw := postLine + hostLine + fmt.Sprintf(order, line, len(inner)) + inner
					if err := j.once(t, raw); err != nil {
						t.Errorf("%q: %v", line, err)
					}
				}
			}
		}
		if err := j.fence(); err != nil {
			t.Error(err)
		}
	})
}

// once: one answer, and the app sees one request at most, sound and not the smuggled one.
func (j *judge) once(t *testing.T, raw string) error {
	j.book.take()
	w := j.wire(t)
	defer w.Close()
	w.send(raw)
	a, err := w.answer("POST")
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	var errs []error
	if a.StatusCode != 200 && a.StatusCode != 400 && a.StatusCode != 501 {
		errs = append(errs, fmt.Errorf("answer %d", a.StatusCode))
	}
	w.send("GET /after HTTP/1.1\r\n" + hostLine + "\r\n")
	if next, err := w.answer("GET"); err == nil && next.StatusCode != 400 && string(next.body) != "app saw /after\n" {
		errs = append(errs, fmt.Errorf("the next answer on the connection is %d %.200q", next.StatusCode, next.body))
	}
	for i, s := range j.book.take() {
		switch {
		case !s.whole && isCut(s.fault) && s.target != "/smuggled" && i > 0:
			// A request that was refused in its middle, this one or the one before:
			// the app learns of it late.
		case i > 0 && s.target != "/after" || s.target == "/smuggled":
			errs = append(errs, fmt.Errorf("the app saw a second request: %v", s))
		case !s.whole && isCut(s.fault) && a.StatusCode != 200: // begun, then refused
		default:
			errs = append(errs, j.sound(raw, s))
		}
	}
	return errors.Join(errs...)
}
