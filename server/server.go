// Package server puts the rooms of a relay server together and owns their
// lives. It is the only place where they meet: each gets what it needs from the
// others as function values, set in New.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/auth"
	"github.com/relaytunnel/relay/server/edge"
	"github.com/relaytunnel/relay/server/gate"
	"github.com/relaytunnel/relay/server/registry"
	"github.com/relaytunnel/relay/server/store"
)

// Server is a relay server. Make it with New, let it live with Run.
type Server struct {
	c        Config
	log      *slog.Logger
	store    *store.Store
	auth     *auth.Auth
	registry registry.Registry
	gate     *gate.Gate
	edge     *edge.Edge
	control  http.Handler
	names    names
	public   *url.URL // scheme, domain and port as visitors see them
	started  time.Time
}

// New makes a server; nothing runs and nothing is open before Run. c has been
// validated.
func New(c Config) *Server {
	s := &Server{c: c, log: c.Log}
	limit := c.MaxBuffered
	if limit == 0 {
		limit = memoryLimit() / 4
	}
	s.edge = edge.New(edge.Options{
		Resolve: s.resolve, Await: s.await, Trusted: c.TrustedProxies, HoldFor: c.HoldFor,
		AnswerWithin: c.AnswerWithin, Domain: c.Domain, Log: c.Log,
	})
	s.gate = gate.New(gate.Options{
		Authenticate: s.authenticate, Claim: s.claim, SaveResume: s.saveResume, TakeResume: s.takeResume,
		RemoteAddr: s.edge.ClientAddr, Registry: &s.registry, MaxBuffered: limit, Log: c.Log,
	})
	s.control = s.controlHandler()
	return s
}

// Run opens the store and the listeners and serves until ctx ends. Then it stops
// in order: agents are told, listeners close, requests in flight end, links
// close, the store closes.
func (s *Server) Run(ctx context.Context) error {
	st, err := store.Open(ctx, s.c.DataDir)
	if err != nil {
		return dataError(s.c.DataDir, err)
	}
	defer func() { _ = st.Close() }()
	s.store = st
	s.auth = auth.New(auth.Options{Store: st, Log: s.log})
	user, token, created, err := s.auth.FirstUser(ctx, s.c.FirstUser)
	if err != nil {
		return fmt.Errorf("first user: %w", err)
	}
	if own := relay.Name(user.Name); created && !relay.Reserved(own) {
		if err := st.Reserve(ctx, user.ID, own); err != nil {
			return fmt.Errorf("first user's name: %w", err)
		}
	}
	if err := s.names.load(ctx, st); err != nil {
		return err
	}

	ln, err := listen(ctx, s.c.HTTPAddr)
	if err != nil {
		return err
	}
	s.public = publicURL(s.c, ln.Addr())
	s.started = time.Now()
	srv := s.httpServer()

	var wg sync.WaitGroup
	defer wg.Wait()
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, 1)
	wg.Go(func() { _ = s.gate.Run(life) })
	wg.Go(func() { s.housekeep(life) })
	front := edge.NewFront(s.edge, ln, maxConns())
	wg.Go(func() {
		if err := front.Run(); err != nil {
			failed <- fmt.Errorf("serve %s: %w", s.c.HTTPAddr, err)
		}
	})
	wg.Go(func() { _ = srv.Serve(front) }) // ends with the front, or by Shutdown
	if s.c.OnReady != nil {
		s.c.OnReady(Ready{URL: s.public.String(), Domain: s.c.Domain, HTTPAddr: ln.Addr().String(), User: user.Name, Token: token})
	}

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.log.Info("stopping", "drain", s.c.DrainFor.String())
	s.gate.Drain("the server stops")
	drained, cancel := context.WithTimeout(context.Background(), s.c.DrainFor)
	defer cancel()
	var stopping sync.WaitGroup
	stopping.Go(func() { front.Shutdown(drained) })
	if serr := srv.Shutdown(drained); serr != nil {
		_ = srv.Close()
	}
	stopping.Wait()
	s.gate.Close()
	return err
}

func (s *Server) httpServer() *http.Server {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   s.edge,
		Protocols: &p,
		// OPTIONS * is the app's to answer.
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            edge.HeaderTimeout,
		IdleTimeout:                  edge.IdleTimeout,
		MaxHeaderBytes:               edge.MaxHeaderBytes,
		ConnContext:                  edge.ConnContext,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          100,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              time.Minute,
		},
	}
}

const (
	trimEvery = 5 * time.Second
	trimAt    = 500 // sessions
)

// housekeep does what is due now and then.
func (s *Server) housekeep(ctx context.Context) {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	sessions := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-trim.C:
			// A burst of agents leaves garbage of about the size of what stays.
			n := s.gate.Sessions()
			if n > sessions+trimAt || n < sessions/2-trimAt {
				debug.FreeOSMemory()
				sessions = n
			}
		case now := <-t.C:
			if err := s.store.PurgeResumes(ctx, now); err != nil {
				s.log.Warn("purge resume secrets", "err", err)
			}
		}
	}
}

// listen opens a listener, with a sentence for an operator when it cannot.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, listenError(addr, err)
	}
	return ln, nil
}

// publicURL is the control host as visitors and agents see it.
func publicURL(c Config, addr net.Addr) *url.URL {
	if c.PublicURL != "" {
		u, _ := url.Parse(c.PublicURL) // Validate has parsed it before
		u.Path = ""
		return u
	}
	u := &url.URL{Scheme: "http", Host: c.Domain}
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.Port != 80 {
		u.Host = fmt.Sprintf("%s:%d", c.Domain, tcp.Port)
	}
	return u
}

// urlOf is the public URL of a name.
func (s *Server) urlOf(name relay.Name) string {
	u := *s.public
	u.Host = string(name) + "." + u.Host
	return u.String()
}

func (s *Server) authenticate(ctx context.Context, token string, from netip.Addr) (relay.User, error) {
	u, _, err := s.auth.Token(ctx, token, from)
	return u, err
}

func (s *Server) saveResume(ctx context.Context, hash []byte, user, agent, session string, expires time.Time) error {
	return s.store.SaveResume(ctx, store.Resume{Hash: hash, UserID: user, AgentID: agent, SessionID: session, Expires: expires})
}

// takeResume gives the session of a resume secret, if it is this user's and this
// agent's.
func (s *Server) takeResume(ctx context.Context, hash []byte, user, agent string) (string, error) {
	r, err := s.store.TakeResume(ctx, hash, time.Now())
	if err != nil {
		return "", err
	}
	if r.UserID != user || r.AgentID != agent {
		return "", fmt.Errorf("resume secret of another: %w", relay.ErrNotFound)
	}
	return r.SessionID, nil
}

// controlHandler serves the base domain itself.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /_relay/link", s.gate)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /api/v1/me", s.me)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "This is a relay server. Connect an agent:\n\n  relay login %s\n  relay http 3000\n", s.public)
	})
	return mux
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
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
