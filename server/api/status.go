package api

import (
	"context"
	"net/http"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// Info says what a server is.
type Info struct {
	Domain string
	URL    string
}

// Me is who calls.
type Me struct {
	User   string `json:"user" doc:"Name of the user"`
	Admin  bool   `json:"admin"`
	Token  string `json:"token" doc:"Name of the token"`
	Domain string `json:"domain" doc:"Base domain of the server"`
	URL    string `json:"url" doc:"Address of the server"`
}

func (a *api) me() {
	operation(a, http.MethodGet, "/me", "me", "Whose token this is", func(_ context.Context, c Caller, _ *none) (*body[Me], error) {
		info := a.o.Info()
		return &body[Me]{Me{c.User.Name, c.User.Admin, c.Token.Name, info.Domain, info.URL}}, nil
	})
}

// Status says how a server is.
type Status struct {
	Version      string        `json:"version"`
	Started      time.Time     `json:"started"`
	Sessions     int           `json:"sessions" doc:"Connected agents"`
	Certificates []Certificate `json:"certificates" nullable:"false" doc:"Empty where the server does no TLS"`
	Quota        []Quota       `json:"quota,omitempty" doc:"Certificates that the authority allows in seven days, where it has a limit"`
}

// Certificate is one host's, or a wildcard.
type Certificate struct {
	Host    string     `json:"host"`
	Source  string     `json:"source" doc:"file, wildcard or acme"`
	State   string     `json:"state" doc:"valid, ordering, failed, expired or missing"`
	Expires *time.Time `json:"expires,omitempty"`
	Error   string     `json:"error,omitempty" doc:"Why the last order failed"`
	NextTry *time.Time `json:"next_try,omitempty"`
}

// Quota is how many certificates were ordered in the last seven days.
type Quota struct {
	Zone  string `json:"zone" doc:"The registered domain that the limit is for"`
	Used  int    `json:"used"`
	Limit int    `json:"limit"`
}

func (a *api) status() {
	if a.o.Status == nil {
		return
	}
	operation(a, http.MethodGet, "/status", "status", "How the server is; for admins", func(ctx context.Context, c Caller, _ *none) (*body[Status], error) {
		if !c.User.Admin {
			return nil, denied("only an admin may see the state of the server")
		}
		s := a.o.Status(ctx)
		s.Version = a.o.Version
		if s.Certificates == nil {
			s.Certificates = []Certificate{}
		}
		return &body[Status]{s}, nil
	})
}

// denied is the error of a caller who may not.
func denied(why string) error { return &kindError{relay.ErrDenied, why} }

// kindError has a kind and a sentence that does not repeat it.
type kindError struct {
	kind error
	text string
}

func (e *kindError) Error() string { return e.text }
func (e *kindError) Unwrap() error { return e.kind }
