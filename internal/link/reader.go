package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gorilla/websocket"

	"github.com/relaytunnel/relay/protocol"
)

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

func (l *Link) onPong(mark string) error {
	l.lastRead.Store(time.Now().UnixMilli())
	if err := l.guard.ping(); err != nil {
		return l.blame(err)
	}
	l.echoed(mark)
	return nil
}
