package link

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/relaytunnel/relay/protocol"
)

// model is what the server must make of the frames an agent has sent.
type model struct {
	streams map[uint32]*modelStream
	broken  bool // a rule was broken: the link ends
}

type modelStream struct {
	s      *Stream
	acked  bool
	finIn  bool
	finOut bool
	rstIn  bool
	reset  bool // by the server
	room   int  // what the agent may still send
	sent   []byte
}

// over tells whether the server has forgotten the stream.
func (m *modelStream) over() bool { return m.rstIn || m.finIn && m.finOut }

// frame says what the frame means, before it is sent.
func (m *model) frame(typ byte, flags uint16, id, length uint32, body []byte) {
	if m.broken {
		return
	}
	switch typ {
	case typePing, typeGoAway:
		return
	case typeData, typeWindow:
	default:
		m.broken = true
		return
	}
	if flags&^15 != 0 || typ == typeData && length > maxWindow {
		m.broken = true
		return
	}
	if flags == 0 && length == 0 {
		return
	}
	s := m.streams[id]
	if s == nil || s.over() || s.reset {
		m.broken = flags&flagSYN != 0
		if s != nil && s.reset && !s.over() && typ == typeData {
			s.room -= int(length)
			m.broken = m.broken || s.room < 0
			if flags&flagRST != 0 {
				s.rstIn = true
			}
		}
		return
	}
	switch {
	case flags&flagSYN != 0,
		flags&flagACK != 0 && s.acked,
		s.finIn && (flags&flagFIN != 0 || typ == typeData && length > 0),
		typ == typeData && int(length) > s.room:
		m.broken = true
		return
	}
	s.acked = s.acked || flags&flagACK != 0
	if typ == typeData {
		s.room -= int(length)
		s.sent = append(s.sent, body...)
	}
	s.finIn = s.finIn || flags&flagFIN != 0
	s.rstIn = s.rstIn || flags&flagRST != 0
}

