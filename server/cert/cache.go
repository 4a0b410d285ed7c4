package cert

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/acme/autocert"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

// cache is an autocert.Cache in the store, for one authority: certificates of a
// test authority are not used when the true one is chosen.
type cache struct {
	store *store.Store
	ca    string
}

func (c cache) Get(ctx context.Context, key string) ([]byte, error) {
	data, err := c.store.Cert(ctx, c.ca, key)
	if errors.Is(err, relay.ErrNotFound) || errors.Is(err, store.ErrSealed) { // of another server key: as good as none
		return nil, autocert.ErrCacheMiss
	}
	return data, err
}

func (c cache) Put(ctx context.Context, key string, data []byte) error {
	return c.store.PutCert(ctx, c.ca, key, data)
}

func (c cache) Delete(ctx context.Context, key string) error {
	return c.store.DeleteCert(ctx, c.ca, key)
}

// load returns the certificate that is kept for a name (ErrNotFound).
func (c cache) load(ctx context.Context, name string) (*tls.Certificate, error) {
	data, err := c.store.Cert(ctx, c.ca, name)
	if errors.Is(err, store.ErrSealed) {
		return nil, fmt.Errorf("%w: %w", relay.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(data, data) // each looks for its own kind of block
	if err != nil {
		return nil, fmt.Errorf("certificate %q in the store: %w", name, err)
	}
	return &cert, nil
}

// save keeps a certificate in the form in which autocert does.
func (c cache) save(ctx context.Context, name string, key *ecdsa.PrivateKey, chain [][]byte) (*tls.Certificate, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	for _, c := range chain {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	cert, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("what the authority sent: %w", err)
	}
	return &cert, c.Put(ctx, name, data)
}
