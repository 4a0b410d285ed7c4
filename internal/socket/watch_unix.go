//go:build unix

package socket

import (
	"sync"
	"syscall"
	"time"
)

// watcher looks whether the other end has gone, beside a connection that nobody
// reads just now.
type watcher struct {
	mu      sync.Mutex
	started bool
	stopped bool
	done    chan struct{}
}

// Gone waits until the other end sends something or goes, and tells whether it
// has gone. It must not run beside a Read. StopWatch ends it; a read deadline does
// not, and is gone.
func (c *Conn) Gone() bool {
	w := &c.watcher
	w.mu.Lock()
	if w.stopped {
		w.stopped = false
		w.mu.Unlock()
		return false
	}
	done := make(chan struct{})
	defer close(done)
	w.started, w.done = true, done
	_ = c.Conn.SetReadDeadline(time.Time{}) // with mu held: StopWatch sets one after it
	w.mu.Unlock()
	if c.raw == nil || c.buf != nil {
		return false
	}
	gone := false
	_ = c.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err == syscall.EAGAIN || err == syscall.EINTR {
			return false
		}
		gone = err != nil || n == 0
		return true
	})
	return gone
}

// StopWatch ends a Gone that runs or is about to, and waits for it. The read
// deadline is gone after it.
func (c *Conn) StopWatch() {
	w := &c.watcher
	w.mu.Lock()
	if !w.started {
		w.stopped = true // it comes too late
		w.mu.Unlock()
		return
	}
	done := w.done
	w.mu.Unlock()
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	<-done
	_ = c.Conn.SetReadDeadline(time.Time{})
	w.mu.Lock()
	w.started = false
	w.mu.Unlock()
}
