package edge_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/http1"
	"github.com/relaytunnel/relay/server/edge"
)

func streamed(body io.Reader) *http.Response {
	res := respond(200, "")
	res.Header.Del("Content-Length")
	res.ContentLength = -1
	rc, ok := body.(io.ReadCloser)
	if !ok {
		rc = io.NopCloser(body)
	}
	res.Body = rc
	return res
}

// What the app has said is with the visitor before it says more.
func TestAnswerIsPassedOnPieceByPiece(t *testing.T) {
	app := func(next <-chan string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			r, w := io.Pipe()
			go func() {
				for s := range next {
					_, _ = io.WriteString(w, s)
				}
				w.Close()
			}()
			return streamed(r), nil
		}
	}
	pieces := []string{"data: 1\n\n", "data: 2\n\n", strings.Repeat("x", 100_000), "data: 3\n\n"}
	read := func(t *testing.T, body io.Reader, next chan string) {
		for _, want := range pieces {
			next <- want
			got := make([]byte, len(want))
			if _, err := io.ReadFull(body, got); err != nil || string(got) != want {
				t.Fatalf("got %.20q, %v; want %.20q", got, err, want)
			}
		}
		close(next)
		if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
			t.Errorf("got %q, %v at the end", rest, err)
		}
	}
	eachWay(t, "", func(t *testing.T, way string) {
		next := make(chan string)
		w := newSite(t, edge.Options{}, app(next))
		v := w.visit()
		v.say(get(way))
		res, err := http.ReadResponse(v.r, nil) // the head does not wait for the body
		if err != nil {
			t.Fatal(err)
		}
		read(t, res.Body, next)
	})
	t.Run("HTTP/2", func(t *testing.T) {
		next := make(chan string)
		w := newSite(t, edge.Options{}, app(next))
		c, _ := w.h2()
		res, err := c.Get("http://alice.relay.test/")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		read(t, res.Body, next)
	})
}

func TestInterimAnswersPass(t *testing.T) {
	app := func(req *http.Request) (*http.Response, error) {
		for _, link := range []string{"</a>", "</b>"} {
			h := http.Header{"Link": {link}, "Content-Length": {"5"}, "Connection": {"X-Hop"}, "X-Hop": {"x"}, "Relay-Error": {"forged"}, "Set-Cookie": {"a=b; Domain=relay.test"}}
			if err := http1.Interim(req.Context(), http.StatusEarlyHints, h); err != nil {
				return nil, err
			}
		}
		return respond(200, "ok", "X-Final", "1"), nil
	}
	type interim struct {
		status int
		h      http.Header
	}
	visit := func(t *testing.T, c *http.Client, url string) (got []interim, res *http.Response) {
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			got = append(got, interim{status, http.Header(h)})
			return nil
		}})
		req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(body) != "ok" || res.Header.Get("X-Final") != "1" || res.Header.Get("Link") != "" {
			t.Errorf("final answer %q %v", body, res.Header)
		}
		return got, res
	}
	check := func(t *testing.T, got []interim) {
		t.Helper()
		if len(got) != 2 {
			t.Fatalf("%d interim answers", len(got))
		}
		for i, link := range []string{"</a>", "</b>"} {
			h := got[i].h.Clone()
			h.Del("Relay-Request-Id")
			if got[i].status != 103 || !reflect.DeepEqual(h, http.Header{"Link": {link}, "Set-Cookie": {"a=b"}}) {
				t.Errorf("interim answer %d %v", got[i].status, h)
			}
		}
	}
	for by, way := range ways {
		t.Run(by, func(t *testing.T) {
			w := newSite(t, edge.Options{}, app)
			tr := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, w.addr)
			}}
			defer tr.CloseIdleConnections()
			c := &http.Client{Transport: addLine{tr, way}}
			got, _ := visit(t, c, "http://alice.relay.test/")
			check(t, got)
		})
	}
	t.Run("HTTP/2", func(t *testing.T) {
		w := newSite(t, edge.Options{}, app)
		c, _ := w.h2()
		got, _ := visit(t, c, "http://alice.relay.test/")
		check(t, got)
	})
	t.Run("HTTP/1.0 knows none", func(t *testing.T) {
		w := newSite(t, edge.Options{}, app)
		res, body := w.do("GET / HTTP/1.0\r\n" + host + "\r\n")
		if res.StatusCode != 200 || body != "ok" {
			t.Errorf("got %d %q", res.StatusCode, body)
		}
	})
}

// addLine adds a header line to every request.
type addLine struct {
	rt   http.RoundTripper
	line string
}

