// Package server puts the rooms of a relay server together and owns their
// lives. It is the only place where they meet: each gets what it needs from the
// others as function values, set in New.
package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/protocol"
	"github.com/relaytunnel/relay/server/auth"
	"github.com/relaytunnel/relay/server/cert"
	"github.com/relaytunnel/relay/server/dns"
	"github.com/relaytunnel/relay/server/domain"
	"github.com/relaytunnel/relay/server/edge"
	"github.com/relaytunnel/relay/server/gate"
	"github.com/relaytunnel/relay/server/history"
	"github.com/relaytunnel/relay/server/registry"
	"github.com/relaytunnel/relay/server/store"
	"github.com/relaytunnel/relay/server/webhook"
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
	inbox    *webhook.Inbox
	history  *history.History
	traffic  traffic
	domains  *domain.Domains
	control  http.Handler
	names    names
	doors    doorkeeper

	endpointMu sync.Mutex // one change of an endpoint at a time

	certs   *cert.Keeper // nil where TLS is not this server's affair
	tls     *tls.Config  // of certs
	dns     *dns.Server  // nil where others answer for the domain
	public  *url.URL     // scheme, domain and port as visitors see them
	altSvc  string       // tells visitors of HTTP/3; empty without it
	started time.Time
	memory  int64 // what bytes that wait may take, in all
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
		AnswerWithin: c.AnswerWithin, Domain: c.Domain, Covers: s.covers, Secure: s.secure, Log: c.Log,
	})
	s.gate = gate.New(gate.Options{
		Authenticate: s.authenticate, Enter: s.enter, Claim: s.claim, SaveResume: s.saveResume, TakeResume: s.takeResume,
		RemoteAddr: s.edge.ClientAddr, Registry: &s.registry, MaxBuffered: limit, Log: c.Log,
	})
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

	if err := s.openDomains(ctx, st); err != nil {
		return err
	}
	if err := s.openDoors(ctx, st); err != nil {
		return err
	}
	if err := s.openInbox(ctx, st); err != nil {
		return err
	}
	if err := s.openTraffic(ctx, st); err != nil {
		return err
	}
	if err := s.openHistory(ctx, st); err != nil {
		return err
	}
	pages, err := s.openPages()
	if err != nil {
		return err
	}
	calls := s.apiHandler(pages)
	s.control = s.controlHandler(pages, calls)
	if err := s.openDNS(); err != nil {
		return err
	}
	if !s.c.Plain {
		if err := s.openCerts(st); err != nil {
			return err
		}
	}

	d, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	s.public = s.publicURL(d)
	if d.quic != nil {
		s.altSvc = altSvc(s.public)
	}
	s.started = time.Now()

	l := life{failed: make(chan error, 1)}
	defer l.wg.Wait()
	var stop, drained context.CancelFunc
	l.ctx, stop = context.WithCancel(context.WithoutCancel(ctx)) // of what goes on while requests in flight end
	defer stop()
	l.drain, drained = context.WithCancel(context.Background())
	defer drained()
	l.open, l.shut = context.WithCancel(context.WithoutCancel(ctx)) // of the doors
	defer l.shut()
	l.run("watch agents", func() error { return s.gate.Run(l.ctx) })
	l.run("check domains", func() error { return s.domains.Run(l.ctx) })
	l.run("addresses of senders", func() error { return s.doors.lists.Run(l.ctx) })
	l.run("housekeeping", func() error { s.housekeep(l.ctx); return nil })
	l.run("systemd", func() error { return watchdog(l.ctx, s.healthy) })
	if s.dns != nil {
		l.run("serve DNS", func() error { return s.dns.Serve(l.ctx, d.dnsP, d.dns) })
	}
	delivering, endInbox := context.WithCancel(l.ctx)
	defer endInbox()
	inboxEnded := make(chan struct{})
	l.run("deliver", func() error { defer close(inboxEnded); return s.inbox.Run(delivering) })
	l.run("serve the operator", func() error { return s.serveSocket(l.ctx, calls) })
	recording, endHistory := context.WithCancel(l.ctx)
	defer endHistory()
	historyEnded := make(chan struct{})
	l.run("record", func() error { defer close(historyEnded); return s.history.Run(recording) })
	s.serve(&l, d)
	if s.c.OnReady != nil {
		s.c.OnReady(s.ready(d, user.Name, token))
	}
	notifyReady(s.log)

	select {
	case <-ctx.Done():
	case err = <-l.failed:
	}
	s.log.Info("stopping", "drain", s.c.DrainFor.String())
	notifyStopping()
	s.gate.Drain("the server stops")
	late := time.AfterFunc(s.c.DrainFor, drained)
	defer late.Stop()
	l.shut()
	l.doors.Wait()
	endInbox()
	<-inboxEnded
	s.gate.Close()
	endHistory()
	<-historyEnded
	s.saveTraffic(context.WithoutCancel(ctx))
	return err
}

