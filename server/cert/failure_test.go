package cert_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/cert"
	"github.com/relaytunnel/relay/server/store"
)

// In these tests a wait after a failure is an hour where there must be none, and
// a moment where it is waited for.
const (
	never  = time.Hour
	moment = 20 * time.Millisecond
)

func TestTheAuthorityIsDownAtTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	down := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	w.refuse.Store(&down)
	k := newKeeper(t, w.options(t, dataDir(t)))
	k.Hurry(moment, never)
	w.serveTLS(t, k)
	run(t, k)
	err := prepare(t, k, domain)
	if err == nil || !strings.Contains(err.Error(), "cannot be reached") || !strings.Contains(err.Error(), "next try in") {
		t.Errorf("Prepare: %v", err)
	}
	if _, err := w.leaf(t, domain); !unrecognized(err) {
		t.Errorf("a handshake meanwhile: %v", err)
	}
	w.refuse.Store(nil)
	eventually(t, "a certificate when the authority is back", func() bool { return prepare(t, k, domain) == nil })
}

func TestOneBadHostDoesNotStopOthersAndIsLoggedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	o := w.options(t, dataDir(t), "alice.relay.test", "bad_label.relay.test", "gone.example.invalid")
	var lines lockedBuffer
	o.Log = slog.New(slog.NewTextHandler(&lines, nil))
	w.dns.silence("gone.example.invalid.")
	k := newKeeper(t, o)
	k.Hurry(moment, never)
	w.serveTLS(t, k)
	run(t, k)
	err := prepare(t, k, "gone.example.invalid")
	if err == nil || !strings.Contains(err.Error(), "could not verify gone.example.invalid (by tls-alpn-01") || !strings.Contains(err.Error(), "; by http-01") {
		t.Errorf("Prepare of a host whose DNS is missing: %v", err)
	}
	if err := prepare(t, k, "alice.relay.test"); err != nil {
		t.Errorf("Prepare of another: %v", err)
	}
	// Two orders have failed when the next is an hour away.
	eventually(t, "second failure", func() bool {
		c := certificate(t, k, "gone.example.invalid")
		return c.Err != "" && time.Until(c.NextTry) > 50*time.Minute
	})
	if n := strings.Count(lines.String(), "host=gone.example.invalid"); n != 1 {
		t.Errorf("%d lines about one state:\n%s", n, lines.String())
	}
	if c := certificate(t, k, "gone.example.invalid"); c.State != cert.StateFailed || c.Source != cert.SourceSingle {
		t.Errorf("its status is %+v", c)
	}
}

func TestACrashLoopDoesNotAskAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	w.dns.silence("alice.relay.test.")
	dir := dataDir(t)
	var first int64
	for n := range 5 {
		k := newKeeper(t, w.options(t, dir, "alice.relay.test"))
		stop := run(t, k)
		if err := prepare(t, k, "alice.relay.test"); err == nil {
			t.Fatal("a host without DNS got a certificate")
		}
		stop()
		if n == 0 {
			// One order for each way to verify it, and one that finds no other way.
			first = w.ordersOf("alice.relay.test")
		}
	}
	if n := w.ordersOf("alice.relay.test"); n != first || n == 0 {
		t.Errorf("%d orders after 5 starts, %d after the first", n, first)
	}
}

func TestAProcessThatDiedInAnOrderWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	dir := dataDir(t)
	o := w.options(t, dir, "alice.relay.test")
	k := newKeeper(t, o)
	w.serveTLS(t, k)
	// As if another process were in the middle of its order, and then were not.
	reached, stay := make(chan struct{}), make(chan struct{})
	hang := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case reached <- struct{}{}:
		case <-stay:
		}
		<-stay
	})
	defer close(stay)
	w.refuse.Store(&hang)
	run(t, k)
	go func() { _ = k.Prepare(t.Context(), "alice.relay.test") }()
	<-reached
	eventually(t, "the failure written down in advance", func() bool {
		try, err := open(t, dir).CertTry(t.Context(), w.directory, "alice.relay.test")
		return err == nil && try.Failures == 1 && try.Next.After(time.Now())
	})
}

func TestVerificationsAreLimitedByTheHour(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	w.dns.silence("alice.relay.test.")
	k := newKeeper(t, w.options(t, dataDir(t), "alice.relay.test"))
	k.Hurry(moment, never)
	w.serveTLS(t, k)
	run(t, k)
	_ = prepare(t, k, "alice.relay.test")
	eventually(t, "a long wait", func() bool {
		return time.Until(certificate(t, k, "alice.relay.test").NextTry) > 50*time.Minute
	})
	// Two verifications in each order, five in an hour.
	if n := w.ordersOf("alice.relay.test"); n == 0 || n > 6 {
		t.Errorf("%d orders", n)
	}
}

func TestTheWeeksLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 15*time.Second)
	o := w.options(t, dataDir(t), "alice.relay.test", "new.relay.test", "other.example.org")
	o.Weekly = 10
	k := newKeeper(t, o)
	w.serveTLS(t, k)
	stop := run(t, k)
	if err := prepare(t, k, "alice.relay.test"); err != nil {
		t.Fatal(err)
	}
	if err := prepare(t, k, domain); err != nil {
		t.Fatal(err)
	}
	if q := status(t, k).Quota; len(q) != 1 || q[0] != (cert.Quota{Zone: "relay.test", Used: 2, Limit: 10}) {
		t.Errorf("the quota is %+v", q)
	}
	first, err := w.leaf(t, "alice.relay.test")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := o.Store.AddCertOrder(t.Context(), store.CertOrder{CA: w.directory, Host: "x.relay.test", Zone: "relay.test", Outcome: store.CertNew, At: time.Now()}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := prepare(t, k, "new.relay.test"); !errors.Is(err, relay.ErrLimit) || !strings.Contains(err.Error(), "5 of the 10") {
		t.Errorf("a new name near the limit: %v", err)
	}
	if err := prepare(t, k, "other.example.org"); err != nil {
		t.Errorf("a name in another domain: %v", err)
	}
	eventually(t, "the renewal near the limit", func() bool {
		leaf, err := w.leaf(t, "alice.relay.test")
		return err == nil && !leaf.Equal(first)
	})
	stop()
}

func status(t *testing.T, k *cert.Keeper) cert.Status {
	t.Helper()
	s, err := k.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// certificate is the state of a host's certificate.
func certificate(t *testing.T, k *cert.Keeper, host string) cert.Certificate {
	t.Helper()
	for _, c := range status(t, k).Certificates {
		if c.Host == host {
			return c
		}
	}
	t.Fatalf("%s has no state", host)
	return cert.Certificate{}
}

// eventually waits for what cannot tell when it happens.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("no %s", what)
		case <-tick.C:
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
