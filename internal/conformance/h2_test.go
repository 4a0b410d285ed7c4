package conformance

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What only HTTP/2 frames can say. (The floods of E20 to E23 have programs of their own; see bench and the probes.)

// A framed visitor speaks HTTP/2 frame by frame.
type framed struct {
	*http2.Framer
	conn net.Conn
	next uint32
}

func (r *road) framed(t *testing.T) *framed {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	f := &framed{Framer: http2.NewFramer(c, c), conn: c, next: 1}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	f.WriteSettings()
	return f
}

// ask sends a request as these fields and returns what came of it: a status, "RST <code>", "GOAWAY <code>" or "closed".
func (f *framed) ask(body string, fields ...[2]string) string {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, h := range fields {
		enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	id := f.next
	f.next += 2
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: body == ""})
	if body != "" {
		f.WriteData(id, true, []byte(body))
	}
	status := ""
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if frame.StreamID == id {
				if s := frame.PseudoValue("status"); s != "" {
					status = s
				}
				if frame.StreamEnded() {
					return status
				}
			}
		case *http2.DataFrame:
			if frame.StreamID == id && frame.StreamEnded() {
				return status
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == id {
				if status != "" && frame.ErrCode == http2.ErrCodeNo {
					return status // answered, the rest of the request is not wanted
				}
				return fmt.Sprintf("RST %v", frame.ErrCode)
			}
		case *http2.GoAwayFrame:
			return fmt.Sprintf("GOAWAY %v", frame.ErrCode)
		}
	}
}

