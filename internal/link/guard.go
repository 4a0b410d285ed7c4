package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/protocol"
)

const (
	// maxPingRate and maxMessageRate are per second; an honest peer sends one
	// ping in five seconds.
	maxPingRate    = 50
	maxMessageRate = 200
	// maxStray is how many frames for streams that do not exist a peer may send
	// in strayPeriod. An honest one sends a few, when both ends close at once.
	maxStray    = 200
	strayPeriod = 10 * time.Second
	// tombstoneLife is how long frames for a stream that was reset are expected.
	tombstoneLife = 15 * time.Second
	// maxStreams bounds the streams of one link.
	maxStreams = 10_000
)

var errSlow = errors.New("reset: the reader was too slow and the memory budget is used up")

// violation is a breach of the rules by the peer; it ends the link.
func violation(format string, args ...any) error {
	return &protocol.Error{Code: protocol.CodeProtocol, Message: fmt.Sprintf("the peer broke the protocol: "+format, args...)}
}

// tombstone remembers a stream that this side has reset.
type tombstone struct {
	credit int64 // bytes that may still arrive
	at     time.Time
}

// guard counts what a hostile peer could send without end. Only the reading
// goroutine uses it.
type guard struct {
	second   int64 // the second that pings and messages are counted in
	pings    int
	messages int
	strays   int
	straysAt time.Time
}

func (g *guard) tick() {
	if s := time.Now().Unix(); s != g.second {
		g.second, g.pings, g.messages = s, 0, 0
	}
}

func (g *guard) ping() error {
	g.tick()
	if g.pings++; g.pings > maxPingRate {
		return violation("more than %d pings in a second", maxPingRate)
	}
	return nil
}

func (g *guard) message() error {
	g.tick()
	if g.messages++; g.messages > maxMessageRate {
		return violation("more than %d control messages in a second", maxMessageRate)
	}
	return nil
}

func (g *guard) stray() error {
	now := time.Now()
	if now.Sub(g.straysAt) > strayPeriod {
		g.straysAt, g.strays = now, 0
	}
	if g.strays++; g.strays > maxStray {
		return violation("more than %d frames for unknown streams", maxStray)
	}
	return nil
}

// incoming looks at a frame header from the peer before yamux does, and may
// change it. pass is false when yamux must not see the frame; an error ends the
// link.
func (l *Link) incoming(hdr []byte) (pass bool, err error) {
	typ, flags := hdr[1], binary.BigEndian.Uint16(hdr[2:])
	id, length := binary.BigEndian.Uint32(hdr[4:]), binary.BigEndian.Uint32(hdr[8:])
	if hdr[0] != 0 {
		return false, violation("frame version %d", hdr[0])
	}
	switch typ {
	case typeData, typeWindow:
	case typePing:
		// yamux would start a goroutine for each; answer from here.
		if err := l.guard.ping(); err != nil {
			return false, err
		}
		if flags&flagSYN != 0 {
			l.w.frame(typePing, flagACK, 0, length)
		}
		return false, nil
	case typeGoAway:
		return true, nil
	default:
		return false, violation("frame type %d", typ)
	}
	if flags&^(flagSYN|flagACK|flagFIN|flagRST) != 0 {
		return false, violation("frame flags %#x", flags)
	}

	l.smu.Lock()
	s := l.streams[id]
	if s == nil && flags&flagSYN != 0 {
		defer l.smu.Unlock()
		return true, l.openedByPeer(id, typ, flags, length)
	}
	if s == nil {
		t, known := l.dead[id]
		if known {
			if typ == typeData {
				t.credit -= int64(length)
				l.dead[id] = t
			}
			if flags&(flagFIN|flagRST) != 0 {
				delete(l.dead, id)
			}
		}
		l.smu.Unlock()
		if !known {
			return false, l.guard.stray()
		}
		if t.credit < 0 {
			return false, violation("stream %d sent more than its window", id)
		}
		return false, nil
	}
	defer l.smu.Unlock()
	if flags&flagSYN != 0 {
		return false, violation("stream %d opened twice", id)
	}
	if flags&flagACK != 0 {
		if s.acked || !l.server {
			return false, violation("stream %d acknowledged twice", id)
		}
		s.acked = true
	}
	if s.finIn.Load() && (flags&flagFIN != 0 || typ == typeData && length > 0) {
		return false, violation("stream %d went on after its end", id)
	}
	pass = true
	if typ == typeData && length > 0 {
		if pass, err = s.receives(int64(length)); err != nil {
			return false, err
		}
	}
	if typ == typeWindow && length > 0 {
		// yamux adds credit without looking for an overflow.
		if s.credit += int64(length); s.credit-s.sent.Load() > 1<<31 {
			return false, violation("stream %d was granted more than 2 GiB", id)
		}
	}
	if flags&flagFIN != 0 {
		s.finIn.Store(true)
	}
	if flags&flagRST != 0 {
		s.rstIn.Store(true)
		if f := s.onReset.Load(); f != nil {
			(*f)()
		}
	}
	if flags&flagRST != 0 || s.finIn.Load() && s.finOut {
		l.forget(s)
	}
	return pass, nil
}

