// Package api is the JSON API of a server, for the command line, the pages and
// whoever wants to script it. It is described by an OpenAPI document, which it
// serves itself at /api/v1/openapi.json; both come from the same Go types.
//
// Each operation is a function of a caller, whom a token has named. What it does is
// done by other rooms, which are given as function values. A failure is a problem
// (RFC 9457) with a code; see problem.go.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/relaytunnel/relay/internal/relay"
)

// Prefix is where the API lives on the control host.
const Prefix = "/api/v1"

// maxBody is the longest body of a call, in bytes. Calls carry settings, no data.
const maxBody = 1 << 20

// Options are what the API calls. Authenticate and ClientAddr are required; of the
// others what is nil has no operations.
type Options struct {
	// Authenticate finds the user behind a token; see auth.Auth.Token.
	Authenticate func(ctx context.Context, token string, from netip.Addr) (relay.User, relay.Token, error)
	// ClientAddr gives the caller's address, behind trusted proxies too.
	ClientAddr func(*http.Request) netip.Addr
	// Info tells what the server is.
	Info func() Info
	// Status tells how it is.
	Status func(ctx context.Context) Status
	// Endpoints keeps names and their settings, Events what their inboxes have kept.
	Endpoints *Endpoints
	Events    *Events
	// Domains keeps users' own domains.
	Domains *Domains
	// Tokens keeps users' tokens, Sessions those who sign in with a browser.
	Tokens   *Tokens
	Sessions *Sessions
	// Users keeps users, Agents those who are connected, Audit who did what.
	Users  *Users
	Agents *Agents
	Audit  *Audit
	// Snapshot copies all that the server keeps, with its key if that is wanted.
	Snapshot func(ctx context.Context, withKey bool) (Snapshot, error)
	// Local tells who calls by a way that needs no token, like a socket that only the
	// operator can open; ok is false for all other calls.
	Local func(*http.Request) (u relay.User, ok bool)
	// Overview sums up what a user has.
	Overview func(ctx context.Context, u relay.User) (Overview, error)
	// Requests serves what is recorded: /requests and what is below, and /targets. Who
	// calls stands in the context; see CallerOf. RequestsDoc is its OpenAPI document.
	Requests    http.Handler
	RequestsDoc []byte
	Version     string
	Log         *slog.Logger
}

// Caller is who calls.
type Caller struct {
	User  relay.User
	Token relay.Token
	From  netip.Addr

	expires time.Time // when the session or the token ends; zero for never
}

// New makes the handler of everything below Prefix.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	a := &api{o: o, log: o.Log}
	a.API = humago.New(mux, config(o.Version))
	a.UseMiddleware(a.authenticate)
	a.me()
	a.status()
	a.endpoints()
	a.events()
	a.domains()
	a.tokens()
	a.overview()
	a.users()
	a.agents()
	a.audit()
	a.backup()
	a.sessions(mux)
	outer := http.NewServeMux()
	outer.Handle("/", http.MaxBytesHandler(mux, maxBody))
	if doc, err := a.document(); err != nil {
		a.log.Error("the document of the API lacks a part", "err", err)
	} else {
		outer.Handle("GET "+Prefix+"/openapi.json", doc)
	}
	if o.Requests != nil { // it bounds bodies itself
		for _, path := range []string{"/requests", "/requests/", "/targets"} {
			outer.Handle(Prefix+path, a.guarded(o.Requests))
		}
	}
	return ownPages(a.audited(outer))
}

func config(version string) huma.Config {
	c := huma.DefaultConfig("relay", version)
	c.Info.Description = "The API of a relay server. Send a token as Authorization: Bearer."
	c.OpenAPIPath = Prefix + "/openapi"
	c.DocsPath, c.SchemasPath = "", "" // its page would load scripts from elsewhere
	c.CreateHooks = nil                // answers carry no $schema
	c.Servers = []*huma.Server{{URL: "/"}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	c.Security = []map[string][]string{{"token": {}}}
	return c
}

type api struct {
	huma.API
	o   Options
	log *slog.Logger
}

type callerKey struct{}

// CallerOf tells who calls, to handlers that the API guards.
func CallerOf(ctx context.Context) Caller { return caller(ctx) }

// caller is who calls; authenticate or guarded has put it there.
func caller(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// operation registers one call. do is given who calls.
func operation[In, Out any](a *api, method, path, id, summary string, do func(context.Context, Caller, *In) (*Out, error)) {
	o := huma.Operation{
		OperationID: id, Method: method, Path: Prefix + path, Summary: summary,
		Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests},
	}
	if method == http.MethodDelete {
		o.DefaultStatus = http.StatusNoContent
	}
	huma.Register(a, o, func(ctx context.Context, in *In) (*Out, error) {
		out, err := do(ctx, caller(ctx), in)
		if err != nil {
			return nil, a.problem(err)
		}
		return out, nil
	})
}

// none is the input or output of a call that has none.
type none struct{}

// body is an answer that is v as JSON.
type body[T any] struct{ Body T }