func (a addLine) RoundTrip(req *http.Request) (*http.Response, error) {
	if k, v, ok := strings.Cut(a.line, ": "); ok {
		req = req.Clone(req.Context())
		req.Header.Set(k, v)
	}
	return a.rt.RoundTrip(req)
}

// Trailers pass in both directions; a visitor's only if they were announced (row E32).
func TestTrailers(t *testing.T) {
	t.Run("of an answer", func(t *testing.T) {
		app := func(*http.Request) (*http.Response, error) {
			var res *http.Response
			res = streamed(io.MultiReader(strings.NewReader("hello"), onEOF(func() {
				res.Trailer = http.Header{"X-Sum": {"1", "2"}, "X-Late": {"3"}}
			})))
			res.Header["Trailer"] = []string{"X-Sum"}
			res.Trailer = http.Header{"X-Sum": nil}
			return res, nil
		}
		want := http.Header{"X-Sum": {"1", "2"}, "X-Late": {"3"}}
		eachWay(t, "", func(t *testing.T, way string) {
			w := newSite(t, edge.Options{}, app)
			v := w.visit()
			v.say(get(way))
			res, err := http.ReadResponse(v.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(http.Header{"X-Sum": nil}, res.Trailer); diff != "" {
				t.Errorf("announced (-want +got):\n%s", diff)
			}
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != "hello" {
				t.Fatalf("got %q, %v", body, err)
			}
			if diff := cmp.Diff(want, res.Trailer); diff != "" {
				t.Errorf("trailer (-want +got):\n%s", diff)
			}
		})
		t.Run("HTTP/2", func(t *testing.T) {
			w := newSite(t, edge.Options{}, app)
			c, _ := w.h2()
			res, err := c.Get("http://alice.relay.test/")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			_, _ = io.ReadAll(res.Body)
			if diff := cmp.Diff(want, res.Trailer); diff != "" {
				t.Errorf("trailer (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("of a request", func(t *testing.T) {
		for name, tt := range map[string]struct {
			announced string
			want      http.Header
		}{
			"announced":   {"Trailer: X-Sum\r\n", http.Header{"X-Sum": {"1"}}},
			"unannounced": {"", nil},
		} {
			t.Run(name, func(t *testing.T) {
				// The way goes on through a pool, which decides what is sent.
				appSide := make(chan *http.Request, 1)
				pool, closeAll := poolTo(t, func(req *http.Request) {
					_, _ = io.ReadAll(req.Body)
					appSide <- req
				})
				defer closeAll()
				w := newSite(t, edge.Options{}, pool.RoundTrip)
				w.do("POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n" + tt.announced + "\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Evil: 2\r\nAuthorization: evil\r\n\r\n")
				got := (<-appSide).Trailer
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("trailer (-want +got):\n%s", diff)
				}
			})
		}
	})
}

// poolTo is a pool whose other end gives each request to see and answers ok.
func poolTo(t *testing.T, see func(*http.Request)) (p *http1.Pool, closeAll func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		_, _ = io.WriteString(w, "ok")
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	p = &http1.Pool{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	}}
	return p, func() {
		p.Close()
		srv.Close()
		<-done
	}
}

type onEOF func()

func (f onEOF) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// Bodies pass byte for byte, of whatever size and framing.
func TestBodiesPassByteForByte(t *testing.T) {
	for _, n := range []int{0, 1, 8 << 10, 32 << 10, 32<<10 + 1, 3 << 20} {
		want := bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
		w := newSite(t, edge.Options{}, func(req *http.Request) (*http.Response, error) {
			var body []byte
			if req.Body != nil {
				var err error
				if body, err = io.ReadAll(req.Body); err != nil {
					return nil, err
				}
			}
			if n%2 == 0 {
				return streamed(bytes.NewReader(body)), nil
			}
			return respond(200, string(body)), nil
		})
		c, _ := w.h2()
		for name, rt := range map[string]http.RoundTripper{"HTTP/2": c.Transport, "HTTP/1.1": h1(w)} {
			for _, body := range []io.Reader{bytes.NewReader(want), struct{ io.Reader }{bytes.NewReader(want)}} {
				req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://alice.relay.test/", body)
				res, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatalf("%s, %d bytes: %v", name, n, err)
				}
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %d bytes: got %d, %v", name, n, len(got), err)
				}
			}
		}
	}
}

func h1(w *site) http.RoundTripper {
	tr := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, w.addr)
	}}
	w.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// A visitor who sends nothing more is told so, and does not keep the app (row E19).
