package capture

import "encoding/binary"

// frameParser reads one direction of a WebSocket (RFC 6455) as it passes. At the
// first thing that is not as it should be it gives up for good: the bytes flow on.
type frameParser struct {
	from From
	t    *Tap

	off     bool
	head    [14]byte
	have    int    // bytes of head
	left    uint64 // of the payload
	masked  bool
	key     [4]byte
	pos     int // in the payload, for the key
	preview []byte
	f       Frame
	inside  bool // of a payload
}

func newFrameParser(from From, t *Tap) *frameParser { return &frameParser{from: from, t: t} }

func (w *frameParser) write(p []byte) {
	for len(p) > 0 && !w.off {
		if !w.inside {
			w.head[w.have] = p[0]
			w.have++
			p = p[1:]
			if w.have == w.want() {
				w.begin()
			}
			continue
		}
		n := int(min(uint64(len(p)), w.left))
		for _, c := range p[:min(n, framePreview-len(w.preview))] {
			if w.masked {
				c ^= w.key[w.pos&3]
			}
			w.pos++
			w.preview = append(w.preview, c)
		}
		w.left -= uint64(n)
		p = p[n:]
		if w.left == 0 {
			w.finish()
		}
	}
}

// want is how long the head is, as far as it is known.
func (w *frameParser) want() int {
	if w.have < 2 {
		return 2
	}
	n := 2
	switch w.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if w.head[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// kindOf names an opcode; "" is unknown.
func kindOf(opcode byte) string {
	switch opcode {
	case 0:
		return "continuation"
	case 1:
		return "text"
	case 2:
		return "binary"
	case 8:
		return "close"
	case 9:
		return "ping"
	case 10:
		return "pong"
	}
	return ""
}

// begin reads a whole head.
func (w *frameParser) begin() {
	b := w.head[:w.have]
	kind := kindOf(b[0] & 0x0f)
	size, rest := uint64(b[1]&0x7f), b[2:]
	switch size {
	case 126:
		size, rest = uint64(binary.BigEndian.Uint16(rest)), rest[2:]
	case 127:
		size, rest = binary.BigEndian.Uint64(rest), rest[8:]
	}
	w.masked = b[1]&0x80 != 0
	control := b[0]&0x08 != 0
	switch {
	case kind == "":
		w.giveUp("a frame with an unknown opcode")
		return
	case b[0]&0x30 != 0:
		w.giveUp("a frame of an unknown extension")
		return
	case size > 1<<62, control && (size > 125 || b[0]&0x80 == 0):
		w.giveUp("a frame with a wrong length")
		return
	case w.masked != (w.from == FromVisitor):
		w.giveUp("a frame that is masked as the other side's are")
		return
	}
	copy(w.key[:], rest)
	w.f = Frame{From: w.from, Kind: kind, Size: int64(size), Compressed: b[0]&0x40 != 0}
	w.have, w.left, w.pos, w.preview, w.inside = 0, size, 0, w.preview[:0], true
	if size == 0 {
		w.finish()
	}
}

func (w *frameParser) finish() {
	w.inside = false
	if !w.f.Compressed {
		w.f.show(w.preview)
	}
	w.t.frame(w.f)
}

func (w *frameParser) giveUp(why string) {
	w.off, w.preview = true, nil
	w.t.note("Messages from the " + string(w.from) + " are not listed any further: " + why + ".")
}
