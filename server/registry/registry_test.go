package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/registry"
)

const host = "api.relay.test"

func tunnel() (t *registry.Tunnel, gone func()) {
	c := make(chan struct{})
	return &registry.Tunnel{Host: host, Gone: c}, sync.OnceFunc(func() { close(c) })
}

func never(*registry.Tunnel) bool  { return false }
func always(*registry.Tunnel) bool { return true }

func TestOneTunnelAHost(t *testing.T) {
	var r registry.Registry
	first, _ := tunnel()
	second, _ := tunnel()
	removeFirst, old, ok := r.Add(first, never)
	if !ok || old != nil {
		t.Fatalf("the first: old %v, ok %v", old, ok)
	}
	if _, old, ok := r.Add(second, never); ok || old != first {
		t.Fatalf("a second that may not replace: old %p, ok %v; want the first, false", old, ok)
	}
	if found, _ := r.Find(host); found != first {
		t.Error("the one that was refused is found")
	}
	removeSecond, old, ok := r.Add(second, always)
	if !ok || old != first {
		t.Fatalf("a second that may replace: old %p, ok %v", old, ok)
	}
	removeFirst(true) // it is not there any more: nothing happens
	if found, _ := r.Find(host); found != second {
		t.Error("the end of a replaced tunnel took its successor away")
	}
	if _, ok := r.Left(host); ok {
		t.Error("the host is remembered as left, and it is live")
	}
	removeSecond(true)
	removeSecond(true)
	if _, ok := r.Find(host); ok {
		t.Error("found after it was removed")
	}
	if n := len(r.Snapshot()); n != 0 {
		t.Errorf("%d in the snapshot", n)
	}
}

func TestLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry.Registry
		if _, ok := r.Left(host); ok {
			t.Error("left before it came")
		}
		tun, _ := tunnel()
		remove, _, _ := r.Add(tun, never)
		remove(true)
		time.Sleep(3 * time.Second)
		if ago, ok := r.Left(host); !ok || ago != 3*time.Second {
			t.Errorf("left %v ago, %v; want 3s", ago, ok)
		}
		tun, _ = tunnel()
		remove, _, _ = r.Add(tun, never)
		remove(false) // it said goodbye
		if _, ok := r.Left(host); ok {
			t.Error("one that said goodbye is remembered as one that may be back")
		}
	})
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry.Registry
		old, _ := tunnel()
		r.Add(old, never)
		if got, err := r.Await(t.Context(), host, nil); err != nil || got != old {
			t.Fatalf("a live host: %p, %v", got, err)
		}
		var answered atomic.Int32
		fresh, _ := tunnel()
		for range 50 {
			go func() {
				if got, err := r.Await(t.Context(), host, old); err != nil || got != fresh {
					t.Errorf("awaited %p, %v; want the new one", got, err)
				}
				answered.Add(1)
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Await(ctx, host, old); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody came: %v", err)
		}
		if n := answered.Load(); n != 0 {
			t.Fatalf("%d were given the tunnel that they cannot use", n)
		}
		r.Add(fresh, always)
		synctest.Wait()
		if n := answered.Load(); n != 50 {
			t.Errorf("%d of 50 woke up", n)
		}
	})
}

func TestWatch(t *testing.T) {
	var r registry.Registry
	changes, stop := r.Watch()
	signalled := func() bool {
		select {
		case <-changes:
			return true
		default:
			return false
		}
	}
	tun, _ := tunnel()
	remove, _, _ := r.Add(tun, never)
	if !signalled() {
		t.Error("no signal of a new tunnel")
	}
	remove(true)
	tun, _ = tunnel()
	r.Add(tun, never)
	if !signalled() || signalled() {
		t.Error("two changes at once want one signal")
	}
	stop()
	r.Add(tun, always)
	if signalled() {
		t.Error("a signal after the end")
	}
}

