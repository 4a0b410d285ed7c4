package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
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
	empty bool      // nothing of it was read yet
	hdr   [headerSize]byte
	off   int // hdr[off:] is still to be handed over, when given
	given bool
}

// Read hands frame headers to yamux, those that it has to know of. Data is
// delivered from here.
func (c *carrier) Read(p []byte) (int, error) {
	l, r := (*Link)(c), &c.read
	if !r.ready {
		<-l.ready
		r.ready = true
	}
	for !r.given {
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.hdr[r.off:])
	if r.off += n; r.off == headerSize {
		r.given = false
	}
	return n, nil
}

// next takes one frame from the peer.
func (l *Link) next() error {
	r := &l.read
	if id, ok := l.nextReset(); ok {
		putHeader(r.hdr[:], typeWindow, flagRST, id, 0)
		r.off, r.given = 0, true
		return nil
	}
	for n := 0; n < headerSize; {
		m, err := l.readSome(r.hdr[n:])
		if err != nil {
			return err
		}
		n += m
	}
	v, err := l.incoming(r.hdr[:])
	if err != nil {
		return l.blame(err)
	}
	if r.hdr[1] == typeData {
		if err := l.receive(v.data, int(binary.BigEndian.Uint32(r.hdr[8:]))); err != nil {
			return err
		}
		flags := binary.BigEndian.Uint16(r.hdr[2:])
		if v.data != nil && flags&(flagFIN|flagRST) != 0 && binary.BigEndian.Uint32(r.hdr[8:]) > 0 {
			l.smu.Lock()
			v.data.mu.Lock()
			l.ends(v.data, flags)
			v.data.mu.Unlock()
			l.smu.Unlock()
		}
		binary.BigEndian.PutUint32(r.hdr[8:], 0)
	} else {
		// Credit is counted here; yamux sees the flags only.
		if r.hdr[1] == typeWindow {
			binary.BigEndian.PutUint32(r.hdr[8:], 0)
		}
	}
	r.off, r.given = 0, v.pass
	return nil
}

// receive reads the n bytes of a data frame into s, or nowhere.
func (l *Link) receive(s *Stream, n int) error {
	for n > 0 {
		var buf []byte
		if s != nil {
			s.mu.Lock()
			if s.settled {
				s.mu.Unlock()
				s = nil
				continue
			}
			buf = s.in.space(n)
			s.mu.Unlock()
		} else {
			m, err := l.discard(n)
			if err != nil {
				return err
			}
			n -= m
			continue
		}
		m, err := l.readSome(buf)
		s.mu.Lock()
		settled := s.settled
		if settled {
			s.in = chunks{} // dropped meanwhile: this one too
		} else {
			s.in.filled(m)
			s.turn(!l.server)
			l.holds(int64(m))
			s.canRd.Signal()
		}
		s.mu.Unlock()
		if settled {
			s = nil
		}
		n -= m
		if err != nil {
			return err
		}
	}
	return nil
}

// discard reads up to n bytes that nobody wants.
func (l *Link) discard(n int) (int, error) {
	junk := smallChunks.Get().(*chunk)
	defer smallChunks.Put(junk)
	return l.readSome(junk.buf[:min(n, len(junk.buf))])
}

