package server

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/edge"
	"github.com/relaytunnel/relay/server/registry"
)

// justHere is how long after an agent has gone requests still wait for it. It
// covers the agent's first tries to connect again.
const justHere = 30 * time.Second

// resolve is the routing table: where a host leads. host is canonical.
func (s *Server) resolve(host string) edge.Target {
	if t, ok := s.registry.Find(host); ok {
		return s.target(t)
	}
	if host == s.c.Domain || isAddress(host) {
		return edge.Target{Handler: s.control}
	}
	name, ok := s.nameOf(host)
	if !ok {
		return edge.Target{}
	}
	if own := s.hostOf(name); own != host { // a domain of the user's own
		if t, ok := s.registry.Find(own); ok {
			return s.target(t)
		}
		host = own
	}
	ago, ok := s.registry.Left(host)
	// After a start all agents were here a moment ago, as far as they know.
	wait := ok && ago < justHere || time.Since(s.started) < justHere
	t := edge.Target{Known: true, Wait: wait, Inbox: s.inboxOf(name), Door: s.doors.of(name)}
	s.watch(name, &t)
	return t
}

// inboxOf is what stands before a name's tunnel; nil without an inbox.
func (s *Server) inboxOf(name relay.Name) func(http.Handler) http.Handler {
	if _, ok := s.inbox.Handler(name, nil); !ok {
		return nil
	}
	return func(live http.Handler) http.Handler {
		if h, ok := s.inbox.Handler(name, live); ok {
			return h
		}
		return live // its settings have changed this moment
	}
}

// await waits for a host to come live.
func (s *Server) await(ctx context.Context, host string, not edge.Tunnel) (edge.Target, error) {
	old, _ := not.(*registry.Tunnel) // nil for none
	if name, ok := s.nameOf(host); ok {
		host = s.hostOf(name)
	}
	t, err := s.registry.Await(ctx, host, old)
	if err != nil {
		return edge.Target{}, err
	}
	return s.target(t), nil
}

func (s *Server) target(t *registry.Tunnel) edge.Target {
	name := relay.Name(t.Name)
	out := edge.Target{Tunnel: t, HostHeader: t.HostHeader, Known: true, Inbox: s.inboxOf(name), Door: s.doors.of(name)}
	s.watch(name, &out)
	return out
}

// watch says who counts and records what comes to a name.
func (s *Server) watch(name relay.Name, t *edge.Target) {
	t.Traffic = s.traffic.of(s.names.holder(name))
	t.Record = s.recordOf(name)
}

// isAddress tells whether a host is an IP address: an operator who tries the
// server by its address means the server itself.
func isAddress(host string) bool {
	if last := host[len(host)-1]; last != ']' && (last < '0' || last > '9') {
		return false
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
