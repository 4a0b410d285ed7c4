// Package pipe joins two connections, so that what is read from one is written
// to the other until both directions have ended.
package pipe

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// A Conn is one side: a net.Conn, or anything whose Close ends a Read and a
// Write that are waiting. A side that also has CloseWrite() error can end what
// it sends and go on receiving.
type Conn interface {
	io.Reader
	io.Writer
	io.Closer
}

type halfCloser interface{ CloseWrite() error }

// bufferSize is that of io.Copy. The buffers are shared by all pipes.
const bufferSize = 32 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Join copies from a to b and from b to a and returns when both directions
// have ended, with the bytes written each way. It closes both sides, and
// leaves no goroutine.
//
// When one side ends what it sends, the other is told by CloseWrite, and the
// way back stays open; a side without CloseWrite learns of it only when both
// directions have ended and it is closed. When a direction fails, or ctx ends,
// both sides are closed at once; err is then the first failure, or the cause
// of the end of ctx. After two clean ends err is nil.
func Join(ctx context.Context, a, b Conn) (aToB, bToA int64, err error) {
	j := &join{a: a, b: b}

	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(aborted)
		j.abort(context.Cause(ctx))
	})

	var back sync.WaitGroup
	back.Go(func() { bToA = j.copy(a, b, "b to a") })
	aToB = j.copy(b, a, "a to b")
	back.Wait()

	if !stop() {
		<-aborted
	}
	j.closeBoth()
	return aToB, bToA, j.err
}

type join struct {
	a, b  Conn
	close sync.Once

	mu    sync.Mutex
	ended int   // directions that have ended cleanly
	err   error // the first failure
}

// copy carries one direction to its end and returns how much was written.
func (j *join) copy(dst, src Conn, way string) int64 {
	n, err := copyAll(dst, src)
	if err != nil {
		j.abort(fmt.Errorf("copy %s: %w", way, err))
		return n
	}
	if j.end() {
		return n // both are about to be closed
	}
	if h, ok := dst.(halfCloser); ok {
		if err := h.CloseWrite(); err != nil {
			j.abort(fmt.Errorf("copy %s: close for writing: %w", way, err))
		}
	}
	return n
}

// end counts a direction that has ended cleanly and reports whether it is the
// last one.
func (j *join) end() (last bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended++
	return j.ended == 2
}

// abort closes both sides. The first error is kept; errors after two clean
// ends are not failures.
func (j *join) abort(err error) {
	j.mu.Lock()
	if j.err == nil && j.ended < 2 {
		j.err = err
	}
	j.mu.Unlock()
	j.closeBoth()
}

func (j *join) closeBoth() {
	j.close.Do(func() {
		// A TLS connection writes a goodbye, a stuck peer may block it: one
		// side must not keep the other open.
		var second sync.WaitGroup
		second.Go(func() { _ = j.b.Close() })
		_ = j.a.Close()
		second.Wait()
	})
}

// copyAll is io.Copy with a buffer of the pool. It does not use ReadFrom or
// WriteTo: on a net.TCPConn they allocate a buffer of their own unless both
// sides are TCP, which here they never are.
func copyAll(dst io.Writer, src io.Reader) (written int64, err error) {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	for {
		n, readErr := src.Read(buffer[:])
		if n > 0 {
			m, err := dst.Write(buffer[:n])
			written += int64(m)
			if err != nil {
				return written, err
			}
			if m < n {
				return written, io.ErrShortWrite
			}
		}
		if readErr == io.EOF {
			return written, nil
		}
		if readErr != nil {
			return written, readErr
		}
	}
}
