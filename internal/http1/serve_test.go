package http1_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/http1"
	"github.com/relaytunnel/relay/internal/pipe"
)

// caller is the other end of a Server: it says bytes and wants bytes.
type caller struct {
	net.Conn
	t    *testing.T
	done chan error // what Serve returned
}

// serve serves one connection with a handler; the test ends only when Serve has.
func serve(t *testing.T, handle http1.Handler) *caller {
	t.Helper()
	near, far := tcpPair(t)
	return serveOn(t, near, far, handle)
}

func serveOn(t *testing.T, near, far net.Conn, handle http1.Handler) *caller {
	c := &caller{Conn: far, t: t, done: make(chan error, 1)}
	_ = far.SetDeadline(time.Now().Add(patience))
	srv := &http1.Server{Handle: handle, Join: join}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { c.done <- srv.Serve(ctx, near) }()
	t.Cleanup(func() {
		far.Close()
		cancel()
		select {
		case err := <-c.done:
			c.done <- err
		case <-time.After(patience):
			t.Error("Serve does not return")
		}
	})
	return c
}

func join(ctx context.Context, a, b io.ReadWriteCloser) error {
	_, _, err := pipe.Join(ctx, a, b)
	return err
}

func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if far, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return near, far
}

func (c *caller) say(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, raw); err != nil {
		c.t.Fatal(err)
	}
}

// want reads as many bytes as it wants.
func (c *caller) want(raw string) {
	c.t.Helper()
	got := make([]byte, len(raw))
	n, err := io.ReadFull(c.Conn, got)
	if string(got[:n]) != raw {
		c.t.Fatalf("got %q, %v\nwant %q", got[:n], err, raw)
	}
}

// wantEnd wants an orderly end after what was read.
func (c *caller) wantEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.Conn); err != nil || len(rest) > 0 {
		c.t.Fatalf("got %q, %v; want the end", rest, err)
	}
}

// wantAbort wants the connection broken off, without a word.
func (c *caller) wantAbort() {
	c.t.Helper()
	rest, err := io.ReadAll(c.Conn)
	if len(rest) > 0 || isTimeout(err) {
		c.t.Fatalf("got %q, %v; want a connection broken off", rest, err)
	}
}

func textAnswer(body string) *http.Response {
	return &http.Response{
		StatusCode: 200, Status: "200 OK", ContentLength: int64(len(body)),
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

const get = "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"

func TestServerAnswersOneAfterAnother(t *testing.T) {
	n := 0
	c := serve(t, func(req *http.Request) (*http.Response, error) {
		n++
		body, err := io.ReadAll(req.Body)
		return textAnswer(fmt.Sprintf("%d %s %s %s %s", n, req.Method, req.RequestURI, req.Host, body)), err
	})
	say := func(raw, want string) {
		t.Helper()
		c.say(raw)
		c.want(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(want), want))
	}
	say(get, "1 GET /x a.test ")
	say("POST /p HTTP/1.1\r\nHost: b.test:80\r\nContent-Length: 5\r\n\r\nhello", "2 POST /p b.test:80 hello")
	say("POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "3 POST /p a.test hello")
	say("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", "4 OPTIONS * a.test ")
	say("GET /%zz?a;b=%zz HTTP/1.1\r\nHost: a.test\r\n\r\n", "5 GET /%zz?a;b=%zz a.test ")
	c.say(get + get) // pipelined
	c.want("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n6 GET /x a.test HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n7 GET /x a.test ")
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	c.wantAbort()
	if err := <-c.done; err != nil {
		t.Errorf("Serve = %v after an orderly end", err)
	}
	c.done <- nil
}

func TestServerRefusesWhatIsNotARequest(t *testing.T) {
	for name, raw := range map[string]string{
		"nonsense":                "nonsense\r\n\r\n",
		"no target":               "GET HTTP/1.1\r\nHost: a\r\n\r\n",
		"two spaces":              "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"space in the target":     "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
		"control in the target":   "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
		"DEL in the target":       "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
		"method":                  "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
		"HTTP/1.0":                "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
		"HTTP/1.2":                "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
		"HTTP/2":                  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"no Host":                 "GET / HTTP/1.1\r\n\r\n",
		"two Hosts":               "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"two Hosts, one the same": "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
		"both framings":           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded":                  "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
		"a head without end":      "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", http1.MaxHead),
		"a head cut off":          "GET / HTTP/1.1\r\nHost: a\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(req *http.Request) (*http.Response, error) {
				t.Errorf("handled %s %s", req.Method, req.RequestURI)
				return textAnswer(""), nil
			})
			c.say(raw)
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			c.wantAbort()
		})
	}
}

