package http1

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// body is the body of an answer.
type body struct {
	x    *exchange
	r    *bodyReader
	keep bool
	once sync.Once
	open bool // the answer was complete before the request: Close decides
}

// Read reads the body. An error other than io.EOF means that it is incomplete.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil {
		if errors.Is(err, io.EOF) {
			b.finish()
		} else if cerr := b.x.req.Context().Err(); cerr != nil {
			err = cerr
		}
	}
	return n, err
}

// Buffered is how many bytes can most likely be read without waiting.
func (b *body) Buffered() int { return b.r.buffered() }

// finish keeps the connection, or closes it, once the answer is complete.
func (b *body) finish() {
	b.once.Do(func() {
		x := b.x
		watching := x.stop == nil || x.stop()
		x.stop = nil
		if b.keep && watching && x.sent() {
			x.pool.put(x.conn)
			return
		}
		if x.sender != nil && !x.sendDone {
			b.keep = b.keep && watching
			b.open = true
			return
		}
		_ = x.conn.Close()
	})
}

// Close ends the exchange, as RoundTrip says.
func (b *body) Close() error {
	x := b.x
	b.once.Do(func() {
		x.unwatch()
		_ = x.conn.Close()
	})
	if b.open {
		b.open = false
		if b.keep && x.crossed() {
			x.pool.put(x.conn)
		} else {
			abort(x.conn.Conn)
		}
	}
	x.closeRequestBody()
	return nil
}

// crossed tells whether the request was only crossing its answer, as most often
// when the answer is complete before the sender says that it is done.
func (x *exchange) crossed() bool {
	t := time.NewTimer(crossing)
	defer t.Stop()
	select {
	case x.sendErr = <-x.sender:
		x.sendDone = true
		return x.sendErr == nil
	case <-t.C:
		return false
	}
}

// crossing is how long an answer that came before the end of the request waits
// for that end, so that the connection can be kept.
const crossing = 20 * time.Millisecond

// upgraded is the connection after a 101.
type upgraded struct {
	x    *exchange
	conn *conn
}

func (u *upgraded) Read(p []byte) (int, error)  { return u.conn.br.Read(p) }
func (u *upgraded) Write(p []byte) (int, error) { return u.conn.Write(p) }

// CloseWrite ends the direction away from here.
func (u *upgraded) CloseWrite() error { return closeWrite(u.conn.Conn) }

// SetDeadline is that of the connection.
func (u *upgraded) SetDeadline(t time.Time) error { return u.conn.SetDeadline(t) }

// Abort breaks both directions off.
func (u *upgraded) Abort() { abort(u.conn.Conn) }

// Close closes the connection; it is never kept.
func (u *upgraded) Close() error {
	u.x.unwatch()
	return u.conn.Close()
}

func closeWrite(c net.Conn) error {
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return c.Close()
}

// abort breaks a connection off so that the other end sees it and whoever
// reads or writes here returns.
func abort(c net.Conn) {
	switch t := c.(type) {
	case interface{ Reset() }:
		t.Reset()
	case *net.TCPConn:
		_ = t.SetLinger(0)
		_ = t.Close()
	default:
		_ = c.Close()
	}
}
