package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// postSize is the body of one POST: a well-filled webhook.
const postSize = 4096

// load is what a request load brought.
type load struct {
	requests int
	failed   int
	first    error // one of the failures, to tell
	took     time.Duration
	p50, p99 time.Duration
}

func (l *load) count(times []time.Duration) {
	l.requests = len(times)
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	l.p50, l.p99 = times[len(times)/2], times[len(times)*99/100]
}

// measureLoad loads a system with GETs or POSTs for some seconds.
func (b *bench) measureLoad(ctx context.Context, s *system, kind string, conns int) {
	workload := fmt.Sprintf("%s c=%d", kind, conns)
	d := time.Duration(b.secs) * time.Second
	before := s.cpu()
	var l load
	if b.wrk != "" {
		l = wrkLoad(ctx, b.wrk, s, kind, conns, d)
	} else {
		l = ownLoad(ctx, s, kind, conns, 0, d)
	}
	used := s.cpu() - before
	if l.failed > 0 {
		b.sheet.fail(workload, s.name, fmt.Errorf("%d of %d requests failed: %w", l.failed, l.failed+l.requests, l.first))
	}
	if l.requests == 0 || ctx.Err() != nil {
		return
	}
	b.sheet.add(workload, s.name, "req/s", float64(l.requests)/l.took.Seconds())
	b.sheet.add(workload, s.name, "CPU s/10k", used/float64(l.requests)*10_000)
	b.sheet.add(workload, s.name, "p50 ms", ms(l.p50))
	b.sheet.add(workload, s.name, "p99 ms", ms(l.p99))
}

// ownLoad keeps connections busy, each with one request at a time and a pause
// after it.
func ownLoad(ctx context.Context, s *system, kind string, conns int, pause, d time.Duration) load {
	request, want := s.request("GET", "/json", nil), document
	if kind == "post" {
		want = bytes.Repeat([]byte("a"), postSize)
		request = s.request("POST", "/echo", want)
	}
	return requestLoad(ctx, s, request, want, conns, pause, d)
}

// requestLoad does so with a request and the answer that it has to have.
func requestLoad(ctx context.Context, s *system, request, want []byte, conns int, pause, d time.Duration) load {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		l    load
		all  []time.Duration
		from = time.Now()
		end  = from.Add(d)
	)
	for range conns {
		wg.Go(func() {
			v := s.visitor()
			defer v.close()
			var (
				times  []time.Duration
				failed int
				first  error
			)
			for time.Now().Before(end) && ctx.Err() == nil {
				t := time.Now()
				if err := v.expect(request, want); err != nil {
					failed, first = failed+1, err
					time.Sleep(20 * time.Millisecond) // do not spin against a closed door
					continue
				}
				times = append(times, time.Since(t))
				time.Sleep(pause)
			}
			mu.Lock()
			defer mu.Unlock()
			all, l.failed = append(all, times...), l.failed+failed
			if first != nil {
				l.first = first
			}
		})
	}
	wg.Wait()
	l.took = time.Since(from)
	l.count(all)
	return l
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
