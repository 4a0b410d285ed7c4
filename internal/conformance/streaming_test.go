package conformance

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// flushed is an app that sends each part only after the visitor has told that the one before has arrived.
func flushed(parts int, part func(i int) string, seen <-chan int, w http.ResponseWriter, r *http.Request) {
	for i := range parts {
		if i > 0 {
			select {
			case <-seen:
			case <-r.Context().Done():
				return
			case <-time.After(patience):
				return
			}
		}
		io.WriteString(w, part(i))
		w.(http.Flusher).Flush()
	}
}

// Each event is read before the next is sent: whoever holds one back until more comes waits for ever.
func TestEventsAreFlushedAtOnce(t *testing.T) {
	seen := make(chan int)
	event := func(i int) string { return fmt.Sprintf("id: %d\ndata: %s\n\n", i, strings.Repeat("x", 1+i*37)) }
	app := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-cache")
		flushed(20, event, seen, w, r)
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		resp := l.do(t, l.request(t, "GET", "/events", nil))
		if resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("Content-Type %q", resp.Header.Get("Content-Type"))
		}
		for i := range 20 {
			got := make([]byte, len(event(i)))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != event(i) {
				t.Fatalf("event %d: %q, %v", i, got, err)
			}
			if i < 19 {
				seen <- i
			}
		}
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("after the last event: %q, %v", rest, err)
		}
	})
}

// The same with a known length, of which most proxies expect that it comes at once.
func TestPartsOfAKnownLengthAreFlushed(t *testing.T) {
	seen := make(chan int)
	app := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		flushed(10, strconv.Itoa, seen, w, r)
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		resp := l.do(t, l.request(t, "GET", "/", nil))
		if resp.ContentLength != 10 {
			t.Errorf("Content-Length %d", resp.ContentLength)
		}
		for i := range 10 {
			got := make([]byte, 1)
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != strconv.Itoa(i) {
				t.Fatalf("part %d: %q, %v", i, got, err)
			}
			if i < 9 {
				seen <- i
			}
		}
	})
}

// The head of an answer goes out when the app sends it, long before the body, whatever it says about the body's length.
func TestHeadArrivesBeforeTheBody(t *testing.T) {
	proceed := make(chan bool)
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "4")
		}
		if r.URL.Path == "/close" {
			w.Header().Set("Connection", "close")
		}
		w.WriteHeader(202)
		w.(http.Flusher).Flush()
		select {
		case <-proceed:
		case <-time.After(patience):
			return
		}
		io.WriteString(w, "body")
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		for _, target := range []string{"/chunked", "/length", "/close"} {
			arrived := make(chan bool)
			go func() {
				select {
				case <-arrived:
				case <-time.After(soon):
					t.Errorf("%s: the head did not arrive within %v", target, soon)
				}
				proceed <- true
			}()
			resp := l.do(t, l.request(t, "GET", target, nil))
			close(arrived)
			if resp.StatusCode != 202 {
				t.Errorf("%s: status %d", target, resp.StatusCode)
			}
			if b, err := io.ReadAll(resp.Body); string(b) != "body" || err != nil {
				t.Errorf("%s: body %q, %v", target, b, err)
			}
		}
	})
}

func TestLongPollIsAnsweredWhenTheAppAnswers(t *testing.T) {
	arrived, proceed := make(chan bool), make(chan bool)
	app := func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-proceed
		io.WriteString(w, "news")
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		answered := make(chan string, 1)
		go func() {
			resp, err := l.client.Do(l.request(t, "GET", "/poll", nil))
			if err != nil {
				answered <- err.Error()
				return
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			answered <- string(b)
		}()
		within(t, arrived, "the poll reaches the app")
		select {
		case a := <-answered:
			t.Fatalf("answered %q before the app did", a)
		case <-time.After(500 * time.Millisecond): // there is no event for "nobody gave up"
		}
		proceed <- true
		if got := within(t, answered, "the answer"); got != "news" {
			t.Errorf("got %q", got)
		}
	})
}