// A request whose body was not read to its end leaves a connection on which
// nobody knows where the next one begins.
func TestServerEndsAfterAnIncompleteExchange(t *testing.T) {
	tests := []struct {
		name, raw string
		handle    http1.Handler
		want      string
	}{
		{"unread body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n" + get, func(*http.Request) (*http.Response, error) {
			return textAnswer("no"), nil
		}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"},
		{"half-read body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + get, func(req *http.Request) (*http.Response, error) {
			_, err := io.ReadFull(req.Body, make([]byte, 4))
			return textAnswer("no"), err
		}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"},
		{"broken body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + get, func(req *http.Request) (*http.Response, error) {
			if _, err := io.ReadAll(req.Body); err == nil {
				t.Error("a broken body was read as a whole")
			}
			return textAnswer("no"), nil
		}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"},
		{"answer that asks for it", get + get, func(*http.Request) (*http.Response, error) {
			res := textAnswer("ok")
			res.Close = true
			return res, nil
		}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var n atomic.Int32
			c := serve(t, func(req *http.Request) (*http.Response, error) {
				if n.Add(1) > 1 {
					t.Errorf("handled %s %s too", req.Method, req.RequestURI)
				}
				return tt.handle(req)
			})
			c.say(tt.raw)
			c.want(tt.want)
			c.wantEnd()
		})
	}
}

// An answer that cannot be given whole must not look whole.
func TestServerBreaksOffWhatItCannotFinish(t *testing.T) {
	broken := func(length int64) http1.Handler {
		return func(*http.Request) (*http.Response, error) {
			res := textAnswer("")
			res.ContentLength = length
			res.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), errReader{errors.New("gone")}))
			return res, nil
		}
	}
	t.Run("length", func(t *testing.T) {
		c := serve(t, broken(100))
		c.say(get)
		c.want("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		if _, err := io.ReadAll(c.Conn); err == nil {
			t.Error("an orderly end")
		}
	})
	t.Run("chunked", func(t *testing.T) {
		c := serve(t, broken(-1))
		c.say(get)
		c.want("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
		if _, err := io.ReadAll(c.Conn); err == nil {
			t.Error("an orderly end")
		}
	})
	t.Run("shorter than said", func(t *testing.T) {
		c := serve(t, func(*http.Request) (*http.Response, error) {
			res := textAnswer("half")
			res.ContentLength = 100
			return res, nil
		})
		c.say(get)
		c.want("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		if _, err := io.ReadAll(c.Conn); err == nil {
			t.Error("an orderly end")
		}
	})
	t.Run("header that breaks its line", func(t *testing.T) {
		c := serve(t, func(*http.Request) (*http.Response, error) {
			res := textAnswer("ok")
			res.Header["X"] = []string{"a\r\nSet-Cookie: evil"}
			return res, nil
		})
		c.say(get)
		c.wantAbort()
	})
	t.Run("101 without a connection", func(t *testing.T) {
		c := serve(t, func(*http.Request) (*http.Response, error) {
			res := textAnswer("")
			res.StatusCode = 101
			return res, nil
		})
		c.say(get)
		c.wantAbort()
	})
}

