package cert_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/relaytunnel/relay/server/cert"
)

func TestRenewalBeforeTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8*time.Second)
	o := w.options(t, dataDir(t), "hooks.other.test")
	o.Solver = w.dns
	k := newKeeper(t, o)
	w.serveTLS(t, k)
	run(t, k)
	hosts := []string{domain, "hooks.other.test"} // a wildcard, and a single one
	first := make(map[string]*x509.Certificate)
	for _, host := range hosts {
		if err := prepare(t, k, host); err != nil {
			t.Fatal(err)
		}
		leaf, err := w.leaf(t, host)
		if err != nil {
			t.Fatal(err)
		}
		first[host] = leaf
	}
	for _, host := range hosts {
		eventually(t, "second certificate for "+host, func() bool {
			leaf, err := w.leaf(t, host) // verified: there is a valid one all the time
			if err != nil {
				t.Fatalf("%s: %v", host, err)
			}
			if !leaf.Equal(first[host]) && leaf.NotBefore.After(first[host].NotAfter) {
				t.Errorf("%s was renewed after its end", host)
			}
			return !leaf.Equal(first[host])
		})
	}
}

// autocert renews by itself what it has ordered, without the lock and the counts.
func TestNobodyElseRenews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4*time.Second)
	o := w.options(t, dataDir(t))
	k := newKeeper(t, o)
	w.serveTLS(t, k)
	run(t, k)
	if err := prepare(t, k, domain); err != nil {
		t.Fatal(err)
	}
	issued := func() (n int64) {
		orders, err := o.Store.CertOrders(t.Context(), w.directory, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return int64(len(orders))
	}
	eventually(t, "third renewal", func() bool { return issued() >= 4 })
	if n := w.orders.Load(); n > issued()+1 { // one may be under way
		t.Errorf("%d orders were made, %d of them by the Keeper", n, issued())
	}
}

func TestARenewalThatFailsKeepsTheOldOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6*time.Second)
	k := newKeeper(t, w.options(t, dataDir(t)))
	w.serveTLS(t, k)
	run(t, k)
	if err := prepare(t, k, domain); err != nil {
		t.Fatal(err)
	}
	busy := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/problem+json")
		rw.WriteHeader(http.StatusTooManyRequests)
		_, _ = rw.Write([]byte(`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many orders"}`))
	})
	w.refuse.Store(&busy)
	eventually(t, "failure", func() bool { return status(t, k).Certificates[0].Err != "" })
	c := status(t, k).Certificates[0]
	if c.State != cert.StateValid || time.Until(c.NextTry) < 50*time.Second {
		t.Errorf("its status is %+v", c)
	}
	if _, err := w.leaf(t, domain); err != nil {
		t.Errorf("the old certificate: %v", err)
	}
	if err := prepare(t, k, domain); err != nil {
		t.Errorf("Prepare while the old certificate is valid: %v", err)
	}
	// After its end it is still shown, so that the visitor's browser can say why.
	eventually(t, "end", func() bool { return status(t, k).Certificates[0].State == cert.StateExpired })
	_, err := w.leaf(t, domain)
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("a handshake after the end: %v", err)
	}
}

func TestTwoProcessesOrderAHostOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	dir := dataDir(t)
	hosts := []string{"a.relay.test", "b.relay.test", "c.relay.test"}
	one, two := newKeeper(t, w.options(t, dir, hosts...)), newKeeper(t, w.options(t, dir, hosts...))
	// The authority asks the second for all, also for what the first orders.
	w.serveTLS(t, two)
	run(t, one)
	run(t, two)
	var both sync.WaitGroup
	for _, k := range []*cert.Keeper{one, two} {
		for _, host := range append(hosts, domain) {
			both.Go(func() {
				if err := prepare(t, k, host); err != nil {
					t.Errorf("Prepare(%s): %v", host, err)
				}
			})
		}
	}
	both.Wait()
	if n := w.orders.Load(); n != 4 {
		t.Errorf("%d orders for 4 hosts", n)
	}
	for _, host := range hosts {
		var shown [2]*tls.Certificate
		for i, k := range []*cert.Keeper{one, two} {
			shown[i], _ = k.TLSConfig().GetCertificate(hello(host))
		}
		if shown[0] == nil || shown[1] == nil || !shown[0].Leaf.Equal(shown[1].Leaf) {
			t.Errorf("the two show different certificates for %s", host)
		}
	}
}
