package store

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// ids makes identifiers that sort by the time they were made, also within one
// millisecond and when the clock is set back. The zero value is ready.
type ids struct {
	mu      sync.Mutex
	last    uint64 // ms since 1970
	entropy *ulid.MonotonicEntropy
}

// next returns a new identifier: the prefix and a ULID of 26 characters.
func (i *ids) next(prefix string, now time.Time) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.entropy == nil {
		i.entropy = ulid.Monotonic(rand.Reader, 0)
	}
	i.last = max(i.last, ulid.Timestamp(now))
	for {
		// The reader never fails; the only error is that the random part of
		// this millisecond is used up.
		if id, err := ulid.New(i.last, i.entropy); err == nil {
			return prefix + id.String()
		}
		i.last++
	}
}
