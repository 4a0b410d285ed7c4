package server

import (
	"net"
	"sync"
	"time"
)

// manyHandshakes is how many QUIC handshakes in a second are taken on trust; the
// rest have to show that their address is their own, which costs a round trip.
const manyHandshakes = 200

// busy counts handshakes.
type busy struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time
	n     int
}

func newBusy(now func() time.Time) *busy { return &busy{now: now} }

// busy counts one more and tells whether there are many.
func (b *busy) busy(net.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.now(); now.Sub(b.since) >= time.Second {
		b.since, b.n = now, 0
	}
	b.n++
	return b.n > manyHandshakes
}
