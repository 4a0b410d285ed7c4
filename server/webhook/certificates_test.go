package webhook_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/webhook"
)

// issuer is an authority, and the sites that publish its certificates.
type issuer struct {
	t     *testing.T
	cert  *x509.Certificate
	key   *rsa.PrivateKey
	roots *x509.CertPool
	asked atomic.Int32
	site  func(w http.ResponseWriter, r *http.Request)
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t, key: rsaKey(t), roots: x509.NewCertPool()}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Fake Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	i.cert = i.sign(root, root, i.key, i.key)
	i.roots.AddCert(i.cert)
	return i
}

func (i *issuer) sign(c, parent *x509.Certificate, of, by *rsa.PrivateKey) *x509.Certificate {
	i.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &of.PublicKey, by)
	if err != nil {
		i.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return cert
}

// leaf issues a certificate for a name, by way of one between, and returns both in PEM.
func (i *issuer) leaf(key *rsa.PrivateKey, name string, until time.Time) string {
	betweenKey := rsaKey(i.t)
	between := i.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Between"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: i.cert.NotBefore, NotAfter: i.cert.NotAfter,
	}, i.cert, betweenKey, i.key)
	leaf := i.sign(&x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: i.cert.NotBefore, NotAfter: until,
	}, between, key, betweenKey)
	var text strings.Builder
	for _, c := range []*x509.Certificate{leaf, between} {
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return text.String()
}

// client reaches the site whatever the name.
func (i *issuer) client() *http.Client {
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		i.site(w, r)
	}))
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, site.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	i.t.Cleanup(func() {
		t.CloseIdleConnections()
		site.Close()
	})
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

var (
	then    = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	forLong = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
)