// FuzzFrames: an agent sends any frames, between which the server opens, reads,
// ends and resets streams. The link ends when a rule is broken, goes on when none
// is, and what the streams carry is what was sent.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 2, 0, 1, 2, 0, 0, 1, 0, 0, 9})                // open, accept, data
	f.Add([]byte{0, 0, 1, 0, 4, 0, 1, 0, 0, 5, 4, 0, 2, 0, 0, 1})    // finish, half-close, data after the end
	f.Add([]byte{0, 0, 5, 0, 1, 0, 0, 200, 1, 0, 8, 0, 3, 0, 7, 1})  // reset, late data
	f.Add([]byte{6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0, 0}) // noise
	f.Add([]byte{0, 0, 0, 1, 0, 0, 255, 3, 0, 2, 0, 0, 3, 1, 0, 5, 0, 7, 0, 0, 6, 0})
	barrier := make(chan struct{}, 1)
	h := listen(f, Options{Control: func(_ *Link, m protocol.Message) {
		if m.Drain != nil {
			barrier <- struct{}{}
		}
	}})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 300 {
			return
		}
		select {
		case <-barrier:
		default:
		}
		server, ws := h.raw(t)
		defer func() { _ = server.Close() }()
		heard := make(chan struct{})
		go func() { defer close(heard); drain(ws); _ = ws.Close() }()
		defer func() { _ = ws.Close(); <-heard }()
		m := &model{streams: map[uint32]*modelStream{}}
		var ids []uint32
		alive := true
		// sync waits until the server has seen all that was sent.
		sync := func() {
			if !alive {
				return
			}
			if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"drain":{}}`)); err == nil {
				select {
				case <-barrier:
					if !m.broken {
						return
					}
				case <-server.Done():
				case <-time.After(patience):
					t.Fatalf("%x: the link hangs", in)
				}
			}
			select {
			case <-server.Done():
			case <-time.After(patience):
				t.Fatalf("%x: a rule is broken and the link lives", in)
			}
			alive = false
			if !m.broken {
				t.Fatalf("%x: the link ended without reason: %v", in, server.Err())
			}
			var e *protocol.Error
			if err := server.Err(); !errors.As(err, &e) || e.Code != protocol.CodeProtocol {
				t.Fatalf("%x: the link ended: %v", in, err)
			}
		}
		next := func() byte {
			if len(in) == 0 {
				return 0
			}
			b := in[0]
			in = in[1:]
			return b
		}
		pick := func() uint32 {
			n := int(next())
			if n < 200 && len(ids) > 0 {
				return ids[n%len(ids)]
			}
			return uint32(n) // some even, some odd, mostly unknown
		}
		whole := in
		defer func() { in = whole }()
		for steps := 0; len(in) > 0 && alive && steps < 60; steps++ {
			switch next() % 8 {
			case 0: // the server opens a stream
				sync()
				if !alive || len(ids) > 20 {
					break
				}
				s, err := server.Open(t.Context(), protocol.Preface{Tunnel: 1})
				if err != nil {
					if strings.Contains(err.Error(), "going away") || strings.Contains(err.Error(), "remote end is not accepting") {
						break // the agent said so
					}
					t.Fatal(err)
				}
				if _, err := s.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				s.mu.Lock()
				m.streams[s.id] = &modelStream{s: s, room: int(s.granted)}
				s.mu.Unlock()
				ids = append(ids, s.id)
			case 1, 2: // data
				id, flags, n := pick(), uint16(next()%16), int(next())*20
				body := make([]byte, n)
				_, _ = (&patterned{at: uint64(steps)}).Read(body)
				m.frame(typeData, flags, id, uint32(n), body)
				_ = ws.WriteMessage(websocket.BinaryMessage, frame(typeData, flags, id, uint32(n), body...))
			case 3: // credit
				id, flags, n := pick(), uint16(next()%16), uint32(next())
				m.frame(typeWindow, flags, id, n, nil)
				_ = ws.WriteMessage(websocket.BinaryMessage, frame(typeWindow, flags, id, n))
			case 4: // the server finishes
				if s := m.streams[pick()]; s != nil {
					if sync(); alive {
						_ = s.s.CloseWrite()
						s.finOut = s.finOut || !s.rstIn && !s.reset
					}
				}
			case 5: // the server gives up
				if s := m.streams[pick()]; s != nil {
					if sync(); alive && !s.over() {
						s.s.Reset()
						s.reset = true
					}
				}
			case 6: // any header, and sometimes in two messages
				var hdr [headerSize]byte
				for i := range hdr {
					hdr[i] = next()
				}
				length := uint32(hdr[8])<<24 | uint32(hdr[9])<<16 | uint32(hdr[10])<<8 | uint32(hdr[11])
				if hdr[1] == typeData && length > 1000 && length <= maxWindow {
					break // its body would be the rest of the test
				}
				var body []byte
				if hdr[1] == typeData && length <= 1000 {
					body = make([]byte, length)
				}
				if hdr[1] == typeGoAway && length > 0 {
					break // an end that is no breach
				}
				if hdr[0] != 0 {
					m.broken = true
				}
				m.frame(hdr[1], uint16(hdr[2])<<8|uint16(hdr[3]), uint32(hdr[4])<<24|uint32(hdr[5])<<16|uint32(hdr[6])<<8|uint32(hdr[7]), length, body)
				all := append(hdr[:], body...)
				cut := int(next()) % len(all)
				_ = ws.WriteMessage(websocket.BinaryMessage, all[:cut])
				_ = ws.WriteMessage(websocket.BinaryMessage, all[cut:])
			case 7: // ping
				_ = ws.WriteMessage(websocket.BinaryMessage, frame(typePing, uint16(next()), 0, uint32(next())))
			}
		}
		if sync(); !alive {
			return
		}
		for id, s := range m.streams {
			if s.rstIn || s.reset {
				if _, err := s.s.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
					t.Fatalf("%x: stream %d was reset and reads %v", whole, id, err)
				}
				continue
			}
			got := make([]byte, len(s.sent))
			if err := readFull(s.s, got); err != nil || !bytes.Equal(got, s.sent) {
				t.Fatalf("%x: stream %d: other bytes than were sent, %v", whole, id, err)
			}
			if s.finIn {
				if _, err := s.s.Read(make([]byte, 1)); err != io.EOF {
					t.Fatalf("%x: stream %d has ended and reads %v", whole, id, err)
				}
			}
			_ = s.s.Close()
		}
		if n := server.Buffered(); n != 0 {
			t.Fatalf("%x: %d bytes are counted, and nobody holds them", whole, n)
		}
	})
}
