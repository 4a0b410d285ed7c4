package http1_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/http1"
)

// The differential judge: the same bytes to this package and to net/http. Either
// one refuses, and then net/http must not be the only one; or both agree on all
// that was said and on how many bytes it took.
//
// net/http refuses what this package takes only in these cases:
//
//   - A target that fits no URL, as /%zz, on a stream. Streams carry targets byte
//     for byte; the edge has had them parsed.
//   - An announced trailer field Content-Length, Transfer-Encoding or Trailer. It
//     is passed over here, and the field itself is dropped if it comes.
//
// message is what one of the two has understood.
type message struct {
	method, target, host string
	status               int
	header, trailer      http.Header
	length               int64
	body                 []byte
	left                 int // bytes that belong to the next message
	err                  error
}

// bufferSize holds a whole trailer section: net/http refuses a longer one.
const bufferSize = 128 << 10

func readAnswer(br *bufio.Reader, method string) message { return readAnswerBy(br, method, 512) }

func readAnswerBy(br *bufio.Reader, method string, size int) message {
	res, err := http1.ReadAnswer(br, method)
	if err != nil {
		return message{err: err}
	}
	m := message{status: res.StatusCode, header: res.Header, length: res.ContentLength}
	m.body, m.err = readBy(res.Body, size)
	m.trailer = sent(res.Trailer)
	return m
}

func readBy(r io.Reader, size int) ([]byte, error) {
	var all bytes.Buffer
	b := make([]byte, size)
	for {
		n, err := r.Read(b)
		all.Write(b[:n])
		if errors.Is(err, io.EOF) {
			return all.Bytes(), nil
		}
		if err != nil {
			return all.Bytes(), err
		}
	}
}

// sent gives the trailer fields that have come and may pass.
func sent(t http.Header) http.Header {
	var got http.Header
	for k, vs := range t {
		if vs == nil || !http1.TrailerAllowed(k) {
			continue
		}
		if got == nil {
			got = http.Header{}
		}
		got[k] = vs
	}
	return got
}

func ourAnswer(raw []byte, method string) message {
	r := bytes.NewReader(raw)
	br := bufio.NewReader(r)
	m := readAnswerBy(br, method, 4096)
	m.left = br.Buffered() + r.Len()
	return m
}

func theirAnswer(raw []byte, method string) message {
	r := bytes.NewReader(raw)
	br := bufio.NewReaderSize(r, bufferSize)
	var res *http.Response
	for range 11 {
		var err error
		if res, err = http.ReadResponse(br, &http.Request{Method: method}); err != nil {
			return message{err: err}
		}
		if res.StatusCode/100 != 1 || res.StatusCode == 101 {
			break
		}
	}
	m := message{status: res.StatusCode, header: res.Header, length: res.ContentLength}
	m.body, m.err = readBy(res.Body, 4096)
	m.trailer = sent(res.Trailer)
	m.left = br.Buffered() + r.Len()
	return m
}

func ourRequest(raw []byte) message {
	r := bytes.NewReader(raw)
	br := bufio.NewReader(r)
	req, err := http1.ReadRequest(br)
	if err != nil {
		return message{err: err}
	}
	m := message{method: req.Method, target: req.RequestURI, host: req.Host, header: req.Header, length: req.ContentLength}
	m.body, m.err = readBy(req.Body, 4096)
	m.trailer = sent(req.Trailer)
	m.left = br.Buffered() + r.Len()
	return m
}

func theirRequest(raw []byte, ours message) message {
	r := bytes.NewReader(raw)
	br := bufio.NewReaderSize(r, bufferSize)
	req, err := http.ReadRequest(br)
	if err != nil {
		return message{err: err}
	}
	m := message{method: req.Method, target: req.RequestURI, host: req.Host, header: req.Header, length: req.ContentLength}
	if !strings.HasPrefix(m.target, "/") && (m.target != "*" || m.method == http.MethodConnect) {
		// net/http lets the host of the target win. A stream's request has an origin
		// form or *, made by the edge from the host it has decided on.
		m.host = ours.host
	}
	m.body, m.err = readBy(req.Body, 4096)
	m.trailer = sent(req.Trailer)
	m.left = br.Buffered() + r.Len()
	return m
}