func TestCertificatesOfASender(t *testing.T) {
	i, key := newIssuer(t), rsaKey(t)
	stranger := newIssuer(t)
	answers := map[string]string{
		"/good":     i.leaf(key, "messageverificationcerts.paypal.com", forLong),
		"/expired":  i.leaf(key, "messageverificationcerts.paypal.com", then.Add(-time.Hour)),
		"/other":    i.leaf(key, "paypal.com.evil.test", forLong),
		"/stranger": stranger.leaf(key, "messageverificationcerts.paypal.com", forLong),
		"/garbage":  "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"/page":     "<html>moved</html>",
	}
	i.site = func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok {
			http.Redirect(w, r, "/good", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte(text))
	}
	c := webhook.NewCertificates(i.client(), i.roots)
	may := func() bool { return true }
	for path, want := range map[string]string{
		"/good": "", "/expired": "expired", "/other": "not of paypal.com", "/stranger": "unknown authority",
		"/garbage": "read the certificate", "/page": "no certificate", "/redirect": "302",
	} {
		got, err := c.Signer(t.Context(), "https://api.paypal.com"+path, "paypal.com", then, may)
		switch {
		case want == "" && (err != nil || !got.Equal(&key.PublicKey)):
			t.Errorf("%s: %v", path, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestACertificateIsFetchedOnce(t *testing.T) {
	i, key := newIssuer(t), rsaKey(t)
	text := i.leaf(key, "a.paypal.com", forLong)
	i.site = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	c := webhook.NewCertificates(i.client(), i.roots)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := c.Signer(t.Context(), "https://a.paypal.com/1", "paypal.com", then, func() bool { return true }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := i.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	never := func() bool { return false }
	if _, err := c.Signer(t.Context(), "https://a.paypal.com/2", "paypal.com", then, never); err == nil || i.asked.Load() != 1 {
		t.Errorf("one that may not be asked for: %v", err)
	}
	if _, err := c.Signer(t.Context(), "https://a.paypal.com/1", "paypal.com", then, never); err != nil {
		t.Errorf("one that is known: %v", err)
	}
}

// Strangers choose the path. What they name costs a few requests, and takes nothing
// from other endpoints.
func TestAFloodOfAddressesHurtsNobodyElse(t *testing.T) {
	i, key := newIssuer(t), rsaKey(t)
	text := i.leaf(key, "messageverificationcerts.paypal.com", forLong)
	i.site = func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/x") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(text))
	}
	w := newWorld(t)
	certs := webhook.NewCertificates(i.client(), i.roots)
	w.opts = func(o *webhook.Options) { o.Signer = certs.Signer }
	w.endpoint("hooks", enforcing("paypal", relay.InboxAlways), paypalID)
	w.endpoint("other", enforcing("paypal", relay.InboxAlways), paypalID)
	w.start()
	const body, address = `{"id":"WH-1"}`, "https://api.paypal.com/CERT-1"
	sig := paypalSignature(t, key, body)
	flood := func() {
		for n := range 200 {
			if r := w.post("hooks", body, paypalHeader(fmt.Sprintf("https://api.paypal.com/x%d", n), sig)...); r.StatusCode != 503 {
				t.Fatalf("a certificate that is not there: %d %s", r.StatusCode, r.body)
			}
		}
	}
	flood()
	if n := i.asked.Load(); n > 15 {
		t.Errorf("a flood of addresses asked %d times", n)
	}
	if r := w.post("other", body, paypalHeader(address, sig)...); r.StatusCode != 202 {
		t.Errorf("at another endpoint: %d %s", r.StatusCode, r.body)
	}
	flood()
	if r := w.post("hooks", body, paypalHeader(address, sig)...); r.StatusCode != 202 {
		t.Errorf("at the same endpoint, with what is known by now: %d %s", r.StatusCode, r.body)
	}
}

const paypalID = "4JH86294D6297924G"

// paypalSignature signs a body of the transmission tx-1 for paypalID.
func paypalSignature(t *testing.T, key *rsa.PrivateKey, body string) string {
	t.Helper()
	sum := sha256.Sum256(fmt.Appendf(nil, "tx-1|2026-11-25T12:00:00Z|%s|%d", paypalID, crc32.ChecksumIEEE([]byte(body))))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

func paypalHeader(address, sig string) []string {
	return []string{
		"Paypal-Transmission-Id", "tx-1", "Paypal-Transmission-Time", "2026-11-25T12:00:00Z",
		"Paypal-Cert-Url", address, "Paypal-Transmission-Sig", sig,
	}
}

func TestAnEventWithACertificate(t *testing.T) {
	i, key := newIssuer(t), rsaKey(t)
	text := i.leaf(key, "messageverificationcerts.paypal.com", forLong)
	i.site = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	certs := webhook.NewCertificates(i.client(), i.roots)
	reachable := false
	w := newWorld(t)
	w.opts = func(o *webhook.Options) {
		o.Signer = func(ctx context.Context, address, domain string, at time.Time, may func() bool) (*rsa.PublicKey, error) {
			if !reachable {
				return nil, errors.New("no route")
			}
			return certs.Signer(ctx, address, domain, at, may)
		}
	}
	e := w.endpoint("hooks", enforcing("paypal", relay.InboxAlways), paypalID)
	w.start()
	body := `{"id":"WH-1","event_type":"PAYMENT.SALE.COMPLETED"}`
	sig := paypalSignature(t, key, body)
	send := func(body, address string) *reply { return w.post("hooks", body, paypalHeader(address, sig)...) }
	const address = "https://api.paypal.com/v1/notifications/certs/CERT-1"
	// What could not be checked is not called wrong: the sender comes again.
	if r := send(body, address); r.StatusCode != 503 || r.Header.Get("Relay-Error") != "not_checked" || r.Header.Get("Retry-After") == "" {
		t.Errorf("without the certificate: %d %s", r.StatusCode, r.body)
	}
	rejected := w.events(relay.Filter{EndpointID: e.ID, States: []relay.EventState{relay.EventRejected}})
	if len(rejected) != 1 || !strings.Contains(rejected[0].Reason, "no route") {
		t.Errorf("recorded %+v", rejected)
	}
	reachable = true
	if r := send(body+" ", address); r.StatusCode != 401 {
		t.Errorf("another body: %d %s", r.StatusCode, r.body)
	}
	asked := i.asked.Load()
	if r := send(body, "https://api.paypal.com.evil.test/certs/1"); r.StatusCode != 401 || i.asked.Load() != asked {
		t.Errorf("another site: %d %s", r.StatusCode, r.body)
	}
	good := send(body, address)
	if good.StatusCode != 202 {
		t.Fatalf("signed right: %d %s", good.StatusCode, good.body)
	}
	w.pass(time.Hour)
	w.agent(true)
	if got := w.next(); got.Header.Get("Paypal-Transmission-Sig") != sig {
		t.Errorf("delivered with %v", got.Header)
	}
	ev := w.settled(good.id(), relay.EventDelivered)
	if words, err := w.inbox.Explain(t.Context(), ev.ID); err != nil || words != "The signature is right." {
		t.Errorf("explained as %q, %v", words, err)
	}
}