// Request and response in turns on one exchange: neither may wait for the end of the other.
func TestFullDuplex(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		w.Header().Set("Trailer", "X-Heard")
		rc.Flush()
		buf := make([]byte, 64<<10)
		heard := 0
		for {
			n, err := r.Body.Read(buf)
			heard += n
			if n > 0 {
				fmt.Fprintf(w, "%s", bytes.ToUpper(buf[:n]))
				rc.Flush()
			}
			if err != nil {
				w.Header().Set("X-Heard", fmt.Sprintf("%d %v", heard, err))
				return
			}
		}
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		body, say := io.Pipe()
		defer say.Close()
		resp := l.do(t, l.request(t, "POST", "/chat", body))
		total := 0
		for i := range 50 {
			line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("y", i*100))
			go io.WriteString(say, line)
			got := make([]byte, len(line))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != strings.ToUpper(line) {
				t.Fatalf("line %d: %.100q, %v", i, got, err)
			}
			total += len(line)
		}
		say.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Fatalf("after the end: %q, %v", rest, err)
		}
		if got, want := resp.Trailer.Get("X-Heard"), fmt.Sprintf("%d EOF", total); got != want {
			t.Errorf("trailer X-Heard %q, want %q", got, want)
		}
	})
}

func TestTrailersBothWays(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-Echo")
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %v", len(b), err)
		w.Header().Set("X-Sum", hex.EncodeToString(sum(b)))
		w.Header()["X-Echo"] = r.Trailer["X-Checksum"]
		w.Header().Set("X-Undeclared", "must not become a header")
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		content := pattern(100_000)
		req := l.request(t, "PUT", "/", io.MultiReader(bytes.NewReader(content)))
		req.Trailer = http.Header{"X-Checksum": nil}
		req.Header.Set("TE", "trailers")
		req.Body = io.NopCloser(io.MultiReader(req.Body, atEOF(func() { req.Trailer["X-Checksum"] = []string{"one", "two"} })))
		resp := l.do(t, req)
		b, err := io.ReadAll(resp.Body)
		if err != nil || string(b) != "100000 <nil>" {
			t.Fatalf("body %q, %v", b, err)
		}
		if got := resp.Trailer.Get("X-Sum"); got != hex.EncodeToString(sum(content)) {
			t.Errorf("trailer X-Sum %q", got)
		}
		if got := strings.Join(resp.Trailer.Values("X-Echo"), ","); got != "one,two" {
			t.Errorf("the app saw the request's trailer as %q, want one,two", got)
		}
		if got := resp.Header.Get("X-Undeclared"); got != "" {
			t.Errorf("a header came out of nothing: %q", got)
		}
	})
}

// atEOF is an empty reader that tells when it is reached.
type atEOF func()

func (f atEOF) Read([]byte) (int, error) { f(); return 0, io.EOF }

// 103 is passed on when it comes, not with the answer.
func TestEarlyHintsPass(t *testing.T) {
	proceed := make(chan bool)
	app := func(c net.Conn) {
		r := bufio.NewReader(c)
		var mu sync.Mutex
		for readRequest(r, func(*sighting) {}, &mu) != nil {
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n")
			select {
			case <-proceed:
			case <-time.After(patience):
				return
			}
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </c.css>\r\n\r\nHTTP/1.1 200 OK\r\nLink: </final>\r\nContent-Length: 2\r\n\r\nok")
		}
	}
	overLanes(t, bytesApp(app), func(t *testing.T, l *lane) {
		var hints []string
		req := l.request(t, "GET", "/", nil)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, h["Link"]))
				if len(hints) == 1 {
					proceed <- true
				}
				return nil
			},
		}))
		resp := l.do(t, req)
		b, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || string(b) != "ok" || err != nil || fmt.Sprint(resp.Header["Link"]) != "[</final>]" {
			t.Errorf("answer %d %q %v, Link %q", resp.StatusCode, b, err, resp.Header["Link"])
		}
		if got := strings.Join(hints, ";"); got != "103[</a.css>; rel=preload </b.js>; rel=preload];103[</c.css>]" &&
			got != "103 [</a.css>; rel=preload </b.js>; rel=preload];103 [</c.css>]" {
			t.Errorf("hints %q", got)
		}
	})
}

