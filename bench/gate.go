package main

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// gateConns are the connection counts of the gate.
var gateConns = []int{1, 32, 256}

// measureGate sends POSTs of 4 KiB to an app that answers at once, and compares
// every answer with what it must be. Each second request goes to a receiver that
// does not look at the body; the others must come back byte for byte. Every body
// is different, so that an answer to somebody else is seen.
func (b *bench) measureGate(ctx context.Context, s *system) {
	for _, conns := range gateConns {
		workload := fmt.Sprintf("gate c=%d", conns)
		var (
			wg     sync.WaitGroup
			taken  atomic.Int64
			done   atomic.Int64
			failed atomic.Int64
			mu     sync.Mutex
			first  error
			from   = time.Now()
		)
		for range conns {
			wg.Go(func() {
				v := s.visitor()
				defer v.close()
				for ctx.Err() == nil {
					i := taken.Add(1)
					if i > int64(b.posts) {
						return
					}
					if err := s.post(v, i); err != nil {
						failed.Add(1)
						mu.Lock()
						first = fmt.Errorf("POST %d: %w", i, err)
						mu.Unlock()
						continue
					}
					done.Add(1)
				}
			})
		}
		wg.Wait()
		if ctx.Err() != nil {
			return
		}
		if n := failed.Load(); n > 0 {
			b.sheet.fail(workload, s.name, fmt.Errorf("%d of %d answers failed: %w", n, b.posts, first))
		}
		b.sheet.add(workload, s.name, "POSTs", float64(b.posts))
		b.sheet.add(workload, s.name, "failed", float64(failed.Load()))
		b.sheet.add(workload, s.name, "req/s", float64(done.Load())/time.Since(from).Seconds())
	}
}

// post is request number i of the gate.
func (s *system) post(v *visitor, i int64) error {
	mark := fmt.Appendf(nil, "%016d", i)
	body := bytes.Repeat(mark, postSize/len(mark))
	if i%2 == 0 {
		target := fmt.Sprintf("/ack?%s", mark)
		return v.expect(s.request("POST", target, body), append([]byte("ack "), mark...))
	}
	return v.expect(s.request("POST", "/echo", body), body)
}
