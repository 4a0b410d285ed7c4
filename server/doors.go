package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// doors are the sockets on which a server is reached. What is not served is nil.
type doors struct {
	http  net.Listener   // plain HTTP
	https net.Listener   // HTTP by TLS
	quic  net.PacketConn // HTTP/3
	dns   net.Listener   // DNS by TCP
	dnsP  net.PacketConn // DNS by UDP
}

// open opens all doors that the configuration asks for, or none: a server that
// cannot have one of them does not start. Sockets that systemd has opened come
// before addresses.
func (s *Server) open(ctx context.Context) (d *doors, err error) {
	given, err := activated()
	if err != nil {
		return nil, err
	}
	d = &doors{}
	defer func() {
		for _, ln := range given { // that nobody has taken
			_ = ln.Close()
		}
		if err != nil {
			d.close()
		}
	}()
	take := func(name, flag, addr string) (net.Listener, error) {
		ln := given[name]
		delete(given, name)
		if ln == nil {
			if ln, err = listen(ctx, flag, addr); err != nil {
				return nil, err
			}
		}
		if s.c.ProxyProtocol && name != "dns" {
			ln = proxyListener(ln, s.c.TrustedProxies)
		}
		return ln, nil
	}
	if d.http, err = take("http", "--http-addr", s.c.HTTPAddr); err != nil {
		return d, err
	}
	if !s.c.Plain {
		if d.https, err = take("https", "--https-addr", s.c.HTTPSAddr); err != nil {
			return d, err
		}
		if s.c.HTTP3 && !s.c.ProxyProtocol { // a proxy that speaks it carries TCP
			if d.quic, err = listenUDP(ctx, "--https-addr", d.https.Addr().String()); err != nil {
				return d, err
			}
		}
	}
	if s.c.DNSAddr != "" {
		if d.dns, err = take("dns", "--dns-addr", s.c.DNSAddr); err != nil {
			return d, err
		}
		if d.dnsP, err = listenUDP(ctx, "--dns-addr", d.dns.Addr().String()); err != nil {
			return d, err
		}
	}
	return d, nil
}

func (d *doors) close() {
	for _, ln := range []net.Listener{d.http, d.https, d.dns} {
		if ln != nil {
			_ = ln.Close()
		}
	}
	for _, c := range []net.PacketConn{d.quic, d.dnsP} {
		if c != nil {
			_ = c.Close()
		}
	}
}

// listen opens a listener, with a sentence for an operator when it cannot.
func listen(ctx context.Context, flag, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, listenError(flag, addr, err)
	}
	return ln, nil
}

func listenUDP(ctx context.Context, flag, addr string) (net.PacketConn, error) {
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, listenError(flag, addr+" (UDP)", err)
	}
	return c, nil
}

// listenError says what to do when a listener cannot be opened.
func listenError(flag, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use by another program: stop that one, or choose another address with %s", addr, flag)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no permission to listen on %s: ports below 1024 need root or the capability CAP_NET_BIND_SERVICE, or choose another address with %s", addr, flag)
	}
	return fmt.Errorf("cannot listen on %s: %w; choose another address with %s", addr, err, flag)
}