// Answers without a body, and those whose length says something about another one.
func TestAnswersWithoutBody(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		w.Header().Set("Etag", `"x"`)
		if cl := r.URL.Query().Get("cl"); cl != "" {
			w.Header().Set("Content-Length", cl)
		}
		w.WriteHeader(code)
	}
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		for _, c := range []struct {
			method, target, length string
			status                 int
		}{
			{"HEAD", "/?code=200&cl=12345", "12345", 200},
			{"HEAD", "/?code=200&cl=0", "0", 200},
			{"HEAD", "/?code=404&cl=10", "10", 404},
			{"GET", "/?code=204", "", 204},
			{"DELETE", "/?code=204", "", 204},
			{"GET", "/?code=304&cl=777", "777", 304},
			{"GET", "/?code=304", "", 304},
			{"GET", "/?code=205&cl=0", "0", 205},
			{"GET", "/?code=200&cl=0", "0", 200},
			{"POST", "/?code=200&cl=0", "0", 200},
		} {
			name := c.method + " " + c.target
			w := r.wire(t)
			w.ask(r.host, name)
			head := w.head(t)
			if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", c.status)) {
				t.Errorf("%s: %q", name, head)
			}
			length := "" // the app's length, told as it was
			for line := range strings.SplitSeq(head, "\r\n") {
				if k, v, _ := strings.Cut(line, ": "); strings.EqualFold(k, "Content-Length") {
					length = v
				} else if strings.EqualFold(k, "Transfer-Encoding") {
					t.Errorf("%s: Transfer-Encoding on an answer without a body: %q", name, head)
				}
			}
			if length != c.length && !(c.status == 304 && length == "") {
				t.Errorf("%s: Content-Length %q, want %q", name, length, c.length)
			}
			// Not a byte of body: the next answer stands right behind.
			w.ask(r.host, "GET /?code=200&cl=0")
			if head := w.head(t); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Errorf("%s: the next answer begins with %q", name, head)
			}
			w.Close()
		}
		// The same over h2c, as far as a client library shows it.
		l := r.lane(t, true)
		resp := l.do(t, l.request(t, "HEAD", "/?code=200&cl=12345", nil))
		if b, err := io.ReadAll(resp.Body); resp.ContentLength != 12345 || len(b) > 0 || err != nil {
			t.Errorf("h2c HEAD: length %d, %q, %v", resp.ContentLength, b, err)
		}
	})
}

func TestRanges(t *testing.T) {
	content := pattern(1 << 20)
	app := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "x.bin", time.Unix(1_700_000_000, 0), bytes.NewReader(content))
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		for _, c := range []struct {
			rng, cond    string
			status       int
			contentRange string
			from, to     int
		}{
			{"bytes=0-0", "", 206, "bytes 0-0/1048576", 0, 1},
			{"bytes=1000-200999", "", 206, "bytes 1000-200999/1048576", 1000, 201000},
			{"bytes=-100", "", 206, "bytes 1048476-1048575/1048576", 1<<20 - 100, 1 << 20},
			{"bytes=1048576-", "", 416, "bytes */1048576", 0, 0},
			{"bytes=0-9", `"v1"`, 206, "bytes 0-9/1048576", 0, 10},
			{"bytes=0-9", `"v0"`, 200, "", 0, 1 << 20},
		} {
			req := l.request(t, "GET", "/x.bin", nil)
			req.Header.Set("Range", c.rng)
			if c.cond != "" {
				req.Header.Set("If-Range", c.cond)
			}
			resp := l.do(t, req)
			b, err := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || resp.Header.Get("Content-Range") != c.contentRange || err != nil ||
				c.status != 416 && !bytes.Equal(b, content[c.from:c.to]) {
				t.Errorf("%s %s: %d, %q, %d bytes, %v", c.rng, c.cond, resp.StatusCode, resp.Header.Get("Content-Range"), len(b), err)
			}
		}
	})
}

// An answer that ends with the connection (HTTP/1.0 apps: python -m http.server) is whole when the connection ends well.
func TestAnswersThatEndWithTheConnection(t *testing.T) {
	heads := []string{
		"HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.0 200 OK\r\nContent-Length: 300000\r\n\r\n",
	}
	app := func(c net.Conn) {
		var mu sync.Mutex
		s := readRequest(bufio.NewReader(c), func(*sighting) {}, &mu)
		if s == nil {
			return
		}
		i, _ := strconv.Atoi(strings.TrimPrefix(s.target, "/"))
		io.WriteString(c, heads[i])
		c.Write(pattern(300_000))
	}
	overLanes(t, bytesApp(app), func(t *testing.T, l *lane) {
		for i, head := range heads {
			for range 3 {
				resp := l.do(t, l.request(t, "GET", fmt.Sprintf("/%d", i), nil))
				b, err := io.ReadAll(resp.Body)
				if resp.StatusCode != 200 || err != nil || !bytes.Equal(b, pattern(300_000)) {
					t.Errorf("%q: %d, %d bytes, %v", head, resp.StatusCode, len(b), err)
				}
			}
		}
	})
}

