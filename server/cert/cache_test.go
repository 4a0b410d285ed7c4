package cert

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/acme/autocert"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

// A store that came without its server key has no certificates and no account: they are
// made anew.
func TestAnotherServerKey(t *testing.T) {
	dir := t.TempDir()
	open := func() cache {
		t.Helper()
		s, err := store.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return cache{s, "ca"}
	}
	c := open()
	if err := c.Put(t.Context(), "acme_account+key", []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "relay.key")); err != nil {
		t.Fatal(err)
	}
	c = open()
	if _, err := c.Get(t.Context(), "acme_account+key"); !errors.Is(err, autocert.ErrCacheMiss) {
		t.Errorf("the account: %v", err)
	}
	if _, err := c.load(t.Context(), "acme_account+key"); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("a certificate: %v", err)
	}
	if err := c.Put(t.Context(), "acme_account+key", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(t.Context(), "acme_account+key"); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
}
