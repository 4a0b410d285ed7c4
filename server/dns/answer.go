package dns

import (
	"encoding/binary"

	miekg "github.com/miekg/dns"
)

const (
	headerSize = 12

	// maxUDP is what passes everywhere without being cut into fragments
	// (DNS flag day 2020); minUDP is what is allowed without EDNS.
	maxUDP = 1232
	minUDP = 512

	// maxFactor is how many times longer than its question an answer over UDP
	// may be. Whoever pretends to be somebody else gains no more than that.
	// Every answer but many challenges at once stays below it.
	maxFactor = 8
)

// A manner is how much an answer may say.
type manner int

const (
	whole manner = iota // over TCP: all of it
	short               // over UDP: within the limits of a packet, else "come by TCP"
	blank               // over UDP: "come by TCP" and no more
)

// answer returns the reply to a message, or nil when it deserves none: it is too
// short to be one, or is itself a reply. Two servers that answered each other's
// replies would never end.
func (s *Server) answer(query []byte, how manner) []byte {
	if len(query) < headerSize || query[2]&0x80 != 0 {
		return nil
	}
	if opcode := query[2] >> 3 & 0xf; opcode != miekg.OpcodeQuery {
		return bare(query, miekg.RcodeNotImplemented)
	}
	q, ok := parse(query)
	if !ok {
		return bare(query, miekg.RcodeFormatError)
	}
	r := new(miekg.Msg)
	r.SetReply(q)
	r.Compress = true
	room := miekg.MaxMsgSize
	if how != whole {
		room = minUDP
	}
	if opt := q.IsEdns0(); opt != nil {
		if how != whole {
			room = min(max(int(opt.UDPSize()), minUDP), maxUDP)
		}
		r.SetEdns0(maxUDP, opt.Do())
		if opt.Version() != 0 {
			r.Rcode = miekg.RcodeBadVers
		}
	}
	switch {
	case r.Rcode != miekg.RcodeSuccess:
	case how == blank:
		r.Truncated = true
	default:
		s.fill(r)
		// The OPT record was first in; by custom it is the last.
		if n := len(r.Extra); n > 1 && r.Extra[0].Header().Rrtype == miekg.TypeOPT {
			r.Extra = append(r.Extra[1:n:n], r.Extra[0])
		}
	}
	if how != whole {
		room = min(room, maxFactor*len(query))
	}
	return pack(r, room)
}

// parse reads a query, or tells that it is none: it has exactly one question,
// written out, and not more records than a query has.
func parse(query []byte) (*miekg.Msg, bool) {
	count := func(i int) int { return int(binary.BigEndian.Uint16(query[4+2*i:])) }
	// An IXFR has one record in its third part; EDNS and TSIG are in the fourth.
	if count(0) != 1 || count(1) != 0 || count(2) > 1 || count(3) > 2 || !plainQuestion(query[headerSize:]) {
		return nil, false
	}
	q := new(miekg.Msg)
	if err := q.Unpack(query); err != nil {
		return nil, false
	}
	if len(q.Question) != 1 || len(q.Ns) != count(2) || len(q.Extra) != count(3) {
		return nil, false
	}
	opts := 0
	for _, rr := range q.Extra {
		if rr.Header().Rrtype != miekg.TypeOPT {
			continue
		}
		if opts++; opts > 1 || rr.Header().Name != "." {
			return nil, false
		}
	}
	return q, true
}

// plainQuestion tells whether a whole question stands here, its name without
// compression. One that points elsewhere is a trick: it would make a long reply
// to a short query.
func plainQuestion(b []byte) bool {
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 {
			return len(b) >= 1+4 // type and class
		}
		if n > 63 || n >= len(b) {
			return false
		}
		b = b[1+n:]
	}
	return false
}

// pack writes the reply into at most room bytes. Additional records are left out
// first, since nobody needs them; when it is still too long, all goes but the
// question, and the reply says so: half of a set of records would be a lie.
func pack(r *miekg.Msg, room int) []byte {
	b, err := r.Pack()
	if err == nil && len(b) <= room {
		return b
	}
	opt := r.IsEdns0()
	r.Extra = nil
	if opt != nil {
		r.Extra = []miekg.RR{opt}
	}
	if b, err = r.Pack(); err == nil && len(b) <= room {
		return b
	}
	r.Answer, r.Ns, r.Truncated = nil, nil, true
	if b, err = r.Pack(); err != nil {
		return nil
	}
	return b
}

// bare is a reply of a header alone, to what cannot be understood.
func bare(query []byte, rcode byte) []byte {
	r := make([]byte, headerSize)
	copy(r, query[:2])           // the id
	r[2] = query[2]&0x79 | 0x80  // a reply with the same opcode and "recursion desired"
	r[3] = query[3]&0x10 | rcode // and the same "checking disabled"
	return r
}
