package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/relaytunnel/relay/protocol"
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

// reader is the state of the carrier's Read.
type reader struct {
	ready bool      // yamux is set up
	msg   io.Reader // the message being read
	hdr   [headerSize]byte
	off   int // bytes of hdr still to hand over: hdr[off:]
	out   int // end of the hand-over; 0 when there is none
	// body counts the bytes of the current frame that belong to yamux, drop
	// those that belong to nobody.
	body, drop uint32
}

// Read hands frames to yamux, each after the guard has seen it.
func (c *carrier) Read(p []byte) (int, error) {
	l, r := (*Link)(c), &c.read
	if !r.ready {
		<-l.ready
		r.ready = true
	}
	for {
		switch {
		case r.out > r.off:
			n := copy(p, r.hdr[r.off:r.out])
			r.off += n
			if n < len(p) && r.body > 0 && r.off == r.out {
				// The body most often came with the header.
				m, err := l.readSome(p[n:min(len(p), n+int(r.body))])
				r.body -= uint32(m)
				return n + m, err
			}
			return n, nil
		case r.body > 0:
			n, err := l.readSome(p[:min(len(p), int(r.body))])
			r.body -= uint32(n)
			if n > 0 || err != nil {
				return n, err
			}
		case r.drop > 0:
			var junk [4 << 10]byte
			n, err := l.readSome(junk[:min(len(junk), int(r.drop))])
			r.drop -= uint32(n)
			if err != nil {
				return 0, err
			}
		default:
			if id, ok := l.nextReset(); ok {
				putHeader(r.hdr[:], typeWindow, flagRST, id, 0)
				r.off, r.out = 0, headerSize
				continue
			}
			for n := 0; n < headerSize; {
				m, err := l.readSome(r.hdr[n:])
				if err != nil {
					return 0, err
				}
				n += m
			}
			pass, err := l.incoming(r.hdr[:])
			if err != nil {
				return 0, l.blame(err)
			}
			var length uint32
			if r.hdr[1] == typeData {
				length = binary.BigEndian.Uint32(r.hdr[8:])
			}
			if !pass {
				r.drop = length
				continue
			}
			r.body, r.off, r.out = length, 0, headerSize
		}
	}
}

// readSome reads from the current binary message, or waits for the next one.
// Text messages are control messages and are handled here.
func (l *Link) readSome(p []byte) (int, error) {
	for {
		if l.read.msg != nil {
			n, err := l.read.msg.Read(p)
			if errors.Is(err, io.EOF) {
				l.read.msg, err = nil, nil
			}
			if n > 0 || err != nil {
				l.lastRead.Store(time.Now().UnixMilli())
				return n, err
			}
			continue
		}
		kind, msg, err := l.ws.NextReader()
		if err != nil {
			return 0, l.closeLater(fmt.Errorf("connection lost: %w", err))
		}
		if kind == websocket.BinaryMessage {
			l.read.msg = msg
			continue
		}
		l.lastRead.Store(time.Now().UnixMilli())
		if err := l.guard.message(); err != nil {
			return 0, l.blame(err)
		}
		b, err := io.ReadAll(io.LimitReader(msg, protocol.MaxMessage+1))
		if err != nil {
			return 0, err
		}
		m, err := protocol.Unmarshal(b)
		if err != nil {
			return 0, l.blame(violation("%v", err))
		}
		if l.opts.Control != nil {
			l.opts.Control(l, m)
		}
	}
}

// blame ends the link after telling the peer what it did wrong.
func (l *Link) blame(err error) error {
	var e *protocol.Error
	if errors.As(err, &e) {
		if b, merr := protocol.Marshal(protocol.Message{Error: e}); merr == nil {
			_ = l.w.control(b)
			l.w.flushLast()
		}
	}
	l.log.Warn("link closed", "reason", err)
	return l.closeLater(err)
}

// onPing answers a ping without waiting for a write under way.
func (l *Link) onPing(data string) error {
	l.lastRead.Store(time.Now().UnixMilli())
	if err := l.guard.ping(); err != nil {
		return l.blame(err)
	}
	l.w.ping(websocket.PongMessage, []byte(data))
	return nil
}

// writer collects what is to be sent. Whoever finds it idle sends; whoever
// finds it busy leaves its bytes for the one who sends.
type writer struct {
	l *Link

	mu      sync.Mutex
	space   sync.Cond // signalled when out was taken or the link ended
	out     *[]byte   // frames that wait; nil when none
	texts   [][]byte  // control messages that wait
	pings   []pingMsg // at most maxPings
	sending bool
	closed  bool
	hold    bool // out ends with a data header whose body is still to come
}

type pingMsg struct {
	kind int
	data []byte
}

// maxPings bounds the pongs that wait for a slow link.
const maxPings = 4

var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, maxQueue+bufferSize/4); return &b }}

func (w *writer) init(l *Link) {
	w.l = l
	w.space.L = &w.mu
}

