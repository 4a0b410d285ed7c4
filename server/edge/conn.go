package edge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/relaytunnel/relay/internal/socket"
)

// listener accepts visitors: every connection is counted against max, and one on
// which writing gets nowhere is ended.
type listener struct {
	net.Listener
	max  int64
	open *atomic.Int64 // of all listeners of the edge
	// progress is how long a write may get nowhere.
	progress time.Duration
	// silent is set where an answer in plain text may be none.
	silent bool
}

func (e *Edge) listener(ln net.Listener, limit int) *listener {
	return &listener{Listener: ln, max: int64(limit), open: &e.open, progress: e.o.Progress}
}

// Listener wraps a listener that http.Server serves without a front. At most limit
// connections are open at a time, those of the front counted in; one too many is
// closed without a word, as it may expect TLS.
func (e *Edge) Listener(ln net.Listener, limit int) net.Listener {
	l := e.listener(ln, limit)
	l.silent = true
	return l
}

// Accept waits for a visitor. Beyond the limit a visitor is told so and sent
// away: files must be left for the store, the links and the answer itself.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) > l.max {
			l.open.Add(-1)
			if l.silent {
				_ = c.Close()
				continue
			}
			_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			_, _ = c.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nRelay-Error: too_many_connections\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
			_ = c.Close()
			continue
		}
		return &conn{Conn: socket.New(c), from: l}, nil
	}
}

// conn is a visitor's connection.
type conn struct {
	*socket.Conn
	from  *listener
	once  sync.Once
	ahead []byte       // read before net/http got the connection
	addr  string       // the visitor's address, when it was rendered
	setAt atomic.Int64 // Unix ns when the write deadline was last set

	spoiled atomic.Bool // see spoil

	resetsSince atomic.Int64 // Unix seconds
	resets      atomic.Int64
}

// Read gives what was read ahead first.
func (c *conn) Read(p []byte) (int, error) {
	if c.spoiled.Load() {
		return 0, errSpoiled
	}
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Write ends the connection when nothing moves for a while. The deadline is renewed
// now and then only: each costs.
func (c *conn) Write(p []byte) (int, error) {
	now := time.Now()
	every := c.from.progress / 12
	if ns := now.UnixNano(); ns-c.setAt.Load() > int64(every) {
		c.setAt.Store(ns)
		_ = c.Conn.SetWriteDeadline(now.Add(c.from.progress + every))
	}
	return c.Conn.Write(p)
}

// spoil says that the rest of what comes is no request: half a body, most often.
// Nothing of it is read any more. net/http would take it for the next request if
// it had failed to read a body in full duplex.
func (c *conn) spoil() { c.spoiled.Store(true) }

// errSpoiled is no io.EOF: at that net/http would begin to look for a next request
// while it still closes this one's body, and panic.
var errSpoiled = errors.New("the rest of the connection is no request")

// lingerFor is how long a spoiled connection is kept after its last answer: a close
// over unread bytes would break it off before the visitor has seen that. As net/http.
const lingerFor = 500 * time.Millisecond

// Close closes the connection and gives its place free.
func (c *conn) Close() error {
	lingers := false
	c.once.Do(func() {
		if lingers = c.spoiled.Load() && c.Conn.CloseWrite() == nil; lingers {
			time.AfterFunc(lingerFor, func() {
				_ = c.Conn.Close()
				c.from.open.Add(-1)
			})
			return
		}
		c.from.open.Add(-1)
	})
	if lingers {
		return nil
	}
	return c.Conn.Close()
}

// NetConn gives the connection underneath.
func (c *conn) NetConn() net.Conn { return c.Conn.NetConn() }

type connKey struct{}

// ConnContext lets a request find its connection; for http.Server.
func ConnContext(ctx context.Context, nc net.Conn) context.Context {
	for {
		if c, ok := nc.(*conn); ok {
			return context.WithValue(ctx, connKey{}, c)
		}
		u, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return ctx
		}
		nc = u.NetConn()
	}
}

// connOf finds the connection of a request; nil when it is not one of ours.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

const (
	// maxResets in resetPeriod end an HTTP/2 connection: rapid reset and its
	// kin (CVE-2023-39325, CVE-2025-8671).
	maxResets   = 1000
	resetPeriod = 30 * time.Second
)

// countReset counts requests of HTTP/2 that were reset by either side.
func countReset(r *http.Request) {
	if r.ProtoMajor != 2 || r.Context().Err() == nil {
		return
	}
	c := connOf(r)
	if c == nil {
		return
	}
	now := time.Now().Unix()
	if now-c.resetsSince.Load() > int64(resetPeriod/time.Second) {
		c.resetsSince.Store(now)
		c.resets.Store(0)
	}
	if c.resets.Add(1) > maxResets {
		_ = c.Close()
	}
}