// readSome reads from the current binary message, or waits for the next one.
// Text messages are control messages and are handled here.
func (l *Link) readSome(p []byte) (int, error) {
	for {
		if l.read.msg != nil {
			n, err := l.read.msg.Read(p)
			if n > 0 {
				l.read.empty = false
				l.lastRead.Store(time.Now().UnixMilli())
			}
			switch {
			case errors.Is(err, io.EOF):
				l.read.msg = nil
				if err := l.nothingIn(); err != nil {
					return n, err
				}
			case err != nil:
				return n, l.closeLater(fmt.Errorf("connection lost: %w", err))
			}
			if n > 0 {
				return n, nil
			}
			continue
		}
		kind, msg, err := l.ws.NextReader()
		if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			return 0, l.closeLater(ErrPeerClosed)
		}
		if err != nil {
			return 0, l.closeLater(fmt.Errorf("connection lost: %w", err))
		}
		if kind == websocket.BinaryMessage {
			l.read.msg, l.read.empty = msg, true
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

// nothingIn counts a message that was empty.
func (l *Link) nothingIn() error {
	if !l.read.empty {
		return nil
	}
	if err := l.guard.stray(empty); err != nil {
		return l.blame(err)
	}
	return nil
}

// blame ends the link after telling the peer what it did wrong.
func (l *Link) blame(err error) error {
	var e *protocol.Error
	if errors.As(err, &e) {
		if b, merr := protocol.Marshal(protocol.Message{Error: e}); merr == nil {
			_ = l.w.control(b)
			if l.w.flushLast() {
				l.hearOut()
			}
		}
	}
	l.log.Warn("link closed", "peer", l.ws.RemoteAddr(), "reason", err)
	return l.closeLater(err)
}

// hearOut takes what the peer still sends, within bounds: closed with something
// unread, TCP would take back what the peer has not read yet.
func (l *Link) hearOut() {
	c := l.ws.NetConn()
	_ = c.SetReadDeadline(time.Now().Add(lastWords))
	_, _ = io.CopyN(io.Discard, c, maxWSMessage)
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

func (l *Link) onPong(string) error {
	l.lastRead.Store(time.Now().UnixMilli())
	if err := l.guard.ping(); err != nil {
		return l.blame(err)
	}
	return nil
}

// writer collects what is to be sent. Whoever finds it idle sends; whoever
// finds it busy leaves its bytes for the one who sends.
type writer struct {
	l *Link

	mu       sync.Mutex
	space    sync.Cond // signalled when out was taken or the link ended
	out      *[]byte   // frames that wait; nil when none
	texts    [][]byte  // control messages that wait, of textSize bytes
	textSize int
	pings    []pingMsg // at most maxPings
	sending  bool
	last     bool // what waits leaves, and nothing more is taken
	closed   bool
}

type pingMsg struct {
	kind int
	data []byte
}

// maxPings bounds the pongs that wait for a slow link.
const maxPings = 4

var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}

func (w *writer) init(l *Link) {
	w.l = l
	w.space.L = &w.mu
}

// Write takes a frame header from yamux; it has no bodies to send. Only closing
// and opening streams comes this way.
func (c *carrier) Write(p []byte) (int, error) {
	l, w := (*Link)(c), &c.w
	if len(p) != headerSize {
		return 0, errors.New("yamux sent a body")
	}
	var hdr [headerSize]byte
	copy(hdr[:], p)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return 0, net.ErrClosed
	}
	if w.last || !l.outgoing(hdr[:]) {
		w.mu.Unlock()
		return len(p), nil
	}
	w.add(hdr[:])
	if hdr[1] == typeWindow && binary.BigEndian.Uint16(hdr[2:]) == flagSYN {
		w.mu.Unlock() // the preface follows at once: let them leave together
		return len(p), nil
	}
	w.kick()
	return len(p), nil
}

// add appends to out; mu is held.
func (w *writer) add(p []byte) {
	if w.out == nil {
		w.out = outBuffers.Get().(*[]byte)
	}
	*w.out = append(*w.out, p...)
}

// data queues one data frame and sends it, or leaves it to who is sending. It
// waits while too much waits already, until the stream is halted; bulk has to
// wait earlier.
func (w *writer) data(s *Stream, prefix, p []byte, bulk bool) error {
	var hdr [headerSize]byte
	putHeader(hdr[:], typeData, 0, s.id, uint32(len(prefix)+len(p)))
	limit := maxQueue
	if !bulk {
		limit = 2 * maxQueue
	}
	w.mu.Lock()
	for !w.closed && !w.last && w.out != nil && len(*w.out) >= limit {
		s.queued.Store(true)
		if stop := s.stop.Load(); stop == 2 || stop == 1 && len(p) > 0 {
			s.queued.Store(false)
			w.mu.Unlock()
			return errGaveUp
		}
		w.space.Wait()
		s.queued.Store(false)
	}
	if w.closed || w.last {
		w.mu.Unlock()
		return net.ErrClosed
	}
	w.add(hdr[:])
	w.add(prefix)
	w.add(p)
	if w.sending {
		w.mu.Unlock()
		return nil
	}
	w.sending = true
	w.mu.Unlock()
	if w.l.turns.Load() > crowd {
		// Others are about to write: let several frames leave as one message.
		go w.sendSoon()
		return nil
	}
	w.sendOnce()
	return nil
}

// crowd is how many exchanges must be under way for a frame to wait for others.
const crowd = 3

// sendSoon lets whoever is about to write do so first.
func (w *writer) sendSoon() {
	runtime.Gosched()
	w.send()
}

// sendOnce sends what waits, once, and leaves the rest to a goroutine: the
// caller has other things to do.
func (w *writer) sendOnce() {
	if w.sendBatch() {
		go w.send()
	}
}

// frame queues one header of the carrier's own making and sees that it leaves.
func (w *writer) frame(typ byte, flags uint16, id, length uint32) {
	var hdr [headerSize]byte
	putHeader(hdr[:], typ, flags, id, length)
	w.mu.Lock()
	if w.closed || w.last {
		w.mu.Unlock()
		return
	}
	w.add(hdr[:])
	w.kick()
}

func (w *writer) control(b []byte) error {
	w.mu.Lock()
	if w.closed || w.last {
		w.mu.Unlock()
		return net.ErrClosed
	}
	if w.textSize += len(b); w.textSize > maxTexts {
		w.mu.Unlock()
		go func() { _ = w.l.CloseWith(errDeaf) }() // not here: it may be the reader who answers
		return errDeaf
	}
	w.texts = append(w.texts, b)
	w.kick()
	return nil
}

// maxTexts bounds the control messages that wait for a peer that does not read.
const maxTexts = 4 * protocol.MaxMessage

var errDeaf = errors.New("the peer does not take its control messages")

func (w *writer) ping(kind int, data []byte) {
	w.mu.Lock()
	if w.closed || w.last || len(w.pings) >= maxPings {
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

// send writes until nothing waits. Exactly one goroutine is sending at a time.
func (w *writer) send() {
	for w.sendBatch() {
	}
}

// sendBatch writes what waits. more tells that something has come meanwhile;
// otherwise this goroutine is not sending any more.
func (w *writer) sendBatch() (more bool) {
	w.mu.Lock()
	if w.closed {
		w.sending = false
		w.space.Broadcast()
		w.mu.Unlock()
		return false
	}
	texts, pings, out := w.texts, w.pings, w.out
	w.texts, w.textSize, w.pings, w.out = nil, 0, nil, nil
	if out == nil && texts == nil && pings == nil {
		w.sending = false
		w.space.Broadcast()
		w.mu.Unlock()
		return false
	}
	if out != nil && len(*out) >= maxQueue {
		w.space.Broadcast()
	}
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
		return false
	}
	w.l.lastWrite.Store(time.Now().UnixMilli())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out == nil && w.texts == nil && w.pings == nil {
		w.sending = false
		w.space.Broadcast()
		return false
	}
	return true
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

// flushLast sends what waits and then the WebSocket close message; said tells
// whether that has left. Nothing can be sent any more.
func (w *writer) flushLast() (said bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.last {
		return false
	}
	w.last = true
	w.space.Broadcast()
	if !w.sending && (w.out != nil || len(w.texts) > 0) {
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
	if w.closed || late {
		return false
	}
	w.mu.Unlock()
	defer w.mu.Lock()
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	return w.l.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(lastWords)) == nil
}

// LocalAddr, RemoteAddr and the deadlines make carrier a net.Conn. yamux uses
// the addresses for its log only, and no deadlines.
func (c *carrier) LocalAddr() net.Addr              { return c.ws.LocalAddr() }
func (c *carrier) RemoteAddr() net.Addr             { return c.ws.RemoteAddr() }
func (c *carrier) SetDeadline(time.Time) error      { return nil }
func (c *carrier) SetReadDeadline(time.Time) error  { return nil }
func (c *carrier) SetWriteDeadline(time.Time) error { return nil }
