package link

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// echoes are the pings that wait for their pongs.
type echoes struct {
	mu      sync.Mutex
	last    uint64
	waiting map[string]chan<- time.Time
}

// Ping sends a WebSocket ping; the agent calls it when it has been silent.
func (l *Link) Ping() { l.w.ping(websocket.PingMessage, nil) }

// RoundTrip pings the peer and returns how long its pong took. It waits until that has
// come, ctx ends or the link does. When too many pings wait to be sent, one more is
// dropped: the caller gives ctx a bound.
func (l *Link) RoundTrip(ctx context.Context) (time.Duration, error) {
	came := make(chan time.Time, 1)
	l.echoes.mu.Lock()
	l.echoes.last++
	mark := strconv.FormatUint(l.echoes.last, 36)
	if l.echoes.waiting == nil {
		l.echoes.waiting = map[string]chan<- time.Time{}
	}
	l.echoes.waiting[mark] = came
	l.echoes.mu.Unlock()
	defer func() {
		l.echoes.mu.Lock()
		delete(l.echoes.waiting, mark)
		l.echoes.mu.Unlock()
	}()
	began := time.Now()
	l.w.ping(websocket.PingMessage, []byte(mark))
	select {
	case at := <-came:
		return at.Sub(began), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-l.Done():
		return 0, l.Err()
	}
}

// echoed lets the one who waits for a pong know of it. It does not block.
func (l *Link) echoed(mark string) {
	if mark == "" {
		return
	}
	l.echoes.mu.Lock()
	came := l.echoes.waiting[mark]
	delete(l.echoes.waiting, mark)
	l.echoes.mu.Unlock()
	if came != nil {
		came <- time.Now()
	}
}
