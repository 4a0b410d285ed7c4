package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// Audit are the operations on the log of who did what. It is only ever added to.
type Audit struct {
	Add  func(ctx context.Context, a relay.Audit)
	List func(ctx context.Context, q relay.AuditQuery) ([]relay.Audit, error)
}

// AuditEntry is something that somebody did.
type AuditEntry struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	User    string    `json:"user,omitempty" doc:"Nothing when nobody was known"`
	Token   string    `json:"token,omitempty" doc:"Name of the token"`
	Address string    `json:"address"`
	Action  string    `json:"action" doc:"Noun and verb" example:"token.create"`
	Target  string    `json:"target,omitempty" doc:"What it was done to"`
	Result  string    `json:"result" doc:"ok, or the code of the problem"`
}

type auditInput struct {
	User   string    `query:"user"`
	Action string    `query:"action" doc:"A kind, or a noun for all that was done to such things"`
	Since  time.Time `query:"since"`
	Before string    `query:"before" doc:"The id of the last entry of the page before"`
	Limit  int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type auditPage struct {
	Items []AuditEntry `json:"items" nullable:"false"`
	Next  string       `json:"next,omitempty" doc:"What to give as before for the next page"`
}

func (a *api) audit() {
	if a.o.Audit == nil {
		return
	}
	operation(a, http.MethodGet, "/audit", "list-audit", "Who did what, the newest first; for admins",
		func(ctx context.Context, c Caller, in *auditInput) (*body[auditPage], error) {
			if err := c.admin(); err != nil {
				return nil, err
			}
			all, err := a.o.Audit.List(ctx, relay.AuditQuery{Actor: in.User, Action: in.Action, Since: in.Since, Before: in.Before, Limit: in.Limit})
			out := auditPage{Items: make([]AuditEntry, 0, len(all))}
			for _, e := range all {
				out.Items = append(out.Items, AuditEntry{e.ID, e.At, e.Actor, e.Token, e.Address, e.Action, e.Target, e.Result})
			}
			if len(all) == in.Limit {
				out.Next = all[len(all)-1].ID
			}
			return &body[auditPage]{out}, err
		})
}

// admin refuses who is none.
func (c Caller) admin() error {
	if !c.User.Admin {
		return denied("only an admin may do that")
	}
	return nil
}

// note is what a call tells of itself to the audit log.
type note struct {
	caller Caller
	target string
}

type noteKey struct{}

// about tells the audit log what a call is about, where its path does not.
func about(ctx context.Context, target string) {
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		n.target = target
	}
}

// audited writes down each call that changes something, whatever becomes of it.
func (a *api) audited(next http.Handler) http.Handler {
	if a.o.Audit == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		n := &note{caller: Caller{From: a.o.ClientAddr(r)}}
		seen := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(seen, r.WithContext(context.WithValue(r.Context(), noteKey{}, n)))
		action, target := actionOf(r.Method, strings.TrimPrefix(r.URL.Path, Prefix))
		if n.target != "" {
			target = n.target
		}
		c := n.caller
		from := "socket"
		if c.From.IsValid() {
			from = c.From.String()
		}
		a.o.Audit.Add(context.WithoutCancel(r.Context()), relay.Audit{
			At: time.Now(), UserID: c.User.ID, Actor: c.User.Name, Token: c.Token.Name, Address: from,
			Action: action, Target: target, Result: seen.result(),
		})
	})
}

// actionOf names a call, and what it is about as far as the path tells.
func actionOf(method, path string) (action, target string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	noun := strings.TrimSuffix(parts[0], "s")
	verb := map[string]string{http.MethodPost: "create", http.MethodPatch: "change", http.MethodPut: "change", http.MethodDelete: "remove"}[method]
	switch {
	case parts[0] == "session": // who signs in, or out
		return map[string]string{http.MethodPost: "session.sign_in", http.MethodDelete: "session.sign_out"}[method], ""
	case parts[0] == "sessions" && len(parts) > 1:
		return "agent.kick", parts[1]
	case parts[0] == "users" && len(parts) == 3 && parts[2] == "tokens":
		return "token.create", parts[1]
	case len(parts) == 3: // a verb at its end
		return noun + "." + parts[2], parts[1]
	case len(parts) == 2 && method == http.MethodPost: // a verb for many
		return noun + "." + parts[1], ""
	case len(parts) == 2:
		target = parts[1]
	}
	return noun + "." + verb, target
}

// statusWriter remembers how a call ended.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader is that of http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write is that of http.ResponseWriter.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) result() string {
	if w.status < 400 {
		return "ok"
	}
	if code := w.Header().Get("Relay-Error"); code != "" {
		return code
	}
	return strconv.Itoa(w.status)
}