// life is what Run shares with what it has started.
type life struct {
	ctx    context.Context // ends last, before the store closes
	open   context.Context // ends when the doors are to close
	shut   context.CancelFunc
	drain  context.Context // ends when requests in flight have had their time
	wg     sync.WaitGroup
	doors  sync.WaitGroup // those of wg that serve a door
	failed chan error
}

// run runs a part of the server. Its failure ends the server.
func (l *life) run(part string, f func() error) {
	l.wg.Go(func() { l.tell(part, f()) })
}

// serve runs what serves a door. It returns when open has ended and the requests in
// flight have, or drain.
func (l *life) serve(part string, f func() error) {
	l.doors.Add(1)
	l.wg.Go(func() {
		defer l.doors.Done()
		l.tell(part, f())
	})
}

func (l *life) tell(part string, err error) {
	if err == nil {
		return
	}
	select {
	case l.failed <- fmt.Errorf("%s: %w", part, err):
	default: // it stops already
	}
}

// serve opens the doors to visitors and agents.
func (s *Server) serve(l *life, d *doors) {
	if s.c.Plain {
		s.servePlain(l, d)
	} else {
		s.serveTLS(l, d)
	}
}

// servePlain serves plain HTTP: the front, and net/http behind it.
func (s *Server) servePlain(l *life, d *doors) {
	front := edge.NewFront(s.edge, d.http, maxConns())
	srv := s.httpServer(s.edge)
	l.serve("serve "+d.http.Addr().String(), front.Run)
	l.serve("serve HTTP", func() error {
		_ = srv.Serve(front) // ends with the front, or by Shutdown
		return nil
	})
	l.serve("stop HTTP", func() error {
		<-l.open.Done()
		var stopping sync.WaitGroup
		stopping.Go(func() { front.Shutdown(l.drain) })
		shutdown(l.drain, srv)
		stopping.Wait()
		return nil
	})
}

// shutdown lets the requests in flight end, until drain ends.
func shutdown(drain context.Context, srv *http.Server) {
	if err := srv.Shutdown(drain); err != nil {
		_ = srv.Close()
	}
}

func (s *Server) ready(d *doors, user, token string) Ready {
	r := Ready{URL: s.public.String(), Domain: s.c.Domain, HTTPAddr: d.http.Addr().String(), User: user, Token: token}
	if d.https != nil {
		r.HTTPSAddr = d.https.Addr().String()
	}
	if d.dns != nil {
		r.DNSAddr = d.dns.Addr().String()
	}
	return r
}

// healthy tells the watchdog that the store answers.
func (s *Server) healthy() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return s.store.Check(ctx) == nil
}

const (
	trimEvery  = 5 * time.Second
	trimAt     = 500 // sessions
	countEvery = time.Minute
)

// housekeep does what is due now and then.
func (s *Server) housekeep(ctx context.Context) {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	count := time.NewTicker(countEvery)
	defer count.Stop()
	sessions := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-count.C:
			s.saveTraffic(ctx)
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
			if err := s.store.PurgeTraffic(ctx, now.Add(-trafficKept)); err != nil {
				s.log.Warn("purge numbers of requests", "err", err)
			}
			if err := s.store.PurgeAudit(ctx, now.Add(-auditKept)); err != nil {
				s.log.Warn("purge the audit log", "err", err)
			}
		}
	}
}

// publicURL is the control host as visitors and agents see it.
func (s *Server) publicURL(d *doors) *url.URL {
	if s.c.PublicURL != "" {
		u, _ := url.Parse(s.c.PublicURL) // Validate has parsed it before
		u.Path = ""
		return u
	}
	u, ln, usual := &url.URL{Scheme: "https", Host: s.c.Domain}, d.https, 443
	if s.c.Plain {
		u.Scheme, ln, usual = "http", d.http, 80
	}
	if tcp, ok := ln.Addr().(*net.TCPAddr); ok && tcp.Port != usual {
		u.Host = fmt.Sprintf("%s:%d", s.c.Domain, tcp.Port)
	}
	return u
}

// urlOf is the public URL of a name.
func (s *Server) urlOf(name relay.Name) string {
	u := *s.public
	u.Host = string(name) + "." + u.Host
	return u.String()
}

// authenticate finds the user behind an agent's token.
func (s *Server) authenticate(ctx context.Context, token string, from netip.Addr) (relay.User, relay.Token, error) {
	u, t, err := s.auth.Token(ctx, token, from)
	if err != nil {
		return relay.User{}, relay.Token{}, err
	}
	if !t.Allows(relay.ScopeTunnel) {
		return relay.User{}, relay.Token{}, &protocol.Error{Code: protocol.CodeDenied, Message: fmt.Sprintf("The token %s is not good for tunnels: it has no scope tunnel.", t.Name)}
	}
	return u.Narrow(t), t, nil
}

// enter bounds how many agents a user has.
func (s *Server) enter(u relay.User, sessions int) error {
	if most := u.Rights.Defaults(u.Name).Sessions; sessions >= most {
		return fmt.Errorf("%w: you have %d agents connected, and %d are the most", relay.ErrLimit, sessions, most)
	}
	return nil
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
