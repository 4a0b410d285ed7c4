package link

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// ErrReset is what a stream that either side has broken off answers.
var ErrReset = errors.New("stream reset")

const (
	// bulkBytes moved in less than bulkTime make a stream bulk.
	bulkBytes = 128 << 10
	bulkTime  = time.Second
	// writeChunk is the most that one stream puts on the link in one go, so that
	// others get their turn; aloneChunk where there are no others.
	writeChunk = 16 << 10
	aloneChunk = 32 << 10
)

// Stream is one connection inside a link. Read and Write may be called at the
// same time, each by one goroutine.
//
// yamux opens, accepts and closes streams; data frames pass it by. They are read
// into the stream's own chunks and written straight into the link's queue, which
// spares two copies and two changes of goroutine for each.
type Stream struct {
	link *Link
	id   uint32
	ys   atomic.Pointer[yamux.Stream]

	onReset atomic.Pointer[func()]

	mu    sync.Mutex // after the link's smu, before the writer's mu
	canRd sync.Cond
	canWr sync.Cond
	in    chunks

	wmu    sync.Mutex // held for a write, before mu: nothing overtakes the preface
	prefix []byte     // the preface, until it has left

	// In bytes since the stream began: received, taken by the reader, granted to
	// the peer; sent, and granted by the peer.
	recv, read, granted int64
	sent, credit        int64

	acked   bool // the peer has accepted
	finIn   bool // the peer has finished
	finOut  bool // this side has finished
	rstIn   bool // the peer has broken off
	over    bool // this side has broken off, for reason
	reason  error
	settled bool // out of the budgets
	cut     bool // the link took unread data with it
	slot    bool // takes one of the link's slots for opening; its smu guards this

	queued atomic.Bool  // a write waits for room in the link's queue
	stop   atomic.Int32 // whether it should go on waiting, see halt

	rd, wr deadline

	// Flow control, see window.go.
	window, sinceGrant, loan int64
	lastGrant                time.Time

	waits bool // see turn

	// Bulk, see moves.
	isBulk   bool
	moved    int64
	movedAt  time.Time
	lifetime int64 // bytes since the last Rest
}

func newStream(l *Link, id uint32) *Stream {
	s := &Stream{link: l, id: id, window: firstWindow, credit: firstWindow, granted: firstWindow, lastGrant: time.Now()}
	s.canRd.L, s.canWr.L = &s.mu, &s.mu
	return s
}

// Read reads what the other end has written. io.EOF means that the other end
// has finished orderly, and nothing else.
func (s *Stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	if s.prefix != nil {
		s.mu.Unlock()
		if s.wmu.TryLock() { // else it leaves with what is being written
			_, err := s.write(nil)
			s.wmu.Unlock()
			if err != nil {
				return 0, err
			}
		}
		s.mu.Lock()
	}
	for {
		if s.over {
			err := s.reason
			s.mu.Unlock()
			return 0, err
		}
		if s.rstIn {
			s.mu.Unlock()
			return 0, ErrReset
		}
		if n := s.in.read(p); n > 0 {
			more := s.took(n)
			s.moves(n)
			s.mu.Unlock()
			if more > 0 {
				s.link.w.frame(typeWindow, 0, s.id, uint32(more))
			}
			return n, nil
		}
		switch {
		case s.finIn && !s.cut:
			s.mu.Unlock()
			return 0, io.EOF
		case s.link.lost.Load():
			s.mu.Unlock()
			return 0, s.link.lostError()
		case s.rd.expired:
			s.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			s.mu.Unlock()
			return 0, nil
		}
		s.canRd.Wait()
	}
}

// Write writes all of p or returns an error.
func (s *Stream) Write(p []byte) (int, error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	return s.write(p)
}

