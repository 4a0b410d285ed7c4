package http1_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/relaytunnel/relay/internal/http1"
)

// pipePair is a connection in memory, for tests with a clock of their own.
func pipePair() (near, far net.Conn) { return net.Pipe() }

func newPipePeer(t *testing.T, c net.Conn) *peer { return &peer{Conn: c, r: bufio.NewReader(c), t: t} }

func dialOnce(c net.Conn) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		if c == nil {
			return nil, errors.New("dialled twice")
		}
		d := c
		c = nil
		return d, nil
	}
}

// pipeApp is a polite app in memory; every connection counts.
type pipeApp struct {
	conns, closed atomic.Int32
}

func (a *pipeApp) dial(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	a.conns.Add(1)
	go func() {
		p := &peer{Conn: far, r: bufio.NewReader(far)}
		polite(p)
		a.closed.Add(1)
		far.Close()
	}()
	return near, nil
}

func ask(p *http1.Pool, method string) error {
	req, err := http.NewRequest(method, "http://a.test/", nil)
	if err != nil {
		return err
	}
	_, _, err = trip(p, req)
	return err
}

func TestUnusedConnectionsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a pipeApp
		p := &http1.Pool{Dial: a.dial, IdleTimeout: 10 * time.Second}
		defer p.Close()
		var both []*http.Response
		for range 2 {
			req, _ := http.NewRequest("GET", "http://a.test/", nil)
			res, err := p.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			both = append(both, res)
		}
		for _, res := range both {
			_, _ = io.ReadAll(res.Body)
			_ = res.Body.Close()
		}
		time.Sleep(6 * time.Second)
		if err := ask(p, "GET"); err != nil { // keeps one of them
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if p.Idle() != 1 || a.closed.Load() != 1 {
			t.Errorf("after 11 s: %d kept, %d closed; want the used one kept", p.Idle(), a.closed.Load())
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if p.Idle() != 0 || a.closed.Load() != 2 {
			t.Errorf("after 31 s: %d kept, %d closed", p.Idle(), a.closed.Load())
		}
		if err := ask(p, "GET"); err != nil { // and the timer begins anew
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if p.Idle() != 0 {
			t.Error("a second life does not end")
		}
	})
}

// What must not be sent twice is not sent on a connection that the app may be
// closing just now.
func TestPostDoesNotTrustAnOldConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a pipeApp
		p := &http1.Pool{Dial: a.dial}
		defer p.Close()
		for _, step := range []struct {
			method string
			after  time.Duration
			conns  int32
		}{
			{"POST", 0, 1},
			{"POST", time.Second, 1},
			{"GET", 30 * time.Second, 1}, // can be tried again
			{"POST", 2 * time.Second, 2},
			{"POST", time.Second, 2},
		} {
			time.Sleep(step.after)
			if err := ask(p, step.method); err != nil {
				t.Fatal(err)
			}
			if n := a.conns.Load(); n != step.conns {
				t.Errorf("%s after %v: %d connections, want %d", step.method, step.after, n, step.conns)
			}
		}
	})
}

func TestClosedPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a pipeApp
		p := &http1.Pool{Dial: a.dial}
		if err := ask(p, "GET"); err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequest("GET", "http://a.test/", nil)
		res, err := p.RoundTrip(req) // is in flight
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(p, "GET"); err != nil { // so this is a second connection
			t.Fatal(err)
		}
		p.Close()
		synctest.Wait()
		if a.closed.Load() != 1 {
			t.Errorf("%d closed, want the unused one", a.closed.Load())
		}
		if _, err := io.ReadAll(res.Body); err != nil {
			t.Errorf("the exchange in flight: %v", err)
		}
		_ = res.Body.Close()
		synctest.Wait()
		if a.closed.Load() != 2 || p.Idle() != 0 {
			t.Errorf("%d closed, %d kept; want both closed", a.closed.Load(), p.Idle())
		}
		var dial *http1.DialError
		if err := ask(p, "GET"); !errors.As(err, &dial) {
			t.Errorf("a closed pool: %v, want a *DialError", err)
		}
	})
}

func TestPoolKeepsNoMoreThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a pipeApp
		p := &http1.Pool{Dial: a.dial, MaxIdle: 2}
		defer p.Close()
		var all []*http.Response
		for range 5 {
			req, _ := http.NewRequest("GET", "http://a.test/", nil)
			res, err := p.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, res)
		}
		for _, res := range all {
			_, _ = io.ReadAll(res.Body)
			_ = res.Body.Close()
		}
		synctest.Wait()
		if p.Idle() != 2 || a.closed.Load() != 3 {
			t.Errorf("%d kept, %d closed; want 2 and 3", p.Idle(), a.closed.Load())
		}
	})
}

// Bodies of every size reach the app as they are, by whichever of the ways they
// are sent.
func TestRequestBodiesByteForByte(t *testing.T) {
	a := newApp(t, func(_ int, p *peer) {
		for {
			req := p.head()
			if req == nil {
				return
			}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			p.say("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + string(body))
		}
	})
	p := a.pool()
	for _, n := range []int{0, 1, 4095, 4096, 32<<10 - 1, 32 << 10, 32<<10 + 1, 1 << 20} {
		want := strings.Repeat("0123456789abcdef", n/16+1)[:n]
		for name, length := range map[string]int64{"length": int64(n), "chunked": -1} {
			req := request(t, "POST", strings.NewReader(want))
			req.ContentLength = length
			if _, got, err := trip(p, req); err != nil || got != want {
				t.Errorf("%d bytes, %s: got %d, %v", n, name, len(got), err)
			}
		}
	}
	if got := a.conns.Load(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}
