//go:build !unix

package http1

import "net"

// socketQuiet cannot look without taking here; a stale connection shows itself
// by an error, and the request is tried once more where that is safe.
func socketQuiet(net.Conn) bool { return true }
