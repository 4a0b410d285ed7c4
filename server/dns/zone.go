package dns

import (
	"strings"

	miekg "github.com/miekg/dns"
)

// The times of the SOA record. There is no second server that would follow
// them; they are what such a server expects to see (RFC 1912).
const (
	soaRefresh = 7200
	soaRetry   = 1800
	soaExpire  = 1209600

	// negativeTTL is how long others may keep that there is nothing.
	negativeTTL = 60
)

// fill writes the answer of the zone into r, the reply to its one question.
//
// Every name below the base domain has the addresses of the server, at any
// depth, whether somebody holds it or not: who holds what is nobody's business,
// and the edge says it to visitors. Names with a label that begins with an
// underscore are there only as challenges.
func (s *Server) fill(r *miekg.Msg) {
	q := r.Question[0]
	switch {
	case q.Qtype == miekg.TypeOPT, q.Qtype == miekg.TypeTSIG, q.Qtype == miekg.TypeTKEY:
		r.Rcode = miekg.RcodeFormatError // no question is of these types
		return
	case q.Qtype == miekg.TypeMAILA, q.Qtype == miekg.TypeMAILB:
		r.Rcode = miekg.RcodeNotImplemented
		return
	case q.Qclass != miekg.ClassINET, // among them CHAOS, which asks for versions
		q.Qtype == miekg.TypeAXFR, q.Qtype == miekg.TypeIXFR,
		!miekg.IsSubDomain(s.zone, q.Name):
		r.Rcode = miekg.RcodeRefused
		return
	}
	r.Authoritative = true
	labels := below(q.Name, s.zone)
	values, exists := []string(nil), true
	if underscored(labels) {
		values, exists = s.challenge(q.Name)
	}
	switch {
	case !exists:
		r.Rcode = miekg.RcodeNameError
	case q.Qtype == miekg.TypeANY:
		// RFC 8482: something small that says why there is no more.
		r.Answer = append(r.Answer, &miekg.HINFO{Hdr: s.header(q.Name, miekg.TypeHINFO, s.ttl), Cpu: "RFC8482"})
	case len(values) > 0 && q.Qtype == miekg.TypeTXT:
		for _, v := range values {
			// Challenges change within seconds and must not be kept.
			r.Answer = append(r.Answer, &miekg.TXT{Hdr: s.header(q.Name, miekg.TypeTXT, 0), Txt: []string{escape(v)}})
		}
	case q.Qtype == miekg.TypeA && !underscored(labels), q.Qtype == miekg.TypeAAAA && !underscored(labels):
		r.Answer = s.addresses(r.Answer, q.Name, q.Qtype)
	case len(labels) == 0:
		s.fillApex(r, q)
	}
	if len(r.Answer) == 0 {
		ttl := uint32(negativeTTL)
		if underscored(labels) {
			ttl = 0 // a stranger who asks early must not delay a certificate
		}
		r.Ns = append(r.Ns, s.soa(zoneIn(q.Name, labels), ttl))
	}
}

// fillApex adds the records that only the base domain itself has.
func (s *Server) fillApex(r *miekg.Msg, q miekg.Question) {
	switch q.Qtype {
	case miekg.TypeSOA:
		r.Answer = append(r.Answer, s.soa(q.Name, s.ttl))
	case miekg.TypeNS:
		r.Answer = append(r.Answer, &miekg.NS{Hdr: s.header(q.Name, miekg.TypeNS, s.ttl), Ns: s.ns})
		if miekg.IsSubDomain(s.zone, s.ns) {
			// Names and their addresses expire together, so that nobody is
			// left with a name server whose address only it knows.
			r.Extra = s.addresses(r.Extra, s.ns, miekg.TypeA)
			r.Extra = s.addresses(r.Extra, s.ns, miekg.TypeAAAA)
		}
	case miekg.TypeCAA:
		for _, ca := range s.caa {
			r.Answer = append(r.Answer, &miekg.CAA{Hdr: s.header(q.Name, miekg.TypeCAA, s.ttl), Tag: "issue", Value: ca})
		}
	}
}

// addresses appends the A or AAAA records of the server.
func (s *Server) addresses(rrs []miekg.RR, name string, qtype uint16) []miekg.RR {
	if qtype == miekg.TypeA {
		for _, a := range s.v4 {
			rrs = append(rrs, &miekg.A{Hdr: s.header(name, qtype, s.ttl), A: a.AsSlice()})
		}
		return rrs
	}
	for _, a := range s.v6 {
		rrs = append(rrs, &miekg.AAAA{Hdr: s.header(name, qtype, s.ttl), AAAA: a.AsSlice()})
	}
	return rrs
}

// soa is the record of the zone, named as the question has it.
func (s *Server) soa(name string, ttl uint32) miekg.RR {
	s.mu.RLock()
	serial := s.serial
	s.mu.RUnlock()
	return &miekg.SOA{
		Hdr: s.header(name, miekg.TypeSOA, ttl), Ns: s.ns, Mbox: "hostmaster." + s.zone, Serial: serial,
		Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: negativeTTL,
	}
}

// challenge returns the values of a name, and whether there is such a name: one
// with values, or with such a name below it.
func (s *Server) challenge(name string) (values []string, exists bool) {
	name = miekg.CanonicalName(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if values := s.challenges[name]; len(values) > 0 {
		return values, true
	}
	for other := range s.challenges {
		if miekg.IsSubDomain(name, other) {
			return nil, true
		}
	}
	return nil, false
}

func (s *Server) header(name string, rrtype uint16, ttl uint32) miekg.RR_Header {
	return miekg.RR_Header{Name: name, Rrtype: rrtype, Class: miekg.ClassINET, Ttl: ttl}
}

// below returns the labels of a name before those of the zone it is in.
func below(name, zone string) []string {
	labels := miekg.SplitDomainName(name)
	return labels[:len(labels)-miekg.CountLabel(zone)]
}

// zoneIn returns the end of the name that is the zone, in its spelling: others
// compare it with what they have asked, letter by letter.
func zoneIn(name string, below []string) string {
	if len(below) == 0 {
		return name
	}
	return name[miekg.Split(name)[len(below)]:]
}

// underscored tells whether one of the labels begins with an underscore: it
// names no host.
func underscored(labels []string) bool {
	for _, l := range labels {
		if strings.HasPrefix(l, "_") {
			return true
		}
	}
	return false
}

// escape writes a value as the library wants the string of a TXT record: with a
// backslash before what would be read as an escape.
func escape(value string) string { return strings.ReplaceAll(value, `\`, `\\`) }