// write writes p, and before it the preface if that has not left; wmu is held.
func (s *Stream) write(p []byte) (int, error) {
	total := 0
	for {
		s.mu.Lock()
		var err error
		for {
			if err = s.writable(len(p) > 0); err != nil || s.sent < s.credit || len(p) == 0 {
				break
			}
			s.canWr.Wait()
		}
		if err != nil {
			s.mu.Unlock()
			return total, err
		}
		prefix := s.prefix
		s.prefix = nil
		most := int64(writeChunk)
		if s.link.turns.Load() <= 1 {
			most = aloneChunk
		}
		n := int(min(int64(len(p)), most, s.credit-s.sent-int64(len(prefix))))
		s.sent += int64(n + len(prefix))
		s.moves(n)
		s.turn(s.link.server)
		bulk := s.isBulk
		s.mu.Unlock()
		if n+len(prefix) > 0 {
			switch err := s.link.w.data(s, prefix, p[:n], bulk); {
			case errors.Is(err, errGaveUp):
				s.mu.Lock()
				s.sent -= int64(n + len(prefix))
				s.prefix = prefix
				s.mu.Unlock()
				continue // which finds out why
			case err != nil:
				return total, s.link.lostError()
			}
		}
		total += n
		if p = p[n:]; len(p) == 0 {
			return total, nil
		}
	}
}

