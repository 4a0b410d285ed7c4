//go:build unix

package socket

import (
	"io"
	"net"
	"syscall"
)

// reader reads ahead without holding a buffer while it waits: the buffer is
// taken when the socket has something, and given back when that was read.
type reader struct {
	raw syscall.RawConn
	try func(fd uintptr) bool
	buf *[readSize]byte
	r   int // buf[r:w] is still to be read
	w   int
	err error // of the last try
}

func (a *reader) init(c net.Conn) {
	sc, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	a.raw = raw
	a.try = a.tryRead
}

func (a *reader) read(c net.Conn, p []byte) (int, error) {
	if a.buf == nil {
		if a.raw == nil || len(p) >= readSize {
			return c.Read(p)
		}
		if len(p) == 0 {
			return 0, nil
		}
		if err := a.raw.Read(a.try); err != nil {
			return 0, err // closed, or past the deadline
		}
		if a.err != nil {
			return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: a.err}
		}
		if a.buf == nil {
			return 0, io.EOF
		}
	}
	n := copy(p, a.buf[a.r:a.w])
	if a.r += n; a.r == a.w {
		readBuffers.Put(a.buf)
		a.buf = nil
	}
	return n, nil
}

// tryRead is called when the socket may have something; false waits for more.
func (a *reader) tryRead(fd uintptr) bool {
	b := readBuffers.Get().(*[readSize]byte)
	var n int
	var err error
	for {
		n, err = syscall.Read(int(fd), b[:])
		if err != syscall.EINTR {
			break
		}
	}
	if err == syscall.EAGAIN {
		readBuffers.Put(b)
		return false
	}
	a.err = err
	if err != nil || n <= 0 {
		readBuffers.Put(b)
		return true
	}
	a.buf, a.r, a.w = b, 0, n
	return true
}
