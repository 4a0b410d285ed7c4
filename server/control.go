package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/relaytunnel/relay/internal/relay"
)

// controlHandler serves the base domain itself.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /_relay/link", s.gate)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /api/v1/me", s.me)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "This is a relay server. Connect an agent:\n\n  relay login %s\n  relay http 3000\n", s.public)
	})
	return mux
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.store.Check(r.Context()); err != nil {
		s.log.Error("not ready", "err", err)
		http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// me tells whose token was sent.
func (s *Server) me(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	u, t, err := s.auth.Token(r.Context(), token, s.edge.ClientAddr(r))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case errors.Is(err, relay.ErrLimit):
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": "limit", "message": "Too many bad tokens from this address. Try again in a minute."})
	case errors.Is(err, relay.ErrDenied):
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": "auth", "message": "The token is not valid."})
	case err != nil:
		s.log.Error("check token", "err", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": "internal", "message": "The server failed. Its log says why."})
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"user": u.Name, "admin": u.Admin, "token": t.Name, "domain": s.c.Domain, "url": s.public.String()})
	}
}
