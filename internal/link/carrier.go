package link

import (
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// The yamux frame header: version, type, flags, stream, length. See spec.md.
const (
	headerSize = 12

	typeData   = 0
	typeWindow = 1
	typePing   = 2
	typeGoAway = 3

	flagSYN = 1
	flagACK = 2
	flagFIN = 4
	flagRST = 8
)

func putHeader(b []byte, typ byte, flags uint16, id, length uint32) {
	b[0], b[1] = 0, typ
	binary.BigEndian.PutUint16(b[2:], flags)
	binary.BigEndian.PutUint32(b[4:], id)
	binary.BigEndian.PutUint32(b[8:], length)
}

const (
	// maxWSMessage bounds a WebSocket message. Frames may span messages, so it
	// bounds nothing but what gorilla counts.
	maxWSMessage = 1 << 20
	// maxQueue is how many bytes of frames wait above the kernel. More would
	// make small requests wait behind bulk, less would cost throughput.
	maxQueue = 48 << 10
)

// carrier is the Link as yamux sees it: a net.Conn. Read is called by yamux's
// receiving goroutine alone, Write by its sending goroutine alone.
type carrier Link

// Close is called by yamux when the session ends.
func (c *carrier) Close() error {
	l := (*Link)(c)
	l.w.shut()
	if l.opts.Budget != nil {
		l.opts.Budget.remove(l)
	}
	l.lose()
	l.ending()
	return nil
}

// ErrPeerClosed is the end of a link that the other side has closed on purpose.
var ErrPeerClosed = errors.New("the other side closed the connection")

const (
	// lastWords is how long Close waits for what was queued, among it the control
	// message that tells the peer why.
	lastWords = 200 * time.Millisecond
	// lastAnswer is how long it then waits for the peer to close.
	lastAnswer = time.Second
)

// LocalAddr, RemoteAddr and the deadlines make carrier a net.Conn. yamux uses
// the addresses for its log only, and no deadlines.
func (c *carrier) LocalAddr() net.Addr              { return c.ws.LocalAddr() }
func (c *carrier) RemoteAddr() net.Addr             { return c.ws.RemoteAddr() }
func (c *carrier) SetDeadline(time.Time) error      { return nil }
func (c *carrier) SetReadDeadline(time.Time) error  { return nil }
func (c *carrier) SetWriteDeadline(time.Time) error { return nil }