func TestH2Requests(t *testing.T) {
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		if standIn == "direct" {
			t.Skip("the ledger speaks HTTP/1.1 alone")
		}
		request := func(method, authority, path string, more ...[2]string) [][2]string {
			return append([][2]string{{":method", method}, {":scheme", "http"}, {":authority", authority}, {":path", path}}, more...)
		}
		const refusedByFraming = "RST PROTOCOL_ERROR|GOAWAY PROTOCOL_ERROR|400|closed"
		for _, c := range []struct {
			name   string
			fields [][2]string
			body   string
			want   string // outcomes, one of them
			check  func(*sighting) error
		}{
			{"plain", request("GET", r.host, "/a?b;c"), "", "200", is("GET", "/a?b;c")},
			{"authority and the same host", request("GET", r.host, "/", [2]string{"host", r.host}), "", "200", field("Host", r.host)},
			{"authority and another host", request("GET", r.host, "/", [2]string{"host", "evil.localhost"}), "", "200|" + refusedByFraming, nowhere("evil")},
			{"host without authority", [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", r.host}}, "", "200|" + refusedByFraming, field("Host", r.host)},
			{"no host at all", [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}}, "", refusedByFraming, nil},
			{"userinfo in authority", request("GET", "x@"+r.host, "/"), "", refusedByFraming, nil},
			{"junk in authority", request("GET", r.host+"/evil", "/"), "", refusedByFraming, nil},
			{"list in authority", request("GET", r.host+",evil", "/"), "", refusedByFraming, nil},
			{"upper and dot", request("GET", strings.Replace(strings.ToUpper(r.host), "LOCALHOST", "LOCALHOST.", 1), "/"), "", "200", is("GET", "/")},
			{"unknown", request("GET", "nobody.localhost", "/"), "", "404", nil},
			{"connect", [][2]string{{":method", "CONNECT"}, {":authority", r.host}}, "", "405|" + refusedByFraming, nil},
			{"extended connect", request("CONNECT", r.host, "/", [2]string{":protocol", "websocket"}), "", "405|" + refusedByFraming, nil},
			{"trace", request("TRACE", r.host, "/"), "", "405", nil},
			{"connection header", request("GET", r.host, "/", [2]string{"connection", "x-forwarded-for"}), "", refusedByFraming, nil},
			{"transfer-encoding header", request("POST", r.host, "/", [2]string{"transfer-encoding", "chunked"}), "0\r\n\r\n", refusedByFraming, nil},
			{"upgrade header", request("GET", r.host, "/", [2]string{"upgrade", "websocket"}), "", refusedByFraming, nil},
			{"te gzip", request("GET", r.host, "/", [2]string{"te", "gzip"}), "", refusedByFraming, nil},
			{"te trailers", request("GET", r.host, "/", [2]string{"te", "trailers"}), "", "200", is("GET", "/")},
			{"upper-case name", request("GET", r.host, "/", [2]string{"X-Upper", "1"}), "", refusedByFraming, nil},
			{"CRLF in a value", request("GET", r.host, "/", [2]string{"x", "a\r\nTransfer-Encoding: chunked"}), "", refusedByFraming, nil},
			{"LF in a value", request("GET", r.host, "/", [2]string{"x", "a\nb"}), "", refusedByFraming, nil},
			{"NUL in a value", request("GET", r.host, "/", [2]string{"x", "a\x00b"}), "", refusedByFraming, nil},
			{"CRLF in a name", request("GET", r.host, "/", [2]string{"x\r\ny", "a"}), "", refusedByFraming, nil},
			{"colon in a name", request("GET", r.host, "/", [2]string{"x:y", "a"}), "", refusedByFraming, nil},
			{"CRLF in the path", request("GET", r.host, "/ HTTP/1.1\r\nHost: evil\r\n\r\n"), "", refusedByFraming, nil},
			{"space in the path", request("GET", r.host, "/a b"), "", refusedByFraming, nil},
			{"fragment in the path", request("GET", r.host, "/a#b"), "", refusedByFraming, nil},
			{"path without slash", request("GET", r.host, "a"), "", refusedByFraming, nil},
			{"absolute path", request("GET", r.host, "http://evil.localhost/"), "", refusedByFraming, nil},
			{"CRLF in the method", request("GET / HTTP/1.1\r\nX: y", r.host, "/"), "", refusedByFraming, nil},
			{"space in the method", request("GET x", r.host, "/"), "", refusedByFraming, nil},
			{"CRLF in the authority", request("GET", r.host+"\r\nX: y", "/"), "", refusedByFraming, nil},
			{"content-length too small", request("POST", r.host, "/", [2]string{"content-length", "3"}), "hello", refusedByFraming, nil},
			{"content-length too big", request("POST", r.host, "/", [2]string{"content-length", "9"}), "hello", refusedByFraming, nil},
			{"content-length twice", request("POST", r.host, "/", [2]string{"content-length", "5"}, [2]string{"content-length", "6"}), "hello", "200|" + refusedByFraming, body("hello")},
			{"content-length list", request("POST", r.host, "/", [2]string{"content-length", "5, 5"}), "hello", refusedByFraming, nil},
			{"content-length plus", request("POST", r.host, "/", [2]string{"content-length", "+5"}), "hello", refusedByFraming, nil},
			{"content-length right", request("POST", r.host, "/p", [2]string{"content-length", "5"}), "hello", "200", body("hello")},
			{"body without length", request("POST", r.host, "/p"), "hello", "200", body("hello")},
			{"GET with a body", request("GET", r.host, "/p"), smuggled, "200", body(smuggled)},
			{"underscore twin", request("GET", r.host, "/", [2]string{"x_forwarded_for", "6.6.6.6"}), "", "200|400", nowhere("6.6.6.6")},
			{"forwarded made up", request("GET", r.host, "/", [2]string{"x-forwarded-for", "6.6.6.6"}, [2]string{"forwarded", "for=6.6.6.6"}), "", "200", nowhere("6.6.6.6")},
			{"300 fields", append(request("GET", r.host, "/"), many(300)...), "", "431", nil},
			{"second pseudo-header", request("GET", r.host, "/", [2]string{":path", "/evil"}), "", refusedByFraming, nil},
			{"pseudo-header behind", append([][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"x", "y"}}, [2]string{":authority", r.host}), "", refusedByFraming, nil},
			{"unknown pseudo-header", request("GET", r.host, "/", [2]string{":evil", "1"}), "", refusedByFraming, nil},
			{"trailer fields as headers", request("GET", r.host, "/", [2]string{"trailer", "x-a"}), "", "200", is("GET", "/")},
		} {
			t.Run(c.name, func(t *testing.T) {
				book.take()
				got := r.framed(t).ask(c.body, c.fields...)
				if !slices.Contains(strings.Split(c.want, "|"), got) {
					t.Errorf("%s, want %s", got, c.want)
				}
				r.lane(t, false).get(t, "/fence")
				for _, s := range book.take() {
					switch {
					case s.target == "/fence":
					case got != "200" && s.whole:
						t.Errorf("refused, but the app saw it whole: %v", s)
					case got == "200":
						if c.check == nil {
							t.Errorf("the app saw %v", s)
						} else if err := c.check(s); err != nil || s.fault != "" {
							t.Errorf("%v; %v", err, s)
						}
					case !isCut(s.fault):
						t.Errorf("the app saw broken bytes: %v", s)
					}
				}
			})
		}
	})
}

func many(n int) (fields [][2]string) {
	for i := range n {
		fields = append(fields, [2]string{fmt.Sprintf("x-%d", i), "y"})
	}
	return fields
}

// Many streams of one connection at once, and one that is slow holds up no other.
func TestH2StreamsDoNotWaitForEachOther(t *testing.T) {
	proceed := make(chan bool)
	overRoads(t, slowApp(proceed), func(t *testing.T, r *road) {
		l := r.lane(t, true)
		slow := make(chan error, 1)
		go func() {
			resp, err := l.client.Do(l.request(t, "GET", "/slow", nil))
			if err == nil {
				resp.Body.Close()
			}
			slow <- err
		}()
		for i := range 50 {
			if _, b := l.get(t, fmt.Sprintf("/quick/%d", i)); b != fmt.Sprintf("/quick/%d", i) {
				t.Fatalf("got %q", b)
			}
		}
		proceed <- true
		if err := within(t, slow, "the slow one is answered"); err != nil {
			t.Error(err)
		}
	})
}

func slowApp(proceed <-chan bool) func(t *testing.T) string {
	return handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-proceed
		}
		io.WriteString(w, r.URL.Path)
	})
}
