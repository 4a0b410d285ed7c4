// Package socket makes TCP connections cheaper for programs that hold many and
// read little at a time: a read takes all that has arrived with one system call,
// into a buffer that exists only while it holds something, and several small
// writes can leave as one.
package socket

import (
	"net"
	"sync"
)

// readSize is how much is read ahead; corkSize how much a corked connection
// holds back at most.
const (
	readSize = 64 << 10
	corkSize = 32 << 10
)

var (
	readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}
	corkBuffers = sync.Pool{New: func() any { b := make([]byte, 0, corkSize); return &b }}
)

// Conn is a connection that reads ahead. Like every net.Conn it may be read by
// one goroutine and written by another.
type Conn struct {
	net.Conn
	reader
	watcher watcher

	mu   sync.Mutex
	held *[]byte // what was written while corked; nil when not corked
}

// New wraps a connection. One that is not plain TCP is only corked, not read
// ahead.
func New(c net.Conn) *Conn {
	s := &Conn{Conn: c}
	s.reader.init(c)
	return s
}

// Read reads what has arrived.
func (c *Conn) Read(p []byte) (int, error) { return c.reader.read(c.Conn, p) }

// Write writes, or holds back while the connection is corked.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.held == nil {
		c.mu.Unlock()
		return c.Conn.Write(p)
	}
	defer c.mu.Unlock()
	if len(*c.held)+len(p) <= corkSize {
		*c.held = append(*c.held, p...)
		return len(p), nil
	}
	if err := c.flushLocked(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Cork holds writes back until Uncork, or until there are too many.
func (c *Conn) Cork() {
	c.mu.Lock()
	if c.held == nil {
		c.held = corkBuffers.Get().(*[]byte)
	}
	c.mu.Unlock()
}

// Uncork writes what was held back, as one.
func (c *Conn) Uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return nil
	}
	err := c.flushLocked()
	corkBuffers.Put(c.held)
	c.held = nil
	return err
}

func (c *Conn) flushLocked() error {
	if len(*c.held) == 0 {
		return nil
	}
	_, err := c.Conn.Write(*c.held)
	*c.held = (*c.held)[:0]
	return err
}

// CloseWrite ends the direction away from here.
func (c *Conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return c.Conn.Close()
}

// NetConn gives the connection underneath.
func (c *Conn) NetConn() net.Conn { return c.Conn }
