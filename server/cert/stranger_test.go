package cert_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

func TestStrangersOrderNothingAndFillNothing(t *testing.T) {
	w := newWorld(t, time.Hour)
	held := map[string]bool{"alice.relay.test": true, "away.relay.test": true}
	o := w.options(t, dataDir(t))
	o.Held = func(host string) bool { return held[host] }
	k := newKeeper(t, o)
	w.serveTLS(t, k)
	run(t, k)
	for _, host := range []string{domain, "alice.relay.test"} {
		if err := prepare(t, k, host); err != nil {
			t.Fatal(err)
		}
	}
	before, known := w.orders.Load(), k.Known()
	ask := k.TLSConfig().GetCertificate
	names := func(i int) string {
		switch i % 5 {
		case 0:
			return fmt.Sprintf("n%d.relay.test", i)
		case 1:
			return fmt.Sprintf("n%d.example.net", i)
		case 2:
			return fmt.Sprintf("a.n%d.alice.relay.test", i)
		case 3:
			return fmt.Sprintf("x%d\x00.relay.test", i)
		}
		return "away.relay.test" // held, and without a certificate
	}
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	used := memory()
	for i := range 100_000 {
		h := hello(names(i))
		if i%7 == 0 {
			h.SupportedProtos = []string{acme.ALPNProto} // pretends to be the authority
		}
		if c, err := ask(h); c != nil || err != nil {
			t.Fatalf("%q gets %v, %v", h.ServerName, c != nil, err)
		}
	}
	if grown := int64(memory()) - int64(used); grown > 2<<20 {
		t.Errorf("100,000 names left %d bytes behind", grown)
	}
	for i := range 200 {
		if i%5 == 3 {
			continue // no client sends these
		}
		_, err := w.leaf(t, names(i))
		if !unrecognized(err) {
			t.Fatalf("a handshake for %q ends with: %v", names(i), err)
		}
	}
	if _, err := w.leaf(t, ""); !unrecognized(err) { // sends no name, because the address is none
		t.Errorf("a handshake without a name ends with: %v", err)
	}
	// Not even an answer that lies in the store is given for another host.
	p := pair(t.TempDir(), "answer")
	writePair(t, p, time.Hour, "n0.relay.test", "away.relay.test")
	key, _ := os.ReadFile(p.Key)
	chain, _ := os.ReadFile(p.Cert)
	for host, want := range map[string]bool{"n0.relay.test": false, "away.relay.test": true} {
		if err := o.Store.PutCert(t.Context(), w.directory, host+"+token", append(key, chain...)); err != nil {
			t.Fatal(err)
		}
		h := hello(host)
		h.SupportedProtos = []string{acme.ALPNProto}
		if c, _ := ask(h); (c != nil) != want {
			t.Errorf("an answer for %s is given: %v", host, c != nil)
		}
	}
	if n := w.orders.Load(); n != before {
		t.Errorf("strangers made %d orders", n-before)
	}
	if n := k.Known(); n > known+2 { // away.relay.test and the wildcard
		t.Errorf("%d hosts in memory, %d before", n, known)
	}
	if _, err := w.leaf(t, "alice.relay.test"); err != nil {
		t.Errorf("a host with a certificate: %v", err)
	}
}

// unrecognized tells whether the server ended the handshake before it showed any
// certificate.
func unrecognized(err error) bool {
	return err != nil && strings.Contains(err.Error(), "remote error: tls: unrecognized name")
}
