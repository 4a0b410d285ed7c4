package protocol

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
)

// Preface begins every stream; the server writes it, the agent reads it.
//
//	byte  0      version, 1
//	byte  1      n, the number of bytes that follow byte 1
//	bytes 2-5    tunnel id, big endian
//	byte  6      length of the visitor's address: 0, 4 or 16
//	...          the visitor's address, network order
//	2 bytes      the visitor's port, big endian; only with an address
//	...          up to n: fields of later versions, to be skipped
type Preface struct {
	// Tunnel is the ID of the Bind.
	Tunnel uint32
	// Visitor is the address of the visitor for whom the stream was opened. It
	// is not set for HTTP tunnels, whose streams serve one visitor after another.
	Visitor netip.AddrPort
}

const prefaceVersion = 1

// Append adds the preface in wire form to b.
func (p Preface) Append(b []byte) []byte {
	start := len(b)
	b = append(b, prefaceVersion, 0)
	b = binary.BigEndian.AppendUint32(b, p.Tunnel)
	if !p.Visitor.IsValid() {
		b = append(b, 0)
	} else {
		a := p.Visitor.Addr().Unmap().AsSlice()
		b = append(b, byte(len(a)))
		b = append(b, a...)
		b = binary.BigEndian.AppendUint16(b, p.Visitor.Port())
	}
	b[start+1] = byte(len(b) - start - 2)
	return b
}

// ReadPreface reads a preface from the start of a stream, and not a byte more.
func ReadPreface(r io.Reader) (Preface, error) {
	var p Preface
	var buf [2 + 255]byte
	if _, err := io.ReadFull(r, buf[:2]); err != nil {
		return p, fmt.Errorf("read preface: %w", err)
	}
	if buf[0] != prefaceVersion {
		return p, fmt.Errorf("preface version %d, %d is known", buf[0], prefaceVersion)
	}
	b := buf[2 : 2+int(buf[1])]
	if _, err := io.ReadFull(r, b); err != nil {
		return p, fmt.Errorf("read preface: %w", err)
	}
	if len(b) < 5 {
		return p, fmt.Errorf("preface of %d bytes is too short", len(b))
	}
	p.Tunnel = binary.BigEndian.Uint32(b)
	n := int(b[4])
	if n == 0 {
		return p, nil
	}
	if n != 4 && n != 16 || len(b) < 5+n+2 {
		return p, fmt.Errorf("preface with an address of %d bytes", n)
	}
	addr, _ := netip.AddrFromSlice(b[5 : 5+n])
	p.Visitor = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[5+n:]))
	return p, nil
}
