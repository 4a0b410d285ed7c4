package cert_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// The key that updates of the zone are signed with.
const (
	tsigName   = "relay-key."
	tsigSecret = "c2VjcmV0IG9mIHRoZSB0ZXN0IHpvbmU="
)

// A zone is the DNS of the world, relay.test: every name has the address
// 127.0.0.1, and TXT records are what has been put there.
type zone struct {
	addr string // both UDP and TCP

	mu      sync.Mutex
	txt     map[string][]string
	was     map[string]int        // how many records a name has ever had
	mute    string                // a name that does not exist
	more    func(string) []string // further TXT records
	cname   map[string]string
	late    int   // so many questions are answered as if there were none
	updates []int // answers to updates
}

func newZone(t *testing.T) *zone {
	t.Helper()
	z := &zone{txt: make(map[string][]string), was: make(map[string]int)}
	l := listen(t)
	z.addr = l.Addr().String()
	p, err := net.ListenPacket("udp", z.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{Listener: l}, {PacketConn: p}} {
		started := make(chan struct{})
		s.Handler = dns.HandlerFunc(z.answer)
		s.TsigSecret = map[string]string{tsigName: tsigSecret}
		s.NotifyStartedFunc = func() { close(started) }
		s.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept } // updates too
		ended := make(chan struct{})
		go func() { defer close(ended); _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown(); <-ended })
	}
	return z
}

func (z *zone) answer(w dns.ResponseWriter, q *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	name := strings.ToLower(q.Question[0].Name)
	head := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET}
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: domain + ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.relay.test.", Mbox: "me.relay.test."}
	switch {
	case q.Opcode == dns.OpcodeUpdate:
		m.Rcode = z.update(w, q)
		z.updates = append(z.updates, m.Rcode)
	case name == z.mute:
		m.Rcode = dns.RcodeNameError
	case head.Rrtype == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: head, A: net.IPv4(127, 0, 0, 1)}}
	case head.Rrtype == dns.TypeSOA && name == soa.Hdr.Name:
		m.Answer = []dns.RR{soa}
	case head.Rrtype == dns.TypeSOA:
		m.Ns = []dns.RR{soa}
	case z.cname[name] != "":
		head.Rrtype = dns.TypeCNAME
		m.Answer = []dns.RR{&dns.CNAME{Hdr: head, Target: z.cname[name]}}
	case head.Rrtype == dns.TypeTXT && z.late > 0:
		z.late--
	case head.Rrtype == dns.TypeTXT:
		values := z.txt[name]
		if z.more != nil {
			values = append(slices.Clone(values), z.more(name)...)
		}
		for _, v := range values {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: head, Txt: []string{v}})
		}
	}
	if t := q.IsTsig(); t != nil && w.TsigStatus() == nil {
		m.SetTsig(t.Hdr.Name, t.Algorithm, 300, int64(t.TimeSigned))
	}
	_ = w.WriteMsg(m)
}

// update is a dynamic update (RFC 2136) that must be signed.
func (z *zone) update(w dns.ResponseWriter, q *dns.Msg) (rcode int) {
	if q.IsTsig() == nil || w.TsigStatus() != nil {
		return dns.RcodeNotAuth
	}
	if q.Question[0].Name != domain+"." {
		return dns.RcodeNotZone
	}
	for _, rr := range q.Ns {
		t, ok := rr.(*dns.TXT)
		switch {
		case !ok:
			return dns.RcodeFormatError
		case t.Hdr.Class == dns.ClassINET:
			z.addLocked(t.Hdr.Name, t.Txt[0])
		case t.Hdr.Class == dns.ClassNONE:
			z.removeLocked(t.Hdr.Name, t.Txt[0])
		}
	}
	return dns.RcodeSuccess
}

// silence makes a name that does not exist.
func (z *zone) silence(fqdn string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.mute = fqdn
}

// Present and CleanUp make the zone a solver.
func (z *zone) Present(_ context.Context, fqdn, value string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.addLocked(fqdn, value)
	return nil
}

func (z *zone) CleanUp(_ context.Context, fqdn, value string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.removeLocked(fqdn, value)
	return nil
}

func (z *zone) addLocked(fqdn, value string) {
	z.txt[fqdn] = append(z.txt[fqdn], value)
	z.was[fqdn]++
}

func (z *zone) removeLocked(fqdn, value string) {
	z.txt[fqdn] = slices.DeleteFunc(z.txt[fqdn], func(v string) bool { return v == value })
}

// left is how many records are there now, and how many there have been.
func (z *zone) left(fqdn string) (now, ever int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return len(z.txt[fqdn]), z.was[fqdn]
}
