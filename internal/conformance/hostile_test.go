package conformance

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The hostile app (the probe upstream/hostile.go): whatever an app says, the visitor gets an honest answer or an honest error, and
// the next visitor gets his own.

// bomb is 256 MiB of zeros in 260 KB.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 256 {
		z.Write(zeros)
	}
	z.Close()
	return b.Bytes()
})

// hostileApp answers by the path. What it does not know it answers with "ok".
func hostileApp(c net.Conn) {
	r := bufio.NewReader(c)
	var mu sync.Mutex
	for {
		s := readRequest(r, func(*sighting) {}, &mu)
		if s == nil || !s.whole {
			return
		}
		path, _, _ := strings.Cut(s.target, "?")
		answer, known := hostileAnswers[path]
		switch {
		case path == "/1xx":
			hint := "HTTP/1.1 103 Early Hints\r\nLink: <" + strings.Repeat("a", 1000) + ">\r\n\r\n"
			for range 200_000 {
				if _, err := io.WriteString(c, hint); err != nil {
					return
				}
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		case path == "/hdr":
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for i := range 9000 {
				if _, err := fmt.Fprintf(c, "X-%d: %s\r\n", i, strings.Repeat("a", 1000)); err != nil {
					return
				}
			}
			io.WriteString(c, "Content-Length: 0\r\n\r\n")
		case path == "/gz":
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", len(bomb()))
			c.Write(bomb())
		case path == "/dribble":
			for _, b := range []byte("HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 7\r\n\r\ndribble") {
				c.Write([]byte{b})
				time.Sleep(5 * time.Millisecond)
			}
		case known:
			io.WriteString(c, answer)
			linger(c)
			return
		default:
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}
}

// linger keeps the connection for a moment, so that an end is not mistaken for the fault.
func linger(c net.Conn) {
	c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	io.Copy(io.Discard, c)
}

const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"

var hostileAnswers = map[string]string{
	"/clte":           "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"/split":          "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: x=y\r\nContent-Length: 2\r\n\r\nok" + poison,
	"/nul":            "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok",
	"/101":            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	"/204b":           "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello" + poison,
	"/204c":           "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + poison,
	"/304b":           "HTTP/1.1 304 Not Modified\r\n\r\nhello" + poison,
	"/999":            "HTTP/1.1 999 Weird\r\nContent-Length: 0\r\n\r\n",
	"/099":            "HTTP/1.1 099 Weird\r\nContent-Length: 0\r\n\r\n",
	"/600":            "HTTP/1.1 600 Weird\r\nContent-Length: 0\r\n\r\n",
	"/20":             "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
	"/2000":           "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
	"/minus":          "HTTP/1.1 -200 OK\r\nContent-Length: 0\r\n\r\n",
	"/garbage":        "220 mail.example.com ESMTP\r\n",
	"/http3":          "HTTP/3.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"/http09":         "<html>no head</html>\r\n\r\n",
	"/cl-minus":       "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
	"/cl-plus":        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
	"/cl-two":         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
	"/cl-list":        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!",
	"/cl-huge":        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
	"/te-odd":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nok",
	"/te-twice":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"/name-space":     "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
	"/name-bad":       "HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 2\r\n\r\nok",
	"/no-colon":       "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n\r\nok",
	"/long-line":      "HTTP/1.1 200 " + strings.Repeat("O", 300_000) + "\r\nContent-Length: 2\r\n\r\nok",
	"/trailer-bomb":   "HTTP/1.1 200 OK\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: " + strings.Repeat("a", 2<<20) + "\r\n\r\n",
	"/chunk-overflow": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n",
	"/chunk-minus":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
}

func TestHostileAnswers(t *testing.T) {
	// Statuses that a visitor may get, and the body that belongs to a 2xx of them; an error in mid-body is honest too where cut says so.
	cases := []struct {
		path     string
		statuses []int
		body     string
		cut      bool
	}{
		{path: "/1xx", statuses: []int{502}},
		{path: "/hdr", statuses: []int{502}},
		{path: "/clte", statuses: []int{502, 200}, body: "hello"},
		{path: "/split", statuses: []int{502}},
		{path: "/nul", statuses: []int{502}},
		{path: "/101", statuses: []int{502}},
		{path: "/204b", statuses: []int{204}},
		{path: "/204c", statuses: []int{204, 502}},
		{path: "/304b", statuses: []int{304}},
		{path: "/999", statuses: []int{502}},
		{path: "/099", statuses: []int{502}},
		{path: "/600", statuses: []int{502}},
		{path: "/20", statuses: []int{502}},
		{path: "/2000", statuses: []int{502}},
		{path: "/minus", statuses: []int{502}},
		{path: "/garbage", statuses: []int{502}},
		{path: "/http3", statuses: []int{502}},
		{path: "/http09", statuses: []int{502}},
		{path: "/cl-minus", statuses: []int{502}},
		{path: "/cl-plus", statuses: []int{502}},
		{path: "/cl-two", statuses: []int{502}},
		{path: "/cl-list", statuses: []int{502}},
		{path: "/cl-huge", statuses: []int{502}},
		{path: "/te-odd", statuses: []int{502}},
		{path: "/te-twice", statuses: []int{502, 200}, body: "ok"},
		{path: "/name-space", statuses: []int{502}},
		{path: "/name-bad", statuses: []int{502}},
		{path: "/no-colon", statuses: []int{502}},
		{path: "/long-line", statuses: []int{502}},
		{path: "/trailer-bomb", statuses: []int{502, 200}, cut: true},
		{path: "/chunk-overflow", statuses: []int{502, 200}, cut: true},
		{path: "/chunk-minus", statuses: []int{502, 200}, cut: true},
		{path: "/dribble", statuses: []int{200}, body: "dribble"},
	}
	overLanes(t, bytesApp(hostileApp), func(t *testing.T, l *lane) {
		needsBinary(t)
		for _, c := range cases {
			t.Run(c.path[1:], func(t *testing.T) {
				for _, method := range []string{"GET", "POST"} {
					var body io.Reader
					if method == "POST" {
						body = strings.NewReader("hello")
					}
					hints := 0
					req := l.request(t, method, c.path, body)
					req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
						Got1xxResponse: func(int, textproto.MIMEHeader) error { hints++; return nil },
					}))
					resp, err := l.client.Do(req)
					if err != nil && c.cut && !errors.Is(err, context.DeadlineExceeded) {
						continue // broken off before the head went out: an error, and no clean end
					}
					if err != nil {
						t.Fatalf("%s: no answer: %v", method, err)
					}
					defer resp.Body.Close()
					got, err := io.ReadAll(resp.Body)
					ours := resp.StatusCode == 502 && resp.Header.Get("Relay-Error") != ""
					switch {
					case !slices.Contains(c.statuses, resp.StatusCode):
						t.Errorf("%s: %d %.100q, want %v", method, resp.StatusCode, got, c.statuses)
					case resp.StatusCode == 502 && !ours:
						t.Errorf("%s: 502 without Relay-Error", method)
					case c.cut && !ours && err == nil:
						t.Errorf("%s: a clean end of a broken answer: %d %.100q", method, resp.StatusCode, got)
					case !c.cut && err != nil:
						t.Errorf("%s: body: %v", method, err)
					case !c.cut && !ours && string(got) != c.body:
						t.Errorf("%s: body %.100q, want %q", method, got, c.body)
					}
					if hints > 10 {
						t.Errorf("%s: %d interim answers were passed on, want 10 at most", method, hints)
					}
					for range 3 {
						l.mustServe(t, "/next", "ok")
					}
				}
			})
		}
	})
}

