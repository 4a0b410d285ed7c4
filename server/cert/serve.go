package cert

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/relaytunnel/relay/internal/relay"
)

// lookEvery is how long it is remembered that the store has no certificate for a
// host. Another process may have got one meanwhile.
const lookEvery = 10 * time.Second

// lookTime bounds a look into the store during a handshake.
const lookTime = 5 * time.Second

var errNotServed = errors.New("this host is not served here")

// TLSConfig returns the configuration for a listener: TLS 1.2 and 1.3 with
// authenticated ciphers, HTTP/2 and HTTP/1.1, and the answers to tls-alpn-01. Who
// asks for a host without certificate, or for none, gets the alert
// unrecognized_name and no certificate.
//
// Certificates are of ECDSA keys; clients from before about 2014 that do not know
// these are refused. Go changes the keys of session tickets every day.
func (k *Keeper) TLSConfig() *tls.Config {
	return &tls.Config{
		GetCertificate: k.certificate,
		NextProtos:     []string{"h2", "http/1.1", acme.ALPNProto},
		MinVersion:     tls.VersionTLS12,
		// For TLS 1.2: without those that encrypt in CBC mode, which Go still has.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// HTTPHandler answers http-01 and gives all other requests to fallback. It
// belongs on port 80.
func (k *Keeper) HTTPHandler(fallback http.Handler) http.Handler {
	return k.answers.HTTPHandler(fallback)
}

// certificate chooses the certificate of a handshake by look-ups in maps. Nil
// without an error makes crypto/tls send unrecognized_name.
func (k *Keeper) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host, err := relay.ParseHost(hello.ServerName)
	if err != nil {
		return nil, nil //nolint:nilerr // see above
	}
	if slices.Contains(hello.SupportedProtos, acme.ALPNProto) {
		return k.answer(hello, host)
	}
	now := k.o.Now()
	best := k.files.Load().find(host)
	if valid(best, now) {
		return best, nil
	}
	// What has expired is better than nothing: the visitor's browser says why.
	try := func(name string) bool {
		if c := k.inHand(name, now); best == nil || valid(c, now) {
			best = c
		}
		return valid(best, now)
	}
	if (host == k.o.Domain || k.below(host)) && try(k.wildcard) {
		return best, nil
	}
	if k.held(host) {
		try(host)
	}
	return best, nil
}

// answer is the certificate for the authority that verifies a host by
// tls-alpn-01. Only held hosts are looked up, and a look costs less than the
// handshake did.
func (k *Keeper) answer(hello *tls.ClientHelloInfo, host string) (*tls.Certificate, error) {
	if len(hello.SupportedProtos) != 1 || k.o.Offline || !k.held(host) {
		return nil, nil
	}
	cert, err := k.answers.GetCertificate(hello)
	if err != nil {
		return nil, nil //nolint:nilerr // there is no challenge now
	}
	return cert, nil
}

// inHand is the certificate of that name in memory or, for names that are not
// there, in the store. Nil: there is none.
func (k *Keeper) inHand(name string, now time.Time) *tls.Certificate {
	if k.o.Offline {
		return nil
	}
	k.mu.Lock()
	h := k.hostLocked(name)
	for h.looking != nil {
		looking := h.looking
		k.mu.Unlock()
		<-looking
		k.mu.Lock()
	}
	if h.cert != nil || !h.looked.IsZero() && now.Sub(h.looked) < lookEvery {
		defer k.mu.Unlock()
		return h.cert
	}
	h.looked, h.looking = now, make(chan struct{})
	k.mu.Unlock()

	// Not the context of the handshake: who breaks that off must not make the
	// store seem empty to others.
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	cert, err := k.cache.load(ctx, name)

	bad := err != nil && !errors.Is(err, relay.ErrNotFound)

	k.mu.Lock()
	news := bad && !h.unread
	h.unread = bad
	close(h.looking)
	h.looking = nil
	if cert != nil && h.cert == nil {
		k.haveLocked(h, cert)
		k.wakeUp() // it wants to be renewed some day
	}
	found := h.cert
	k.mu.Unlock()
	if news {
		k.o.Log.Warn("a certificate in the store cannot be read; another is ordered when it is needed", "host", name, "err", err)
	}
	return found
}

// hostLocked returns what is known of a name, and begins to know it.
func (k *Keeper) hostLocked(name string) *host {
	h := k.hosts[name]
	if h == nil {
		h = &host{name: name}
		k.hosts[name] = h
	}
	return h
}

func valid(c *tls.Certificate, now time.Time) bool {
	return c != nil && c.Leaf != nil && now.Before(c.Leaf.NotAfter)
}
