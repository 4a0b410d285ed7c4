package auth

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	triesPerMinute = 10
	triesKept      = 10_000 // about 2 MB
)

// tries counts wrong tokens by address. The zero value is ready.
type tries struct {
	mu    sync.Mutex
	from  map[netip.Prefix]*rate.Limiter
	swept time.Time
}

// allow counts one wrong token and reports whether the address may go on.
func (t *tries) allow(addr netip.Addr, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.from == nil {
		t.from = make(map[netip.Prefix]*rate.Limiter)
	}
	key := source(addr)
	l := t.from[key]
	if l == nil {
		t.makeRoomLocked(now)
		l = rate.NewLimiter(rate.Every(time.Minute/triesPerMinute), triesPerMinute)
		t.from[key] = l
	}
	return l.AllowN(now, 1)
}

// makeRoomLocked keeps the map bounded. Limiters that are full again count
// nothing and go first; to look for them costs a walk, so it is done at most
// every ten seconds. Otherwise any one goes.
func (t *tries) makeRoomLocked(now time.Time) {
	if len(t.from) < triesKept {
		return
	}
	if now.Sub(t.swept) >= 10*time.Second {
		t.swept = now
		for key, l := range t.from {
			if l.TokensAt(now) >= triesPerMinute {
				delete(t.from, key)
			}
		}
	}
	for key := range t.from {
		if len(t.from) < triesKept {
			return
		}
		delete(t.from, key)
	}
}

// source is what one caller can be expected to have: an IPv4 address, or an
// IPv6 /64, in which anyone can take as many addresses as they like.
func source(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // an invalid address shares the zero prefix
	return p
}
