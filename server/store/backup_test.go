package store_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relaytunnel/relay/server/store"
)

func backup(t *testing.T, s *store.Store, key bool) []byte {
	t.Helper()
	n, err := s.Snapshot(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var out bytes.Buffer
	if err := n.Send(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A backup of a store that others write to is one state of it: of users added one after
// the other it has the first so many.
func TestBackupOfLiveStore(t *testing.T) {
	from := t.TempDir()
	s := open(t, from)
	sealed, err := s.Seal("test", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	started := make(chan struct{})
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := s.AddUser(ctx, fmt.Sprintf("user%05d", i), false); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if i == 20 {
				close(started)
			}
		}
	})
	<-started
	var copies [][]byte
	for range 5 {
		copies = append(copies, backup(t, s, true))
	}
	cancel()
	wg.Wait()
	for _, c := range copies {
		to := filepath.Join(t.TempDir(), "new")
		done, err := store.Restore(t.Context(), bytes.NewReader(c), to, false, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if !done.Key || done.Kept || done.Moved != "" {
			t.Errorf("restored: %+v", done)
		}
		r := open(t, to)
		users, err := r.Users(t.Context())
		if err != nil || len(users) < 20 {
			t.Fatalf("%d users: %v", len(users), err)
		}
		for i := range users {
			if _, err := r.UserByName(t.Context(), fmt.Sprintf("user%05d", i)); err != nil {
				t.Errorf("user %d of %d: %v", i, len(users), err)
			}
		}
		if got, err := r.Unseal("test", sealed); err != nil || string(got) != "secret" {
			t.Errorf("unsealed %q: %v", got, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for _, dir := range []string{from, to} {
			for _, pattern := range []string{".backup-*", ".restore-*"} {
				if left, _ := filepath.Glob(filepath.Join(dir, pattern)); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			}
		}
		info, err := os.Stat(filepath.Join(to, "relay.db"))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%v: %v", info.Mode(), err)
		}
	}
}

// Without the key what was sealed stays shut, and the rest is there.
func TestBackupWithoutKey(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.AddUser(t.Context(), "alice", true); err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal("test", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	c := backup(t, s, false)
	to := t.TempDir()
	if _, err := store.Restore(t.Context(), bytes.NewReader(c), to, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(to, "relay.key")); err == nil {
		t.Error("there is a key")
	}
	r := open(t, to)
	if _, err := r.UserByName(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	if _, err := r.Unseal("test", sealed); !errors.Is(err, store.ErrSealed) {
		t.Errorf("unseal: %v", err)
	}
}

// Restoring over a database takes force, keeps what was there under another name, and
// leaves the key alone where the backup has none.
func TestRestoreOver(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.AddUser(t.Context(), "alice", true); err != nil {
		t.Fatal(err)
	}
	c := backup(t, s, false)
	to := t.TempDir()
	other := open(t, to)
	sealed, err := other.Seal("test", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(to, "relay.db"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	if _, err := store.Restore(t.Context(), bytes.NewReader(c), to, false, now); !errors.Is(err, store.ErrExists) {
		t.Fatalf("without force: %v", err)
	}
	done, err := store.Restore(t.Context(), bytes.NewReader(c), to, true, now)
	if err != nil {
		t.Fatal(err)
	}
	if done.Key || !done.Kept || done.Moved != filepath.Join(to, "before-20260131T120000") {
		t.Errorf("restored: %+v", done)
	}
	if after, err := os.ReadFile(filepath.Join(done.Moved, "relay.db")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("what was there is not as it was: %v", err)
	}
	r := open(t, to)
	if _, err := r.UserByName(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	if _, err := r.Unseal("test", sealed); err != nil {
		t.Error(err)
	}
}

// A copy that was cut short, here by its reader, has no right end.
func TestSendFails(t *testing.T) {
	s := open(t, t.TempDir())
	n, err := s.Snapshot(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := n.Send(ctx, &out); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := store.Restore(t.Context(), &out, t.TempDir(), false, time.Now()); !errors.Is(err, store.ErrNoBackup) {
		t.Error(err)
	}
	if _, err := s.Snapshot(ctx, true); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What is no backup changes nothing, also with force.
func TestRestoreGarbage(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.AddUser(t.Context(), "alice", true); err != nil {
		t.Fatal(err)
	}
	good := backup(t, s, true)
	packed := func(name string, kind byte, content string) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		w := tar.NewWriter(z)
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Mode: 0o600, Size: int64(len(content)), Linkname: map[byte]string{tar.TypeSymlink: "/etc/passwd"}[kind]}); err != nil {
			t.Fatal(err)
		}
		_, err := w.Write([]byte(content))
		if err := errors.Join(err, w.Close(), z.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	to := t.TempDir()
	keep := open(t, to)
	if _, err := keep.AddUser(t.Context(), "bob", true); err != nil {
		t.Fatal(err)
	}
	if err := keep.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty":          nil,
		"text":           []byte("hello"),
		"cut":            good[:len(good)-20],
		"cut early":      good[:len(good)/3],
		"flipped bit":    flipped,
		"elsewhere":      packed("../relay.db", tar.TypeReg, "x"),
		"link":           packed("relay.db", tar.TypeSymlink, ""),
		"not a database": packed("relay.db", tar.TypeReg, strings.Repeat("x", 10000)),
		"empty database": packed("relay.db", tar.TypeReg, ""),
		"key alone":      packed("relay.key", tar.TypeReg, "x"),
	} {
		if _, err := store.Restore(t.Context(), bytes.NewReader(b), to, true, time.Now()); !errors.Is(err, store.ErrNoBackup) {
			t.Errorf("%s: %v", name, err)
		}
	}
	left, err := os.ReadDir(to)
	if err != nil || len(left) != 2 {
		t.Errorf("in the folder: %v, %v", left, err)
	}
	if _, err := open(t, to).UserByName(t.Context(), "bob"); err != nil {
		t.Error(err)
	}
}
