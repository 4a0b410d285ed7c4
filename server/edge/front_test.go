package edge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/server/edge"
)

// frontApp is a tunnel that answers by a function.
type frontApp func(*http.Request) (*http.Response, error)

func (f frontApp) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := f(r)
	if res != nil {
		res.Request = r
	}
	return res, err
}

func (frontApp) Live() bool { return true }

func frontText(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Length": {fmt.Sprint(len(body))}},
		ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
}

// frontWorld is an edge with a front, served by net/http behind it.
type frontWorld struct {
	addr  string
	front *edge.Front
	stop  func(within time.Duration)
}

func startFront(t *testing.T, tunnel frontApp) *frontWorld {
	t.Helper()
	e := edge.New(edge.Options{Domain: "relay.test", Resolve: func(host string) edge.Target {
		if host == "a.relay.test" {
			return edge.Target{Tunnel: tunnel, Known: true}
		}
		return edge.Target{}
	}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := edge.NewFront(e, ln, 100)
	srv := &http.Server{Handler: e, ConnContext: edge.ConnContext, ReadHeaderTimeout: time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { _ = front.Run() })
	wg.Go(func() { _ = srv.Serve(front) })
	var once sync.Once
	w := &frontWorld{addr: ln.Addr().String(), front: front}
	w.stop = func(within time.Duration) {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), within)
			defer cancel()
			var both sync.WaitGroup
			both.Go(func() { front.Shutdown(ctx) })
			_ = srv.Shutdown(ctx)
			both.Wait()
			wg.Wait()
		})
	}
	t.Cleanup(func() { w.stop(time.Second); goleak.VerifyNone(t, lingering) })
	return w
}

func (w *frontWorld) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c, bufio.NewReader(c)
}

func frontAnswer(t *testing.T, r *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestSimpleAndOtherRequestsTakeTurnsOnOneConnection(t *testing.T) {
	w := startFront(t, func(r *http.Request) (*http.Response, error) {
		var b []byte
		if r.Body != nil {
			b, _ = io.ReadAll(r.Body)
		}
		return frontText(200, r.Method+" "+r.RequestURI+" "+string(b)), nil
	})
	c, r := w.dial(t)
	const host = "Host: a.relay.test\r\n"
	for _, step := range []struct{ send, want string }{
		{"GET /1 HTTP/1.1\r\n" + host + "\r\n", "GET /1 "},
		{"POST /2 HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello", "POST /2 hello"},
		{"GET /3 HTTP/1.1\r\n" + host + "\r\nGET /4 HTTP/1.1\r\n" + host + "\r\n", "GET /3 "},
		{"", "GET /4 "},
		// From here on it is net/http's: an absolute target.
		{"GET http://a.relay.test/5 HTTP/1.1\r\n" + host + "\r\n", "GET /5 "},
		{"GET /6 HTTP/1.1\r\n" + host + "\r\n", "GET /6 "},
	} {
		if _, err := io.WriteString(c, step.send); err != nil {
			t.Fatal(err)
		}
		if res, b := frontAnswer(t, r, "GET"); res.StatusCode != 200 || b != step.want {
			t.Fatalf("%q was answered %d %q, want %q", step.send, res.StatusCode, b, step.want)
		}
	}
}

func TestABodyThatComesInPiecesIsWaitedFor(t *testing.T) {
	w := startFront(t, func(r *http.Request) (*http.Response, error) {
		b, err := io.ReadAll(r.Body)
		return frontText(200, string(b)), err
	})
	c, r := w.dial(t)
	for _, piece := range []string{"POST / HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 10\r\n\r\n", "he", "llo", "world"} {
		if _, err := io.WriteString(c, piece); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // so that they are pieces on the way, too
	}
	if _, b := frontAnswer(t, r, "POST"); b != "helloworld" {
		t.Errorf("the app saw %q", b)
	}
}

func TestRequestsInFlightAreFinishedWhenTheServerStops(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	w := startFront(t, func(r *http.Request) (*http.Response, error) {
		close(arrived)
		select {
		case <-release:
			return frontText(200, "done"), nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	})
	c, r := w.dial(t)
	idle, idleReader := w.dial(t)
	_ = idle
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n")
	<-arrived
	stopped := make(chan struct{})
	go func() { w.stop(10 * time.Second); close(stopped) }()
	if _, err := idleReader.ReadByte(); err == nil {
		t.Error("an idle connection got something")
	}
	close(release)
	if _, b := frontAnswer(t, r, "GET"); b != "done" {
		t.Errorf("got %q", b)
	}
	<-stopped
}

func TestTheAppLearnsThatTheVisitorHasLeft(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	w := startFront(t, func(r *http.Request) (*http.Response, error) {
		close(arrived)
		<-r.Context().Done()
		close(left)
		return nil, r.Context().Err()
	})
	c, _ := w.dial(t)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n")
	<-arrived
	_ = c.Close()
	select {
	case <-left:
	case <-time.After(5 * time.Second):
		t.Error("the request went on")
	}
}

func TestAnIdleDeadlineIsSetAgainAfterABody(t *testing.T) {
	w := startFront(t, func(r *http.Request) (*http.Response, error) { return frontText(200, "ok"), nil })
	c, r := w.dial(t)
	for range 3 {
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.relay.test\r\nContent-Length: 2\r\n\r\nhi")
		frontAnswer(t, r, "POST")
	}
	// That the wait ends is a matter of two minutes; that it goes on is not.
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n")
	if res, _ := frontAnswer(t, r, "GET"); res.StatusCode != 200 {
		t.Error(res.Status)
	}
}

func TestACutAnswerNeverLooksWhole(t *testing.T) {
	for name, length := range map[string]int64{"known length": 100, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			w := startFront(t, func(*http.Request) (*http.Response, error) {
				h := http.Header{}
				if length >= 0 {
					h["Content-Length"] = []string{"100"}
				}
				return &http.Response{StatusCode: 200, Header: h, ContentLength: length, Body: io.NopCloser(io.MultiReader(strings.NewReader("half"), cutBody{}))}, nil
			})
			c, r := w.dial(t)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.relay.test\r\n\r\n")
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				return // nothing at all is no whole answer either
			}
			if b, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("%q looked whole", b)
			}
		})
	}
}

type cutBody struct{}

func (cutBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
