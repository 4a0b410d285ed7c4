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

type counter = atomic.Int64

// ErrReset is what a stream that either side has broken off answers.
var ErrReset = errors.New("stream reset")

const (
	// bulkBytes moved in less than bulkTime make a stream bulk.
	bulkBytes = 128 << 10
	bulkTime  = time.Second
	// writeChunk is the most that one stream puts on the link in one go, so that
	// others get their turn.
	writeChunk = 16 << 10
)

// Stream is one connection inside a link. Read and Write may be called at the
// same time, each by one goroutine.
type Stream struct {
	link *Link
	id   uint32
	ys   atomic.Pointer[yamux.Stream]

	unsent   atomic.Bool // the preface has not left yet
	prefixMu sync.Mutex
	prefix   []byte

	// What the peer sent and may send, in bytes since the stream began. recv and
	// read move together with the budgets under acct; granted only grows.
	acct                sync.Mutex
	settled             bool // the stream no longer counts in the budgets
	recv, read, granted counter
	finIn, rstIn, gone  atomic.Bool
	onReset             atomic.Pointer[func()]

	// Guarded by the link's smu.
	credit int64 // what the peer granted us
	finOut bool
	acked  bool

	sent counter

	// Used by the reader alone.
	window     int64
	sinceGrant int64
	loan       int64
	lastGrant  time.Time

	over   atomic.Bool // reset by this side
	reason atomic.Pointer[error]

	moved   counter // bytes since bulk was last looked at
	marked  counter // bytes since the last Rest
	bulkMu  sync.Mutex
	isBulk  bool
	movedAt time.Time
}

func newStream(l *Link, id uint32) *Stream {
	s := &Stream{link: l, id: id, window: firstWindow, credit: firstWindow}
	s.granted.Store(firstWindow)
	return s
}

// Read reads what the agent or server at the other end has written. io.EOF means that
// the other end has finished orderly, and nothing else.
func (s *Stream) Read(p []byte) (int, error) {
	if err := s.sendPrefix(nil); err != nil {
		return 0, err
	}
	ys := s.ys.Load()
	n, err := ys.Read(p)
	if n > 0 {
		s.took(n)
		s.moves(n)
	}
	if err != nil {
		return n, s.explain(err)
	}
	return n, nil
}