// A bomb is bytes: nothing on the road inflates it, nobody asks for gzip in the visitor's name.
func TestGzipBombPassesAsBytes(t *testing.T) {
	overLanes(t, bytesApp(hostileApp), func(t *testing.T, l *lane) {
		l.mustServe(t, "/warm", "ok")
		before := l.memory(t)
		for range 3 {
			resp, body := l.get(t, "/gz")
			if resp.Header.Get("Content-Encoding") != "gzip" || body != string(bomb()) {
				t.Fatalf("%d bytes with %v, want the app's %d", len(body), resp.Header, len(bomb()))
			}
		}
		if grown := l.memory(t) - before; grown > 48<<20 {
			t.Errorf("server and agent grew by %d MB", grown>>20)
		}
	})
}

// Header bombs and endless hints cost a bounded amount of memory.
func TestBombsInTheHeadCostLittle(t *testing.T) {
	overRoads(t, bytesApp(hostileApp), func(t *testing.T, r *road) {
		needsBinary(t)
		l := r.lane(t, false)
		l.mustServe(t, "/warm", "ok")
		before := l.memory(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for _, path := range []string{"/hdr", "/1xx"} {
					resp, err := l.client.Get(l.url(path))
					if err != nil {
						t.Errorf("%s: %v", path, err)
						return
					}
					resp.Body.Close()
				}
			})
		}
		wg.Wait()
		if grown := l.memory(t) - before; grown > 48<<20 {
			t.Errorf("server and agent grew by %d MB", grown>>20)
		}
	})
}

