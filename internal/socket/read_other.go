//go:build !unix

package socket

import "net"

// reader reads as the connection does.
type reader struct{}

func (reader) init(net.Conn) {}

func (reader) read(c net.Conn, p []byte) (int, error) { return c.Read(p) }