// Write takes a frame header or a frame body from yamux. It waits only while
// more than maxQueue bytes wait already.
func (c *carrier) Write(p []byte) (int, error) {
	l, w := (*Link)(c), &c.w
	w.mu.Lock()
	for !w.closed && w.out != nil && len(*w.out) >= maxQueue && !w.hold {
		w.space.Wait()
	}
	if w.closed {
		w.mu.Unlock()
		return 0, net.ErrClosed
	}
	if w.hold {
		w.hold = false
		w.add(p)
	} else {
		var hdr [headerSize]byte
		copy(hdr[:], p)
		if !l.outgoing(hdr[:]) {
			w.mu.Unlock()
			return len(p), nil
		}
		w.add(hdr[:])
		if hdr[1] == typeData && binary.BigEndian.Uint32(hdr[8:]) > 0 {
			w.hold = true
		} else if hdr[1] == typeWindow && binary.BigEndian.Uint16(hdr[2:])&flagSYN != 0 {
			// The preface follows at once: let them leave together.
			w.mu.Unlock()
			return len(p), nil
		}
	}
	if w.hold || w.sending {
		w.mu.Unlock()
		return len(p), nil
	}
	w.sending = true
	w.mu.Unlock()
	if l.writers.Load() > 1 {
		// Others are about to write: let them, and send it all as one message.
		go w.send()
		return len(p), nil
	}
	w.send()
	return len(p), nil
}

// add appends to out; mu is held.
func (w *writer) add(p []byte) {
	if w.out == nil {
		w.out = outBuffers.Get().(*[]byte)
	}
	*w.out = append(*w.out, p...)
}

// frame queues one header of the carrier's own making and sees that it leaves.
func (w *writer) frame(typ byte, flags uint16, id, length uint32) {
	var hdr [headerSize]byte
	putHeader(hdr[:], typ, flags, id, length)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	if w.hold {
		// Between a data header and its body nothing may stand: put it before.
		b := *w.out
		at := len(b) - headerSize
		b = append(b, hdr[:]...)
		copy(b[at+headerSize:], b[at:at+headerSize])
		copy(b[at:], hdr[:])
		*w.out = b
		w.mu.Unlock()
		return
	}
	w.add(hdr[:])
	w.kick()
}

func (w *writer) control(b []byte) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return net.ErrClosed
	}
	w.texts = append(w.texts, b)
	w.kick()
	return nil
}

func (w *writer) ping(kind int, data []byte) {
	w.mu.Lock()
	if w.closed || len(w.pings) >= maxPings {
		w.mu.Unlock()
		return
	}
	w.pings = append(w.pings, pingMsg{kind, data})
	w.kick()
}

// kick starts a sender if none is at work, and releases mu.
func (w *writer) kick() {
	if w.sending {
		w.mu.Unlock()
		return
	}
	w.sending = true
	w.mu.Unlock()
	go w.send()
}

// send writes until nothing waits. Exactly one goroutine is in it at a time.
func (w *writer) send() {
	for {
		w.mu.Lock()
		if w.closed {
			w.sending = false
			w.mu.Unlock()
			return
		}
		texts, pings, out := w.texts, w.pings, w.out
		w.texts, w.pings = nil, nil
		var keep [headerSize]byte
		held := w.hold
		if held {
			// A header whose body has not come yet stays behind.
			n := len(*out) - headerSize
			copy(keep[:], (*out)[n:])
			*out = (*out)[:n]
		}
		w.out = nil
		if held {
			w.add(keep[:])
		}
		if out != nil && len(*out) == 0 {
			outBuffers.Put(out)
			out = nil
		}
		if out == nil && texts == nil && pings == nil {
			w.sending = false
			w.space.Broadcast()
			w.mu.Unlock()
			return
		}
		w.space.Broadcast()
		w.mu.Unlock()

		var err error
		for _, p := range pings {
			if e := w.l.ws.WriteControl(p.kind, p.data, time.Time{}); e != nil {
				err = e
			}
		}
		for _, t := range texts {
			if e := w.l.ws.WriteMessage(websocket.TextMessage, t); e != nil {
				err = e
			}
		}
		if out != nil {
			if err == nil {
				err = w.l.ws.WriteMessage(websocket.BinaryMessage, *out)
			}
			*out = (*out)[:0]
			outBuffers.Put(out)
		}
		if err != nil {
			_ = w.l.closeLater(fmt.Errorf("connection lost: %w", err))
			w.shut()
			return
		}
		w.l.lastWrite.Store(time.Now().UnixMilli())
	}
}

// shut makes all waiting and later writes fail and unblocks the reader.
func (w *writer) shut() {
	w.mu.Lock()
	w.closed = true
	w.sending = false
	w.space.Broadcast()
	w.mu.Unlock()
	_ = w.l.ws.Close()
}

// Close is called by yamux when the session ends.
func (c *carrier) Close() error {
	l := (*Link)(c)
	l.w.shut()
	if l.opts.Budget != nil {
		l.opts.Budget.remove(l)
	}
	l.ending()
	return nil
}

// lastWords is how long Close waits for what was queued, among it the control
// message that tells the peer why.
const lastWords = 200 * time.Millisecond

func (w *writer) flushLast() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || !w.sending && len(w.texts) == 0 {
		return
	}
	if !w.sending {
		w.sending = true
		go w.send()
	}
	late := false
	t := time.AfterFunc(lastWords, func() {
		w.mu.Lock()
		late = true
		w.space.Broadcast()
		w.mu.Unlock()
	})
	defer t.Stop()
	for w.sending && !w.closed && !late {
		w.space.Wait()
	}
}

// LocalAddr, RemoteAddr and the deadlines make carrier a net.Conn. yamux uses
// the addresses for its log only, and no deadlines.
func (c *carrier) LocalAddr() net.Addr              { return c.ws.LocalAddr() }
func (c *carrier) RemoteAddr() net.Addr             { return c.ws.RemoteAddr() }
func (c *carrier) SetDeadline(time.Time) error      { return nil }
func (c *carrier) SetReadDeadline(time.Time) error  { return nil }
func (c *carrier) SetWriteDeadline(time.Time) error { return nil }
