package server

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/relaytunnel/relay/internal/inspector"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/api"
)

// controlHandler serves the base domain itself.
func (s *Server) controlHandler(pages, calls http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /_relay/link", s.gate)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("/api/v1/", calls)
	mux.Handle("/", s.front(pages))
	return careful(mux)
}

// careful adds what keeps browsers from doing anything with our answers but show
// them.
func careful(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"] = []string{"nosniff"}
		h["Content-Security-Policy"] = []string{"default-src 'none'; frame-ancestors 'none'"}
		h["Referrer-Policy"] = []string{"no-referrer"}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.store.Check(r.Context()); err != nil {
		s.log.Error("not ready", "err", err)
		http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// apiHandler serves the JSON API.
func (s *Server) apiHandler(pages http.Handler) http.Handler {
	return api.New(api.Options{
		Authenticate: func(ctx context.Context, token string, from netip.Addr) (relay.User, relay.Token, error) {
			return s.auth.Token(ctx, token, from)
		},
		ClientAddr: s.edge.ClientAddr,
		Info:       func() api.Info { return api.Info{Domain: s.c.Domain, URL: s.public.String()} },
		Status:     s.status,
		Endpoints:  s.endpointsAPI(),
		Events:     s.eventsAPI(),
		Domains:    s.domainsAPI(),
		Tokens:     s.tokensAPI(),
		Sessions:   s.sessionsAPI(),
		Users:      s.usersAPI(),
		Agents:     s.agentsAPI(),
		Audit:      s.auditAPI(),
		Snapshot: func(ctx context.Context, withKey bool) (api.Snapshot, error) {
			n, err := s.store.Snapshot(ctx, withKey)
			if err != nil {
				return nil, err // not a nil of another type
			}
			return n, nil
		},
		Overview: s.overview,
		Requests: pages, RequestsDoc: inspector.OpenAPI(),
		Local:   bySocket,
		Version: s.c.Version,
		Log:     s.log,
	})
}

// status is what an operator wants to know.
func (s *Server) status(ctx context.Context) api.Status {
	out := api.Status{Started: s.started, Sessions: s.gate.Sessions()}
	s.certStatus(ctx, &out)
	return out
}
