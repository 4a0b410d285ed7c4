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
	// maxStray is how many frames a peer may send in strayPeriod that say nothing,
	// or are for streams that do not exist. An honest one sends a few of the
	// latter, when both ends close at once.
	maxStray    = 200
	strayPeriod = 10 * time.Second
	// tombstoneLife is how long frames for a stream that was reset are expected.
	tombstoneLife = 15 * time.Second
	// lateCredit is how many window updates may come for a stream that was reset:
	// as many as a whole window gives while they are smallest.
	lateCredit = maxWindow / (minWindow / 4)
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
	credit  int64 // bytes that may still arrive
	updates int   // window updates that have arrived
	at      time.Time
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

func (g *guard) stray(what string) error {
	now := time.Now()
	if now.Sub(g.straysAt) > strayPeriod {
		g.straysAt, g.strays = now, 0
	}
	if g.strays++; g.strays > maxStray {
		return violation("more than %d %s", maxStray, what)
	}
	return nil
}

// What strays are called.
const (
	unknown = "frames for unknown streams"
	empty   = "frames that say nothing"
)

// verdict is what becomes of an incoming frame.
type verdict struct {
	pass bool    // yamux gets the header
	data *Stream // gets the body; nil discards it
}

// incoming looks at a frame header from the peer before yamux does. An error
// ends the link.
func (l *Link) incoming(hdr []byte) (v verdict, err error) {
	typ, flags := hdr[1], binary.BigEndian.Uint16(hdr[2:])
	id, length := binary.BigEndian.Uint32(hdr[4:]), binary.BigEndian.Uint32(hdr[8:])
	if hdr[0] != 0 {
		return v, violation("frame version %d", hdr[0])
	}
	switch typ {
	case typeData, typeWindow:
	case typePing:
		// yamux would start a goroutine for each; answer from here.
		if err := l.guard.ping(); err != nil {
			return v, err
		}
		if flags&flagSYN != 0 {
			l.w.frame(typePing, flagACK, 0, length)
		}
		return v, nil
	case typeGoAway:
		v.pass = true
		return v, l.guard.stray(empty)
	default:
		return v, violation("frame type %d", typ)
	}
	if flags&^(flagSYN|flagACK|flagFIN|flagRST) != 0 {
		return v, violation("frame flags %#x", flags)
	}
	if flags == 0 && length == 0 {
		return v, l.guard.stray(empty)
	}
	if typ == typeData && length > maxWindow {
		return v, violation("a frame of %d bytes is more than any window", length)
	}

	l.smu.Lock()
	defer l.smu.Unlock()
	s := l.streams[id]
	if s == nil {
		return l.incomingStray(typ, flags, id, length)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case flags&flagSYN != 0:
		return v, violation("stream %d opened twice", id)
	case flags&flagACK != 0 && (s.acked || !l.server):
		return v, violation("stream %d acknowledged twice", id)
	case s.finIn && (flags&flagFIN != 0 || typ == typeData && length > 0):
		return v, violation("stream %d went on after its end", id)
	case typ == typeData && int64(length) > s.granted-s.recv:
		return v, violation("stream %d sent more than its window", id)
	case typ == typeWindow && s.credit-s.sent+int64(length) > 1<<31:
		return v, violation("stream %d was granted more than 2 GiB", id)
	}
	if flags&flagACK != 0 {
		s.acked = true
		l.leaveSlot(s)
	}
	v.pass = flags != 0
	if typ == typeData {
		s.recv += int64(length)
		if !s.settled {
			v.data = s
		}
	} else if length > 0 {
		s.credit += int64(length)
		s.canWr.Signal()
	}
	if flags&(flagFIN|flagRST) != 0 && (typ == typeWindow || length == 0) {
		l.ends(s, flags)
	}
	return v, nil
}

// ends notes that the peer has finished or broken off; smu and s.mu are held.
func (l *Link) ends(s *Stream, flags uint16) {
	if flags&flagFIN != 0 {
		s.finIn = true
		l.loaned.Add(-s.loan)
		s.loan = 0
	}
	if flags&flagRST != 0 {
		s.rstIn = true
		s.settle()
		s.tellReset()
	}
	s.wake()
	if s.rstIn || s.finIn && s.finOut {
		l.forget(s)
	}
}

