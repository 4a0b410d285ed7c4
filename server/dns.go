package server

import (
	"errors"
	"fmt"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/dns"
)

// openDNS makes what answers for the base domain, if that is asked for.
func (s *Server) openDNS() (err error) {
	if s.c.DNSAddr == "" {
		return nil
	}
	addrs := s.c.PublicIPs
	if len(addrs) == 0 {
		if addrs, err = dns.PublicAddrs(); err != nil {
			if errors.Is(err, relay.ErrNotFound) {
				return fmt.Errorf("--dns: %w", err)
			}
			return fmt.Errorf("--dns: the addresses of this machine cannot be read: %w; name them with --public-ip", err)
		}
	}
	o := dns.Options{Zone: s.c.Domain, Addrs: addrs, NS: s.c.DNSName, Log: s.log}
	if !s.c.Plain && len(s.c.CertFiles) == 0 && s.c.ACMEServer == "" {
		o.CAA = []string{"letsencrypt.org"}
	}
	if s.dns, err = dns.New(o); err != nil {
		return fmt.Errorf("--dns: %w", err)
	}
	return nil
}