// Bytes that an app sends behind its answer belong to nobody: the stream and the connection they came on are done with, however
// late they come before the next request.
func TestBytesBehindAnAnswerReachNobody(t *testing.T) {
	poisoned := make(chan bool, 100)
	var delay atomic.Int64
	app := func(c net.Conn) {
		r := bufio.NewReader(c)
		var mu sync.Mutex
		for {
			s := readRequest(r, func(*sighting) {}, &mu)
			if s == nil {
				return
			}
			body := s.target
			if s.method == "HEAD" {
				body = ""
			}
			honest := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(s.target), body)
			if !strings.HasPrefix(s.target, "/hostile") {
				io.WriteString(c, honest)
				continue
			}
			if d := time.Duration(delay.Load()); d > 0 {
				io.WriteString(c, honest)
				time.Sleep(d)
				io.WriteString(c, poison)
			} else {
				io.WriteString(c, honest+poison)
			}
			poisoned <- true
		}
	}
	overLanes(t, bytesApp(app), func(t *testing.T, l *lane) {
		for _, d := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
			delay.Store(int64(d))
			for i := range 20 {
				method := []string{"GET", "HEAD", "POST"}[i%3]
				resp := l.do(t, l.request(t, method, fmt.Sprintf("/hostile/%d", i), nil))
				b, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode == 200 && method != "HEAD" && string(b) != fmt.Sprintf("/hostile/%d", i) {
					t.Fatalf("%d %q, %v", resp.StatusCode, b, err)
				}
				within(t, poisoned, "the app has sent its poison")
				time.Sleep(60 * time.Millisecond) // it crosses the road; nobody tells when
				for j := range 3 {
					target := fmt.Sprintf("/honest/%v/%d/%d", d, i, j)
					resp := l.do(t, l.request(t, "GET", target, nil))
					if b, err := io.ReadAll(resp.Body); string(b) != target || err != nil {
						t.Fatalf("after %v: the next visitor got %d %q, %v", d, resp.StatusCode, b, err)
					}
				}
			}
		}
	})
}

