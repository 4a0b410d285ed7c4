package edge

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const errorHeader = "Relay-Error"

// problem is what a visitor gets when something is wrong. The codes stand in
// docs/errors.md.
type problem struct {
	Status     int
	Code       string
	Message    string
	RetryAfter int  // seconds; 0 for none
	Close      bool // end the connection: where the next request begins is not sure
}

func badRequest(code, message string) *problem {
	return &problem{Status: http.StatusBadRequest, Code: code, Message: message, Close: true}
}

var (
	methodNotAllowed = problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "CONNECT and TRACE do not pass through the relay.", Close: true}
	targetTooLong    = problem{Status: http.StatusRequestURITooLong, Code: "target_too_long", Message: "The address of the request is longer than 16 KiB.", Close: true}
	tooManyHeaders   = problem{Status: http.StatusRequestHeaderFieldsTooLarge, Code: "too_many_headers", Message: "The request has more than 200 header lines.", Close: true}
	misdirected      = problem{Status: http.StatusMisdirectedRequest, Code: "misdirected", Message: "This connection was made for another host. Make a new one."}
	unknownName      = problem{Status: http.StatusNotFound, Code: "unknown_name", Message: "No tunnel has this name."}
	agentAway        = problem{Status: http.StatusServiceUnavailable, Code: "agent_away", Message: "The tunnel exists, but its agent is not connected just now.", RetryAfter: 5}
	tooManyAtOnce    = problem{Status: http.StatusTooManyRequests, Code: "busy", Message: "Too many requests to names of this user are under way. Try again in a moment.", RetryAfter: 1}
	tooManyInTime    = problem{Status: http.StatusTooManyRequests, Code: "user_rate", Message: "Too many requests come to names of this user. Try again later."}
	appSlow          = problem{Status: http.StatusGatewayTimeout, Code: "upstream_timeout", Message: "The app behind the tunnel took too long to answer."}
	appFailed        = problem{Status: http.StatusBadGateway, Code: "upstream_failed", Message: "The app behind the tunnel closed the connection without a complete answer."}
	badAnswer        = problem{Status: http.StatusBadGateway, Code: "upstream_invalid", Message: "The app behind the tunnel did not answer with valid HTTP."}
	badBody          = problem{Status: http.StatusBadRequest, Code: "bad_body", Message: "The body of the request is broken.", Close: true}
	bodyStalled      = problem{Status: http.StatusRequestTimeout, Code: "body_timeout", Message: "The body of the request did not arrive in time.", Close: true}
)

//go:embed problem.html
var problemPage string

var problemTemplate = template.Must(template.New("problem").Parse(problemPage))

// refuse answers with a problem, as a page to browsers and as JSON to others.
func (c *call) refuse(p *problem) {
	h := c.w.Header()
	h[idHeader] = []string{c.id}
	h[errorHeader] = []string{p.Code}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if p.Status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	if p.Close && c.r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	if c.r.Body != nil && c.r.Body != http.NoBody {
		// net/http reads the rest of a small body before it answers, but not for ever.
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(c.edge.o.Progress))
	}
	var body bytes.Buffer
	if strings.Contains(c.r.Header.Get("Accept"), "text/html") {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		_ = problemTemplate.Execute(&body, map[string]any{"P": p, "Host": c.host, "ID": c.id, "Title": http.StatusText(p.Status)})
	} else {
		h.Set("Content-Type", "application/json")
		enc := json.NewEncoder(&body)
		_ = enc.Encode(map[string]any{"error": p.Code, "message": p.Message, "status": p.Status, "request_id": c.id})
	}
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	c.status, c.why = p.Status, errors.New(p.Message)
	if c.tap != nil {
		c.tap.Answered(p.Status, h.Clone())
		c.tap.Body(body.Bytes())
	}
	c.w.WriteHeader(p.Status)
	_, _ = c.w.Write(body.Bytes())
}