// An HTTP/1.0 visitor knows no chunks.
func TestHTTP10Visitor(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			io.WriteString(w, "part;")
			w.(http.Flusher).Flush()
		}
	}
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		w := r.wire(t)
		w.send("GET / HTTP/1.0\r\nHost: " + r.host + "\r\n\r\n")
		head := w.head(t)
		if strings.Contains(strings.ToLower(head), "transfer-encoding") {
			t.Errorf("chunks for HTTP/1.0: %q", head)
		}
		if b, err := io.ReadAll(w.r); string(b) != "part;part;part;" || err != nil {
			t.Errorf("body %q, %v", b, err)
		}
	})
}

// Requests sent ahead are answered in their order.
func TestPipelining(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, b)
	}
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		w := r.wire(t)
		var all strings.Builder
		for i := range 20 {
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n", i, r.host)
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\n\r\nhello", i, r.host)
		}
		w.send(all.String())
		for i := range 20 {
			for _, want := range []string{fmt.Sprintf("GET /%d ", i), fmt.Sprintf("POST /%d hello", i)} {
				if a := w.mustAnswer(t, "GET"); string(a.body) != want {
					t.Fatalf("answer %q, want %q", a.body, want)
				}
			}
		}
	})
}

// Many requests on one connection, bodies of every size around the buffers.
func TestKeepAliveWithBodiesOfManySizes(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Write(b)
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		for _, n := range []int{0, 1, 100, 2047, 2048, 4095, 4096, 4097, 16383, 16384, 32767, 32768, 32769, 65535, 65536, 65537, 262143, 262144, 262145, 1 << 20} {
			for _, chunked := range []bool{false, true} {
				want := pattern(n)
				var body io.Reader = bytes.NewReader(want)
				if chunked {
					body = io.MultiReader(body)
				}
				resp := l.do(t, l.request(t, "POST", "/", body))
				got, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != 200 || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, chunked %v: %d, %d bytes back, %v", n, chunked, resp.StatusCode, len(got), err)
				}
			}
		}
	})
}

// Expect: 100-continue. The visitor holds the body back until it is asked for it; only the app may ask.
func TestExpectContinue(t *testing.T) {
	var bodyRead atomic.Bool
	app := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refuse":
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, "who are you")
		case "/417":
			w.WriteHeader(http.StatusExpectationFailed)
		case "/late":
			time.Sleep(300 * time.Millisecond)
			fallthrough
		default:
			b, err := io.ReadAll(r.Body)
			bodyRead.Store(true)
			fmt.Fprintf(w, "got %d %v", len(b), err)
		}
	}
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		post := func(target string) *wire {
			w := r.wire(t)
			w.ask(r.host, "POST "+target, "Expect: 100-continue", "Content-Length: 5")
			return w
		}
		for _, target := range []string{"/read", "/late"} {
			w := post(target)
			if head := w.head(t); !strings.HasPrefix(head, "HTTP/1.1 100") {
				t.Fatalf("%s: %q, want 100 before the body is sent", target, head)
			}
			w.send("hello")
			if a := w.mustAnswer(t, "POST"); a.StatusCode != 200 || string(a.body) != "got 5 <nil>" || len(a.interim) > 0 {
				t.Errorf("%s: answer %d %q after %d more interim answers", target, a.StatusCode, a.body, len(a.interim))
			}
		}
		for target, want := range map[string]int{"/refuse": 401, "/417": 417} {
			w := post(target)
			a := w.mustAnswer(t, "POST")
			if a.StatusCode != want || len(a.interim) > 0 {
				t.Errorf("%s: answer %d after %d interim ones, want %d and no 100: the app asked for no body", target, a.StatusCode, len(a.interim), want)
			}
			// The visitor may go on with the body or the next request; the edge may close. Never is one taken for the other.
			w.send("GET /next HTTP/1.1\r\nHost: " + r.host + "\r\n\r\n")
			if next, err := w.answer("GET"); err == nil && next.StatusCode != 400 {
				t.Errorf("%s: five bytes of body are owed, and yet the edge answers %d %q", target, next.StatusCode, next.body)
			}
		}
		// A visitor who does not wait.
		w := r.wire(t)
		w.send("POST /read HTTP/1.1\r\nHost: " + r.host + "\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
		if a := w.mustAnswer(t, "POST"); a.StatusCode != 200 || string(a.body) != "got 5 <nil>" {
			t.Errorf("unwaited: answer %d %q", a.StatusCode, a.body)
		}
		// A chunked one who waits.
		w = r.wire(t)
		w.ask(r.host, "POST /read", "Expect: 100-continue", "Transfer-Encoding: chunked")
		if head := w.head(t); !strings.HasPrefix(head, "HTTP/1.1 100") {
			t.Fatalf("chunked: %q", head)
		}
		w.send("5\r\nhello\r\n0\r\n\r\n")
		if a := w.mustAnswer(t, "POST"); a.StatusCode != 200 || string(a.body) != "got 5 <nil>" {
			t.Errorf("chunked: answer %d %q", a.StatusCode, a.body)
		}
	})
}

