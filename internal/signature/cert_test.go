package signature_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/signature"
)

const certURL = "https://api.paypal.com/v1/notifications/certs/CERT-1"

// paypalRequest is one as PayPal signs it for a webhook ID.
func paypalRequest(t *testing.T, key *rsa.PrivateKey, webhookID string) signature.Request {
	t.Helper()
	body := []byte(`{"id":"WH-1","event_type":"PAYMENT.SALE.COMPLETED","amount":1.00}`)
	const id, at = "dfb3be50-fd74-11e4-8bf3-77339302725b", "2015-05-18T15:45:13Z"
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d", id, at, webhookID, crc32.ChecksumIEEE(body)))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signature.Request{
		Method: http.MethodPost, URL: "https://hooks.example.test/in", Body: body, Signer: &key.PublicKey,
		Header: header("Paypal-Transmission-Id", id, "Paypal-Transmission-Time", at, "Paypal-Auth-Algo", "SHA256withRSA",
			"Paypal-Cert-Url", certURL, "Paypal-Transmission-Sig", base64.StdEncoding.EncodeToString(sig)),
	}
}

func TestPayPal(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := signature.Lookup("paypal")
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	const webhookID = "4JH86294D6297924G"
	for _, tt := range []struct {
		name   string
		ids    []string
		change func(*signature.Request)
		want   signature.Reason
		words  string // of the explanation
	}{
		{"right", []string{webhookID}, nil, "", "is right"},
		{"one of two", []string{"OTHER", webhookID}, nil, "", "is right"},
		{"another webhook", []string{"OTHER"}, nil, signature.WrongSignature, "another endpoint"},
		{"no webhook ID", nil, nil, signature.NoSecret, "the webhook ID"},
		{"a line break more", []string{webhookID}, func(r *signature.Request) { r.Body = append(r.Body, '\n') }, signature.WrongSignature, "without the line break"},
		{"another time", []string{webhookID}, func(r *signature.Request) { r.Header.Set("Paypal-Transmission-Time", "2015-05-18T15:45:14Z") }, signature.WrongSignature, ""},
		{"no time", []string{webhookID}, func(r *signature.Request) { r.Header.Del("Paypal-Transmission-Time") }, signature.NoTimestamp, ""},
		{"another key", []string{webhookID}, func(r *signature.Request) { r.Signer = &other.PublicKey }, signature.WrongSignature, ""},
		{"no key", []string{webhookID}, func(r *signature.Request) { r.Signer = nil }, signature.NoCert, "could not be fetched"},
		{"no signature", []string{webhookID}, func(r *signature.Request) { r.Header.Del("Paypal-Transmission-Sig") }, signature.NoHeader, "has no Paypal-Transmission-Sig"},
		{"foreign certificate", []string{webhookID}, func(r *signature.Request) { r.Header.Set("Paypal-Cert-Url", "https://paypal.com.evil.test/c") }, signature.ForeignCert, "below paypal.com"},
	} {
		r := paypalRequest(t, key, webhookID)
		if tt.change != nil {
			tt.change(&r)
		}
		err := signature.Verify(s, tt.ids, r, now)
		if got := reason(t, err); got != tt.want {
			t.Errorf("%s: %q (%v), want %q", tt.name, got, err, tt.want)
		}
		if got := signature.Explain(s, tt.ids, r, now); !strings.Contains(got, tt.words) {
			t.Errorf("%s: explained as %q, want %q", tt.name, got, tt.words)
		}
	}
	r := paypalRequest(t, key, webhookID)
	if guess, ok := signature.Detect(r); !ok || guess.Name != "paypal" || signature.EventID(guess, r) != "WH-1" || signature.EventType(guess, r) != "PAYMENT.SALE.COMPLETED" {
		t.Errorf("taken for %s, %s", guess.Name, signature.EventID(guess, r))
	}
	if _, err := signature.Sign(s, webhookID, r, now); err == nil || !strings.Contains(err.Error(), "nobody else has") {
		t.Errorf("signing: %v", err)
	}
	if s.Fresh() {
		t.Error("it is said to be signed anew")
	}
}

func TestCertificatesAreAskedForAtTheSenderOnly(t *testing.T) {
	s, _ := signature.Lookup("paypal")
	for address, want := range map[string]bool{
		certURL:                                    true,
		"https://api.sandbox.paypal.com/c":         true,
		"https://API.PayPal.com/c":                 true,
		"https://paypal.com/c":                     true,
		"https://api.paypal.com:443/c":             true,
		"":                                         false,
		"https://api.paypal.com/c?n=1":             false,
		"http://api.paypal.com/c":                  false,
		"https://api.paypal.com:8443/c":            false,
		"https://api.paypal.com@evil.test/c":       false,
		"https://user@api.paypal.com/c":            false,
		"https://evilpaypal.com/c":                 false,
		"https://paypal.com.evil.test/c":           false,
		"https://evil.test/paypal.com":             false,
		"https://evil.test#.paypal.com":            false,
		"https://evil.test\\.paypal.com/c":         false,
		"https://127.0.0.1/c":                      false,
		"//api.paypal.com/c":                       false,
		"file:///etc/passwd":                       false,
		"https://api.paypal.com.:443/c":            false,
		"https://api.paypal.com/c\r\nHost: a.test": false,
	} {
		r := signature.Request{Header: http.Header{"Paypal-Cert-Url": {address}}}
		if got, domain, ok := s.CertURL(r); ok != want || ok && (got != address || domain != "paypal.com") {
			t.Errorf("%q: %v", address, ok)
		}
	}
	two := signature.Request{Header: http.Header{"Paypal-Cert-Url": {certURL, "https://api.paypal.com/other"}}}
	if _, _, ok := s.CertURL(two); ok {
		t.Error("two addresses are taken for one")
	}
	if github, _ := signature.Lookup("github"); true {
		if _, _, ok := github.CertURL(two); ok {
			t.Error("GitHub has a certificate")
		}
	}
}
