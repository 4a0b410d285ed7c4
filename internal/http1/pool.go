package http1

import (
	"bufio"
	"context"
	"net"
	"sync"
	"time"
)

// Pool keeps connections to one other end and runs exchanges on them. Its
// size follows concurrency. It is an http.RoundTripper; the fields are set
// before first use.
type Pool struct {
	// Dial opens a connection.
	Dial func(ctx context.Context) (net.Conn, error)
	// IdleTimeout is how long a connection is kept unused; 0 means 60 s.
	IdleTimeout time.Duration
	// MaxIdle is how many are kept unused; 0 means 512.
	MaxIdle int
	// Agent is set when the other end is an agent: StatusFailed answers become
	// *Failed errors.
	Agent bool

	mu     sync.Mutex
	idle   []*conn // the longest unused first
	closed bool
	timer  *time.Timer
}

// conn is a connection with its read buffer. One exchange uses it at a time.
type conn struct {
	net.Conn
	br     *bufio.Reader
	reused bool
	since  time.Time // when it became idle
}

// freshFor is how long an idle connection is trusted with a request that must
// not be sent twice. Services close idle connections after 2 to 75 seconds, and
// a close that crosses the request on the way could not be told from a failure.
const freshFor = 1500 * time.Millisecond

// get returns a kept connection, or a new one. fresh asks for one that the other
// end will hardly be closing just now.
func (p *Pool) get(ctx context.Context, fresh bool) (*conn, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, &DialError{errClosedPool}
		}
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			break
		}
		c := p.idle[n-1]
		if fresh && time.Since(c.since) > freshFor {
			p.mu.Unlock()
			break
		}
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if c.quiet() {
			c.reused = true
			return c, nil
		}
		_ = c.Close()
	}
	nc, err := p.Dial(ctx)
	if err != nil {
		return nil, &DialError{err}
	}
	return &conn{Conn: nc, br: bufio.NewReaderSize(nc, readSize)}, nil
}

// quiet tells whether the other end has sent nothing and not closed since the
// last exchange. Whatever it has sent would be taken for the next answer.
func (c *conn) quiet() bool {
	if c.br.Buffered() > 0 {
		return false
	}
	if s, ok := c.Conn.(interface{ Idle() bool }); ok {
		return s.Idle()
	}
	return socketQuiet(c.Conn)
}

// put keeps c for the next exchange. The caller vouches that the last one was
// complete in both directions.
func (p *Pool) put(c *conn) {
	if c.br.Buffered() > 0 {
		_ = c.Close()
		return
	}
	if s, ok := c.Conn.(interface{ Rest() }); ok {
		s.Rest()
	}
	c.since = time.Now()
	p.mu.Lock()
	if p.closed || len(p.idle) >= p.maxIdle() {
		p.mu.Unlock()
		_ = c.Close()
		return
	}
	p.idle = append(p.idle, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.idleTimeout(), p.expire)
	}
	p.mu.Unlock()
}

func (p *Pool) maxIdle() int {
	if p.MaxIdle == 0 {
		return 512
	}
	return p.MaxIdle
}

func (p *Pool) idleTimeout() time.Duration {
	if p.IdleTimeout == 0 {
		return time.Minute
	}
	return p.IdleTimeout
}

// expire closes what was unused for too long; the timer calls it.
func (p *Pool) expire() {
	p.mu.Lock()
	limit := time.Now().Add(-p.idleTimeout())
	n := 0
	for n < len(p.idle) && !p.idle[n].since.After(limit) {
		n++
	}
	old := append([]*conn(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	clear(p.idle[len(p.idle):cap(p.idle)])
	if len(p.idle) > 0 && !p.closed {
		p.timer.Reset(max(time.Second, time.Until(p.idle[0].since.Add(p.idleTimeout()))))
	} else {
		p.timer = nil
	}
	p.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}

// Idle is the number of connections kept unused.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// Close closes the kept connections; those in use are closed when their
// exchange ends.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
}