// An app that knows nothing of Expect never says 100: the visitor sends after a while, as RFC 9110 has it, and nothing hangs.
func TestExpectContinueOfAnAppThatNeverSaysSo(t *testing.T) {
	app := func(c net.Conn) {
		var mu sync.Mutex
		s := readRequest(bufio.NewReader(c), func(*sighting) {}, &mu)
		if s != nil {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(s.body), s.body)
		}
	}
	overRoads(t, bytesApp(app), func(t *testing.T, r *road) {
		w := r.wire(t)
		w.ask(r.host, "POST /", "Expect: 100-continue", "Content-Length: 5")
		time.Sleep(300 * time.Millisecond) // the visitor's own timer; curl has 1 s
		w.send("hello")
		if a := w.mustAnswer(t, "POST"); a.StatusCode != 200 || string(a.body) != "hello" {
			t.Errorf("answer %d %q", a.StatusCode, a.body)
		}
	})
}

// The app answers at once and reads nothing. The answer reaches the visitor while the upload is under way, and whatever becomes
// of the rest, the next request is served.
func TestEarlyAnswerDuringAnUpload(t *testing.T) {
	const length = 50 << 20
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			io.WriteString(w, "fine")
			return
		}
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		io.WriteString(w, "too much")
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		for range 3 {
			body, say := io.Pipe()
			req := l.request(t, "POST", "/upload", body)
			req.ContentLength = length
			go say.Write(pattern(64 << 10)) // and then nothing, until the answer is there
			resp := l.do(t, req)
			b, err := io.ReadAll(resp.Body)
			if resp.StatusCode != 413 || string(b) != "too much" || err != nil {
				t.Fatalf("answer %d %q, %v", resp.StatusCode, b, err)
			}
			rest := make(chan error, 1)
			go func() {
				defer say.Close()
				block := pattern(1 << 20)
				for range 49 {
					if _, err := say.Write(block); err != nil {
						rest <- err
						return
					}
				}
				rest <- nil
			}()
			resp.Body.Close()
			body.Close()
			within(t, rest, "the rest of the upload is taken or refused, not left hanging")
			if resp, b := l.get(t, "/after"); resp.StatusCode != 200 || b != "fine" {
				t.Fatalf("the next request: %d %q", resp.StatusCode, b)
			}
		}
	})
}

// The whole 50 MB are sent while the app answers early. curl and browsers send on: an answer that is lost to a reset is a failure.
func TestEarlyAnswerSurvivesTheRestOfTheUpload(t *testing.T) {
	const length = 50 << 20
	app := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "no, thanks")
	}
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		w := r.wire(t)
		w.ask(r.host, "POST /", fmt.Sprintf("Content-Length: %d", length))
		go func() {
			block := pattern(1 << 20)
			for range length >> 20 {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}()
		a, err := w.answer("POST")
		if err != nil || a.StatusCode != 403 || string(a.body) != "no, thanks" {
			t.Fatalf("answer %+v, %v", a, err)
		}
	})
}

