package cert

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/relaytunnel/relay/internal/relay"
)

const (
	// updateTTL is the time to live of the records, in seconds: they change at
	// the next order.
	updateTTL = 60
	// updateTime bounds one exchange with the name server.
	updateTime = 15 * time.Second
	// fudge is how many seconds the clocks of both may differ (RFC 8945, 10).
	fudge = 300
)

// dynamicDNS sets records at a name server by dynamic updates (RFC 2136), signed
// with a TSIG key. BIND, Knot and PowerDNS take them.
type dynamicDNS struct {
	server    string // host:port
	key       string // its name; empty: not signed
	algorithm string
	secrets   map[string]string
	visible
}

func newRFC2136(env settings) (DNSSolver, error) {
	server, err := env.need("the name server that takes updates", "RFC2136_NAMESERVER")
	if err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(strings.Trim(server, "[]"), "53")
	}
	s := &dynamicDNS{server: server, visible: worldwide()}
	name, secret := env.env("RFC2136_TSIG_KEY"), env.env("RFC2136_TSIG_SECRET")
	if (name == "") != (secret == "") {
		return nil, fmt.Errorf("%w: RFC2136_TSIG_KEY and RFC2136_TSIG_SECRET are given together", relay.ErrInvalid)
	}
	if name == "" {
		return s, nil
	}
	s.key, s.algorithm = dns.CanonicalName(name), dns.HmacSHA256
	if a := env.env("RFC2136_TSIG_ALGORITHM"); a != "" {
		s.algorithm = dns.CanonicalName(a)
	}
	switch s.algorithm {
	case dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512:
	default:
		return nil, fmt.Errorf("%w RFC2136_TSIG_ALGORITHM %q: it is hmac-sha256 or hmac-sha512 with most servers", relay.ErrInvalid, s.algorithm)
	}
	s.secrets = map[string]string{s.key: secret}
	return s, nil
}

func (s *dynamicDNS) Present(ctx context.Context, fqdn, value string) error {
	return s.update(ctx, fqdn, value, (*dns.Msg).Insert)
}

func (s *dynamicDNS) CleanUp(ctx context.Context, fqdn, value string) error {
	return s.update(ctx, fqdn, value, (*dns.Msg).Remove)
}

func (s *dynamicDNS) update(ctx context.Context, fqdn, value string, change func(*dns.Msg, []dns.RR)) error {
	zone, err := s.zone(ctx, fqdn)
	if err != nil {
		return err
	}
	m := new(dns.Msg).SetUpdate(zone)
	change(m, []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: fqdn, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: updateTTL},
		Txt: []string{value},
	}})
	answer, err := s.exchange(ctx, m)
	if err != nil {
		return fmt.Errorf("update %s at %s: %w", zone, s.server, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("update %s at %s: it answers %s; check the TSIG key and its rights", zone, s.server, dns.RcodeToString[answer.Rcode])
	}
	return nil
}

// zone asks the server in which zone of its own a name lies.
func (s *dynamicDNS) zone(ctx context.Context, fqdn string) (string, error) {
	answer, err := s.exchange(ctx, new(dns.Msg).SetQuestion(fqdn, dns.TypeSOA))
	if err != nil {
		return "", fmt.Errorf("ask %s for the zone of %s: %w", s.server, fqdn, err)
	}
	for _, rr := range append(answer.Answer, answer.Ns...) {
		if rr.Header().Rrtype == dns.TypeSOA && dns.IsSubDomain(rr.Header().Name, fqdn) {
			return rr.Header().Name, nil
		}
	}
	return "", fmt.Errorf("ask %s for the zone of %s: it answers %s and no SOA; is it the primary server of the zone?", s.server, fqdn, dns.RcodeToString[answer.Rcode])
}

func (s *dynamicDNS) exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, updateTime)
	defer cancel()
	c := &dns.Client{Net: "tcp", TsigSecret: s.secrets}
	if s.key != "" {
		m.SetTsig(s.key, s.algorithm, fudge, time.Now().Unix())
	}
	answer, _, err := c.ExchangeContext(ctx, m, s.server)
	return answer, err
}
