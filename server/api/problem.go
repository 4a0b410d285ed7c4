package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/relaytunnel/relay/internal/relay"
)

// Problem is how a call fails: problem+json of RFC 9457 with a code for programs.
type Problem struct {
	huma.ErrorModel
	Code string `json:"code" doc:"What is wrong, for programs" example:"not_found"`

	retryAfter int // seconds; 0 for none
}

// GetHeaders gives the headers that go with the problem.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{"Relay-Error": {p.Code}}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	return h
}

// kinds is the one table from kinds of error to answers.
var kinds = []struct {
	kind       error
	status     int
	code       string
	retryAfter int
}{
	{relay.ErrNotFound, http.StatusNotFound, "not_found", 0},
	{relay.ErrInvalid, http.StatusUnprocessableEntity, "invalid", 0},
	{relay.ErrTaken, http.StatusConflict, "taken", 0},
	{relay.ErrDenied, http.StatusForbidden, "denied", 0},
	{relay.ErrLimit, http.StatusTooManyRequests, "limit", 60},
	{relay.ErrOffline, http.StatusServiceUnavailable, "offline", 5},
}

// problem makes an answer of an error. One of no kind is the server's failure: it
// is logged, and the caller learns no more.
func (a *api) problem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			p = newProblem(k.status, k.code, sentence(err))
			p.retryAfter = k.retryAfter
			return p
		}
	}
	a.log.Error("api call failed", "err", err)
	return newProblem(http.StatusInternalServerError, "internal", "The server failed. Its log says why.")
}

func newProblem(status int, code, detail string) *Problem {
	return &Problem{ErrorModel: huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail}, Code: code}
}

func unauthorized(detail string) *Problem {
	return newProblem(http.StatusUnauthorized, "auth", detail)
}

// sentence makes a sentence of an error. The kind is told by the code, where it stands
// at the beginning.
func sentence(err error) string {
	s := err.Error()
	for _, k := range kinds {
		s = strings.TrimPrefix(s, k.kind.Error()+": ")
	}
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}

// refuse answers with a problem where no operation has begun.
func (a *api) refuse(ctx huma.Context, p *Problem) {
	for name, values := range p.GetHeaders() {
		ctx.SetHeader(name, values[0])
	}
	ctx.SetHeader("Content-Type", "application/problem+json")
	ctx.SetHeader("Cache-Control", "no-store")
	ctx.SetStatus(p.Status)
	_ = json.NewEncoder(ctx.BodyWriter()).Encode(p)
}
