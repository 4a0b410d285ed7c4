package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

func TestCertsAreKeptByAuthorityAndEncrypted(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	secret := []byte("-----BEGIN EC PRIVATE KEY----- very secret")
	if err := s.PutCert(ctx, "ca-1", "a.example", []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := s.PutCert(ctx, "ca-1", "a.example", secret); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Cert(ctx, "ca-1", "a.example"); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("Cert = %q, %v", got, err)
	}
	_, err := s.Cert(ctx, "ca-2", "a.example")
	wantKind(t, "another authority", err, relay.ErrNotFound)
	if keys, err := s.CertKeys(ctx, "ca-1"); err != nil || !cmp.Equal(keys, []string{"a.example"}) {
		t.Errorf("CertKeys = %q, %v", keys, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if raw, err := os.ReadFile(name); err != nil || bytes.Contains(raw, []byte("very secret")) {
			t.Errorf("%s has the secret in the clear (%v)", name, err)
		}
	}
	if err := s.DeleteCert(ctx, "ca-1", "a.example"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Cert(ctx, "ca-1", "a.example")
	wantKind(t, "after DeleteCert", err, relay.ErrNotFound)
}

func TestCertOrdersAndTries(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	start := time.UnixMilli(1_700_000_000_000).UTC()
	at := func(n int) store.CertOrder {
		return store.CertOrder{CA: "ca", Host: "a.example", Zone: "example", Outcome: store.CertNew, At: start.Add(time.Duration(n) * time.Hour)}
	}
	for n := range 3 {
		if err := s.AddCertOrder(ctx, at(n), start.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.CertOrders(ctx, "ca", time.Time{})
	if want := []store.CertOrder{at(1), at(2)}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("CertOrders: %v\n%s", err, cmp.Diff(want, got))
	}
	if got, err := s.CertOrders(ctx, "ca", start.Add(2*time.Hour)); err != nil || len(got) != 1 {
		t.Errorf("CertOrders since the last: %v, %v", got, err)
	}

	none := store.CertTry{CA: "ca", Host: "a.example"}
	if got, err := s.CertTry(ctx, "ca", "a.example"); err != nil || got != none {
		t.Errorf("the try of a host that has not failed is %+v, %v", got, err)
	}
	for n := 1; n <= 2; n++ {
		try := store.CertTry{CA: "ca", Host: "a.example", Failures: n, Next: start.Add(time.Duration(n) * time.Minute), Error: "no DNS"}
		if err := s.SetCertTry(ctx, try); err != nil {
			t.Fatal(err)
		}
		if got, err := s.CertTry(ctx, "ca", "a.example"); err != nil || got != try {
			t.Errorf("CertTry = %+v, %v; want %+v", got, err, try)
		}
	}
	if err := s.DeleteCertTry(ctx, "ca", "a.example"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.CertTry(ctx, "ca", "a.example"); err != nil || got != none {
		t.Errorf("after DeleteCertTry: %+v, %v", got, err)
	}
}

// Two stores on one folder are two processes.
func TestLockHasOneOwner(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	now := time.UnixMilli(1_700_000_000_000)
	one, two := open(t, dir), open(t, dir)
	one.Now = func() time.Time { return now }
	two.Now = one.Now

	lock := func(s *store.Store, owner string, want error) {
		t.Helper()
		err := s.Lock(ctx, "cert/a.example", owner, time.Minute)
		if want == nil && err != nil {
			t.Errorf("Lock for %s: %v", owner, err)
		} else if want != nil {
			wantKind(t, "Lock for "+owner, err, want)
		}
	}
	lock(one, "one", nil)
	lock(one, "one", nil) // the lease again
	lock(two, "two", relay.ErrTaken)
	if err := two.Unlock(ctx, "cert/a.example", "two"); err != nil {
		t.Fatal(err)
	}
	lock(two, "two", relay.ErrTaken) // what it does not have it cannot give back
	now = now.Add(time.Minute)
	lock(two, "two", nil) // one let the lease pass
	lock(one, "one", relay.ErrTaken)
	if err := two.Unlock(ctx, "cert/a.example", "two"); err != nil {
		t.Fatal(err)
	}
	lock(one, "one", nil)
}
