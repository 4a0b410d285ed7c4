package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/relaytunnel/relay/internal/relay"
)

// Sessions are the operations of people who sign in with a browser.
type Sessions struct {
	// SignIn begins a session for the owner of a token, and gives the secret that the
	// cookie carries.
	SignIn func(ctx context.Context, token string, from netip.Addr) (cookie string, s Session, err error)
	// Find tells whose session that is; an error of kind relay.ErrDenied means nobody's.
	Find    func(ctx context.Context, cookie string, from netip.Addr) (Session, error)
	SignOut func(ctx context.Context, cookie string) error
	// Secure tells whether browsers reach this server by HTTPS alone.
	Secure func() bool
}

// Session is somebody who is signed in.
type Session struct {
	User    relay.User
	Token   relay.Token
	Expires time.Time
}

// The names of the cookie. The first one binds it to the very host, by HTTPS alone: no
// other host of the domain can set or replace it.
const (
	secureCookie = "__Host-relay"
	plainCookie  = "relay_session" // where there is no HTTPS
)

func (s *Sessions) cookie() string {
	if s.Secure() {
		return secureCookie
	}
	return plainCookie
}

// SignedIn is what the page is told of who is signed in.
type SignedIn struct {
	Mode    string    `json:"mode" enum:"server"`
	User    string    `json:"user"`
	Admin   bool      `json:"admin"`
	Token   string    `json:"token" doc:"Name of the token that the session began with"`
	Domain  string    `json:"domain"`
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// SignInInput is what signs somebody in.
type SignInInput struct {
	Token string `json:"token"`
}

// sessions serves signing in and out, which need no token, and tells the document of it.
func (a *api) sessions(mux *http.ServeMux) {
	if a.o.Sessions == nil {
		return
	}
	const path = Prefix + "/session"
	mux.HandleFunc("POST "+path, a.signIn)
	mux.HandleFunc("GET "+path, a.signedIn)
	mux.HandleFunc("DELETE "+path, a.signOut)
	schemas := a.OpenAPI().Components.Schemas
	text := func(v *huma.Schema) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: v}}
	}
	nobody := []map[string][]string{}
	for _, o := range []*huma.Operation{
		{
			OperationID: "sign-in", Method: http.MethodPost, Path: path, Security: nobody,
			Summary:     "Sign in with a token; a browser gets a cookie",
			RequestBody: &huma.RequestBody{Required: true, Content: text(huma.SchemaFromType(schemas, typeOf[SignInInput]()))},
			Responses:   map[string]*huma.Response{"204": {Description: "Signed in"}},
		},
		{
			OperationID: "signed-in", Method: http.MethodGet, Path: path, Summary: "Who is signed in",
			Responses: map[string]*huma.Response{"200": {Description: "Who it is", Content: text(huma.SchemaFromType(schemas, typeOf[SignedIn]()))}},
		},
		{
			OperationID: "sign-out", Method: http.MethodDelete, Path: path, Security: nobody, Summary: "Sign out",
			Responses: map[string]*huma.Response{"204": {Description: "Signed out"}},
		},
	} {
		a.OpenAPI().AddOperation(o)
	}
}

func (a *api) signIn(w http.ResponseWriter, r *http.Request) {
	var in SignInInput
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&in); err != nil || in.Token == "" {
		answerProblem(w, newProblem(http.StatusUnprocessableEntity, "invalid", `Send {"token": "rly_…"}.`))
		return
	}
	s := a.o.Sessions
	cookie, session, err := s.SignIn(r.Context(), strings.TrimSpace(in.Token), a.o.ClientAddr(r))
	if err != nil {
		p := a.problem(err)
		if p.Status == http.StatusForbidden {
			p = unauthorized(p.Detail)
		}
		answerProblem(w, p)
		return
	}
	if n, ok := r.Context().Value(noteKey{}).(*note); ok {
		n.caller.User, n.caller.Token = session.User, session.Token
	}
	a.setCookie(w, cookie, int(time.Until(session.Expires)/time.Second))
	w.WriteHeader(http.StatusNoContent)
}