// openedByPeer admits a stream of the server; smu is held.
func (l *Link) openedByPeer(id uint32, typ byte, flags uint16, length uint32) error {
	switch {
	case l.server:
		return violation("an agent opened a stream")
	case id == 0 || id%2 != 0:
		return violation("stream id %d", id)
	case len(l.streams) >= maxStreams:
		return violation("more than %d streams", maxStreams)
	case typ != typeWindow || flags != flagSYN:
		return violation("stream %d did not begin with a window update", id)
	}
	s := newStream(l, id)
	s.credit += int64(length)
	l.streams[id] = s
	return nil
}

// receives counts n bytes that arrive for s. pass is false when nobody will
// read them.
func (s *Stream) receives(n int64) (pass bool, err error) {
	l := s.link
	s.acct.Lock()
	defer s.acct.Unlock()
	if s.recv.Add(n) > s.granted.Load() {
		return false, violation("stream %d sent more than its window", s.id)
	}
	if s.settled {
		return false, nil
	}
	if l.buffered.Add(n) > MaxBuffered {
		l.tooMuch.Store(true)
	}
	if b := l.opts.Budget; b != nil && b.used.Add(n) > b.max {
		b.full.Store(true)
	}
	return true, nil
}

// outgoing looks at a frame header of yamux before it leaves, and may change
// it. It returns false for a frame that must not leave.
func (l *Link) outgoing(hdr []byte) bool {
	typ, flags := hdr[1], binary.BigEndian.Uint16(hdr[2:])
	if typ != typeData && typ != typeWindow {
		return true
	}
	if typ == typeData && flags == 0 {
		return true
	}
	id := binary.BigEndian.Uint32(hdr[4:])
	l.smu.Lock()
	defer l.smu.Unlock()
	s := l.streams[id]
	if s == nil && flags&flagSYN != 0 {
		s = newStream(l, id)
		l.streams[id] = s
	}
	if typ == typeWindow {
		// yamux's own credit stays in reserve: the carrier grants it.
		binary.BigEndian.PutUint32(hdr[8:], 0)
		if flags == 0 {
			return false
		}
	}
	if s == nil {
		return false // the stream was reset: its late FIN or RST says nothing new
	}
	if flags&flagFIN != 0 {
		if s.over.Load() {
			flags = flags&^flagFIN | flagRST
			binary.BigEndian.PutUint16(hdr[2:], flags)
		} else {
			s.finOut = true
		}
	}
	if flags&flagRST != 0 {
		l.bury(s)
	}
	if s.finOut && s.finIn.Load() {
		l.forget(s)
	}
	return true
}

// forget drops a stream that both ends have finished; smu is held.
func (l *Link) forget(s *Stream) {
	if l.streams[s.id] != s {
		return
	}
	delete(l.streams, s.id)
	s.gone.Store(true)
}

// bury drops a stream that this side has reset and remembers what may still
// arrive for it; smu is held.
func (l *Link) bury(s *Stream) {
	if l.streams[s.id] != s {
		return
	}
	l.forget(s)
	now := time.Now()
	if l.dead == nil {
		l.dead = map[uint32]tombstone{}
	}
	if len(l.dead) >= 256 {
		for id, t := range l.dead {
			if now.Sub(t.at) > tombstoneLife {
				delete(l.dead, id)
			}
		}
	}
	l.dead[s.id] = tombstone{credit: s.granted.Load() - s.recv.Load(), at: now}
	l.resets = append(l.resets, s.id)
}

// nextReset returns a stream that yamux still has to be told is over.
func (l *Link) nextReset() (uint32, bool) {
	if l.tooMuch.CompareAndSwap(true, false) && l.buffered.Load() > MaxBuffered {
		l.relieve()
	}
	if b := l.opts.Budget; b != nil && b.full.CompareAndSwap(true, false) && b.used.Load() > b.max {
		b.relieve()
	}
	l.smu.Lock()
	defer l.smu.Unlock()
	if n := len(l.resets); n > 0 {
		id := l.resets[n-1]
		l.resets = l.resets[:n-1]
		return id, true
	}
	return 0, false
}
