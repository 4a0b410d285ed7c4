package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/api"
	"github.com/relaytunnel/relay/server/auth"
	"github.com/relaytunnel/relay/server/gate"
	"github.com/relaytunnel/relay/server/history"
)

// openPages makes the page of the base domain and the API for what it shows.
func (s *Server) openPages() (http.Handler, error) {
	return inspector.Handler(inspector.Options{Source: own{s}, Log: s.log})
}

// own shows each caller of the API what is theirs, and of that what their token is good
// for.
type own struct{ s *Server }

func (o own) view(ctx context.Context) *history.View {
	return o.s.history.View(api.CallerOf(ctx).User.ID)
}

// usable tells whether the caller's token is good for an endpoint.
func usable(ctx context.Context, endpoint string) bool {
	return api.CallerOf(ctx).User.MayUse(relay.Name(endpoint))
}

func (o own) List(ctx context.Context, q capture.Query) ([]*capture.Exchange, bool, error) {
	if len(api.CallerOf(ctx).User.Only) > 0 {
		q.Filter = q.Filter.With(func(x *capture.Exchange) bool { return usable(ctx, x.Endpoint) })
	}
	return o.view(ctx).List(ctx, q)
}

func (o own) Get(ctx context.Context, id string) (*capture.Exchange, bool, error) {
	x, found, err := o.view(ctx).Get(ctx, id)
	if found && !usable(ctx, x.Endpoint) {
		return nil, false, err
	}
	return x, found, err
}

func (o own) Next(ctx context.Context, after uint64) (capture.Changes, error) {
	c, err := o.view(ctx).Next(ctx, after)
	c.Changed = slices.DeleteFunc(c.Changed, func(x *capture.Exchange) bool { return !usable(ctx, x.Endpoint) })
	return c, err
}

func (o own) Replay(ctx context.Context, a capture.Again) (string, error) {
	if a.To != "" && !usable(ctx, a.To) {
		return "", fmt.Errorf("%w: your token is not for %s", relay.ErrNotFound, a.To)
	}
	return o.view(ctx).Replay(ctx, a)
}

func (o own) Targets(ctx context.Context) ([]capture.Target, error) {
	list, err := o.view(ctx).Targets(ctx)
	return slices.DeleteFunc(list, func(t capture.Target) bool { return !usable(ctx, t.ID) }), err
}

// front is the answer at the base domain's root: the dashboard for browsers, a sentence
// for others.
func (s *Server) front(pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" || strings.Contains(r.Header.Get("Accept"), "text/html") {
			pages.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("This is a relay server. Connect an agent:\n\n  relay login " + s.public.String() + "\n  relay http 3000\n"))
	})
}

// sessionsAPI is what the API calls for those who sign in with a browser.
func (s *Server) sessionsAPI() *api.Sessions {
	return &api.Sessions{
		SignIn: func(ctx context.Context, token string, from netip.Addr) (string, api.Session, error) {
			cookie, session, err := s.auth.SignIn(ctx, token, from)
			return cookie, api.Session(session), err
		},
		Find: func(ctx context.Context, cookie string, from netip.Addr) (api.Session, error) {
			session, err := s.auth.Session(ctx, cookie, from)
			return api.Session(session), err
		},
		SignOut: func(ctx context.Context, cookie string) error { return s.auth.SignOut(ctx, cookie) },
		Secure:  func() bool { return s.public.Scheme == "https" },
	}
}

var _ = api.Session(auth.Session{}) // the two are alike

// tokensAPI is what the API calls for tokens.
func (s *Server) tokensAPI() *api.Tokens {
	return &api.Tokens{
		List:   func(ctx context.Context, u relay.User) ([]relay.Token, error) { return s.store.Tokens(ctx, u.ID) },
		Create: func(ctx context.Context, t relay.Token) (string, relay.Token, error) { return s.auth.AddToken(ctx, t) },
		Revoke: func(ctx context.Context, u relay.User, id string) error {
			all, err := s.store.Tokens(ctx, u.ID)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(all, func(t relay.Token) bool { return t.ID == id }) {
				return fmt.Errorf("%w: there is no such token", relay.ErrNotFound)
			}
			if err := s.store.DeleteToken(ctx, id); err != nil {
				return err
			}
			s.gate.Kick(func(l gate.Live) bool { return l.TokenID == id }, "its token was revoked")
			return nil
		},
	}
}

// overview sums up what a user has.
func (s *Server) overview(ctx context.Context, u relay.User) (api.Overview, error) {
	out := api.Overview{Endpoints: []api.EndpointState{}, Certificates: []api.Certificate{}}
	list, err := s.listEndpoints(ctx, u)
	if err != nil {
		return out, err
	}
	for _, e := range list {
		one := api.EndpointState{
			Name: e.Name, URL: e.URL, Live: e.Agent != "", Agent: e.Agent, Inbox: string(e.Effective.Inbox), Record: *e.Effective.Record,
			Pending: e.Kept.Pending, Dead: e.Kept.Dead, Events: e.Kept.Events,
		}
		out.Pending += one.Pending
		out.Dead += one.Dead
		out.Endpoints = append(out.Endpoints, one)
	}
	if out.Series, err = s.series(ctx, u); err != nil {
		return out, err
	}
	stats, err := s.history.Stats(ctx, u.ID)
	if err != nil {
		return out, err
	}
	out.Recorded = api.RecordedState(stats)
	return out, s.ownCertificates(ctx, u, list, &out)
}

// series is the traffic of the last 24 hours, a point for each step, also where nothing
// came.
func (s *Server) series(ctx context.Context, u relay.User) ([]api.TrafficPoint, error) {
	s.saveTraffic(ctx)
	now := time.Now().Truncate(trafficStep)
	first := now.Add(trafficStep - 24*time.Hour)
	kept, err := s.store.TrafficSince(ctx, u.ID, first)
	if err != nil {
		return nil, err
	}
	out := make([]api.TrafficPoint, 0, 24*time.Hour/trafficStep)
	for at := first; !at.After(now); at = at.Add(trafficStep) {
		point := api.TrafficPoint{At: at.UTC()}
		for len(kept) > 0 && !kept[0].At.After(at) {
			point.Requests += kept[0].Requests
			point.Errors += kept[0].Errors
			kept = kept[1:]
		}
		out = append(out, point)
	}
	return out, nil
}

// ownCertificates adds the certificates of the user's names; an admin sees all.
func (s *Server) ownCertificates(ctx context.Context, u relay.User, list []api.Endpoint, out *api.Overview) error {
	var all api.Status
	s.certStatus(ctx, &all)
	hosts := map[string]bool{}
	for _, e := range list {
		hosts[s.hostOf(relay.Name(e.Name))] = true
	}
	if !u.Admin {
		domains, err := s.domains.List(ctx, u)
		if err != nil {
			return err
		}
		for _, d := range domains {
			hosts[d.Host] = true
		}
	}
	for _, c := range all.Certificates {
		wild, isWild := strings.CutPrefix(c.Host, "*.")
		if u.Admin || hosts[c.Host] || isWild && wild == s.c.Domain {
			out.Certificates = append(out.Certificates, c)
		}
	}
	return nil
}
