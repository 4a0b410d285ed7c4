package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/api"
	"github.com/relaytunnel/relay/server/cert"
	"github.com/relaytunnel/relay/server/store"
)

// openCerts makes the keeper of certificates.
func (s *Server) openCerts(st *store.Store) (err error) {
	c := s.c
	o := cert.Options{
		Store: st, Domain: c.Domain, Held: s.certified, Directory: c.ACMEServer, Email: c.Email,
		Binding: cert.Binding{KeyID: c.ACMEKeyID, Key: c.ACMEKey}, Log: s.log,
		// An operator who gives certificates and asks for nothing else wants no others.
		Offline: len(c.CertFiles) > 0 && c.Email == "" && c.ACMEServer == "" && c.DNSProvider == "" && c.DNSAddr == "",
	}
	if s.dns != nil {
		o.Solver = s.dns
	}
	if c.DNSProvider != "" {
		if o.Solver, err = cert.NewSolver(c.DNSProvider, os.Getenv); err != nil {
			return fmt.Errorf("--dns-provider: %w", err)
		}
	}
	for i := range c.CertFiles {
		o.Files = append(o.Files, cert.Pair{Cert: c.CertFiles[i], Key: c.KeyFiles[i]})
	}
	if c.ACMECA != "" {
		if o.Roots, err = roots(c.ACMECA); err != nil {
			return err
		}
	}
	s.certs, err = cert.New(o)
	if err != nil {
		return err
	}
	s.tls = s.certs.TLSConfig()
	return nil
}

func roots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--acme-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--acme-ca: there is no certificate in %s; give the roots of the authority as PEM", file)
	}
	return pool, nil
}

// certified tells whether a host may have a certificate: the server itself, and
// names that somebody holds.
func (s *Server) certified(host string) bool {
	if host == s.c.Domain {
		return true
	}
	_, ok := s.nameOf(host)
	return ok
}

// certifyWithin is how long a bind waits for a certificate that is ordered for it: a
// few seconds as a rule. What takes longer goes on, and the agent sees when the URL
// answers.
const certifyWithin = 8 * time.Second

// certify gets a host its certificate. Only a limit of the authority is an error: the
// URL would be a broken one for days.
func (s *Server) certify(ctx context.Context, host string) error {
	if s.certs == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, certifyWithin)
	defer cancel()
	err := s.certs.Prepare(ctx, host)
	if errors.Is(err, relay.ErrLimit) {
		return err
	}
	if err != nil {
		s.log.Info("no certificate yet", "host", host, "err", err)
	}
	return nil
}

// certStatus is the state of the certificates for an operator.
func (s *Server) certStatus(ctx context.Context, out *api.Status) {
	if s.certs == nil {
		return
	}
	status, err := s.certs.Status(ctx)
	if err != nil {
		s.log.Error("state of certificates", "err", err)
		return
	}
	for _, c := range status.Certificates {
		out.Certificates = append(out.Certificates, api.Certificate{
			Host: c.Host, Source: c.Source, State: c.State, Error: c.Err, Expires: some(c.NotAfter), NextTry: some(c.NextTry),
		})
	}
	for _, q := range status.Quota {
		out.Quota = append(out.Quota, api.Quota{Zone: q.Zone, Used: q.Used, Limit: q.Limit})
	}
}

// some is nil for no time.
func some(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
