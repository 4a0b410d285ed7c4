// Package dns answers for one zone, the base domain of the server, so that one
// NS record at the parent domain is all that an operator sets: the addresses of
// the server for the base domain and every name below it, and the TXT records
// by which a wildcard certificate is ordered. The zone is in memory and has no
// file.
//
// A packet goes from Serve (serve.go) to answer (answer.go), which takes bytes
// and returns bytes, and asks the zone (zone.go). It is authoritative only: it
// asks nobody, gives its zone to nobody as a whole, and refuses all others.
//
// Anyone can send a question with the address of somebody else in it. Therefore
// an answer over UDP is never much longer than its question, and each network
// gets only so many (quota.go); what is more gets a short answer that says to
// come by TCP, where addresses are true, and then nothing.
package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/relaytunnel/relay/internal/relay"
)

const (
	defaultTTL = 5 * time.Minute

	// A zone has one challenge for each certificate being ordered. The limits
	// are far above that, and keep what is in memory and in one answer small.
	maxChallenges = 100 // names
	maxValues     = 20  // for each name
	maxValue      = 255 // bytes: one string of a TXT record
)

// Options say what the server answers.
type Options struct {
	// Zone is the base domain.
	Zone string
	// Addrs are the addresses by which the world reaches this server, for A and
	// AAAA. At least one. See PublicAddrs.
	Addrs []netip.Addr
	// NS is the name of this name server, best the one that the NS record of
	// the parent domain has; "" is ns.<Zone>. If it is in the zone, the parent
	// domain needs its address as well.
	NS string
	// CAA are the certificate authorities that may issue for the zone, as values
	// of the property issue ("letsencrypt.org"). None: every authority may.
	CAA []string
	// TTL is how long others may keep addresses; 0 is five minutes.
	TTL time.Duration
	// Now tells the time; nil is time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// A Server is the zone and what answers for it. Its methods are safe for
// concurrent use. Make one with New.
type Server struct {
	zone  string // with a dot at its end, lower case
	ns    string // the same
	v4    []netip.Addr
	v6    []netip.Addr
	caa   []string
	ttl   uint32 // seconds
	now   func() time.Time
	log   *slog.Logger
	quota *quota
	seats seats

	mu         sync.RWMutex
	challenges map[string][]string // values by name; names are as zone
	serial     uint32
}

// New checks the options (ErrInvalid) and returns a server that does not listen
// yet.
func New(o Options) (*Server, error) {
	zone, err := fqdn(o.Zone)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", o.Zone, err)
	}
	if o.NS == "" {
		o.NS = "ns." + zone
	}
	ns, err := fqdn(o.NS)
	if err != nil {
		return nil, fmt.Errorf("name server %q: %w", o.NS, err)
	}
	if o.TTL == 0 {
		o.TTL = defaultTTL
	}
	if o.TTL < time.Second || o.TTL > 7*24*time.Hour {
		return nil, fmt.Errorf("%w TTL %s: it is from a second to a week", relay.ErrInvalid, o.TTL)
	}
	for _, ca := range o.CAA {
		if ca == "" || len(ca) > maxValue || strings.ContainsFunc(ca, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, fmt.Errorf("%w CAA %q: it is a value like letsencrypt.org", relay.ErrInvalid, ca)
		}
	}
	s := &Server{
		zone:       zone,
		ns:         ns,
		caa:        o.CAA,
		ttl:        uint32(o.TTL / time.Second),
		now:        o.Now,
		log:        o.Log,
		challenges: make(map[string][]string),
	}
	for _, a := range o.Addrs {
		a = a.Unmap().WithZone("")
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
			return nil, fmt.Errorf("%w address %s: nobody can be reached there", relay.ErrInvalid, a)
		case a.Is4():
			s.v4 = append(s.v4, a)
		default:
			s.v6 = append(s.v6, a)
		}
	}
	if len(s.v4)+len(s.v6) == 0 {
		return nil, fmt.Errorf("%w DNS settings: no address of this server is given", relay.ErrInvalid)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.quota = newQuota()
	s.changed()
	return s, nil
}

// Present adds value to the TXT records of the name fqdn, which is in the zone
// and has a label that begins with an underscore, like
// _acme-challenge.relay.example.com. (ErrInvalid). It may have several values
// (ErrLimit at twenty). From its return on, the answer has it: there is nothing
// to wait for. What is there already stays.
func (s *Server) Present(_ context.Context, fqdn, value string) error {
	name, err := s.challengeName(fqdn)
	if err != nil {
		return fmt.Errorf("present %s: %w", fqdn, err)
	}
	if value == "" || len(value) > maxValue {
		return fmt.Errorf("present %s: %w value of %d bytes: it has 1 to %d", fqdn, relay.ErrInvalid, len(value), maxValue)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	values := s.challenges[name]
	for _, v := range values {
		if v == value {
			return nil
		}
	}
	if len(values) >= maxValues || len(values) == 0 && len(s.challenges) >= maxChallenges {
		return fmt.Errorf("present %s: %w: too many challenges are open", fqdn, relay.ErrLimit)
	}
	// A new slice: an answer being written may still hold the old one.
	s.challenges[name] = append(append([]string(nil), values...), value)
	s.changed()
	return nil
}

// CleanUp takes back what Present has added. It is no error when there is no
// such value.
func (s *Server) CleanUp(_ context.Context, fqdn, value string) error {
	name, err := s.challengeName(fqdn)
	if err != nil {
		return fmt.Errorf("clean up %s: %w", fqdn, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []string
	for _, v := range s.challenges[name] {
		if v != value {
			left = append(left, v)
		}
	}
	if len(left) == len(s.challenges[name]) {
		return nil
	}
	if len(left) == 0 {
		delete(s.challenges, name)
	} else {
		s.challenges[name] = left
	}
	s.changed()
	return nil
}

// changed gives the zone its next serial: the time, or one more than the last
// when the clock has not moved on. The caller holds mu, or is New.
func (s *Server) changed() {
	s.serial = max(s.serial+1, uint32(s.now().Unix())) // fits until 2106
}

// challengeName checks the name of a challenge and writes it as the map has it.
func (s *Server) challengeName(name string) (string, error) {
	name = miekg.CanonicalName(name)
	if _, ok := miekg.IsDomainName(name); !ok || !miekg.IsSubDomain(s.zone, name) || !underscored(below(name, s.zone)) {
		return "", fmt.Errorf("%w challenge: its name is one like _acme-challenge.%s", relay.ErrInvalid, strings.TrimSuffix(s.zone, "."))
	}
	return name, nil
}

// fqdn returns the name of a host in lower case and with a dot at its end.
func fqdn(name string) (string, error) {
	host, err := relay.ParseHost(name)
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || !strings.EqualFold(host, strings.TrimSuffix(name, ".")) {
		return "", fmt.Errorf("%w host: it is a name, like relay.example.com", relay.ErrInvalid)
	}
	return host + ".", nil
}
