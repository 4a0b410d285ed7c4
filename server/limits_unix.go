//go:build unix

package server

import "syscall"

// maxConns is how many visitors and agents may be connected: four fifths of the
// files that the process may open, so that the store and the answer "too many"
// have some left.
func maxConns() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 10_000
	}
	return int(min(uint64(r.Cur), 1<<24)) * 4 / 5 //nolint:unconvert // it is signed on some systems
}
