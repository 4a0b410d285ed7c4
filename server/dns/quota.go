package dns

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// What one network gets over UDP. A resolver asks again only when a TTL is over,
// and the biggest are spread over many networks; 50 a second is far more than
// one of them needs here, and little for somebody who is sent answers that they
// did not ask for: with the longest answer there is, half a megabit.
const (
	answersPerSecond = 50
	answersAtOnce    = 200

	// slots bounds the memory: 16384 counters are 256 KB, however many networks
	// ask. Networks that share one, which cannot be foreseen from outside,
	// share their quota.
	slots = 1 << 14
)

// quota counts answers by network.
type quota struct {
	seed maphash.Seed

	mu       sync.Mutex
	counters [slots]counter
}

// A counter runs full with answers and empties with time.
type counter struct {
	level float64
	at    int64 // when level was true, in ns since 1970
}

func newQuota() *quota { return &quota{seed: maphash.MakeSeed()} }

// take counts one question from addr and says how to answer it: short while the
// network has quota left, blank for as many again, and then not at all.
func (q *quota) take(addr netip.Addr, now time.Time) (how manner, ok bool) {
	slot := maphash.Comparable(q.seed, network(addr)) % slots
	q.mu.Lock()
	defer q.mu.Unlock()
	c := &q.counters[slot]
	// A clock that was set back must not fill the counter.
	passed := max(0, time.Duration(now.UnixNano()-c.at).Seconds())
	c.level = max(0, c.level-passed*answersPerSecond)
	c.at = now.UnixNano()
	switch {
	case c.level+1 <= answersAtOnce:
		how = short
	case c.level+1 <= 2*answersAtOnce:
		how = blank
	default:
		return 0, false
	}
	c.level++
	return how, true
}

// network is whom an address stands for when answers and connections are
// counted: what one customer is given, or less than that.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 24
	if addr.Is6() {
		bits = 56
	}
	p, _ := addr.Prefix(bits) // an invalid address shares the zero prefix
	return p
}