func TestServerAnswersWithoutBodies(t *testing.T) {
	for name, tt := range map[string]struct {
		method string
		status int
		length int64
		want   string
	}{
		"HEAD":        {"HEAD", 200, 42, "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n"},
		"HEAD, no CL": {"HEAD", 200, -1, "HTTP/1.1 200 OK\r\n\r\n"},
		"204":         {"GET", 204, -1, "HTTP/1.1 204 No Content\r\n\r\n"},
		"304":         {"GET", 304, 42, "HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n"},
		"empty":       {"GET", 200, 0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(*http.Request) (*http.Response, error) {
				res := textAnswer("not to be sent")
				res.StatusCode, res.Status, res.ContentLength = tt.status, "", tt.length
				if tt.length > 0 {
					res.Header.Set("Content-Length", fmt.Sprint(tt.length))
				}
				return res, nil
			})
			ask := tt.method + " / HTTP/1.1\r\nHost: a\r\n\r\n"
			c.say(ask)
			c.want(tt.want)
			c.say(ask)
			c.want(tt.want)
		})
	}
}

// Aborting a body that has been read to its end costs nothing: the connection
// still serves the next request.
func TestAbortOfACompleteBodyLeavesTheConnectionClean(t *testing.T) {
	c := serve(t, func(req *http.Request) (*http.Response, error) {
		if _, err := io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		if a, ok := req.Body.(interface{ Abort() }); ok {
			a.Abort()
		}
		return textAnswer("ok"), nil
	})
	for range 2 {
		c.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
		c.want("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

func TestServerTellsWhyThereIsNoAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"Failed":  {&http1.Failed{Code: "upstream_refused", Message: "no app"}, "HTTP/1.1 900 Relay\r\nConnection: close\r\nRelay-Error: upstream_refused\r\nContent-Length: 6\r\n\r\nno app"},
		"wrapped": {fmt.Errorf("x: %w", &http1.Failed{Code: "a", Message: "b"}), "HTTP/1.1 900 Relay\r\nConnection: close\r\nRelay-Error: a\r\nContent-Length: 1\r\n\r\nb"},
		"other":   {errors.New("oh no"), "HTTP/1.1 900 Relay\r\nConnection: close\r\nRelay-Error: upstream_failed\r\nContent-Length: 5\r\n\r\noh no"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(*http.Request) (*http.Response, error) { return nil, tt.err })
			c.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin")
			c.want(tt.want)
			c.wantEnd()
		})
	}
}

// The last bytes of a refusal arrive although the other end is still sending.
func TestRefusalArrivesWhateverIsStillSent(t *testing.T) {
	near, far := tcpPair(t)
	_ = far.SetDeadline(time.Now().Add(patience))
	upload := []byte(strings.Repeat("x", 200_000))
	if _, err := far.Write(upload); err != nil { // unread when the refusal comes
		t.Fatal(err)
	}
	refused := make(chan error, 1)
	go func() { refused <- http1.Refuse(near, &http1.Failed{Code: "upstream_refused", Message: "no app"}) }()
	c := &caller{Conn: far, t: t}
	c.want("HTTP/1.1 900 Relay\r\nConnection: close\r\nRelay-Error: upstream_refused\r\nContent-Length: 6\r\n\r\nno app")
	c.wantEnd()
	if _, err := far.Write(upload); err != nil {
		t.Errorf("the connection was broken off while sending: %v", err)
	}
	far.Close()
	select {
	case err := <-refused:
		if err != nil {
			t.Errorf("Refuse = %v", err)
		}
	case <-time.After(patience):
		t.Error("Refuse does not return")
	}
}

