package cert_test

import (
	"slices"
	"testing"
	"time"
)

func TestWildcardByDNS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	o := w.options(t, dataDir(t), "alice.relay.test", "bob.relay.test", "hooks.other.test")
	o.Solver = w.dns
	k := newKeeper(t, o)
	w.serveTLS(t, k)
	run(t, k)
	for _, host := range []string{"alice.relay.test", "bob.relay.test", domain} {
		if err := prepare(t, k, host); err != nil {
			t.Fatalf("Prepare(%s): %v", host, err)
		}
		leaf, err := w.leaf(t, host)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(leaf.DNSNames)
		if want := []string{"*." + domain, domain}; !slices.Equal(leaf.DNSNames, want) {
			t.Errorf("%s has a certificate for %q, want %q", host, leaf.DNSNames, want)
		}
	}
	if n := w.orders.Load(); n != 1 {
		t.Errorf("%d orders, want one", n)
	}
	if now, ever := w.dns.left("_acme-challenge." + domain + "."); now != 0 || ever != 2 {
		t.Errorf("%d TXT records are left of %d", now, ever)
	}
	// The wildcard is one label deep, and other domains have their own.
	if _, err := w.leaf(t, "a.alice.relay.test"); err == nil {
		t.Error("two labels below the domain there is a certificate")
	}
	if err := prepare(t, k, "hooks.other.test"); err != nil {
		t.Fatal(err)
	}
	if leaf, err := w.leaf(t, "hooks.other.test"); err != nil || !slices.Equal(leaf.DNSNames, []string{"hooks.other.test"}) {
		t.Errorf("another domain: %v", err)
	}
}