// writable tells why nothing can be written; mu is held. The preface and the end
// of the stream have no deadline.
func (s *Stream) writable(timed bool) error {
	switch {
	case s.over:
		return s.reason
	case s.rstIn:
		return ErrReset
	case s.finOut:
		return net.ErrClosed
	case s.link.lost.Load():
		return s.link.lostError()
	case timed && s.wr.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// errGaveUp says that a write was told to wait no longer.
var errGaveUp = errors.New("gave up")

// halt tells a write that waits for room in the link's queue whether to wait on:
// 0 yes, 1 not with data, 2 not at all. mu is held.
func (s *Stream) halt() {
	var stop int32
	switch {
	case s.over || s.rstIn:
		stop = 2
	case s.wr.expired:
		stop = 1
	}
	s.stop.Store(stop)
	if stop > 0 && s.queued.Load() {
		w := &s.link.w
		w.mu.Lock()
		w.space.Broadcast()
		w.mu.Unlock()
	}
}

// CloseWrite tells the peer that nothing more will be written.
func (s *Stream) CloseWrite() error {
	if _, err := s.Write(nil); err != nil { // the preface
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		return err
	}
	return s.ys.Load().Close()
}

// Close ends the stream in both directions. When the peer has not finished, or
// not everything was read, the peer sees a reset.
func (s *Stream) Close() error {
	s.mu.Lock()
	clean := s.finIn && s.in.size == 0 && !s.over
	if clean {
		s.settle()
	}
	s.mu.Unlock()
	if clean {
		return s.ys.Load().Close()
	}
	s.reset(net.ErrClosed)
	return nil
}

// Reset breaks the stream off: the peer sees an error, never a clean end.
func (s *Stream) Reset() { s.reset(ErrReset) }

func (s *Stream) reset(reason error) {
	if s.giveUp(reason) {
		s.sendReset()
	}
}

// giveUp ends the stream on this side and frees what it holds; false when it
// had ended before. The peer is still to be told.
func (s *Stream) giveUp(reason error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.over, s.reason = true, reason
	s.settle()
	s.wake()
	return true
}

// sendReset tells the peer. It may wait for the link's sender.
func (s *Stream) sendReset() {
	s.mu.Lock()
	finOut, rstIn := s.finOut, s.rstIn
	s.mu.Unlock()
	if rstIn {
		return
	}
	l := s.link
	if finOut {
		// yamux's Close sends nothing any more: send the RST from here.
		l.smu.Lock()
		live := l.streams[s.id] == s
		if live {
			l.bury(s)
		}
		l.smu.Unlock()
		if live {
			l.w.frame(typeWindow, flagRST, s.id, 0)
		}
		return
	}
	if ys := s.ys.Load(); ys != nil {
		_ = ys.Close() // its FIN leaves as RST, see outgoing
	}
}

// wake lets whoever waits look again; mu is held.
func (s *Stream) wake() {
	s.halt()
	s.canRd.Broadcast()
	s.canWr.Broadcast()
}

// settle takes what the stream holds out of the budgets and counters; mu is held.
func (s *Stream) settle() {
	if s.settled {
		return
	}
	s.settled = true
	s.turn(false)
	s.setBulk(false)
	s.link.free(s.in.size)
	s.link.loaned.Add(-s.loan)
	s.loan = 0
	s.in.drop()
	s.rd.stop()
	s.wr.stop()
}

// OnReset has f called when the peer breaks the stream off, at most once and
// on the reading goroutine of the link: it must not block. The end of the link
// does not call it.
func (s *Stream) OnReset(f func()) {
	s.onReset.Store(&f)
	s.mu.Lock()
	rst := s.rstIn
	s.mu.Unlock()
	if rst {
		s.tellReset()
	}
}

// tellReset calls what OnReset was given.
func (s *Stream) tellReset() {
	if f := s.onReset.Swap(nil); f != nil {
		(*f)()
	}
}

// Idle tells whether nothing is on its way from the peer: everything received
// was read, the peer has neither finished nor reset, and the credit it still
// holds is small enough to keep. Only then may the stream serve another exchange.
func (s *Stream) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.over && !s.finIn && !s.rstIn && !s.finOut && s.recv == s.read && !s.link.lost.Load() &&
		(s.loan <= firstWindow || s.link.loaned.Load() < maxLoans/2)
}

// Rest is called between two exchanges.
func (s *Stream) Rest() {
	s.mu.Lock()
	s.setBulk(false)
	s.lifetime = 0
	s.mu.Unlock()
}

// turn notes whether an answer is outstanding on the stream: from the server's
// write to the agent's. The link's turns tell how many are, and so whether more
// writes are to be expected in a moment. mu is held.
func (s *Stream) turn(waits bool) {
	if s.waits == waits || waits && s.settled {
		return
	}
	s.waits = waits
	if waits {
		s.link.turns.Add(1)
	} else {
		s.link.turns.Add(-1)
	}
}

// moves notices a stream that moves much; mu is held.
func (s *Stream) moves(n int) {
	if s.moved += int64(n); s.moved < bulkBytes {
		return
	}
	s.moved = 0
	now := time.Now()
	s.setBulk(now.Sub(s.movedAt) < bulkTime && !s.settled)
	s.movedAt = now
}

// setBulk notes whether the stream moves much; mu is held.
func (s *Stream) setBulk(bulk bool) {
	if s.isBulk == bulk {
		return
	}
	s.isBulk = bulk
	if !bulk {
		s.link.bulk.Add(-1)
		return
	}
	s.link.bulk.Add(1)
	if f := s.link.opts.Bulk; f != nil {
		f(s.link)
	}
}

// deadline is a point in time after which reads or writes fail; the stream's mu
// guards it.
type deadline struct {
	expired bool
	timer   *time.Timer
	turn    int // tells a timer that it was replaced
}

func (d *deadline) stop() {
	d.turn++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (s *Stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	d.expired = false
	s.halt()
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		s.wake()
		return
	}
	turn := d.turn
	d.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.turn == turn {
			d.expired = true
			s.wake()
		}
	})
}

// SetDeadline, SetReadDeadline and SetWriteDeadline are those of net.Conn.
func (s *Stream) SetDeadline(t time.Time) error {
	s.setDeadline(&s.rd, t)
	s.setDeadline(&s.wr, t)
	return nil
}

// SetReadDeadline bounds reads.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.setDeadline(&s.rd, t)
	return nil
}

// SetWriteDeadline bounds writes.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.setDeadline(&s.wr, t)
	return nil
}

// LocalAddr and RemoteAddr are those of the link.
func (s *Stream) LocalAddr() net.Addr { return s.link.ws.LocalAddr() }

// RemoteAddr is the peer's address.
func (s *Stream) RemoteAddr() net.Addr { return s.link.ws.RemoteAddr() }

// Link is the link that carries the stream.
func (s *Stream) Link() *Link { return s.link }