func TestInterimAnswersPassThroughAServer(t *testing.T) {
	a := newApp(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okAnswer)
	})
	p := a.pool()
	c := serve(t, p.RoundTrip)
	c.say(get)
	c.want("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

// resettable is a connection that tells when its other end has broken off, as a
// stream does.
type resettable struct {
	net.Conn
	f atomic.Pointer[func()]
}

func (r *resettable) OnReset(f func()) { r.f.Store(&f) }
func (r *resettable) reset()           { (*r.f.Load())() }

func TestVisitorWhoLeavesEndsTheRequest(t *testing.T) {
	near, far := tcpPair(t)
	r := &resettable{Conn: near}
	handling, ended := make(chan struct{}), make(chan struct{})
	c := serveOn(t, r, far, func(req *http.Request) (*http.Response, error) {
		close(handling)
		<-req.Context().Done()
		close(ended)
		return nil, req.Context().Err()
	})
	c.say(get)
	soon(t, "the handler", handling)
	r.reset()
	soon(t, "the end of the request's context", ended)
}

func TestUpgrade(t *testing.T) {
	const accept = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
	ask := func(t *testing.T) *http.Request {
		req := request(t, "GET", nil)
		req.Header["Connection"] = []string{"Upgrade"}
		req.Header["Upgrade"] = []string{"echo"}
		return req
	}
	echo := func(p *peer) {
		p.request()
		p.say(accept + "hello ") // the first bytes come with the head
		_, _ = io.Copy(p.Conn, p.r)
	}
	t.Run("asked", func(t *testing.T) {
		a := newApp(t, func(_ int, p *peer) { echo(p) })
		p := a.pool()
		res, err := p.RoundTrip(ask(t))
		if err != nil {
			t.Fatal(err)
		}
		rw, ok := res.Body.(interface {
			io.ReadWriteCloser
			CloseWrite() error
		})
		if !ok || res.StatusCode != 101 {
			t.Fatalf("status %d with a %T", res.StatusCode, res.Body)
		}
		_, _ = io.WriteString(rw, "world")
		_ = rw.CloseWrite()
		if got, err := io.ReadAll(rw); err != nil || string(got) != "hello world" {
			t.Errorf("got %q, %v", got, err)
		}
		_ = rw.Close()
		if p.Idle() != 0 {
			t.Error("an upgraded connection was kept")
		}
	})
	t.Run("through a server", func(t *testing.T) {
		a := newApp(t, func(_ int, p *peer) { echo(p) })
		p := a.pool()
		c := serve(t, p.RoundTrip)
		c.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nat once ") // before the answer
		got := make([]byte, len(accept))
		if _, err := io.ReadFull(c.Conn, got); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 101 ") {
			t.Fatalf("got %q, %v", got, err)
		}
		c.want("hello at once ")
		c.say("later")
		c.want("later")
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		c.wantEnd()
	})
	t.Run("ended by the context", func(t *testing.T) {
		a := newApp(t, func(_ int, p *peer) { echo(p) })
		p := a.pool()
		ctx, cancel := context.WithCancel(t.Context())
		res, err := p.RoundTrip(ask(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("an orderly end")
		}
		_ = res.Body.Close()
	})
	t.Run("declined", func(t *testing.T) {
		a := newApp(t, func(_ int, p *peer) { polite(p) })
		p := a.pool()
		for range 2 {
			if _, body, err := trip(p, ask(t)); err != nil || body != "ok" {
				t.Fatalf("got %q, %v", body, err)
			}
		}
		if n := a.conns.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
	for name, tt := range map[string]struct {
		asked  bool
		answer string
	}{
		"unasked":           {false, accept},
		"other protocol":    {true, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"},
		"no protocol":       {true, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"},
		"no Connection":     {true, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n"},
		"Connection: close": {true, "HTTP/1.1 101 Switching Protocols\r\nConnection: close\r\nUpgrade: echo\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(_ int, p *peer) {
				p.request()
				p.say(tt.answer + okAnswer)
				p.gone()
			})
			p := a.pool()
			req := request(t, "GET", nil)
			if tt.asked {
				req = ask(t)
			}
			_, err := p.RoundTrip(req)
			wantBad(t, err)
			if p.Idle() != 0 {
				t.Error("the connection was kept")
			}
		})
	}
	t.Run("that is only announced in Connection", func(t *testing.T) {
		a := newApp(t, func(_ int, p *peer) {
			p.request()
			p.say(accept)
			p.gone()
		})
		req := request(t, "GET", nil)
		req.Header["Upgrade"] = []string{"echo"} // without Connection: Upgrade nobody asked
		_, err := a.pool().RoundTrip(req)
		wantBad(t, err)
	})
}
