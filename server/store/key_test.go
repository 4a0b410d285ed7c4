package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/relaytunnel/relay/server/store"
)

func TestSealedThingsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte("whsec_a-secret-that-is-nobody's")
	sealed, err := s.Seal("webhook secret", plain)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, plain[:8]) {
		t.Error("the secret can be read")
	}
	again, err := s.Seal("webhook secret", plain)
	if err != nil || bytes.Equal(sealed, again) {
		t.Errorf("the same secret sealed twice is the same (%v)", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "relay.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("relay.key: %v, %v", info.Mode(), err)
	}

	s, err = store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := s.Unseal("webhook secret", sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("unsealed %q, %v", got, err)
	}
	for name, bad := range map[string][]byte{"nothing": nil, "short": sealed[:9], "cut": sealed[:len(sealed)-1], "another version": append([]byte{9}, sealed[1:]...)} {
		if _, err := s.Unseal("webhook secret", bad); !errors.Is(err, store.ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Unseal("certificate", sealed); !errors.Is(err, store.ErrSealed) {
		t.Errorf("another purpose: %v", err)
	}
}

func TestADamagedServerKeyIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.key")
	if err := os.WriteFile(path, []byte("rubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("opened with a damaged key: %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "rubbish\n" {
		t.Errorf("the file is %q now", text)
	}
}

// Two servers that start at once on one folder must not each have a key.
func TestProcessesThatStartAtOnceShareAKey(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	stores := make([]*store.Store, 4)
	for i := range stores {
		wg.Go(func() {
			s, err := store.Open(t.Context(), dir)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = s.Close() })
			stores[i] = s
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed, err := stores[0].Seal("test", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range stores {
		if _, err := s.Unseal("test", sealed); err != nil {
			t.Errorf("store %d: %v", i, err)
		}
	}
}