// compare reports where ours and theirs part. excused are refusals of net/http
// that are listed above.
func compare(t *testing.T, ours, theirs message, excused bool) {
	t.Helper()
	if ours.err != nil {
		return // stricter, or both
	}
	if theirs.err != nil {
		if !excused {
			t.Errorf("net/http refuses what was taken here: %v", theirs.err)
		}
		return
	}
	if ours.method != theirs.method || ours.target != theirs.target || ours.host != theirs.host || ours.status != theirs.status {
		t.Errorf("%q %q %q %d here, %q %q %q %d by net/http", ours.method, ours.target, ours.host, ours.status,
			theirs.method, theirs.target, theirs.host, theirs.status)
	}
	if ours.length != theirs.length && ours.status != http.StatusNoContent && ours.status != http.StatusNotModified {
		// What these say of a body they do not have is passed on here.
		t.Errorf("length %d here, %d by net/http", ours.length, theirs.length)
	}
	if !bytes.Equal(ours.body, theirs.body) {
		t.Errorf("body %q here, %q by net/http", ours.body, theirs.body)
	}
	if diff := cmp.Diff(theirs.trailer, ours.trailer); diff != "" {
		t.Errorf("trailer (-net/http +here):\n%s", diff)
	}
	if diff := cmp.Diff(plainHeader(theirs.header), plainHeader(ours.header)); diff != "" {
		t.Errorf("header (-net/http +here):\n%s", diff)
	}
	if ours.left != theirs.left {
		t.Errorf("%d bytes left here, %d by net/http", ours.left, theirs.left)
	}
}

// plainHeader takes out what net/http moves to fields of its own, or adds.
func plainHeader(h http.Header) http.Header {
	h = h.Clone()
	delete(h, "Transfer-Encoding")
	delete(h, "Trailer")
	if p := h["Pragma"]; len(p) > 0 && p[0] == "no-cache" && slices.Equal(h["Cache-Control"], []string{"no-cache"}) {
		delete(h, "Cache-Control")
	}
	return h
}

// badTrailer tells whether a head announces a trailer field that net/http refuses.
func badTrailer(h http.Header) bool {
	for _, v := range h["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			switch http.CanonicalHeaderKey(strings.Trim(name, " \t")) {
			case "Content-Length", "Transfer-Encoding", "Trailer":
				return true
			}
		}
	}
	return false
}

func FuzzRequest(f *testing.F) {
	for _, raw := range requestSeeds {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ours := ourRequest(raw)
		if ours.err != nil {
			return
		}
		_, err := url.ParseRequestURI(ours.target)
		compare(t, ours, theirRequest(raw, ours), err != nil || badTrailer(ours.header))
	})
}

// FuzzSimple judges the parser that stands before net/http: what it takes, net/http
// would have taken in the same way.
func FuzzSimple(f *testing.F) {
	for _, raw := range requestSeeds {
		f.Add([]byte(raw))
	}
	f.Add([]byte("GET /a%zz HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\nGET"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a.test\r\nPragma: no-cache\r\nContent-Length: 5\r\n\r\nhello"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, n, ok := http1.ParseSimple(raw)
		if !ok {
			return
		}
		ours := message{method: s.Method, target: s.Target, host: s.Host, header: s.Header, length: s.Length}
		if ours.left = len(raw) - n - int(s.Length); ours.left < 0 {
			return // the body is not whole yet
		}
		ours.body = raw[n : n+int(s.Length)]
		compare(t, ours, theirRequest(raw, ours), false)
	})
}

func FuzzResponse(f *testing.F) {
	for _, raw := range answerSeeds {
		f.Add([]byte(raw), false)
		f.Add([]byte(raw), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		ours := ourAnswer(raw, method)
		if ours.err != nil {
			return
		}
		compare(t, ours, theirAnswer(raw, method), badTrailer(ours.header))
	})
}

// FuzzChunked cuts the same chunked body into reads of every size: they must not
// matter.
func FuzzChunked(f *testing.F) {
	for _, raw := range chunkSeeds {
		f.Add([]byte(raw), uint8(1), uint8(1))
		f.Add([]byte(raw), uint8(255), uint8(7))
	}
	f.Fuzz(func(t *testing.T, raw []byte, arrives, read uint8) {
		raw = append([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), raw...)
		whole := ourAnswer(raw, "GET")

		r := &pieces{raw, max(1, int(arrives))}
		br := bufio.NewReader(r)
		cut := readAnswerBy(br, "GET", max(1, int(read)))
		cut.left = br.Buffered() + len(r.b)
		if (whole.err == nil) != (cut.err == nil) || !bytes.Equal(whole.body, cut.body) {
			t.Errorf("at once %q, %v; in pieces %q, %v", whole.body, whole.err, cut.body, cut.err)
		}
		if whole.err != nil {
			return
		}
		if whole.left != cut.left || !cmp.Equal(whole.trailer, cut.trailer) {
			t.Errorf("at once %d left and %v, in pieces %d and %v", whole.left, whole.trailer, cut.left, cut.trailer)
		}
		compare(t, whole, theirAnswer(raw, "GET"), false)
	})
}

// pieces gives n bytes at a time.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.b[:min(p.n, len(p.b))])
	p.b = p.b[n:]
	return n, nil
}