// Row T02: many want one name at once, again and again; there is never more than
// one holder, and nobody is found who was removed.
func TestManyWantOneName(t *testing.T) {
	const workers, rounds = 100, 100
	var r registry.Registry
	var holders, got atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				tun, gone := tunnel()
				remove, old, ok := r.Add(tun, func(old *registry.Tunnel) bool { return old.IsGone() })
				if !ok {
					if old == nil || old == tun {
						t.Error("refused, and nobody holds it")
					}
					continue
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d holders at once", n)
				}
				got.Add(1)
				if found, _ := r.Find(host); found != tun {
					t.Error("another is found than the holder")
				}
				holders.Add(-1)
				gone()
				remove(true)
			}
		})
	}
	wg.Wait()
	if got.Load() < rounds {
		t.Errorf("the name was held %d times in %d tries", got.Load(), workers*rounds)
	}
	if len(r.Snapshot()) != 0 {
		t.Error("somebody is left")
	}
}

// lane is a way to an app that answers every request with its own number.
type lane struct {
	n     int
	bulk  atomic.Int32
	ended atomic.Bool
	fail  error
}

func (l *lane) dial(context.Context) (net.Conn, error) {
	if l.fail != nil {
		return nil, l.fail
	}
	here, there := net.Pipe()
	go func() {
		srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, l.n)
		})}
		_ = srv.Serve(&oneConn{conn: there})
	}()
	return here, nil
}

func (l *lane) addTo(t *registry.Tunnel) (remove func()) {
	return t.AddLane(l.dial, func() int { return int(l.bulk.Load()) }, l.ended.Load)
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn net.Conn
	done bool
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.done {
		return nil, net.ErrClosed
	}
	l.done = true
	return l.conn, nil
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func ask(t *testing.T, tun *registry.Tunnel) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
	res, err := tun.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	b := make([]byte, 16)
	n, _ := res.Body.Read(b)
	return string(b[:n]), nil
}

func TestARequestTakesTheQuietLane(t *testing.T) {
	tun, gone := tunnel()
	one, two := &lane{n: 1}, &lane{n: 2}
	removeOne := one.addTo(tun)
	removeTwo := two.addTo(tun)
	check := func(when, want string) {
		t.Helper()
		if got, err := ask(t, tun); err != nil || got != want {
			t.Errorf("%s: lane %q, %v; want %s", when, got, err, want)
		}
	}
	check("both quiet", "1")
	one.bulk.Store(1)
	check("bulk on the first", "2")
	two.bulk.Store(2)
	check("more bulk on the second", "1")
	one.ended.Store(true)
	check("the first has ended", "2")
	if !tun.Live() {
		t.Error("not live, and there is a second lane")
	}
	removeOne()
	check("the first is removed", "2")
	removeTwo()
	if tun.Live() {
		t.Error("live without a lane")
	}
	if _, err := ask(t, tun); !errors.Is(err, relay.ErrOffline) {
		t.Errorf("no lane: %v, want ErrOffline", err)
	}
	gone()
	if !tun.IsGone() {
		t.Error("not gone")
	}
}

// A tunnel is found before its first link is up: who comes then waits.
func TestTheFirstLaneIsWaitedFor(t *testing.T) {
	tun, _ := tunnel()
	answer := make(chan string, 1)
	go func() {
		got, err := ask(t, tun)
		if err != nil {
			got = err.Error()
		}
		answer <- got
	}()
	select {
	case got := <-answer:
		t.Fatalf("answered %q without a lane", got)
	case <-time.After(20 * time.Millisecond):
	}
	defer (&lane{n: 7}).addTo(tun)()
	if got := <-answer; got != "7" {
		t.Errorf("answered %q", got)
	}

	tun, gone := tunnel()
	gone()
	if _, err := ask(t, tun); !errors.Is(err, relay.ErrOffline) {
		t.Errorf("gone before its first lane: %v, want ErrOffline", err)
	}
	tun, _ = tunnel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
	if res, err := tun.RoundTrip(req); !errors.Is(err, context.Canceled) {
		t.Errorf("the visitor left: %v, %v", res, err)
	}
}

func TestAFailureIsOfflineOnlyWhenTheAgentIsGone(t *testing.T) {
	broken := errors.New("broken")
	tun, gone := tunnel()
	l := &lane{fail: broken}
	defer l.addTo(tun)()
	if _, err := tun.Open(t.Context()); !errors.Is(err, broken) || errors.Is(err, relay.ErrOffline) {
		t.Errorf("the agent is there: %v, want the failure itself", err)
	}
	gone()
	if _, err := tun.Open(t.Context()); !errors.Is(err, relay.ErrOffline) {
		t.Errorf("the agent is gone: %v, want ErrOffline", err)
	}
}
