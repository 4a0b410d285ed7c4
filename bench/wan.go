package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Between the halves of a system lies a long path. The reference is go-2hop with
// the same path between its hops: every visitor has a TCP connection of his own
// there, so no multiplexer is in the way.

// longRoad is a path with 50 ms of round-trip time and nothing else to limit: it
// carries as much as the two cores can, more than any window lets through.
var longRoad = road{"-rtt", "50ms"}

// gigabitRoad is a path one could rent: 50 ms and 1 Gbit/s.
var gigabitRoad = road{"-rtt", "50ms", "-rate", "125000000"}

// narrowRoad is a path of 20 ms and 6 MB/s for everybody together. Queue and
// socket buffers are as small as a path of that size has them; the pieces are
// small enough to take turns.
var narrowRoad = road{"-rtt", "20ms", "-rate", "6000000", "-queue", "262144", "-chunk", "8192", "-rcvbuf", "65536"}

// mixConns visitors ask for 1 KiB each mixPause while the download runs.
const (
	mixConns = 4
	mixPause = 5 * time.Millisecond
	// mixLead is how long the download runs before anything is measured: long
	// enough to fill every buffer on the way.
	mixLead = time.Second
)

// measureMix times small requests on a quiet narrow path, and again while a
// download runs over it.
func (b *bench) measureMix(ctx context.Context, s *system) {
	const workload = "mix"
	d := time.Duration(max(2, b.secs)) * time.Second
	small := func(when string) bool {
		l := ownLoad(ctx, s, "get", mixConns, mixPause, d)
		if l.failed > 0 {
			b.sheet.fail(workload, s.name, fmt.Errorf("%s: %d of %d requests failed: %w", when, l.failed, l.failed+l.requests, l.first))
		}
		if l.requests == 0 || ctx.Err() != nil {
			return false
		}
		b.sheet.add(workload, s.name, when+" p50 ms", ms(l.p50))
		b.sheet.add(workload, s.name, when+" p99 ms", ms(l.p99))
		return true
	}
	if !small("quiet") {
		return
	}
	v := s.visitor()
	if err := v.send(s.request("GET", "/bytes?n=1073741824", nil), bulkTimeout); err != nil {
		b.sheet.fail(workload, s.name, fmt.Errorf("start the download: %w", err))
		return
	}
	// The download ends when the connection is closed under it. Only wrong bytes
	// and an end before that are failures.
	var (
		wg     sync.WaitGroup
		conn   = v.conn
		check  = &patternCheck{}
		closed = make(chan struct{})
		from   = time.Now()
		took   time.Duration
	)
	wg.Go(func() {
		err := v.receive(check)
		select {
		case <-closed:
		default:
			if err == nil {
				err = errors.New("ended early")
			}
			b.sheet.fail(workload, s.name, fmt.Errorf("download: %w", err))
		}
	})
	sleep(ctx, mixLead)
	small("busy")
	took = time.Since(from)
	close(closed)
	conn.Close()
	wg.Wait()
	b.sheet.add(workload, s.name, "download MB/s", float64(check.n)/1e6/took.Seconds())
	sleep(ctx, 500*time.Millisecond) // what is still on the way belongs to nobody's turn
}

// sleep pauses, but not longer than the run.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
