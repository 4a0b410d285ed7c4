//go:build !linux

package link

import "net"

func boundUnsent(net.Conn) {}
