// Package backoff says how long to wait before the next try. Waits double from
// try to try and are random between zero and that ("full jitter"), so that
// agents that lost a server together do not come back together.
package backoff

import (
	"math/rand/v2"
	"time"
)

// What the zero value uses.
const (
	defaultMin = 500 * time.Millisecond
	defaultMax = 30 * time.Second
)

// floor keeps an unlucky row of random numbers from being a busy loop.
const floor = 50 * time.Millisecond

// A Backoff gives one wait after the other. The zero value works. It is for
// one goroutine; do not change the fields while it is in use.
type Backoff struct {
	Min  time.Duration  // upper bound of the first wait; 0: 500 ms
	Max  time.Duration  // upper bound of all waits; 0: 30 s, and at least Min
	Rand func() float64 // in [0, 1); nil: math/rand

	bound time.Duration // of the last wait; 0 before the first
}

// Next returns the next wait: the first anywhere in [0, Min], because most
// interruptions are short, the following ones in [0, 2*Min], [0, 4*Min] and so
// on up to [0, Max], but never below 50 ms (or Max, if that is less).
func (b *Backoff) Next() time.Duration {
	low, high := b.Min, b.Max
	if low <= 0 {
		low = defaultMin
	}
	if high <= 0 {
		high = defaultMax
	}
	high = max(high, low)

	first := b.bound == 0
	switch {
	case first:
		b.bound = low
	case b.bound > high/2:
		b.bound = high
	default:
		b.bound *= 2
	}
	random := rand.Float64
	if b.Rand != nil {
		random = b.Rand
	}
	wait := time.Duration(random() * float64(b.bound))
	if !first {
		wait = max(wait, min(floor, high))
	}
	return wait
}

// Reset makes the next wait a first one again. Call it after a success.
func (b *Backoff) Reset() { b.bound = 0 }
