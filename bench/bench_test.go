package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestReadWrk(t *testing.T) {
	l := readWrk(`Running 1s test @ http://127.0.0.1:1/json
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.63ms    2.19ms  24.13ms   73.30%
    Req/Sec     7.01k   512.00     7.9k    60.00%
  Latency Distribution
     50%  250.00us
     75%    5.80ms
     90%    7.42ms
     99%   11.70ms
  7000 requests in 1.00s, 8.21MB read
  Socket errors: connect 0, read 1, write 2, timeout 3
  Non-2xx or 3xx responses: 4
Requests/sec:   3500.00
Transfer/sec:      8.14MB
`, time.Second)
	if l.requests != 6996 || l.failed != 10 || l.took != 2*time.Second {
		t.Errorf("got %d requests, %d failed in %s; want 6996, 10 in 2s", l.requests, l.failed, l.took)
	}
	if l.p50 != 250*time.Microsecond || l.p99 != 11700*time.Microsecond {
		t.Errorf("got p50 %s, p99 %s; want 250µs, 11.7ms", l.p50, l.p99)
	}
	if l.first == nil || !strings.Contains(l.first.Error(), "Non-2xx") {
		t.Errorf("the failure says %v, want what wrk said", l.first)
	}
}

func TestVerdictsAreRatiosOfMedians(t *testing.T) {
	s := &sheet{}
	for _, v := range []float64{9, 10, 100} {
		s.add("get c=32", baseline, "CPU s/10k", v)
	}
	for _, v := range []float64{3, 4, 50} {
		s.add("get c=32", "relay-splice", "CPU s/10k", v)
		s.add("get c=32", "relay", "CPU s/10k", v*2)
	}
	var out bytes.Buffer
	s.print(&out, false)
	for _, want := range []string{
		"| get c=32 | CPU s/10k to go-2hop | relay-splice | 0.40 | ≤ 0.4 | ok |",
		"| get c=32 | CPU s/10k to go-2hop | relay | 0.80 | ≤ 0.6 | miss |",
		"| relay | 8 | 0.80 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
}

// A gate that cannot fail guards nothing.
func TestWrongAnswersAreSeen(t *testing.T) {
	for name, serve := range map[string]http.HandlerFunc{
		"short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4096")
			_, _ = w.Write(make([]byte, 100))
			panic(http.ErrAbortHandler)
		},
		"other":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, postSize)) },
		"status": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) },
		"none":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(serve)
			defer srv.Close()
			s := &system{name: name, addr: srv.Listener.Addr().String(), host: "app.example"}
			b := &bench{options: options{posts: 4}, sheet: &sheet{}}
			b.measureGate(context.Background(), s)
			if got, want := len(b.sheet.failures), len(gateConns); got != want {
				t.Errorf("%d failures noted, want %d: %q", got, want, b.sheet.failures)
			}
			if s.download(1000) == nil {
				t.Error("a wrong download passes")
			}
			if s.upload(1000) == nil {
				t.Error("a wrong upload passes")
			}
		})
	}
}

func TestPatternCheck(t *testing.T) {
	c := &patternCheck{}
	twice := append(bytes.Clone(pattern), pattern...)
	for _, piece := range [][]byte{twice[:1000], twice[1000:70_000], twice[70_000:]} {
		if _, err := c.Write(piece); err != nil {
			t.Fatalf("right bytes are refused: %v", err)
		}
	}
	if _, err := c.Write(pattern[1:100]); err == nil {
		t.Error("a lost byte is not seen")
	}
}

func TestPathDelaysAndLimits(t *testing.T) {
	const delay, rate, size = 20 * time.Millisecond, 4_000_000, 400_000
	p := &path{delay: delay, queue: 64 << 10, chunk: 8 << 10}
	p.pool.New = func() any { b := make([]byte, p.chunk); return &b }
	near, a := tcpPair(t)
	c, far := tcpPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.join(a, c, &bottleneck{rate: rate}, &bottleneck{rate: rate})
	}()
	from := time.Now()
	go func() {
		_, _ = near.Write(make([]byte, size))
		_ = near.CloseWrite()
	}()
	var got bytes.Buffer
	if _, err := got.ReadFrom(far); err != nil {
		t.Fatal(err)
	}
	// Only the lower bound is sure on a busy machine.
	least := delay + size*time.Second/rate - 2*lateness
	if took := time.Since(from); got.Len() != size || took < least {
		t.Errorf("%d bytes in %s, want %d in at least %s", got.Len(), took, size, least)
	}
	far.Close()
	<-done
}

func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

func TestMissingSystemIsNoFailure(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := (&rig{}).startSystem("nginx-2hop", nil)
	if m := missing(""); !errors.As(err, &m) {
		t.Errorf("without nginx the error is %v, want one of kind missing", err)
	}
}

// The rate of the disk is a figure beside which others are judged.
func TestSyncRateCountsWrites(t *testing.T) {
	rate, err := syncRate(t.TempDir(), 20*time.Millisecond)
	if err != nil || rate <= 0 {
		t.Errorf("%v writes a second, %v", rate, err)
	}
	if _, err := syncRate("/nowhere/at/all", time.Millisecond); err == nil {
		t.Error("a folder that is not there has a rate")
	}
}