// incomingStray handles frames for streams that are not there; smu is held.
func (l *Link) incomingStray(typ byte, flags uint16, id, length uint32) (v verdict, err error) {
	if flags&flagSYN != 0 {
		v.pass = true
		return v, l.openedByPeer(id, typ, flags, length)
	}
	t, known := l.dead[id]
	if !known {
		return v, l.guard.stray(unknown)
	}
	if typ == typeData {
		if t.credit -= int64(length); t.credit < 0 {
			return v, violation("stream %d sent more than its window", id)
		}
	} else if t.updates++; t.updates > lateCredit {
		return v, l.guard.stray(unknown)
	}
	l.dead[id] = t
	if flags&flagRST != 0 {
		delete(l.dead, id)
	}
	return v, nil
}

// openedByPeer admits a stream of the server; smu is held.
func (l *Link) openedByPeer(id uint32, typ byte, flags uint16, length uint32) error {
	switch {
	case l.server:
		return violation("an agent opened a stream")
	case id == 0 || id%2 != 0:
		return violation("stream id %d", id)
	case len(l.streams) >= maxStreams || l.unaccepted.Load() >= agentBacklog:
		return violation("too many streams")
	case typ != typeWindow || flags != flagSYN:
		return violation("stream %d did not begin with a window update", id)
	}
	s := newStream(l, id)
	s.credit += int64(length)
	l.streams[id] = s
	l.unaccepted.Add(1)
	return nil
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
		s.slot = true
		l.streams[id] = s
	}
	if typ == typeWindow && flags == 0 {
		return false // yamux's own credit: the carrier grants it
	}
	if s == nil {
		return false // the stream was reset: its late FIN or RST says nothing new
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if typ == typeWindow {
		var more int64
		if flags&(flagSYN|flagACK) != 0 && flags&(flagFIN|flagRST) == 0 {
			more = s.start()
		}
		binary.BigEndian.PutUint32(hdr[8:], uint32(more))
	}
	if flags&flagFIN != 0 {
		if s.over {
			flags = flags&^flagFIN | flagRST
			binary.BigEndian.PutUint16(hdr[2:], flags)
		} else {
			s.finOut = true
		}
	}
	if flags&flagRST != 0 {
		s.settle() // also when it is yamux that refuses the stream
		l.bury(s)
	}
	if s.finOut && s.finIn {
		l.forget(s)
	}
	return true
}

// forget drops a stream that both ends have finished; smu is held.
func (l *Link) forget(s *Stream) {
	if l.streams[s.id] == s {
		delete(l.streams, s.id)
		l.leaveSlot(s)
	}
}

// bury drops a stream that this side has reset and remembers what may still
// arrive for it; smu is held. recv and granted do not move any more: the
// stream is over, and only its own link's reader, which waits for smu, counts them.
func (l *Link) bury(s *Stream) {
	if l.streams[s.id] != s {
		return
	}
	delete(l.streams, s.id)
	now := time.Now()
	if l.dead == nil {
		l.dead = map[uint32]tombstone{}
	}
	if len(l.dead) >= 256 && now.Sub(l.swept) > time.Second {
		l.swept = now
		for id, t := range l.dead {
			if now.Sub(t.at) > tombstoneLife {
				delete(l.dead, id)
			}
		}
	}
	l.dead[s.id] = tombstone{credit: s.granted - s.recv, at: now}
	l.resets = append(l.resets, s)
}

// nextReset returns a stream that yamux still has to be told is over.
func (l *Link) nextReset() (uint32, bool) {
	l.relieveIfFull()
	l.smu.Lock()
	defer l.smu.Unlock()
	if n := len(l.resets); n > 0 {
		s := l.resets[n-1]
		l.resets[n-1] = nil
		l.resets = l.resets[:n-1]
		l.leaveSlot(s)
		return s.id, true
	}
	return 0, false
}
