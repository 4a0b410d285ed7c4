// Package edge faces visitors: it admits what is plainly HTTP and nothing else,
// finds where the host leads, carries the request there and the answer back, and
// says what is wrong when there is nowhere to go.
//
// Names are read once, here: what passes on is the parsed host, never the raw
// one. Headers by which an app learns who the visitor is are set here, after
// whatever the visitor sent under these names has been thrown away.
package edge

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/policy"
)

const (
	// maxTarget is the longest request target, in bytes.
	maxTarget = 16 << 10
	// maxHeaderLines is the most header lines a request may have.
	maxHeaderLines = 200
	// MaxHeaderBytes is the limit for the head of a request; for http.Server.
	MaxHeaderBytes = 64 << 10
	// HeaderTimeout is how long a visitor may take for the head of a request; for
	// http.Server.
	HeaderTimeout = 10 * time.Second
	// IdleTimeout is how long a visitor may stay without a request; for http.Server.
	IdleTimeout = 2 * time.Minute
	// progressTimeout is the default of Options.Progress.
	progressTimeout = time.Minute
	// bufferedBody is the largest body that is read before the request goes on,
	// so that it can be sent again when the agent reconnects.
	bufferedBody = 32 << 10
)

// Tunnel carries a request to an agent's service.
type Tunnel interface {
	http.RoundTripper
	// Live tells whether a request may try. When it may not, the agent has gone.
	Live() bool
}

// Target is where a host leads.
type Target struct {
	// Handler answers itself; the other fields do not count then.
	Handler http.Handler
	// Tunnel is set when an agent serves the host just now.
	Tunnel Tunnel
	// Door says who may pass at all; nil lets everybody in.
	Door *policy.Policy
	// Inbox stands before the tunnel: it gets the request and, to pass on what is not
	// its own, the way to the app. nil where there is none.
	Inbox func(live http.Handler) http.Handler
	// Record says where exchanges are recorded; nil records none.
	Record *Record
	// Traffic counts requests; nil counts none.
	Traffic *Traffic
	// HostHeader replaces the Host that the service sees, when set.
	HostHeader string
	// Known tells that somebody holds the host though no agent is there.
	Known bool
	// Wait tells that the agent was there a moment ago and may be back at once.
	Wait bool
}

// Options set the edge up. Resolve is required.
type Options struct {
	// Resolve finds where a canonical host leads.
	Resolve func(host string) Target
	// Await waits until the host has a tunnel other than not, or ctx ends.
	Await func(ctx context.Context, host string, not Tunnel) (Target, error)
	// Trusted are the proxies whose X-Forwarded-For and -Proto are believed.
	Trusted []netip.Prefix
	// HoldFor is how long a request waits for an agent that was just here;
	// MaxHeld how many may wait at a time. 0 means 5 s and 1000.
	HoldFor time.Duration
	MaxHeld int
	// AnswerWithin is how long an app may take until its answer begins; 0 means
	// 10 minutes.
	AnswerWithin time.Duration
	// Progress is how long a visitor who is to send or to take something may do
	// nothing; 0 means a minute.
	Progress time.Duration
	// Domain is the base domain: cookies for it are cut back to their host.
	Domain string
	// Covers tells whether the certificate that a visitor was shown for one host is
	// good for another too: then its connection may be used for both (RFC 9113,
	// 9.1.1). nil means never.
	Covers func(shown, host string) bool
	// Secure adds what answers by TLS carry, where nobody else has said it:
	// Alt-Svc, Strict-Transport-Security. nil adds nothing.
	Secure func(h http.Header, host string)
	Log    *slog.Logger
}

// Edge is the http.Handler for visitors.
type Edge struct {
	o    Options
	log  *slog.Logger
	held atomic.Int64
	open atomic.Int64 // connections
	ids  ids
}

// New makes an edge.
func New(o Options) *Edge {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.HoldFor == 0 {
		o.HoldFor = 5 * time.Second
	}
	if o.MaxHeld == 0 {
		o.MaxHeld = 1000
	}
	if o.AnswerWithin == 0 {
		o.AnswerWithin = 10 * time.Minute
	}
	if o.Progress == 0 {
		o.Progress = progressTimeout
	}
	return &Edge{o: o, log: o.Log}
}

// ServeHTTP admits a request, or says why not, and passes it on.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := call{edge: e, w: w, r: r, id: e.ids.next()}
	defer countReset(r)
	defer e.tellPanic(&c)
	if p := c.admit(); p != nil {
		c.refuse(p)
		return
	}
	if r.TLS != nil && e.o.Secure != nil {
		e.o.Secure(w.Header(), c.host)
	}
	t := e.o.Resolve(c.host)
	if t.Handler != nil {
		r.Host = c.hostport
		w.Header()[idHeader] = []string{c.id}
		t.Handler.ServeHTTP(w, r)
		return
	}
	if c.target == relay.ProbePath && (t.Known || t.Tunnel != nil) {
		c.probe(t)
		return
	}
	over := c.enter(t.Traffic)
	c.record(t)
	if over != nil {
		c.refuse(over)
	} else if p := c.knock(t.Door); p != nil {
		c.refuse(p)
	} else if t.Inbox != nil {
		c.inbox(t)
	} else {
		c.live(t)
	}
	c.over(nil)
}

