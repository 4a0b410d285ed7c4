package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/relaytunnel/relay/protocol"
)

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