// Many visitors, each exchange with a tag of its own, over an app that breaks every rule now and then. A visitor may get an error;
// he never gets a byte of another's exchange (E26).
func TestNoVisitorGetsAnothersBytes(t *testing.T) {
	needsBinary(t) // http.Transport of the stand-ins takes extra bytes for its next answer now and then: the check can fail
	total := 10_000
	if testing.Short() {
		total = 1000
	}
	if os.Getenv("RELAY_LONG") != "" {
		total = 1_000_000
	}
	app := func(c net.Conn) {
		r := bufio.NewReader(c)
		var mu sync.Mutex
		for {
			begun := false
			s := readRequest(r, func(s *sighting) {
				if strings.Contains(s.target, "mood=early") { // answers before it has read
					tag := tagOf(s.target)
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(tag), tag)
					begun = true
				}
			}, &mu)
			if s == nil || !s.whole {
				return
			}
			tag := tagOf(s.target)
			honest := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Tag: %s\r\nContent-Length: %d\r\n\r\n%s", tag, len(tag), tag)
			_, mood, _ := strings.Cut(s.target, "mood=")
			if s.method == "HEAD" {
				honest = strings.TrimSuffix(honest, tag)
			}
			switch mood {
			case "early":
				if !begun {
					return
				}
			case "extra":
				io.WriteString(c, honest+"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nFOREIGN")
			case "close":
				io.WriteString(c, honest)
				return
			case "drop":
				return
			case "cut":
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n%s", tag)
				return
			case "204":
				fmt.Fprintf(c, "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\nFOREIGN")
			case "chunked":
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(tag), tag)
			case "hints":
				io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: <"+tag+">\r\n\r\n"+honest)
			default:
				io.WriteString(c, honest)
			}
		}
	}
	moods := []string{"good", "good", "good", "good", "good", "good", "chunked", "extra", "close", "drop", "cut", "204", "early", "hints", "leave"}
	overLanes(t, bytesApp(app), func(t *testing.T, l *lane) {
		var wg sync.WaitGroup
		var good, failed atomic.Int64
		for range 16 {
			wg.Go(func() {
				for range total / 16 / 4 { // four lanes share the total
					mood := moods[rand.N(len(moods))]
					tag := fmt.Sprintf("tag-%x-%x", rand.Uint64(), rand.Uint64())
					ok, err := oneTagged(t, l, mood, tag)
					if err != nil {
						t.Error(err)
						return
					}
					if ok {
						good.Add(1)
					} else {
						failed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%d answered, %d failed as they should", good.Load(), failed.Load())
		if good.Load() < failed.Load() {
			t.Errorf("only %d were answered, %d were not: the honest ones suffer", good.Load(), failed.Load())
		}
	})
}

func tagOf(target string) string {
	_, tag, _ := strings.Cut(target, "/t/")
	tag, _, _ = strings.Cut(tag, "?")
	return tag
}

func oneTagged(t *testing.T, l *lane, mood, tag string) (answered bool, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if mood == "leave" {
		ctx, cancel = context.WithTimeout(ctx, rand.N(2*time.Millisecond))
		defer cancel()
	}
	method, body := "GET", io.Reader(nil)
	switch rand.N(4) {
	case 0:
		method, body = "POST", strings.NewReader("hello")
	case 1:
		method, body = "PUT", bytes.NewReader(pattern(20_000))
	case 2:
		if mood != "early" {
			method = "HEAD"
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, l.url("/t/"+tag+"?mood="+mood), body)
	if err != nil {
		return false, err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		if ctx.Err() == nil && standIn == "" && mood != "cut" {
			return false, fmt.Errorf("%s %s: %w", method, mood, err)
		}
		if mood != "leave" && errors.Is(err, context.DeadlineExceeded) {
			return false, fmt.Errorf("%s %s hung", method, mood)
		}
		return false, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode == 200 {
		if got := resp.Header.Get("X-Tag"); got != "" && got != tag {
			return false, fmt.Errorf("%s %s: X-Tag %q of another exchange, mine is %q", method, mood, got, tag)
		}
		if !strings.HasPrefix(tag, string(b)) && method != "HEAD" {
			return false, fmt.Errorf("%s %s: %.100q is not mine, mine is %q", method, mood, b, tag)
		}
		if err == nil && string(b) != tag && method != "HEAD" {
			return false, fmt.Errorf("%s %s: a clean end after %q of %q", method, mood, b, tag)
		}
		if err == nil && mood == "cut" && method != "HEAD" {
			return false, fmt.Errorf("%s %s: a clean end of a cut answer", method, mood)
		}
		return err == nil, nil
	}
	if bytes.Contains(b, []byte("FOREIGN")) || bytes.Contains(b, []byte("tag-")) && !bytes.Contains(b, []byte(tag)) {
		return false, fmt.Errorf("%s %s: %d %.200q", method, mood, resp.StatusCode, b)
	}
	// What is not idempotent may have met a kept connection that its app closed just then, and is not sent twice.
	if (mood == "good" || mood == "chunked" || mood == "hints") && (method == "GET" || method == "HEAD") && standIn == "" {
		return false, fmt.Errorf("%s %s: %d %.200q, %s", method, mood, resp.StatusCode, b, resp.Header.Get("Relay-Error"))
	}
	return resp.StatusCode == 204, nil
}

// A visitor who leaves in the middle takes his stream with him: what the app still sends to it reaches nobody.
func TestAnswerToAGoneVisitorReachesNobody(t *testing.T) {
	answer := make(chan bool)
	begun := make(chan bool, 16)
	app := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow") {
			begun <- true
			<-answer
		}
		io.WriteString(w, r.URL.Path)
	}
	overLanes(t, handler(app), func(t *testing.T, l *lane) {
		for i := range 20 {
			ctx, leave := context.WithCancel(t.Context())
			req := l.request(t, "GET", fmt.Sprintf("/slow/%d", i), nil).WithContext(ctx)
			done := make(chan bool)
			go func() {
				defer close(done)
				if resp, err := l.client.Do(req); err == nil {
					resp.Body.Close()
				}
			}()
			within(t, begun, "the app has it")
			leave()
			<-done
			answer <- true
			for j := range 3 {
				target := fmt.Sprintf("/quick/%d/%d", i, j)
				if _, b := l.get(t, target); b != target {
					t.Fatalf("the next visitor got %q, want %q", b, target)
				}
			}
		}
	})
}