// inbox gives the request to what stands before the tunnel.
func (c *call) inbox(t Target) {
	w, r := c.w, c.r
	r.Host = c.hostport
	w.Header()[idHeader] = []string{c.id}
	live := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen, ok := w.(*seenWriter); ok {
			w = seen.ResponseWriter // live sees more of the answer
		}
		c.w, c.r = w, r
		c.live(t)
	})
	if c.tap != nil {
		r = r.WithContext(capture.WithTap(r.Context(), c.tap))
	}
	if c.tap != nil || c.traffic != nil {
		w = &seenWriter{ResponseWriter: w, c: c}
	}
	t.Inbox(live).ServeHTTP(w, r)
}

// live carries the request to the app.
func (c *call) live(t Target) {
	if t.Door != nil {
		t.Door.Strip(c.r)
		if target, err := originForm(c.r); err == nil {
			c.target = target
		}
	}
	c.prepare()
	c.forward(t)
}

// knock asks the door whether the visitor may pass.
func (c *call) knock(door *policy.Policy) *problem {
	if door == nil {
		return nil
	}
	c.identify()
	if no := door.Admit(c.client, c.r, time.Now()); no != nil {
		if no.Challenge != "" {
			c.w.Header().Set("WWW-Authenticate", no.Challenge)
		}
		return &problem{Status: no.Status, Code: no.Code, Message: no.Message, RetryAfter: no.RetryAfter, Close: no.Status == http.StatusRequestEntityTooLarge}
	}
	if most := door.MaxBody(); most > 0 && c.r.ContentLength < 0 {
		c.r.Body = http.MaxBytesReader(c.w, c.r.Body, most)
	}
	return nil
}

// probe tells that the way to a name is clear up to here.
func (c *call) probe(t Target) {
	h := c.w.Header()
	h[idHeader] = []string{c.id}
	h.Set("Cache-Control", "no-store")
	state := relay.ProbeAway
	if t.Tunnel != nil && t.Tunnel.Live() {
		state = relay.ProbeLive
	}
	h.Set(relay.ProbeHeader, state)
	c.w.WriteHeader(http.StatusNoContent)
}

// covered tells whether a connection that was made for one host may be used for
// the request's.
func (c *call) covered(shown string) bool {
	if strings.EqualFold(shown, c.host) {
		return true
	}
	host, err := canonicalHost(shown)
	return err == nil && (host == c.host || c.edge.o.Covers != nil && c.edge.o.Covers(host, c.host))
}

// tellPanic logs a panic of a handler, which net/http would hide among the noise of
// strangers, and lets it end this request and no other.
func (e *Edge) tellPanic(c *call) {
	p := recover()
	if p == nil {
		return
	}
	c.over(p)
	if p != http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http does
		e.log.Error("panic", "id", c.id, "host", c.host, "value", p, "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}

// canonicalHost is the one way to write a host.
func canonicalHost(raw string) (string, error) { return relay.ParseHost(raw) }

// call is one request on its way.
type call struct {
	edge     *Edge
	w        http.ResponseWriter
	r        *http.Request
	id       string
	host     string // canonical
	hostport string // canonical, with the port that the visitor named
	target   string // origin form, byte for byte
	client   netip.Addr
	proto    string       // http or https, as the visitor used it
	upload   *visitorBody // a body that arrives while it is passed on
	stalled  atomic.Bool  // the visitor did not get on with its body
	status   int          // of the answer; 0 while there is none
	tap      *capture.Tap // nil where nothing is recorded
	traffic  *Traffic     // nil where nothing is counted
	why      error        // what went wrong, for people
}

// admit checks what can be checked before the host is looked up.
func (c *call) admit() *problem {
	r := c.r
	switch r.Method {
	case http.MethodConnect, http.MethodTrace:
		return &methodNotAllowed
	}
	if !isToken(r.Method) {
		return badRequest("bad_method", "The method of the request is not a word.")
	}
	host, err := canonicalHost(r.Host)
	if err != nil {
		return badRequest("bad_host", "The Host of the request is not a valid name: "+err.Error()+".")
	}
	c.host, c.hostport = host, withPort(host, r.Host)
	if len(r.RequestURI) > maxTarget {
		return &targetTooLong
	}
	if c.target, err = originForm(r); err != nil {
		return badRequest("bad_target", "The target of the request cannot be served: "+err.Error()+".")
	}
	if r.TLS != nil && !c.covered(r.TLS.ServerName) {
		return &misdirected
	}
	if r.ProtoMajor >= 2 && !plainLength(r.Header["Content-Length"]) {
		return badRequest("bad_length", "The Content-Length of the request is not a number.")
	}
	lines := 0
	for _, vs := range r.Header {
		lines += len(vs)
	}
	if lines > maxHeaderLines {
		return &tooManyHeaders
	}
	return nil
}