// Write writes all of p or returns an error.
func (s *Stream) Write(p []byte) (int, error) {
	if s.over.Load() {
		return 0, s.why(ErrReset)
	}
	if s.unsent.Load() {
		if len(p) <= writeChunk {
			return len(p), s.sendPrefix(p)
		}
		if err := s.sendPrefix(nil); err != nil {
			return 0, err
		}
	}
	total := 0
	for len(p) > 0 {
		n, err := s.write(p[:min(len(p), writeChunk)])
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

func (s *Stream) write(p []byte) (int, error) {
	s.link.writers.Add(1)
	n, err := s.ys.Load().Write(p)
	s.link.writers.Add(-1)
	s.sent.Add(int64(n))
	s.moves(n)
	if err != nil {
		return n, s.explain(err)
	}
	return n, nil
}

// sendPrefix sends the preface, if it has not left yet, and p behind it.
func (s *Stream) sendPrefix(p []byte) error {
	if p == nil && !s.unsent.Load() {
		return nil
	}
	s.prefixMu.Lock()
	defer s.prefixMu.Unlock()
	b := append(s.prefix, p...)
	s.prefix = nil
	s.unsent.Store(false)
	if len(b) == 0 {
		return nil
	}
	_, err := s.write(b)
	return err
}

// CloseWrite tells the peer that nothing more will be written.
func (s *Stream) CloseWrite() error {
	if err := s.sendPrefix(nil); err != nil {
		return err
	}
	return s.ys.Load().Close()
}

// Close ends the stream in both directions. When the peer has not finished, or
// not everything was read, the peer sees a reset.
func (s *Stream) Close() error {
	clean := s.finIn.Load() && s.recv.Load() == s.read.Load()
	if clean && !s.over.Load() {
		s.settle()
		return s.ys.Load().Close()
	}
	s.reset(net.ErrClosed)
	return nil
}

// Reset breaks the stream off: the peer sees an error, never a clean end.
func (s *Stream) Reset() { s.reset(ErrReset) }

func (s *Stream) reset(reason error) {
	if !s.over.CompareAndSwap(false, true) {
		return
	}
	s.reason.Store(&reason)
	s.settle()
	ys := s.ys.Load()
	l := s.link
	l.smu.Lock()
	finOut, live := s.finOut, l.streams[s.id] == s
	if live && finOut {
		// yamux's Close sends nothing any more: send the RST from here.
		l.bury(s)
	}
	l.smu.Unlock()
	if live && finOut {
		l.w.frame(typeWindow, flagRST, s.id, 0)
	}
	if ys != nil {
		_ = ys.SetDeadline(past)
		_ = ys.Close() // its FIN leaves as RST, see outgoing
	}
}

var past = time.Unix(1, 0)

// settle takes what the stream holds out of the budgets and counters.
func (s *Stream) settle() {
	s.setBulk(false)
	s.acct.Lock()
	defer s.acct.Unlock()
	if s.settled {
		return
	}
	s.settled = true
	s.link.free(s.recv.Load() - s.read.Load())
	s.link.loaned.Add(-s.loan)
	s.loan = 0
}

// OnReset has f called when the peer breaks the stream off, at most once and
// on the reading goroutine of the link: it must not block. The end of the link
// does not call it.
func (s *Stream) OnReset(f func()) {
	s.onReset.Store(&f)
	if s.rstIn.Load() {
		f()
	}
}

// explain turns yamux's errors into ours. yamux calls the end of the whole
// session an orderly end of the stream; that would make a cut answer look whole.
func (s *Stream) explain(err error) error {
	switch {
	case s.over.Load():
		return s.why(ErrReset)
	case errors.Is(err, yamux.ErrTimeout):
		return os.ErrDeadlineExceeded
	case errors.Is(err, io.EOF) && s.finIn.Load() && !s.rstIn.Load():
		return io.EOF
	case s.link.mux.IsClosed():
		return s.link.explain(err)
	case errors.Is(err, yamux.ErrConnectionReset), s.rstIn.Load(), errors.Is(err, io.EOF):
		return ErrReset
	}
	return err
}

func (s *Stream) why(fallback error) error {
	if r := s.reason.Load(); r != nil {
		return *r
	}
	return fallback
}

// Idle tells whether nothing is on its way from the peer: everything received
// was read, the peer has neither finished nor reset, and the credit it still
// holds is small enough to keep. Only then may the stream serve another exchange.
func (s *Stream) Idle() bool {
	if s.over.Load() || s.finIn.Load() || s.rstIn.Load() || s.gone.Load() {
		return false
	}
	read := s.read.Load()
	return s.recv.Load() == read && s.granted.Load()-read <= 2*firstWindow
}

// Rest frees what an idle stream does not need.
func (s *Stream) Rest() {
	s.setBulk(false)
	if n := s.marked.Swap(0); n > firstWindow {
		s.ys.Load().Shrink()
	}
}

// moves notices a stream that moves much.
func (s *Stream) moves(n int) {
	s.marked.Add(int64(n))
	if s.moved.Add(int64(n)) < bulkBytes {
		return
	}
	s.moved.Store(0)
	now := time.Now()
	s.bulkMu.Lock()
	bulk := now.Sub(s.movedAt) < bulkTime
	s.movedAt = now
	s.bulkMu.Unlock()
	s.setBulk(bulk)
}

func (s *Stream) setBulk(bulk bool) {
	s.bulkMu.Lock()
	if s.isBulk == bulk || bulk && s.over.Load() {
		s.bulkMu.Unlock()
		return
	}
	s.isBulk = bulk
	s.bulkMu.Unlock()
	if !bulk {
		s.link.bulk.Add(-1)
		return
	}
	s.link.bulk.Add(1)
	if f := s.link.opts.Bulk; f != nil {
		f(s.link)
	}
}

// SetDeadline, SetReadDeadline and SetWriteDeadline are those of net.Conn.
func (s *Stream) SetDeadline(t time.Time) error      { return s.ys.Load().SetDeadline(t) }
func (s *Stream) SetReadDeadline(t time.Time) error  { return s.ys.Load().SetReadDeadline(t) }
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.ys.Load().SetWriteDeadline(t) }

// LocalAddr and RemoteAddr are those of the link.
func (s *Stream) LocalAddr() net.Addr  { return s.link.ws.LocalAddr() }
func (s *Stream) RemoteAddr() net.Addr { return s.link.ws.RemoteAddr() }

// Link is the link that carries the stream.
func (s *Stream) Link() *Link { return s.link }
