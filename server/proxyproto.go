package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// proxyHeaderTimeout is how long a proxy may take to send its header. A proxy
// sends it with the connection's first packet; the rest is for a lost one.
const proxyHeaderTimeout = 5 * time.Second

// maxProxyExtras bounds what a header of version 2 may carry beside the two
// addresses: clouds send their endpoint ids there, proxies the subject of a
// certificate. The length field would allow 64 KiB.
const maxProxyExtras = 4 << 10

// proxyListener wraps a listener that stands behind proxies which speak the
// PROXY protocol, version 1 or 2. What a connection says of its addresses is then
// what the proxy says of the visitor's.
//
// A connection from a trusted address must begin with a header: without one, or
// with a broken one, every Read and Write fails and nothing is answered.
// Otherwise whoever reaches the server through the proxy's machine would pass for
// the proxy. A connection from any other address must not begin with one.
//
// The header is read at the first use of a connection, not in Accept, so that a
// slow one holds up nobody else. RemoteAddr and LocalAddr wait for it as well:
// do not call them in the loop that accepts.
//
// A proxy that speaks for itself (LOCAL in version 2, UNKNOWN in version 1: its
// health checks) keeps its own address.
func proxyListener(ln net.Listener, trusted []netip.Prefix) net.Listener {
	return &proxied{proxyproto.Listener{
		Listener:          ln,
		ReadHeaderTimeout: proxyHeaderTimeout,
		ValidateHeader:    checkProxyHeader,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			from, ok := addrOf(o.Upstream)
			if ok && slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(from) }) {
				return proxyproto.REQUIRE, nil
			}
			return proxyproto.REJECT, nil
		},
	}}
}

// proxied is a listener whose connections can still be half-closed.
type proxied struct{ proxyproto.Listener }

func (l *proxied) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if pc, ok := c.(*proxyproto.Conn); ok {
		return &proxiedConn{pc}, nil
	}
	return c, nil
}

// proxiedConn is a visitor's connection through a proxy.
type proxiedConn struct{ *proxyproto.Conn }

// CloseWrite ends the direction to the visitor.
func (c *proxiedConn) CloseWrite() error {
	if cw, ok := c.Raw().(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn gives the connection underneath, which is the proxy's.
func (c *proxiedConn) NetConn() net.Conn { return c.Raw() }

// checkProxyHeader refuses headers that no proxy before a web server sends.
func checkProxyHeader(h *proxyproto.Header) error {
	// The bytes of all extras are not exported, only their list.
	extras, err := h.TLVs()
	if err != nil {
		return fmt.Errorf("PROXY header: %w", err)
	}
	size := 0
	for _, e := range extras {
		size += len(e.Value)
	}
	switch {
	case size > maxProxyExtras:
		return fmt.Errorf("PROXY header: %d bytes of extras, at most %d are read", size, maxProxyExtras)
	case h.Command.IsLocal(), h.TransportProtocol == proxyproto.UNSPEC:
		return nil
	case h.TransportProtocol != proxyproto.TCPv4 && h.TransportProtocol != proxyproto.TCPv6:
		return fmt.Errorf("PROXY header: the visitor's connection is not TCP (%#x)", byte(h.TransportProtocol))
	}
	return nil
}

// addrOf is the address of a TCP peer, without zone and as IPv4 where it is one.
func addrOf(a net.Addr) (netip.Addr, bool) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	from := tcp.AddrPort().Addr().Unmap().WithZone("")
	return from, from.IsValid()
}
