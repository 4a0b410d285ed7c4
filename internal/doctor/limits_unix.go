//go:build unix

package doctor

import (
	"path/filepath"
	"syscall"
)

// freeDisk is how many bytes may still be written below dir, or below the first
// folder above it that exists.
func freeDisk(dir string) (int64, bool) {
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err == nil {
			return int64(uint64(s.Bavail) * uint64(s.Bsize)), true //nolint:unconvert // their types differ between systems
		}
		up := filepath.Dir(dir)
		if up == dir {
			return 0, false
		}
		dir = up
	}
}

// openFiles is how many files the process may have open.
func openFiles() (uint64, bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return uint64(r.Cur), true //nolint:unconvert // it is signed on some systems
}
