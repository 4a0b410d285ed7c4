package dns

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"testing"

	miekg "github.com/miekg/dns"
)

// FuzzAnswer holds for every packet whatever: no panic; no reply to a reply; a
// reply that can be read, with the id and the question that came; over UDP not
// above the limit and at most maxFactor times as long, unless it says "come by
// TCP" and has no records.
func FuzzAnswer(f *testing.F) {
	s, err := New(Options{
		Zone: "r.test", NS: "ns.r.test", CAA: []string{"letsencrypt.org"},
		Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
	})
	if err != nil {
		f.Fatal(err)
	}
	for i := range maxValues {
		if err := s.Present(context.Background(), "_acme-challenge.r.test.", fmt.Sprintf("%0255d", i)); err != nil {
			f.Fatal(err)
		}
	}
	for _, name := range []string{"r.test.", "A.r.TEST.", "_acme-challenge.r.test.", "_x.r.test.", "example.com.", ".", `a\.b\000.r.test.`} {
		for _, qtype := range []uint16{miekg.TypeA, miekg.TypeAAAA, miekg.TypeTXT, miekg.TypeNS, miekg.TypeSOA, miekg.TypeCAA, miekg.TypeANY, miekg.TypeAXFR} {
			q := new(miekg.Msg).SetQuestion(name, qtype)
			b, _ := q.Pack()
			f.Add(b)
			q.SetEdns0(4096, true)
			b, _ = q.Pack()
			f.Add(b)
		}
	}
	f.Add([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1})
	f.Add([]byte{0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, query []byte) {
		for _, how := range []manner{whole, short, blank} {
			checkReply(t, query, s.answer(query, how), how)
		}
	})
}

func checkReply(t *testing.T, query, reply []byte, how manner) {
	if len(query) < headerSize || query[2]&0x80 != 0 {
		if reply != nil {
			t.Fatalf("a reply to no query: %x", reply)
		}
		return
	}
	r := new(miekg.Msg)
	if err := r.Unpack(reply); err != nil {
		t.Fatalf("%x cannot be read: %v", reply, err)
	}
	if !bytes.Equal(reply[:2], query[:2]) || !r.Response || r.RecursionAvailable {
		t.Fatalf("header of the reply: %s", r.MsgHdr.String())
	}
	if len(r.Question) == 1 {
		// The name and four bytes more, as they came.
		end := headerSize
		for reply[end] != 0 {
			end += 1 + int(reply[end])
		}
		if end += 5; len(query) < end || !bytes.Equal(query[headerSize:end], reply[headerSize:end]) {
			t.Fatalf("the question %x comes back as %x", query, reply)
		}
	}
	records := len(r.Answer) + len(r.Ns)
	if how == blank && records > 0 || r.Truncated && records > 0 {
		t.Fatalf("a blank reply has records: %s", r)
	}
	if how == whole {
		if r.Truncated {
			t.Fatalf("cut over TCP: %s", r)
		}
		return
	}
	// An OPT record is 11 bytes, and a query that has one paid for it.
	if limit := min(maxUDP, maxFactor*len(query)); len(reply) > limit && !r.Truncated {
		t.Fatalf("%d bytes answer %d: %s", len(reply), len(query), r)
	}
	if r.Truncated && len(reply) > len(query) {
		t.Fatalf("a blank reply of %d bytes answers %d: %s", len(reply), len(query), r)
	}
}
