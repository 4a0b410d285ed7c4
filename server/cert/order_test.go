package cert_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/cert"
)

func TestSingleNamesByTLSALPN(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	dir := dataDir(t)
	k := newKeeper(t, w.options(t, dir, "alice.relay.test"))
	w.serveTLS(t, k)
	stop := run(t, k)

	for _, host := range []string{domain, "alice.relay.test", "ALICE.relay.test:443"} {
		if err := prepare(t, k, host); err != nil {
			t.Fatalf("Prepare(%s): %v", host, err)
		}
	}
	leaf, err := w.leaf(t, "alice.relay.test")
	if err != nil {
		t.Fatal(err)
	}
	if n := w.orders.Load(); n != 2 {
		t.Errorf("%d orders for two hosts", n)
	}
	if err := prepare(t, k, "bob.relay.test"); !errors.Is(err, relay.ErrDenied) {
		t.Errorf("Prepare of a name that nobody holds: %v", err)
	}
	if _, err := w.leaf(t, "bob.relay.test"); err == nil {
		t.Error("a name that nobody holds has a certificate")
	}
	stop()

	// The next process finds it in the store.
	again := newKeeper(t, w.options(t, dir, "alice.relay.test"))
	run(t, again)
	if err := prepare(t, again, "alice.relay.test"); err != nil {
		t.Fatal(err)
	}
	if second, err := again.TLSConfig().GetCertificate(hello("alice.relay.test")); err != nil || second == nil || !second.Leaf.Equal(leaf) {
		t.Errorf("after a restart it is another certificate: %v", err)
	}
	if n := w.orders.Load(); n != 2 {
		t.Errorf("%d orders after a restart", n)
	}
}

func TestSingleNamesByHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	k := newKeeper(t, w.options(t, dataDir(t), "alice.relay.test"))
	_ = w.https.Close() // nobody answers there
	w.serveHTTP(t, k)
	run(t, k)
	if err := prepare(t, k, "alice.relay.test"); err != nil {
		t.Fatal(err)
	}
	if c, err := k.TLSConfig().GetCertificate(hello("alice.relay.test")); c == nil || err != nil {
		t.Errorf("no certificate: %v", err)
	}
}

func TestAnAuthorityThatWantsAnAccount(t *testing.T) {
	t.Parallel()
	for name, binding := range map[string]cert.Binding{"without": {}, "with": {KeyID: bindingID, Key: bindingKey}} {
		for _, wildcard := range []bool{false, true} {
			w := newWorldFor(t, time.Hour, true)
			o := w.options(t, dataDir(t))
			o.Binding = binding
			if wildcard {
				o.Solver = w.dns
			}
			k := newKeeper(t, o)
			w.serveTLS(t, k)
			run(t, k)
			switch err := prepare(t, k, domain); {
			case name == "with" && err != nil:
				t.Errorf("with an account, wildcard %v: %v", wildcard, err)
			case name == "without" && (err == nil || !strings.Contains(err.Error(), "refuses")):
				t.Errorf("without an account, wildcard %v: %v", wildcard, err)
			}
		}
	}
	_, err := cert.New(cert.Options{Domain: domain, Offline: true, Binding: cert.Binding{KeyID: "a", Key: "not base64!"}})
	if err == nil || !strings.Contains(err.Error(), "external account binding") {
		t.Errorf("a damaged key: %v", err)
	}
}

func TestReleasedNamesAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4*time.Second)
	dir := dataDir(t)
	var released atomic.Bool
	o := w.options(t, dir)
	o.Held = func(host string) bool { return host == "alice.relay.test" && !released.Load() }
	k := newKeeper(t, o)
	w.serveTLS(t, k)
	stop := run(t, k)
	if err := prepare(t, k, "alice.relay.test"); err != nil {
		t.Fatal(err)
	}
	leaf := shown(t, k, "alice.relay.test")
	released.Store(true)
	if c := shown(t, k, "alice.relay.test"); c != nil {
		t.Error("a released name still has its certificate")
	}
	kept := func() bool {
		_, err := o.Store.Cert(t.Context(), w.directory, "alice.relay.test")
		return err == nil
	}
	if !kept() {
		t.Error("its certificate is gone before its end: who takes the name again needs another")
	}
	stop()
	eventually(t, "end of the certificate", func() bool { return time.Now().After(leaf.NotAfter) })
	run(t, newKeeper(t, o))
	eventually(t, "certificate less in the store", func() bool { return !kept() })
}
