//go:build !unix

package server

// maxConns is how many visitors and agents may be connected.
func maxConns() int { return 10_000 }