// A visitor who does not read costs a bounded amount of memory, and nobody else anything.
func TestSlowReader(t *testing.T) {
	long(t)
	var sent atomic.Int64
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			io.WriteString(w, "quick")
			return
		}
		block := pattern(64 << 10)
		for sent.Load() < 1<<30 {
			n, err := w.Write(block)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		l.get(t, "/quick")
		before := l.memory(t)
		sent.Store(0)
		var held []io.Closer
		for range 4 {
			w := l.stalled(t)
			held = append(held, w)
		}
		settle(t, &sent)
		for _, c := range held {
			defer c.Close()
		}
		if taken := sent.Load(); taken > 128<<20 { // most of it lies in the sockets of the kernel, a dozen of them
			t.Errorf("%d MB were taken from the app for 4 visitors who read nothing", taken>>20)
		}
		if grown := l.memory(t) - before; grown > 64<<20 {
			t.Errorf("server and agent grew by %d MB", grown>>20)
		}
		start := time.Now()
		if _, b := l.get(t, "/quick"); b != "quick" || time.Since(start) > soon {
			t.Errorf("another visitor got %q after %v", b, time.Since(start))
		}
	})
}

// stalled is a visitor who asks for much and reads nothing.
func (l *lane) stalled(t *testing.T) io.Closer {
	t.Helper()
	if !l.h2 {
		w := l.wire(t)
		w.SetDeadline(time.Time{})
		w.ask(l.host, "GET /endless")
		return w
	}
	ctx, cancel := context.WithCancel(t.Context())
	req := l.request(t, "GET", "/endless", nil).WithContext(ctx)
	resp, err := l.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return closer(func() { cancel(); resp.Body.Close() })
}

type closer func()

func (c closer) Close() error { c(); return nil }

// settle waits until a count has stood still for half a second.
func settle(t *testing.T, n *atomic.Int64) {
	t.Helper()
	last, since := int64(-1), time.Now()
	for start := time.Now(); time.Since(since) < 500*time.Millisecond || last == 0; time.Sleep(20 * time.Millisecond) {
		if now := n.Load(); now != last {
			last, since = now, time.Now()
		}
		if time.Since(start) > patience {
			return
		}
	}
}

// An app that does not read: the upload waits, memory stays flat, and it goes on when the app does.
func TestSlowApp(t *testing.T) {
	long(t)
	proceed := make(chan bool)
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			return
		}
		select {
		case <-proceed:
		case <-time.After(patience):
		}
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		fmt.Fprintf(w, "%d %x %v", n, h.Sum(nil), err)
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		l.get(t, "/")
		before := l.memory(t)
		var sent atomic.Int64
		body, want := upload(200<<20, &sent)
		done := make(chan string, 1)
		go func() {
			req := l.request(t, "POST", "/", body)
			req.ContentLength = 200 << 20
			resp, err := l.client.Do(req)
			if err != nil {
				done <- err.Error()
				return
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			done <- string(b)
		}()
		settle(t, &sent)
		if sent.Load() > 64<<20 {
			t.Errorf("%d MB were taken for an app that reads nothing", sent.Load()>>20)
		}
		if grown := l.memory(t) - before; grown > 64<<20 {
			t.Errorf("server and agent grew by %d MB", grown>>20)
		}
		proceed <- true
		if got, want := within(t, done, "the upload ends"), fmt.Sprintf("%d %x <nil>", 200<<20, want()); got != want {
			t.Errorf("the app heard %s, want %s", got, want)
		}
	})
}

// upload is a body of n bytes that counts what was taken; the second value is its checksum, once it was read to the end.
func upload(n int64, taken *atomic.Int64) (io.Reader, func() []byte) {
	h := sha256.New()
	return &patterned{left: n, h: h, taken: taken, block: pattern(1 << 20)}, func() []byte { return h.Sum(nil) }
}

type patterned struct {
	left  int64
	h     hash.Hash
	taken *atomic.Int64
	block []byte
	off   int
}

func (p *patterned) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(int64(len(b)), p.left)], p.block[p.off:])
	p.off = (p.off + n) % len(p.block)
	p.left -= int64(n)
	p.h.Write(b[:n])
	if p.taken != nil {
		p.taken.Add(int64(n))
	}
	return n, nil
}

