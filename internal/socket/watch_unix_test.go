//go:build unix

package socket_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/socket"
)

// watch runs Gone; its result comes on the channel.
func watch(c *socket.Conn) <-chan bool {
	gone := make(chan bool, 1)
	go func() { gone <- c.Gone() }()
	return gone
}

func wantGone(t *testing.T, gone <-chan bool, want bool) {
	t.Helper()
	select {
	case got := <-gone:
		if got != want {
			t.Errorf("Gone = %v, want %v", got, want)
		}
	case <-time.After(patience):
		t.Fatal("Gone does not return")
	}
}

func TestWatcherSeesTheOtherSideGo(t *testing.T) {
	t.Run("orderly", func(t *testing.T) {
		near, far := tcp(t)
		gone := watch(near)
		far.Close()
		wantGone(t, gone, true)
	})
	t.Run("broken off", func(t *testing.T) {
		near, far := tcp(t)
		gone := watch(near)
		_ = far.SetLinger(0)
		far.Close()
		wantGone(t, gone, true)
	})
	t.Run("gone before", func(t *testing.T) {
		near, far := tcp(t)
		far.Close()
		wantGone(t, watch(near), true)
	})
	// A deadline is for whoever waits for a request. A request may take longer.
	t.Run("after a read deadline", func(t *testing.T) {
		near, far := tcp(t)
		_ = near.SetReadDeadline(time.Now().Add(-time.Second))
		gone := watch(near)
		select {
		case <-gone:
			t.Fatal("it looked away at the deadline")
		case <-time.After(20 * time.Millisecond):
		}
		far.Close()
		wantGone(t, gone, true)
	})
}

func TestWatcherTakesNothingOfWhatComes(t *testing.T) {
	near, far := tcp(t)
	gone := watch(near)
	_, _ = io.WriteString(far, "next")
	wantGone(t, gone, false)
	near.StopWatch()
	b := make([]byte, 10)
	if n, err := near.Read(b); err != nil || string(b[:n]) != "next" {
		t.Errorf("got %q, %v", b[:n], err)
	}
}

func TestStopWatchEndsTheWatchAndItsDeadline(t *testing.T) {
	near, far := tcp(t)
	for range 100 { // also when it comes before the watch
		gone := watch(near)
		near.StopWatch()
		wantGone(t, gone, false)
	}
	_, _ = io.WriteString(far, "hello")
	b := make([]byte, 10)
	if n, err := near.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Errorf("got %q, %v", b[:n], err)
	}
	_ = near.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := near.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline set later: %v", err)
	}
}

// Of a visitor who has sent more than was asked for, nothing is to be seen. The
// next watch must look again.
func TestWatchThatCouldNotLookDoesNotSpoilTheNext(t *testing.T) {
	near, far := tcp(t)
	_, _ = io.WriteString(far, "two")
	b := make([]byte, 1)
	if _, err := near.Read(b); err != nil {
		t.Fatal(err)
	}
	wantGone(t, watch(near), false) // more was read ahead
	near.StopWatch()
	if _, err := io.ReadFull(near, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	gone := watch(near)
	far.Close()
	wantGone(t, gone, true)
	near.StopWatch()
}

func TestWatchOfOtherKindsSeesNothing(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := socket.New(a)
	wantGone(t, watch(c), false)
	c.StopWatch()
}