func TestVisitorWhoStopsSending(t *testing.T) {
	quick := edge.Options{Progress: 50 * time.Millisecond}
	reads := func(req *http.Request) (*http.Response, error) {
		if _, err := io.ReadAll(req.Body); err != nil {
			return nil, &http1.BodyError{Err: err}
		}
		return respond(200, "ok"), nil
	}
	for name, raw := range map[string]string{
		"small":              "POST / HTTP/1.1\r\n" + host + "Content-Length: 100\r\n\r\nbegin",
		"small, by net/http": "POST / HTTP/1.1\r\n" + host + "Keep-Alive: x\r\nContent-Length: 100\r\n\r\nbegin",
		"large":              "POST / HTTP/1.1\r\n" + host + "Content-Length: 1000000\r\n\r\nbegin",
		"chunked":            "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newSite(t, quick, reads)
			v := w.visit()
			v.say(raw)
			res, _, _ := v.reply("POST")
			if res.StatusCode != 408 || res.Header.Get("Relay-Error") != "body_timeout" || !v.closed() {
				t.Errorf("got %d %q; want 408 and the connection closed", res.StatusCode, res.Header.Get("Relay-Error"))
			}
		})
	}
	// Also when nobody wants the body.
	t.Run("to nobody", func(t *testing.T) {
		for name, raw := range map[string]string{
			"small":   "POST / HTTP/1.1\r\nHost: nobody.relay.test\r\nContent-Length: 100\r\n\r\nbegin",
			"chunked": "POST / HTTP/1.1\r\nHost: nobody.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n",
		} {
			t.Run(name, func(t *testing.T) {
				w := newSite(t, quick, reads)
				v := w.visit()
				v.say(raw)
				res, _, _ := v.reply("POST")
				if res.StatusCode != 404 || !v.closed() {
					t.Errorf("got %d; want 404 and the connection closed", res.StatusCode)
				}
			})
		}
	})
	t.Run("HTTP/2", func(t *testing.T) {
		w := newSite(t, quick, reads)
		c, _ := w.h2()
		r, wr := io.Pipe()
		defer wr.Close()
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://alice.relay.test/", r)
		go func() { _, _ = io.WriteString(wr, "begin") }()
		res, err := c.Do(req)
		if err == nil {
			defer res.Body.Close()
			if res.StatusCode != 408 {
				t.Errorf("got %d", res.StatusCode)
			}
		} else if strings.Contains(err.Error(), "deadline") {
			t.Error(err)
		}
	})
}

// Who keeps sending may take as long as it takes.
func TestProgressResetsTheClock(t *testing.T) {
	w := newSite(t, edge.Options{Progress: 500 * time.Millisecond}, func(req *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, &http1.BodyError{Err: err}
		}
		return respond(200, string(body)), nil
	})
	v := w.visit()
	v.say("POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n")
	for range 20 { // twice that
		v.say("1\r\nx\r\n")
		time.Sleep(50 * time.Millisecond)
	}
	v.say("0\r\n\r\n")
	if res, body, err := v.reply("POST"); err != nil || res.StatusCode != 200 || body != strings.Repeat("x", 20) {
		t.Errorf("got %d %q, %v", res.StatusCode, body, err)
	}
}

