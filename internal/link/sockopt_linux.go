package link

import (
	"net"
	"syscall"
)

// tcpNotSentLowat is TCP_NOTSENT_LOWAT, which package syscall lacks.
const tcpNotSentLowat = 25

// unsentBytes is how much may wait in the kernel unsent. What waits there can
// no longer be overtaken by a small request.
const unsentBytes = 32 << 10

func boundUnsent(c net.Conn) {
	tcp := tcpConn(c)
	if tcp == nil {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	// Where the kernel refuses, latency under bulk is worse and nothing else.
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, unsentBytes)
	})
}
