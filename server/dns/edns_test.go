package dns_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// exchange sends bytes over UDP and returns what comes back, or nothing when the
// answer to a good question sent after it comes first.
func exchange(t *testing.T, addr string, query []byte) []byte {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(query); err != nil {
		t.Fatal(err)
	}
	// One reader may overtake another, so the good question goes only when the
	// first has had its turn or there is nothing to come.
	buf := make([]byte, 65535)
	good := question("relay.test.", miekg.TypeA)
	good.Id = 0xfeed
	for try := 0; ; try++ {
		b, _ := good.Pack()
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := conn.Read(buf)
		if err == nil {
			if n >= 2 && buf[0] == 0xfe && buf[1] == 0xed {
				return nil
			}
			return buf[:n]
		}
		if try == 20 {
			t.Fatal("the server answers nothing at all")
		}
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

func packed(t *testing.T, m *miekg.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEDNS(t *testing.T) {
	_, addr := start(t, options())
	for _, tt := range []struct {
		what   string
		change func(*miekg.Msg)
		want   string // rcode, OPT or none, version, DO, options
	}{
		{"without", func(*miekg.Msg) {}, "NOERROR none"},
		{"plain", func(m *miekg.Msg) { m.SetEdns0(4096, false) }, "NOERROR 1232 v0 do=false []"},
		{"wants DNSSEC", func(m *miekg.Msg) { m.SetEdns0(4096, true) }, "NOERROR 1232 v0 do=true []"},
		{"tiny buffer", func(m *miekg.Msg) { m.SetEdns0(0, false) }, "NOERROR 1232 v0 do=false []"},
		{"options that we do not know", func(m *miekg.Msg) {
			m.SetEdns0(4096, false)
			m.IsEdns0().Option = []miekg.EDNS0{
				&miekg.EDNS0_NSID{Code: miekg.EDNS0NSID},
				&miekg.EDNS0_COOKIE{Code: miekg.EDNS0COOKIE, Cookie: "0011223344556677"},
				&miekg.EDNS0_LOCAL{Code: 65001, Data: []byte("x")},
			}
		}, "NOERROR 1232 v0 do=false []"},
		{"flags that we do not know", func(m *miekg.Msg) {
			m.SetEdns0(4096, false)
			m.IsEdns0().SetZ(0x1234)
		}, "NOERROR 1232 v0 do=false []"},
		{"a later version", func(m *miekg.Msg) {
			m.SetEdns0(4096, true)
			m.IsEdns0().SetVersion(1)
		}, "BADVERS 1232 v0 do=true []"},
	} {
		q := question("relay.test.", miekg.TypeAAAA)
		tt.change(q)
		r := ask(t, "udp", addr, q)
		got := miekg.RcodeToString[r.Rcode] + " none"
		if opt := r.IsEdns0(); opt != nil {
			got = fmt.Sprintf("%s %d v%d do=%v %v", miekg.RcodeToString[r.Rcode], opt.UDPSize(), opt.Version(), opt.Do(), opt.Option)
			if opt.Z() != 0 {
				t.Errorf("%s: flags %x come back", tt.what, opt.Z())
			}
		}
		got = strings.Replace(got, "BADSIG", "BADVERS", 1) // the same number, used for both
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
}

// What is no plain question gets a header and no more, or nothing.
func TestMessagesThatAreNoQuestions(t *testing.T) {
	_, addr := start(t, options())
	good := func() *miekg.Msg {
		m := question("relay.test.", miekg.TypeA)
		m.Id = 0x1234
		return m
	}
	with := func(change func(*miekg.Msg)) []byte {
		m := good()
		change(m)
		return packed(t, m)
	}
	edit := func(change func(b []byte) []byte) []byte { return change(packed(t, good())) }
	for _, tt := range []struct {
		what  string
		query []byte
		want  string // rcode; empty: nothing comes
	}{
		{"a reply", with(func(m *miekg.Msg) { m.Response = true }), ""},
		{"a reply with another opcode", with(func(m *miekg.Msg) { m.Response, m.Opcode = true, miekg.OpcodeNotify }), ""},
		{"nothing", []byte{}, ""},
		{"half a header", edit(func(b []byte) []byte { return b[:11] }), ""},
		{"NOTIFY", with(func(m *miekg.Msg) { m.Opcode = miekg.OpcodeNotify }), "NOTIMP"},
		{"UPDATE", with(func(m *miekg.Msg) { m.Opcode = miekg.OpcodeUpdate }), "NOTIMP"},
		{"STATUS", with(func(m *miekg.Msg) { m.Opcode = miekg.OpcodeStatus }), "NOTIMP"},
		{"an opcode that is none", with(func(m *miekg.Msg) { m.Opcode = 15 }), "NOTIMP"},
		{"no question", with(func(m *miekg.Msg) { m.Question = nil }), "FORMERR"},
		{"two questions", with(func(m *miekg.Msg) { m.Question = append(m.Question, m.Question[0]) }), "FORMERR"},
		{"a question that breaks off", edit(func(b []byte) []byte { return b[:len(b)-1] }), "FORMERR"},
		{"a question without its class", edit(func(b []byte) []byte { return b[:len(b)-2] }), "FORMERR"},
		{"a header alone", edit(func(b []byte) []byte { return b[:12] }), "FORMERR"},
		{"an answer in it", with(func(m *miekg.Msg) {
			m.Answer = []miekg.RR{&miekg.A{Hdr: miekg.RR_Header{Name: ".", Rrtype: miekg.TypeA}}}
		}), "FORMERR"},
		{"more records announced than there are", edit(func(b []byte) []byte { b[11] = 1; return b }), "FORMERR"},
		{"two OPT records", with(func(m *miekg.Msg) { m.SetEdns0(512, false); m.Extra = append(m.Extra, m.Extra[0]) }), "FORMERR"},
		{"an OPT record of a name", with(func(m *miekg.Msg) { m.SetEdns0(512, false); m.IsEdns0().Hdr.Name = "a." }), "FORMERR"},
		{"a name that points to itself", edit(func(b []byte) []byte { return append(b[:12:12], 0xc0, 12, 0, 1, 0, 1) }), "FORMERR"},
		{"a name that points into the header", edit(func(b []byte) []byte { return append(b[:12:12], 0xc0, 4, 0, 1, 0, 1) }), "FORMERR"},
	} {
		got := exchange(t, addr, tt.query)
		if tt.want == "" {
			if got != nil {
				t.Errorf("%s: %x comes back", tt.what, got)
			}
			continue
		}
		r := new(miekg.Msg)
		if err := r.Unpack(got); err != nil || len(got) != 12 {
			t.Errorf("%s: %x comes back: %v", tt.what, got, err)
			continue
		}
		if miekg.RcodeToString[r.Rcode] != tt.want || r.Id != 0x1234 || !r.Response || r.Opcode != int(tt.query[2]>>3&15) || r.Authoritative {
			t.Errorf("%s: %s, want %s", tt.what, r.MsgHdr.String(), tt.want)
		}
	}
}

func TestOtherClassesAreRefused(t *testing.T) {
	_, addr := start(t, options())
	for _, name := range []string{"version.bind.", "hostname.bind.", "id.server.", "relay.test."} {
		for _, class := range []uint16{miekg.ClassCHAOS, miekg.ClassHESIOD, miekg.ClassANY, miekg.ClassNONE} {
			q := question(name, miekg.TypeTXT)
			q.Question[0].Qclass = class
			r := ask(t, "udp", addr, q)
			if r.Rcode != miekg.RcodeRefused || len(r.Answer)+len(r.Ns)+len(r.Extra) > 0 {
				t.Errorf("%s in class %s: %v", name, miekg.Class(class), shown(r))
			}
		}
	}
}

// Resolvers spell names at random and compare what comes back (0x20).
func TestSpellingComesBack(t *testing.T) {
	s, addr := start(t, options())
	if err := s.Present(t.Context(), "_acme-challenge.relay.test.", "x"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		qtype uint16
	}{
		{"aLiCe.ReLaY.tEsT.", miekg.TypeA},
		{"aLiCe.ReLaY.tEsT.", miekg.TypeMX},
		{"ReLaY.tEsT.", miekg.TypeNS},
		{"ReLaY.tEsT.", miekg.TypeSOA},
		{"_AcMe-ChAlLeNgE.ReLaY.tEsT.", miekg.TypeTXT},
		{"_DmArC.ReLaY.tEsT.", miekg.TypeTXT},
	} {
		r := ask(t, "udp", addr, question(tt.name, tt.qtype))
		if r.Question[0].Name != tt.name {
			t.Errorf("%s comes back as %s", tt.name, r.Question[0].Name)
		}
		for _, rr := range append(r.Answer, r.Ns...) {
			if name := rr.Header().Name; !strings.HasSuffix(tt.name, name) {
				t.Errorf("the answer to %s is about %s", tt.name, name)
			}
		}
	}
}

// Many challenges at once do not fit a packet; over TCP they do.
func TestLongAnswersComeByTCP(t *testing.T) {
	s, addr := start(t, options())
	const name = "_acme-challenge.relay.test."
	for i := range 20 {
		if err := s.Present(t.Context(), name, fmt.Sprintf("%043d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, edns := range []uint16{0, 512, 1232, 4096, 65535} {
		q := question(name, miekg.TypeTXT)
		if edns > 0 {
			q.SetEdns0(edns, false)
		}
		r := ask(t, "udp", addr, q)
		if !r.Truncated || len(r.Answer) > 0 || r.Rcode != miekg.RcodeSuccess || (r.IsEdns0() != nil) != (edns > 0) {
			t.Errorf("buffer %d: %v", edns, shown(r))
		}
		if r := ask(t, "tcp", addr, q); r.Truncated || len(r.Answer) != 20 {
			t.Errorf("over TCP: %v", shown(r))
		}
	}
}