func Test100MBEachWay(t *testing.T) {
	n := int64(100 << 20)
	if testing.Short() {
		n = 10 << 20
	}
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			h := sha256.New()
			n, err := io.Copy(h, r.Body)
			fmt.Fprintf(w, "%d %x %v", n, h.Sum(nil), err)
			return
		}
		body, want := upload(n, nil)
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(n))
		}
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, body)
		w.Header().Set("X-Sum", hex.EncodeToString(want()))
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		_, want := func() (int64, []byte) { b, s := upload(n, nil); c, _ := io.Copy(io.Discard, b); return c, s() }()
		for _, target := range []string{"/length", "/chunked"} {
			resp := l.do(t, l.request(t, "GET", target, nil))
			h := sha256.New()
			got, err := io.Copy(h, resp.Body)
			if got != n || err != nil || !bytes.Equal(h.Sum(nil), want) {
				t.Errorf("download %s: %d bytes, %x, %v", target, got, h.Sum(nil), err)
			}
		}
		for _, length := range []int64{n, -1} {
			body, _ := upload(n, nil)
			req := l.request(t, "POST", "/", body)
			req.ContentLength = length
			resp := l.do(t, req)
			b, err := io.ReadAll(resp.Body)
			if want := fmt.Sprintf("%d %x <nil>", n, want); string(b) != want || err != nil {
				t.Errorf("upload, length %d: %q, %v, want %q", length, b, err, want)
			}
		}
	})
}

// The visitor goes; whatever the app is doing for it, it learns so soon.
func TestVisitorGoneIsSeenByTheApp(t *testing.T) {
	begun, seen := make(chan bool, 1), make(chan string, 1)
	app := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/before-head":
			begun <- true
			<-r.Context().Done()
			seen <- "gone"
		case "/mid-upload":
			if _, err := io.ReadFull(r.Body, make([]byte, 1000)); err != nil {
				seen <- err.Error()
				return
			}
			begun <- true
			if n, err := io.Copy(io.Discard, r.Body); err == nil {
				seen <- fmt.Sprintf("a clean end after %d more bytes", n)
				return
			}
			seen <- "gone"
		case "/idle-download":
			io.WriteString(w, strings.Repeat("x", 1000))
			w.(http.Flusher).Flush()
			begun <- true
			<-r.Context().Done()
			seen <- "gone"
		case "/mid-download":
			begun <- true
			block := pattern(64 << 10)
			for {
				if _, err := w.Write(block); err != nil {
					seen <- "gone"
					return
				}
			}
		}
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		for _, target := range []string{"/before-head", "/mid-upload", "/idle-download", "/mid-download"} {
			for _, chunked := range []bool{false, true} {
				method, body := "GET", io.Reader(nil)
				if target == "/mid-upload" {
					pr, pw := io.Pipe()
					defer pw.Close()
					go pw.Write(pattern(2000))
					method, body = "POST", pr
				} else if chunked {
					continue
				}
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				req := l.request(t, method, target, body).WithContext(ctx)
				if !chunked && body != nil {
					req.ContentLength = 1 << 20
				}
				go func() {
					resp, err := l.client.Do(req)
					if err == nil {
						defer resp.Body.Close()
						io.ReadFull(resp.Body, make([]byte, 1000))
						<-ctx.Done()
					}
				}()
				within(t, begun, target+": the request reaches the app")
				left := time.Now()
				leave()
				if got := within(t, seen, target+": the app sees that the visitor is gone"); got != "gone" {
					t.Errorf("%s, chunked %v: the app saw %s", target, chunked, got)
				}
				if took := time.Since(left); took > soon {
					t.Errorf("%s, chunked %v: the app saw it after %v", target, chunked, took)
				}
			}
		}
	})
}

// The same for upgraded connections, with a close and with a reset.
func TestVisitorGoneFromAnUpgradedConnection(t *testing.T) {
	seen := make(chan error, 1)
	app := rawUpgrade(func(c *net.TCPConn, r io.Reader) {
		_, err := io.Copy(io.Discard, r)
		seen <- err
	})
	overRoads(t, bytesApp(app), func(t *testing.T, r *road) {
		for _, reset := range []bool{false, true} {
			w := r.rawUpgrade(t)
			w.send("something")
			if reset {
				w.SetLinger(0)
			}
			left := time.Now()
			w.Close()
			within(t, seen, "the app sees that the visitor is gone")
			if took := time.Since(left); took > soon {
				t.Errorf("reset %v: the app saw it after %v", reset, took)
			}
		}
	})
}

