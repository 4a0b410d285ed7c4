package cert_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/server/cert"
)

// writePair writes a certificate of its own for the hosts, valid for so long.
func writePair(t *testing.T, p cert.Pair, left time.Duration, hosts ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "operator"}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(left),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	write(t, p.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func pair(dir, name string) cert.Pair {
	return cert.Pair{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
}

// shown is the certificate for a host, or nil.
func shown(t *testing.T, k *cert.Keeper, host string) *x509.Certificate {
	t.Helper()
	c, err := k.TLSConfig().GetCertificate(hello(host))
	if err != nil {
		t.Fatal(err)
	}
	if c == nil {
		return nil
	}
	return c.Leaf
}

func TestFilesComeFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	dir := t.TempDir()
	wild, own := pair(dir, "wild"), pair(dir, "own")
	writePair(t, wild, time.Hour, "relay.test", "*.relay.test")
	writePair(t, own, time.Hour, "hooks.other.test")
	o := w.options(t, dataDir(t), "alice.relay.test", "hooks.other.test", "third.test")
	o.Files = []cert.Pair{wild, own}
	k := newKeeper(t, o)
	w.serveTLS(t, k)
	run(t, k)
	for _, host := range []string{domain, "alice.relay.test", "hooks.other.test"} {
		if err := prepare(t, k, host); err != nil {
			t.Errorf("Prepare(%s): %v", host, err)
		}
		if c := shown(t, k, host); c == nil || c.Subject.CommonName != "operator" {
			t.Errorf("%s does not show the operator's certificate", host)
		}
	}
	if c := shown(t, k, "a.b.relay.test"); c != nil {
		t.Error("two labels below the domain the wildcard is shown")
	}
	if n := w.orders.Load(); n != 0 {
		t.Errorf("%d orders for what the files have", n)
	}
	if err := prepare(t, k, "third.test"); err != nil {
		t.Errorf("Prepare of what the files do not have: %v", err)
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	p := pair(t.TempDir(), "own")
	writePair(t, p, time.Hour, domain)
	o := w.options(t, dataDir(t))
	o.Files, o.Offline, o.Store = []cert.Pair{p}, true, nil
	var lines lockedBuffer
	o.Log = slog.New(slog.NewTextHandler(&lines, nil))
	k := newKeeper(t, o)
	k.Hurry(never, 10*time.Millisecond)
	run(t, k)
	first := shown(t, k, domain)

	write(t, p.Cert, []byte("half of a new certi"))
	eventually(t, "sentence about the broken file", func() bool {
		return strings.Contains(status(t, k).Certificates[0].Err, p.Cert+" is not a certificate")
	})
	if now := shown(t, k, domain); !now.Equal(first) {
		t.Error("a broken file took the old certificate away")
	}
	writePair(t, p, 2*time.Hour, domain)
	eventually(t, "new certificate", func() bool { return !shown(t, k, domain).Equal(first) })
	if c := status(t, k).Certificates[0]; c.Err != "" || c.State != cert.StateValid {
		t.Errorf("then the status is %+v", c)
	}
	if n := strings.Count(lines.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d lines about one broken file:\n%s", n, lines.String())
	}
	if err := prepare(t, k, domain); err != nil {
		t.Error(err)
	}
}

func TestBadFilesAreRefusedInASentence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, other, old := pair(dir, "good"), pair(dir, "other"), pair(dir, "old")
	writePair(t, good, time.Hour, domain)
	writePair(t, other, time.Hour, domain)
	writePair(t, old, -time.Minute, domain)
	junk := pair(dir, "junk")
	write(t, junk.Cert, []byte("hello"))
	write(t, junk.Key, []byte("hello"))
	s := open(t, dataDir(t))
	for _, tt := range []struct {
		name string
		pair cert.Pair
		want []string
	}{
		{"missing", pair(dir, "nowhere"), []string{"nowhere.crt does not exist", "check the path"}},
		{"no key", cert.Pair{Cert: good.Cert}, []string{"--tls-key is missing"}},
		{"swapped", cert.Pair{Cert: good.Cert, Key: other.Key}, []string{other.Key, "is not the key of", good.Cert}},
		{"the key is a certificate", cert.Pair{Cert: good.Cert, Key: good.Cert}, []string{good.Cert, "private key in PEM form"}},
		{"expired", old, []string{old.Cert, "has expired on", "renew it"}},
		{"no PEM", junk, []string{junk.Cert, "not a certificate in PEM form"}},
		{"no PEM key", cert.Pair{Cert: good.Cert, Key: junk.Key}, []string{junk.Key, "private key in PEM form"}},
	} {
		_, err := cert.New(cert.Options{Store: s, Domain: domain, Files: []cert.Pair{tt.pair}})
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %q does not say %q", tt.name, err, part)
			}
		}
	}
}

func TestHandshakesAreModern(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	p := pair(t.TempDir(), "own")
	writePair(t, p, time.Hour, domain)
	o := w.options(t, dataDir(t))
	o.Files, o.Offline, o.Store = []cert.Pair{p}, true, nil
	k := newKeeper(t, o)
	w.serveTLS(t, k)
	dial := func(c *tls.Config) (tls.ConnectionState, error) {
		c.ServerName, c.InsecureSkipVerify = domain, true
		conn, err := tls.Dial("tcp", w.https.Addr().String(), c)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer conn.Close()
		return conn.ConnectionState(), nil
	}
	s, err := dial(&tls.Config{NextProtos: []string{"h2", "http/1.1"}})
	if err != nil || s.Version != tls.VersionTLS13 || s.CurveID != tls.X25519MLKEM768 || s.NegotiatedProtocol != "h2" {
		t.Errorf("a new client gets version %x, curve %v, %q, %v", s.Version, s.CurveID, s.NegotiatedProtocol, err)
	}
	if s, err := dial(&tls.Config{MaxVersion: tls.VersionTLS12}); err != nil || s.Version != tls.VersionTLS12 {
		t.Errorf("TLS 1.2: %x, %v", s.Version, err)
	}
	if _, err := dial(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	if _, err := dial(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}}); err == nil {
		t.Error("a CBC cipher is accepted")
	}
}

func TestSecretsAreNotInTheClear(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	dir := dataDir(t)
	k := newKeeper(t, w.options(t, dir))
	w.serveTLS(t, k)
	run(t, k)
	if err := prepare(t, k, domain); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("PRIVATE KEY")) {
			t.Errorf("%s has a key in the clear", path)
		}
		info, _ := d.Info()
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