// A visitor who takes nothing more of an answer loses it (row E19).
func TestVisitorWhoStopsReading(t *testing.T) {
	app := func(closed chan struct{}, size int64) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			return streamed(&closeTeller{Reader: io.LimitReader(zeros{}, size), closed: closed}), nil
		}
	}
	eachWay(t, "", func(t *testing.T, way string) {
		closed := make(chan struct{})
		w := newSite(t, edge.Options{Progress: 100 * time.Millisecond}, app(closed, 1<<30))
		v := w.visit()
		v.say(get(way))
		soon(t, "the end of the answer", closed)
	})
	// Its connection may be alive, and answer pings: it is the stream that stalls.
	for name, size := range map[string]int64{"large": 1 << 30, "small": 1000} {
		t.Run("HTTP/2, "+name, func(t *testing.T) {
			closed := make(chan struct{})
			w := newSite(t, edge.Options{Progress: 100 * time.Millisecond}, app(closed, size))
			v := w.visit()
			stallH2(v)
			soon(t, "the end of the answer", closed)
			if !v.sawReset() {
				t.Error("the stream was not reset")
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

type closeTeller struct {
	io.Reader
	closed chan struct{}
}

func (c *closeTeller) Close() error {
	close(c.closed)
	return nil
}

// stallH2 asks with HTTP/2 and grants no byte of an answer.
func stallH2(v *visitor) {
	v.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
		"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + "\x00\x04\x00\x00\x00\x00" + // SETTINGS: initial window 0
		"\x00\x00\x00\x04\x01\x00\x00\x00\x00" + // SETTINGS ack
		"\x00\x00\x15\x01\x05\x00\x00\x00\x01" + // HEADERS, end of stream and of headers
		"\x82\x86\x84" + "\x01\x10alice.relay.test") // GET, http, /, :authority
}

// sawReset reads frames until the stream is reset.
func (v *visitor) sawReset() bool {
	var head [9]byte
	for {
		if _, err := io.ReadFull(v.r, head[:]); err != nil {
			return false
		}
		n := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err := io.CopyN(io.Discard, v.r, n); err != nil {
			return false
		}
		if head[3] == 3 && head[8] == 1 {
			return true
		}
	}
}

// Beyond the limit a visitor is told so at once; when another leaves, there is room
// again (row E25).
func TestConnectionLimit(t *testing.T) {
	var s seen
	w := newSiteOf(t, edge.Options{}, 2, s.app)
	a, b := w.visit(), w.visit()
	for _, v := range []*visitor{a, b} {
		v.say(get())
		if res, _, _ := v.reply("GET"); res.StatusCode != 200 {
			t.Fatalf("within the limit: %d", res.StatusCode)
		}
	}
	c := w.visit()
	res, _, _ := c.reply("GET") // it need not ask
	if res.StatusCode != 503 || res.Header.Get("Relay-Error") != "too_many_connections" || res.Header.Get("Retry-After") == "" || !c.closed() {
		t.Errorf("beyond the limit: %d %v", res.StatusCode, res.Header)
	}
	a.Close()
	until(t, "a place", func() bool {
		v := w.visit()
		defer v.Close()
		if _, err := io.WriteString(v.Conn, get()); err != nil {
			return false
		}
		res, err := http.ReadResponse(v.r, nil)
		return err == nil && res.StatusCode == 200
	})
	b.say(get()) // who was there before did not notice
	if res, _, _ := b.reply("GET"); res.StatusCode != 200 {
		t.Errorf("the one who stayed: %d", res.StatusCode)
	}
}

// until tries a thing that becomes true soon and gives no other sign.
func until(t *testing.T, what string, try func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !try(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(time.Millisecond)
	}
}

// Who resets one request after another loses the connection (row E20).
func TestRapidResetEndsTheConnection(t *testing.T) {
	var running atomic.Int64
	asked := make(chan struct{}, 1)
	w := newSite(t, edge.Options{}, func(req *http.Request) (*http.Response, error) {
		running.Add(1)
		defer running.Add(-1)
		asked <- struct{}{}
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	v := w.visit()
	v.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x00\x04\x01\x00\x00\x00\x00")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, v.r)
	}()
	resets := 0
	for ; resets < 1100; resets++ {
		id := uint32(2*resets + 1)
		stream := string([]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)})
		_, err := io.WriteString(v.Conn, "\x00\x00\x15\x01\x05"+stream+"\x82\x86\x84"+"\x01\x10alice.relay.test")
		if err != nil {
			break
		}
		select {
		case <-asked:
		case <-ended:
		case <-time.After(patience):
			t.Fatal("a request does not arrive")
		}
		if _, err := io.WriteString(v.Conn, "\x00\x00\x04\x03\x00"+stream+"\x00\x00\x00\x08"); err != nil {
			break
		}
		select {
		case <-ended:
			if resets < 990 {
				t.Errorf("ended after %d resets already", resets)
			}
			return
		default:
		}
	}
	soon(t, "the end of the connection", ended)
	if resets < 990 {
		t.Errorf("ended after %d resets already", resets)
	}
}

// After a 101 bytes pass both ways, also those that came too early, and each side
// may end before the other.
func TestUpgrade(t *testing.T) {
	w := newSite(t, edge.Options{}, func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Upgrade") != "echo" || req.Header.Get("Connection") != "Upgrade" {
			t.Errorf("the app saw %v", req.Header)
		}
		res := respond(101, "", "Upgrade", "echo", "Connection", "Upgrade", "X-A", "b", "Relay-Error", "forged")
		res.Header.Del("Content-Length")
		res.Body = newEcho("hello ")
		return res, nil
	})
	v := w.visit()
	v.say(get("Connection: Upgrade", "Upgrade: echo") + "early ")
	res, err := http.ReadResponse(v.r, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("got %v, %v", res, err)
	}
	res.Header.Del("Relay-Request-Id")
	if diff := cmp.Diff(http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}, "X-A": {"b"}}, res.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	v.say("later")
	_ = v.Conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(v.r); err != nil || string(got) != "hello early later" {
		t.Errorf("got %q, %v", got, err)
	}
}

