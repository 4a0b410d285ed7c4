package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	firstQuery  = 3 * time.Second  // who connects has something to ask
	nextQuery   = 10 * time.Second // RFC 7766: some seconds, for the next one
	writeWithin = 3 * time.Second
	maxLife     = time.Minute // of a connection

	maxConns        = 256 // a few KB each
	maxConnsNetwork = 16  // of one network
)

// serveTCP accepts connections until the listener is closed, and waits for them.
func (s *Server) serveTCP(ctx context.Context, ln net.Listener) error {
	var running sync.WaitGroup
	defer running.Wait()
	for failed := false; ; {
		conn, err := ln.Accept()
		if err != nil {
			if !s.mayPass(ctx, "accept a DNS connection", err, failed) {
				return err
			}
			failed = true
			continue
		}
		failed = false
		from := network(addrOf(conn.RemoteAddr()))
		if !s.seats.take(from) {
			_ = conn.Close()
			continue
		}
		running.Go(func() {
			defer s.seats.leave(from)
			s.serveConn(ctx, conn)
		})
	}
}

// serveConn answers the queries of one connection, in their order.
func (s *Server) serveConn(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var (
		// Deadlines are of the network and not of the zone: the true clock.
		end   = time.Now().Add(maxLife)
		wait  = firstQuery
		query [maxQuery]byte
	)
	for {
		until := time.Now().Add(wait)
		if until.After(end) {
			until = end
		}
		if err := conn.SetReadDeadline(until); err != nil {
			return
		}
		if _, err := io.ReadFull(conn, query[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(query[:2]))
		if n > maxQuery {
			return
		}
		if _, err := io.ReadFull(conn, query[:n]); err != nil {
			return
		}
		reply := s.answer(query[:n], whole)
		if reply == nil {
			return
		}
		if err := conn.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
			return
		}
		// Length and message in one write, as some want it (RFC 7766, 8).
		framed := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reply)), uint16(len(reply))), reply...)
		if _, err := conn.Write(framed); err != nil {
			return
		}
		wait = nextQuery
	}
}

// seats counts connections. The zero value is ready.
type seats struct {
	mu    sync.Mutex
	taken int
	by    map[netip.Prefix]int
}

// take reports whether there is room for one more of this network; leave gives
// it back.
func (s *seats) take(from netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= maxConns || s.by[from] >= maxConnsNetwork {
		return false
	}
	if s.by == nil {
		s.by = make(map[netip.Prefix]int)
	}
	s.taken++
	s.by[from]++
	return true
}

func (s *seats) leave(from netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.by[from]--; s.by[from] == 0 {
		delete(s.by, from)
	}
}
