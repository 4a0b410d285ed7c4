//go:build unix

package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestFilesAreClosedToOthersWhateverTheUmask(t *testing.T) {
	parent := t.TempDir()
	for _, umask := range []int{0, 0o022, 0o277} {
		old := syscall.Umask(umask)
		dir := filepath.Join(parent, fmt.Sprintf("data-%o", umask))
		s := open(t, dir)
		addUser(t, s, "ann") // so that there is a write-ahead log
		syscall.Umask(old)
		wantMode(t, dir, 0o700)
		for _, name := range []string{"relay.db", "relay.db-wal", "relay.db-shm"} {
			wantMode(t, filepath.Join(dir, name), 0o600)
		}
	}
}

func TestFilesThatWereOpenToOthersAreClosed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	wantMode(t, path, 0o600)
	wantMode(t, dir, 0o750) // the folder is the operator's
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %v, want %v", filepath.Base(path), got, want)
	}
}
