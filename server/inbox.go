package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/http1"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/edge"
	"github.com/relaytunnel/relay/server/store"
	"github.com/relaytunnel/relay/server/webhook"
)

// minInbox is how much memory, in bytes, the inbox may take for bodies at least: two of
// the largest that senders send.
const minInbox = 64 << 20

// openInbox makes the inbox of all endpoints and reads them.
func (s *Server) openInbox(ctx context.Context, st *store.Store) error {
	s.inbox = webhook.New(webhook.Options{
		Store: st, Forward: s.forwardEvent, Watch: s.registry.Watch, Log: s.log,
		Live:     func(name relay.Name) bool { _, ok := s.registry.Find(s.hostOf(name)); return ok },
		Visitor:  func(r *http.Request) webhook.Visitor { return webhook.Visitor(s.edge.Visitor(r)) },
		Found:    func(r *http.Request, ev relay.Event) { capture.TapOf(r.Context()).Event(ev.ID, ev.Verified) },
		DrainFor: s.c.DrainFor, MaxBuffered: max(s.memory/2, minInbox),
	})
	return s.inbox.Load(ctx)
}

// forwardEvent carries a kept request the way of all others.
func (s *Server) forwardEvent(ctx context.Context, name relay.Name, v webhook.Visitor, req *http.Request) (*http.Response, error) {
	s.doors.of(name).Strip(req)
	res, err := s.edge.Carry(ctx, s.hostOf(name), edge.Visitor(v), req)
	var unsent *http1.DialError
	if errors.Is(err, relay.ErrOffline) && (errors.As(err, &unsent) || errors.Is(err, edge.ErrNoTunnel)) {
		err = errors.Join(err, webhook.ErrUnsent)
	}
	return res, err
}