// echo is an upgraded connection whose other end repeats what it gets.
type echo struct {
	io.Reader
	r *io.PipeReader
	w *io.PipeWriter
}

func newEcho(first string) *echo {
	r, w := io.Pipe()
	return &echo{io.MultiReader(strings.NewReader(first), r), r, w}
}

func (e *echo) Write(p []byte) (int, error) { return e.w.Write(p) }
func (e *echo) CloseWrite() error           { return e.w.Close() }
func (e *echo) Close() error                { return errors.Join(e.w.Close(), e.r.Close()) }

func TestUpgradeWithoutAConnectionIsTheAppsFault(t *testing.T) {
	w := newSite(t, edge.Options{}, func(*http.Request) (*http.Response, error) { return respond(101, ""), nil })
	if res, _ := w.do(get("Connection: Upgrade", "Upgrade: echo")); res.StatusCode != 502 || res.Header.Get("Relay-Error") != "upstream_invalid" {
		t.Errorf("got %d %q", res.StatusCode, res.Header.Get("Relay-Error"))
	}
}

// A chunked upload ends its connection: from here a head with both framings looks
// the same (row E01).
func TestBothFramingsEndTheConnection(t *testing.T) {
	var s seen
	w := newSite(t, edge.Options{}, s.app)
	v := w.visit()
	v.say("POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + get())
	res, _, _ := v.reply("POST")
	if res.StatusCode != 200 && res.StatusCode != 400 || !v.closed() {
		t.Errorf("got %d, or the connection goes on", res.StatusCode)
	}
	if s.n > 1 {
		t.Error("the smuggled request was served")
	}
}

// An answer may come before the end of the request. What is still to come of the
// body is that body, and never the next request (row E04).
func TestRestOfABodyIsNeverARequest(t *testing.T) {
	const length = 40_000
	smuggled := get()
	rest := strings.Repeat(smuggled, length/len(smuggled))
	rest += strings.Repeat("x", length-len(rest))
	for name, tt := range map[string]struct {
		app  func(*http.Request) (*http.Response, error)
		host string
	}{
		"early answer": {app: func(req *http.Request) (*http.Response, error) {
			res := respond(413, "no")
			res.Body = &abortingBody{res.Body, req.Body}
			return res, nil
		}, host: host},
		"early answer after a part": {app: func(req *http.Request) (*http.Response, error) {
			_, _ = io.ReadFull(req.Body, make([]byte, 100))
			res := respond(413, "no")
			res.Body = &abortingBody{res.Body, req.Body}
			return res, nil
		}, host: host},
		"failure": {app: func(req *http.Request) (*http.Response, error) {
			req.Body.(interface{ Abort() }).Abort()
			return nil, &http1.Failed{Code: "upstream_refused", Message: "no"}
		}, host: host},
		"nobody": {host: "Host: nobody.relay.test\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			w := newSite(t, edge.Options{Progress: 100 * time.Millisecond}, func(req *http.Request) (*http.Response, error) {
				if requests.Add(1) > 1 {
					return respond(200, "smuggled"), nil
				}
				return tt.app(req)
			})
			v := w.visit()
			v.say("POST / HTTP/1.1\r\n" + tt.host + "Content-Length: 40000\r\n\r\n" + rest[:100])
			res, _, _ := v.reply("POST")
			if res.StatusCode < 400 {
				t.Fatalf("got %d", res.StatusCode)
			}
			if !res.Close {
				t.Error("the answer does not say that the connection ends with it: a visitor would send the next request there, and lose it")
			}
			time.Sleep(200 * time.Millisecond) // past the time without progress
			_, _ = io.WriteString(v.Conn, rest[100:])
			if all, _ := io.ReadAll(v.r); len(all) > 0 {
				t.Errorf("a body was answered like a request: %.200q", all)
			}
			if n := requests.Load(); n > 1 {
				t.Errorf("the app saw %d requests", n)
			}
		})
	}
}

// abortingBody is the body of an answer that ends the request with it, as that of a
// pool does.
type abortingBody struct {
	io.ReadCloser
	req io.ReadCloser
}

func (b *abortingBody) Close() error {
	b.req.(interface{ Abort() }).Abort()
	return b.ReadCloser.Close()
}
