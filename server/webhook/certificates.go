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

	"golang.org/x/time/rate"

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
	// certWait is for how long an address that had none is not asked again.
	certWait = 10 * time.Second
)

// Certificates fetches the certificates of senders who publish them, and remembers
// them. It is safe for use by many at once. Strangers choose the path of an address,
// so that new ones are asked for at a slow pace only.
type Certificates struct {
	client *http.Client
	roots  *x509.CertPool
	pace   *rate.Limiter

	mu    sync.Mutex
	known map[string]*certificate
}

// certificate is what an address had; the fields are set when done is closed.
type certificate struct {
	done  chan struct{}
	chain []*x509.Certificate
	err   error
	asked time.Time
}

// NewCertificates makes an empty one. nil takes a client of its own that follows no
// redirects, and the authorities that the system trusts.
func NewCertificates(client *http.Client, roots *x509.CertPool) *Certificates {
	if client == nil {
		client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &Certificates{
		client: client, roots: roots, pace: rate.NewLimiter(rate.Every(6*time.Second), 10), known: map[string]*certificate{},
	}
}

// Signer returns the key of the certificate at the address, if a trusted authority
// has signed it, it was valid at that time, and it is one of the domain. The address
// must be found good before: see signature.Scheme.CertURL.
func (c *Certificates) Signer(ctx context.Context, address, domain string, at time.Time) (*rsa.PublicKey, error) {
	got, mine := c.entry(address)
	if mine {
		// Others wait for it too, so it does not end with this caller.
		fetch, cancel := context.WithTimeout(context.WithoutCancel(ctx), certFetch)
		got.chain, got.err = c.fetch(fetch, address)
		cancel()
		close(got.done)
	}
	select {
	case <-got.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if got.err != nil {
		return nil, got.err
	}
	return c.trust(got.chain, domain, at)
}

// entry returns what is known of the address; mine says that the caller has to find
// it out.
func (c *Certificates) entry(address string) (e *certificate, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.known[address]; ok && !e.stale() {
		return e, false
	}
	if len(c.known) >= certsKept {
		for old := range c.known { // any: what is needed comes back
			delete(c.known, old)
			break
		}
	}
	e = &certificate{done: make(chan struct{}), asked: time.Now()}
	c.known[address] = e
	return e, true
}

// stale tells whether it is time to ask again.
func (e *certificate) stale() bool {
	select {
	case <-e.done:
		return e.err != nil && time.Since(e.asked) > certWait
	default:
		return false
	}
}

func (c *Certificates) fetch(ctx context.Context, address string) ([]*x509.Certificate, error) {
	if !c.pace.Allow() {
		return nil, errors.New("too many addresses of certificates are named: this one is not asked for now")
	}
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
