package http1_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// forbiddenTrailers would change framing, routing or rights after the fact.
var forbiddenTrailers = []string{
	"Transfer-Encoding", "Content-Length", "Host", "Trailer", "Authorization", "Connection", "TE", "Content-Encoding",
	"Content-Type", "Content-Range", "Cookie", "Set-Cookie", "Expect", "Upgrade", "WWW-Authenticate", "Proxy-Authorization",
	"Proxy-Authenticate", "Forwarded", "X-Forwarded-For", "x-forwarded-proto", "X-Forwarded-Anything", "Relay-Request-Id", "Relay-Error",
}

func TestTrailerOfAnAnswer(t *testing.T) {
	var announced, lines strings.Builder
	for _, name := range forbiddenTrailers {
		announced.WriteString(", " + name)
		lines.WriteString(name + ": evil\r\n")
	}
	a := newApp(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nTrailer: X-Sum" + announced.String() + "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Late: 2\r\n" + lines.String() + "\r\n")
	})
	res, err := a.pool().RoundTrip(request(t, "GET", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if diff := cmp.Diff(http.Header{"X-Sum": nil}, res.Trailer); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(http.Header{"X-Sum": {"1"}, "X-Late": {"2"}}, res.Trailer); diff != "" {
		t.Errorf("trailer (-want +got):\n%s", diff)
	}
}

func TestTrailerOfARequest(t *testing.T) {
	seen := make(chan http.Header, 2)
	a := newApp(t, func(_ int, p *peer) {
		req := p.head()
		seen <- req.Trailer.Clone()
		_, _ = io.ReadAll(req.Body)
		seen <- req.Trailer
		p.say(okAnswer)
	})
	trailer := http.Header{"X-Sum": nil}
	for _, name := range forbiddenTrailers {
		trailer[http.CanonicalHeaderKey(name)] = []string{"evil"}
	}
	req := request(t, "POST", nil)
	req.Trailer = trailer
	req.ContentLength = -1
	// The values are known when the body has been read.
	req.Body = io.NopCloser(io.MultiReader(strings.NewReader("hello"), onRead(func() {
		trailer["X-Sum"] = []string{"1", "2"}
		trailer["X-Break"] = []string{"a\r\nX-Evil: b"}
	})))
	if _, body, err := trip(a.pool(), req); err != nil || body != "ok" {
		t.Fatalf("got %q, %v", body, err)
	}
	if diff := cmp.Diff(http.Header{"X-Sum": nil}, <-seen); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(http.Header{"X-Sum": {"1", "2"}}, <-seen); diff != "" {
		t.Errorf("trailer (-want +got):\n%s", diff)
	}
}

// onRead is an empty reader that does something when it is read.
type onRead func()

func (f onRead) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// A trailer goes through a server and a pool, one behind the other, in both
// directions.
func TestTrailersPassThrough(t *testing.T) {
	a := newApp(t, func(_ int, p *peer) {
		req := p.head()
		body, _ := io.ReadAll(req.Body)
		if string(body) != "hello" || req.Trailer.Get("X-Sum") != "1" {
			t.Errorf("the app got %q and %v", body, req.Trailer)
		}
		p.say("HTTP/1.1 200 OK\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: 3\r\nCookie: evil\r\n\r\n")
	})
	p := a.pool()
	c := serve(t, p.RoundTrip)
	c.say("POST / HTTP/1.1\r\nHost: a.test\r\nTrailer: X-Sum, Authorization\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nAuthorization: evil\r\n\r\n")
	c.want("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n2\r\nok\r\n0\r\nX-A: 3\r\n\r\n")
}
