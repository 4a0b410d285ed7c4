package webhook

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/relaytunnel/relay/internal/signature"
)

const (
	// certFetch bounds one fetch: the sender waits for it.
	certFetch = 5 * time.Second
	// certSize bounds what is read of an answer.
	certSize = 64 << 10
	// certsKept bounds the certificates that are remembered. A sender has two or
	// three at a time.
	certsKept = 64
)

// Certificates fetches the certificates of senders who publish them, and remembers
// those that are good. It is safe for use by many at once.
type Certificates struct {
	client *http.Client
	roots  *x509.CertPool
	asking singleflight.Group

	mu    sync.Mutex
	known map[string][]*x509.Certificate // by address
}

// NewCertificates makes an empty one. nil takes a client of its own that follows no
// redirects, and the authorities that the system trusts.
func NewCertificates(client *http.Client, roots *x509.CertPool) *Certificates {
	if client == nil {
		client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &Certificates{client: client, roots: roots, known: map[string][]*x509.Certificate{}}
}

// errTooMany is told when an address may not be asked for.
var errTooMany = errors.New("too many other certificates were named before it; it is not asked for now")

// Signer returns the key of the certificate at the address, if a trusted authority
// has signed it, it was valid at that time, and it is one of the domain. The address
// must be found good before: see signature.Scheme.CertURL. One that is not known is
// asked for only if may says so: strangers choose the path.
func (c *Certificates) Signer(ctx context.Context, address, domain string, at time.Time, may func() bool) (*rsa.PublicKey, error) {
	c.mu.Lock()
	found := c.known[address]
	c.mu.Unlock()
	if found != nil {
		return c.trust(found, domain, at)
	}
	got, err, _ := c.asking.Do(address, func() (any, error) {
		if !may() {
			return nil, errTooMany
		}
		// Others wait for it too, so it does not end with this caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), certFetch)
		defer cancel()
		return c.fetch(ctx, address)
	})
	if err != nil {
		return nil, err
	}
	found, _ = got.([]*x509.Certificate)
	key, err := c.trust(found, domain, at)
	if err == nil {
		c.remember(address, found)
	}
	return key, err
}

func (c *Certificates) remember(address string, found []*x509.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= certsKept {
		for old := range c.known { // any: what is needed comes back
			delete(c.known, old)
			break
		}
	}
	c.known[address] = found
}

func (c *Certificates) fetch(ctx context.Context, address string) ([]*x509.Certificate, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", address, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, certSize))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", address, err)
	}
	return chain(text)
}

// chain reads certificates in PEM, the sender's own first.
func chain(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read the certificate: %w", err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate in PEM at the address")
	}
	return all, nil
}

// trust returns the key of the first certificate.
func (c *Certificates) trust(chain []*x509.Certificate, domain string, at time.Time) (*rsa.PublicKey, error) {
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, err
	}
	names := append([]string{chain[0].Subject.CommonName}, chain[0].DNSNames...)
	for _, name := range names {
		if signature.InDomain(name, domain) {
			key, ok := chain[0].PublicKey.(*rsa.PublicKey)
			if !ok {
				return nil, errors.New("the key of the certificate is not one of RSA")
			}
			return key, nil
		}
	}
	return nil, fmt.Errorf("the certificate is of %q, not of %s", chain[0].Subject.CommonName, domain)
}