// The app goes in the middle of its answer: the visitor must be able to tell (E31).
func TestAppGoneMidBodyIsNeverACleanEnd(t *testing.T) {
	heads := map[string]string{
		"length":          "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 500),
		"length, no byte": "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
		"length, big":     "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + strings.Repeat("x", 800_000),
		"chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"chunked, none":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"inside a chunk":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhello",
		"in the trailer":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\n",
		"bad chunk":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
	}
	app := func(c net.Conn) {
		var mu sync.Mutex
		s := readRequest(bufio.NewReader(c), func(*sighting) {}, &mu)
		if s == nil {
			return
		}
		io.WriteString(c, heads[s.value("X-Case")])
		if s.value("X-Reset") == "true" {
			time.Sleep(50 * time.Millisecond) // a reset overtakes what was sent; let it arrive first
			c.(*net.TCPConn).SetLinger(0)
		}
	}
	overLanes(t, bytesApp(app), func(t *testing.T, l *lane) {
		for name := range heads {
			for _, reset := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, reset %v", name, reset), func(t *testing.T) {
					req := l.request(t, "GET", "/", nil)
					req.Header.Set("X-Case", name)
					req.Header.Set("X-Reset", fmt.Sprint(reset))
					var b []byte
					resp, err := l.client.Do(req)
					if err == nil {
						defer resp.Body.Close()
						b, err = io.ReadAll(resp.Body)
					}
					switch {
					case errors.Is(err, context.DeadlineExceeded):
						t.Errorf("the visitor was left hanging after %d bytes", len(b))
					case err == nil && resp.StatusCode != 502:
						t.Errorf("%d: a clean end after %d bytes %.100q", resp.StatusCode, len(b), b)
					}
				})
			}
		}
	})
}

// An app that goes before it answers has failed: 502, with a word about why.
func TestAppGoneBeforeTheHead(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"closes at once": func(c net.Conn) {},
		"resets at once": func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) },
		"closes after the request": func(c net.Conn) {
			var mu sync.Mutex
			readRequest(bufio.NewReader(c), func(*sighting) {}, &mu)
		},
		"closes in the head": func(c net.Conn) {
			var mu sync.Mutex
			readRequest(bufio.NewReader(c), func(*sighting) {}, &mu)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX-A: b\r\n")
		},
		"closes after a 103": func(c net.Conn) {
			var mu sync.Mutex
			readRequest(bufio.NewReader(c), func(*sighting) {}, &mu)
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			overLanes(t, bytesApp(serve), func(t *testing.T, l *lane) {
				needsBinary(t)
				for _, method := range []string{"GET", "POST"} {
					var body io.Reader
					if method == "POST" {
						body = strings.NewReader("hello")
					}
					resp := l.do(t, l.request(t, method, "/", body))
					io.ReadAll(resp.Body)
					if resp.StatusCode != 502 || resp.Header.Get("Relay-Error") == "" {
						t.Errorf("%s: %d, Relay-Error %q; want 502 and a code", method, resp.StatusCode, resp.Header.Get("Relay-Error"))
					}
				}
			})
		})
	}
}

// A request is not sent twice to an app that may have acted on the first.
func TestAPostIsNeverRepeated(t *testing.T) {
	var posts atomic.Int64
	app := func(c net.Conn) {
		r := bufio.NewReader(c)
		var mu sync.Mutex
		for {
			s := readRequest(r, func(*sighting) {}, &mu)
			if s == nil {
				return
			}
			if s.method == "POST" {
				posts.Add(1)
				return // acted, and died before the answer
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}
	overRoads(t, bytesApp(app), func(t *testing.T, r *road) {
		needsBinary(t)
		l := r.lane(t, false)
		for range 10 {
			l.get(t, "/warm") // a connection to the app is kept
			posts.Store(0)
			resp := l.do(t, l.request(t, "POST", "/", strings.NewReader("pay 10 euros")))
			io.ReadAll(resp.Body)
			if n := posts.Load(); n != 1 || resp.StatusCode != 502 {
				t.Fatalf("the app saw %d POSTs, the visitor %d; want one and 502", n, resp.StatusCode)
			}
		}
	})
}

// long marks a test that costs seconds of this machine.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("long")
	}
}
