package backoff_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/relaytunnel/relay/internal/backoff"
)

func always(f float64) func() float64 { return func() float64 { return f } }

func TestWaitsDoubleUpToMax(t *testing.T) {
	b := backoff.Backoff{Min: 100 * time.Millisecond, Max: time.Second, Rand: always(1)}
	want := []time.Duration{100, 200, 400, 800, 1000, 1000}
	for round := range 2 {
		for i, w := range want {
			if got := b.Next(); got != w*time.Millisecond {
				t.Errorf("round %d, wait %d: %v, want %v ms", round, i, got, int64(w))
			}
		}
		b.Reset()
	}
}

func TestOnlyTheFirstWaitMayBeShort(t *testing.T) {
	b := backoff.Backoff{Min: 100 * time.Millisecond, Max: time.Second, Rand: always(0)}
	if got := b.Next(); got != 0 {
		t.Errorf("first wait is %v", got)
	}
	for range 5 {
		if got := b.Next(); got != 50*time.Millisecond {
			t.Errorf("a later wait is %v", got)
		}
	}
	b = backoff.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond, Rand: always(0)}
	b.Next()
	if got := b.Next(); got != 10*time.Millisecond {
		t.Errorf("the floor is above Max: %v", got)
	}
}

func TestWaitsStayInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := backoff.Backoff{
			Min: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "min")),
			Max: time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "max")),
		}
		low, high := b.Min, b.Max
		if low == 0 {
			low = 500 * time.Millisecond
		}
		if high == 0 {
			high = 30 * time.Second
		}
		high = max(low, high)
		for i := range 80 {
			got := b.Next()
			if got < 0 || got > high || i == 0 && got > low || i > 0 && got < min(50*time.Millisecond, high) {
				t.Fatalf("wait %d of %+v is %v", i, b, got)
			}
		}
	})
}