// setCookie gives the browser a cookie, or takes it when age is negative.
func (a *api) setCookie(w http.ResponseWriter, value string, age int) {
	s := a.o.Sessions
	http.SetCookie(w, &http.Cookie{
		Name: s.cookie(), Value: value, Path: "/", MaxAge: age, Secure: s.Secure(), HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	w.Header().Set("Cache-Control", "no-store")
}

func (a *api) signedIn(w http.ResponseWriter, r *http.Request) {
	c, p := a.identify(r)
	if p != nil {
		answerProblem(w, p)
		return
	}
	info := a.o.Info()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(SignedIn{"server", c.User.Name, c.User.Admin, c.Token.Name, info.Domain, info.URL, c.expires})
}

func (a *api) signOut(w http.ResponseWriter, r *http.Request) {
	_, _ = a.known(r) // for the audit log
	if c, err := r.Cookie(a.o.Sessions.cookie()); err == nil {
		if err := a.o.Sessions.SignOut(r.Context(), c.Value); err != nil {
			answerProblem(w, a.problem(err))
			return
		}
	}
	a.setCookie(w, "", -1)
	w.WriteHeader(http.StatusNoContent)
}

// identify finds out who calls, by a token or, with a browser, by the cookie, and whether
// the token is good for that.
func (a *api) identify(r *http.Request) (Caller, *Problem) {
	c, p := a.known(r)
	if p != nil {
		return c, p
	}
	if scope := scopeOf(r.Method, r.URL.Path); !c.Token.Allows(scope) {
		return c, a.problem(denied("the token " + c.Token.Name + " is not good for that: it has no scope " + string(scope)))
	}
	c.User = c.User.Narrow(c.Token)
	return c, nil
}

func (a *api) known(r *http.Request) (c Caller, p *Problem) {
	c.From = a.o.ClientAddr(r)
	defer func() {
		if n, ok := r.Context().Value(noteKey{}).(*note); ok {
			n.caller = c
		}
	}()
	if a.o.Local != nil {
		if user, ok := a.o.Local(r); ok {
			c.User, c.Token, c.From = user, relay.Token{Name: "socket"}, netip.Addr{}
			return c, nil
		}
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && token != "" {
		var err error
		c.User, c.Token, err = a.o.Authenticate(r.Context(), token, c.From)
		c.expires = c.Token.Expires
		if err != nil {
			if p = a.problem(err); p.Status == http.StatusForbidden {
				p = unauthorized("The token is not valid.")
			}
		}
		return c, p
	}
	if a.o.Sessions == nil {
		return c, unauthorized("No token was sent. Send one as Authorization: Bearer TOKEN.")
	}
	cookie, err := r.Cookie(a.o.Sessions.cookie())
	if err != nil {
		return c, unauthorized("No token was sent. Send one as Authorization: Bearer TOKEN.")
	}
	s, err := a.o.Sessions.Find(r.Context(), cookie.Value, c.From)
	switch {
	case errors.Is(err, relay.ErrDenied):
		return c, unauthorized("You are not signed in, or not any more.")
	case err != nil:
		return c, a.problem(err)
	}
	c.User, c.Token, c.expires = s.User, s.Token, s.Expires
	return c, nil
}

// guardedFor bounds one call: who follows a stream is asked again who it is.
const guardedFor = 5 * time.Minute

// guarded lets a handler of others be called by those who may, and tells it who calls.
func (a *api) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, p := a.identify(r)
		if p != nil {
			answerProblem(w, p)
			return
		}
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), callerKey{}, c), guardedFor)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// ownPages refuses what pages of other sites ask, those of tunnels of this very domain
// among them: a browser would send the cookie along with some of it.
func ownPages(next http.Handler) http.Handler {
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answerProblem(w, newProblem(http.StatusForbidden, "cross_site", "Another site may not do that."))
	})
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(refuse)
	inner := guard.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
			refuse(w, r)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

func answerProblem(w http.ResponseWriter, p *Problem) {
	for name, values := range p.GetHeaders() {
		w.Header().Set(name, values[0])
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// authenticate lets only those in who show a good token, or are signed in.
func (a *api) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, _ := humago.Unwrap(ctx)
	c, p := a.identify(r)
	if p != nil {
		a.refuse(ctx, p)
		return
	}
	ctx.SetHeader("Cache-Control", "no-store")
	next(huma.WithValue(ctx, callerKey{}, c))
}
