package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// maxQuery is longer than any query: a name of 255 bytes, EDNS with cookie and
// padding. What is longer is cut over UDP, and then refused.
const maxQuery = 2048

// afterError is a pause after a failure that may pass, such as having no file
// descriptors left, so that it does not become a busy loop.
const afterError = 50 * time.Millisecond

// Serve answers what comes over pc and ln until ctx ends, and then returns nil.
// An error means that one of the two broke. It closes both and waits for all
// that it has started. It may run several times at once, for several addresses;
// the limits are those of the Server.
func (s *Server) Serve(ctx context.Context, pc net.PacketConn, ln net.Listener) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() {
		<-inner.Done()
		_ = pc.Close()
		_ = ln.Close()
	})

	readers := runtime.GOMAXPROCS(0)
	broken := make(chan error, readers+1)
	part := func(what string, serve func() error) {
		running.Go(func() {
			broken <- fmt.Errorf("serve DNS over %s: %w", what, serve())
			cancel()
		})
	}
	tellDestinations(pc)
	for range readers {
		part("UDP", func() error { return s.serveUDP(inner, pc) })
	}
	part("TCP", func() error { return s.serveTCP(inner, ln) })
	running.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return <-broken
}

// serveUDP answers packets, one after another: an answer takes microseconds and
// waits for nobody. It returns when the connection is closed.
func (s *Server) serveUDP(ctx context.Context, pc net.PacketConn) error {
	var (
		udp, isUDP = pc.(*net.UDPConn)
		buf        = make([]byte, maxQuery)
		failed     = false // the last read
	)
	for {
		var (
			n       int
			from    net.Addr
			session *miekg.SessionUDP
			err     error
		)
		if isUDP {
			if n, session, err = miekg.ReadFromSessionUDP(udp, buf); err == nil {
				from = session.RemoteAddr()
			}
		} else {
			n, from, err = pc.ReadFrom(buf)
		}
		if err != nil {
			if !s.mayPass(ctx, "read a DNS packet", err, failed) {
				return err
			}
			failed = true
			continue
		}
		failed = false
		how, ok := s.quota.take(addrOf(from), s.now())
		if !ok {
			continue
		}
		reply := s.answer(buf[:n], how)
		switch {
		case reply == nil:
		case isUDP:
			// Whether it can be delivered is not our affair.
			_, _ = miekg.WriteToSessionUDP(udp, reply, session)
		default:
			_, _ = pc.WriteTo(reply, from)
		}
	}
}

// mayPass pauses after an error of a listening socket, and reports whether it is
// of use to go on. The first error of a row is logged.
func (s *Server) mayPass(ctx context.Context, step string, err error, again bool) bool {
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return false
	}
	if !again {
		s.log.Warn("cannot "+step, "error", err)
	}
	pause := time.NewTimer(afterError)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tellDestinations asks the system to say to which of its addresses a packet was
// sent, so that the answer comes from there: from another address nobody would
// take it. Where that is not possible, the system chooses.
func tellDestinations(pc net.PacketConn) {
	if udp, ok := pc.(*net.UDPConn); ok {
		_ = ipv6.NewPacketConn(udp).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
		_ = ipv4.NewPacketConn(udp).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	}
}

// addrOf is the address without its port; none for what is no IP address.
func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr()
	case *net.TCPAddr:
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}
