package trigger

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
)

// Request returns what is sent to the URL without a signature.
func (e Event) Request(url string) signature.Request {
	return signature.Request{Method: http.MethodPost, URL: url, Header: e.Header.Clone(), Body: e.Body}
}

// Sign returns what is sent to the URL, signed at now. Of a sender with a public
// key the secret is the private one.
func (e Event) Sign(url, secret string, now time.Time) (signature.Request, error) {
	return signature.Sign(e.way(secret), secret, e.Request(url), now)
}

// Forge returns the same with a signature that is of the right form and wrong: that
// of a secret which nobody has.
func (e Event) Forge(url string, now time.Time, random io.Reader) (signature.Request, error) {
	way := e.way("")
	secret, err := anySecret(way, random)
	if err != nil {
		return signature.Request{}, err
	}
	return signature.Sign(way, secret, e.Request(url), now)
}

// Signs tells whether the sender has a signature, a token or a password that can be
// made here: not that of a certificate of its own.
func (e Event) Signs() bool {
	return e.Scheme.Algorithm != signature.None && e.Scheme.Algorithm != signature.RSA
}

// Timed tells whether a signature with this secret has a time in it, so that it can
// be too old.
func (e Event) Timed(secret string) bool {
	s := e.way(secret)
	if len(s.Any) > 0 {
		s, _ = signature.Lookup(s.Any[0])
	}
	return s.Timestamp != ""
}

// ID is the sender's own id of a request, and empty if it has none.
func (e Event) ID(r signature.Request) string { return signature.EventID(e.Scheme, r) }

// way is how the sender signs with this secret. GitLab has two kinds, which look
// different.
func (e Event) way(secret string) signature.Scheme {
	if e.Scheme.Name != "gitlab" {
		return e.Scheme
	}
	name := "gitlab-token"
	if strings.HasPrefix(secret, "whsec_") {
		name = "gitlab-signing"
	}
	s, _ := signature.Lookup(name) // the table has both
	return s
}

// identify gives the event the id that the sender has in a header, unless it has one.
func (e *Event) identify(random io.Reader) error {
	if e.ID(e.Request("")) != "" {
		return nil
	}
	s := e.Scheme
	if len(s.Any) > 0 && len(s.ID) == 0 {
		s, _ = signature.Lookup(s.Any[0])
	}
	form := "00000000-0000-4000-8000-000000000000"
	sources := s.ID
	if s.MessageID != "" {
		form, sources = "msg_0aA0aA0aA0aA0aA0aA0aA0aA0a", []signature.Source{s.MessageID}
	}
	if len(sources) == 0 {
		return nil
	}
	name, ok := strings.CutPrefix(string(sources[0]), "header:") // the best one
	if !ok {
		return nil
	}
	id, err := alike(form, random)
	if err == nil {
		e.Header.Set(name, id)
	}
	return err
}

// anySecret makes a secret of the form that the scheme wants.
func anySecret(s signature.Scheme, random io.Reader) (string, error) {
	if len(s.Any) > 0 {
		s, _ = signature.Lookup(s.Any[0])
	}
	b := make([]byte, 32)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	switch {
	case s.Algorithm == signature.Basic:
		return "relay:" + hex.EncodeToString(b[:16]), nil
	case s.Algorithm == signature.ECDSA:
		key, err := ecdsa.GenerateKey(elliptic.P256(), random)
		if err != nil {
			return "", fmt.Errorf("make a key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return base64.StdEncoding.EncodeToString(der), err
	case s.Algorithm == signature.Ed25519:
		return hex.EncodeToString(ed25519.NewKeyFromSeed(b).Seed()), nil
	case s.Key == signature.Whsec:
		return "whsec_" + base64.StdEncoding.EncodeToString(b), nil
	}
	return hex.EncodeToString(b), nil
}
