package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Key says how the secret that the user gives becomes a key.
type Key string

// The forms of a secret.
const (
	Text      Key = ""           // its bytes as they are
	HexKey    Key = "hex"        // hex digits
	Whsec     Key = "whsec"      // base64, mostly after "whsec_", as of Standard Webhooks
	HTMLText  Key = "html"       // text in which &amp;, &lt;, &gt; and quotes are written so
	PublicKey Key = "public key" // of the sender: hex, base64 or PEM
	WebhookID Key = "webhook id" // no secret, but what the sender calls this address: text
)

// String says what the user has to give.
func (k Key) String() string {
	switch k {
	case HexKey:
		return "the key, in hex digits"
	case Whsec:
		return "the secret, which begins with whsec_"
	case PublicKey:
		return "the sender's public key"
	case WebhookID:
		return "the webhook ID"
	}
	return "the secret"
}

var specialChars = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#039;", "'", "&#39;", "'")

// symmetric returns the bytes of a shared secret. The error has no part of the
// secret in it.
func (k Key) symmetric(secret string) ([]byte, error) {
	switch k {
	case HexKey:
		b, err := hex.DecodeString(secret)
		if err != nil || len(b) == 0 {
			return nil, errors.New("the secret must be hex digits, two for each byte")
		}
		return b, nil
	case Whsec:
		text := strings.TrimPrefix(strings.TrimPrefix(secret, "v1,"), "whsec_")
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			b, err = base64.RawStdEncoding.DecodeString(text)
		}
		if err != nil || len(b) == 0 {
			return nil, errors.New("the secret must be base64, as a rule after whsec_")
		}
		return b, nil
	case HTMLText:
		return []byte(specialChars.Replace(secret)), nil
	case PublicKey:
		return nil, errors.New("a public key is needed, not a secret")
	}
	return []byte(secret), nil
}

// keyBytes undoes the ways in which a public or private key is written down.
func keyBytes(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if block, _ := pem.Decode([]byte(text)); block != nil {
		return block.Bytes, nil
	}
	for _, prefix := range []string{"whpk_", "whsk_"} {
		text = strings.TrimPrefix(text, prefix)
	}
	if b, err := hex.DecodeString(text); err == nil {
		return b, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("the key must be hex, base64 or PEM")
	}
	return b, nil
}

// public reads the sender's public key for the algorithm.
func public(a Algorithm, text string) (crypto.PublicKey, error) {
	b, err := keyBytes(text)
	if err != nil {
		return nil, err
	}
	if a == Ed25519 && len(b) == ed25519.PublicKeySize {
		return ed25519.PublicKey(b), nil
	}
	key, err := x509.ParsePKIXPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("it is not a public key for %s", a)
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		if a == Ed25519 {
			return key, nil
		}
	case *ecdsa.PublicKey:
		if a == ECDSA && key.Curve == elliptic.P256() {
			return key, nil
		}
	}
	return nil, fmt.Errorf("it is a public key, but not one for %s", a)
}

// private reads a private key for the algorithm: PKCS #8, or of Ed25519 the 32
// bytes of the seed or these with the public key behind.
func private(a Algorithm, text string) (crypto.Signer, error) {
	b, err := keyBytes(text)
	if err != nil {
		return nil, err
	}
	if a == Ed25519 {
		switch len(b) {
		case ed25519.SeedSize:
			return ed25519.NewKeyFromSeed(b), nil
		case ed25519.PrivateKeySize:
			return ed25519.NewKeyFromSeed(b[:ed25519.SeedSize]), nil
		}
	}
	key, err := x509.ParsePKCS8PrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("it is not a private key for %s", a)
	}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		if a == Ed25519 {
			return key, nil
		}
	case *ecdsa.PrivateKey:
		if a == ECDSA && key.Curve == elliptic.P256() {
			return key, nil
		}
	}
	return nil, fmt.Errorf("it is a private key, but not one for %s", a)
}
