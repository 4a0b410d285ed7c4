// Package policy says whether a visitor may pass: by address, by token, by rate and
// by the size of the body. It is asked before anything else looks at a request.
//
// A Policy is made once of the settings of an endpoint (Parse) and asked for each
// request (Admit). Who the visitor is, is told by the caller: nothing here reads
// forwarded headers. Lists has the addresses that senders publish, and keeps them up
// to date.
package policy

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/relaytunnel/relay/internal/relay"
)

// Policy is who may come to one endpoint. Any number of goroutines may ask it. The
// nil Policy lets everybody in.
type Policy struct {
	allow, deny *addresses // nil for none
	lists       *Lists
	providers   []string
	tokens      []token
	strip       bool
	limiter     *rate.Limiter // nil for no limit
	maxBody     int64
}

// Refusal is the answer to a visitor who may not pass. The codes stand in
// docs/errors.md.
type Refusal struct {
	Status     int
	Code       string
	Message    string
	RetryAfter int    // seconds; 0 for none
	Challenge  string // for WWW-Authenticate; empty for none
}

var (
	ipDenied      = Refusal{Status: http.StatusForbidden, Code: "ip_denied", Message: "This endpoint takes no requests from your address."}
	tokenRequired = Refusal{Status: http.StatusUnauthorized, Code: "token_required", Message: "This endpoint wants a token, and none that is right was sent."}
	bodyTooLarge  = Refusal{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: "The body of the request is larger than this endpoint takes."}
	rateLimited   = Refusal{Status: http.StatusTooManyRequests, Code: "rate_limited", Message: "More requests came to this endpoint than it takes. Send it again later."}
)

// Parse makes a Policy of settings. The tokens are those of Door.RequireToken; only
// hashes of them are kept. lists may be nil if no provider is named. An error is of
// kind relay.ErrInvalid, in words for whoever wrote the settings. For a door that lets
// everybody in the Policy is nil.
func Parse(d relay.Door, tokens relay.DoorTokens, lists *Lists) (*Policy, error) {
	p := &Policy{lists: lists, strip: d.Strip, maxBody: d.MaxBody}
	var err error
	if p.allow, err = parseAddresses("allow_ip", d.AllowIP); err != nil {
		return nil, err
	}
	if p.deny, err = parseAddresses("deny_ip", d.DenyIP); err != nil {
		return nil, err
	}
	for _, name := range d.AllowProviderIPs {
		name = strings.ToLower(strings.TrimSpace(name))
		if !lists.has(name) {
			return nil, invalid("allow_provider_ips: of %q no list of addresses is known; there are lists of %s", name, strings.Join(lists.names(), ", "))
		}
		p.providers = append(p.providers, name)
	}
	if p.tokens, err = parseTokens(d.RequireToken, tokens); err != nil {
		return nil, err
	}
	if p.limiter, err = parseRate(d.Rate, d.Burst); err != nil {
		return nil, err
	}
	switch {
	case d.MaxBody < 0:
		return nil, invalid("max_body is negative")
	case d.Strip && len(p.tokens) == 0:
		return nil, invalid("strip: there is no require_token, so there is nothing to take out")
	case p.allow == nil && p.deny == nil && p.providers == nil && p.tokens == nil && p.limiter == nil && p.maxBody == 0:
		return nil, nil //nolint:nilnil // the nil Policy is one
	}
	lists.want(p.providers) // only of a policy that stands
	return p, nil
}

// Follow goes on counting where the policy before it was, if their rates are the same:
// otherwise each change of settings would give the visitors a new start. Call it before
// the first Admit.
func (p *Policy) Follow(old *Policy) {
	if p == nil || old == nil || p.limiter == nil || old.limiter == nil {
		return
	}
	if p.limiter.Limit() == old.limiter.Limit() && p.limiter.Burst() == old.limiter.Burst() {
		p.limiter = old.limiter
	}
}

// Admit returns nil if the visitor may pass. client is the visitor's own address.
//
// What costs least is asked first, and the rate last: what is refused for another
// reason does not use up what the rightful sender has.
func (p *Policy) Admit(client netip.Addr, r *http.Request, now time.Time) *Refusal {
	switch {
	case p == nil:
		return nil
	case !p.addressPasses(client):
		return refuse(ipDenied)
	case !p.tokenPasses(r):
		no := refuse(tokenRequired)
		if p.wantsBearer() {
			no.Challenge = "Bearer"
		}
		return no
	case p.maxBody > 0 && r.ContentLength > p.maxBody:
		return refuse(bodyTooLarge)
	}
	if wait := p.wait(now); wait > 0 {
		no := refuse(rateLimited)
		no.RetryAfter = int((wait + time.Second - 1) / time.Second)
		return no
	}
	return nil
}

// MaxBody is the largest body that may come, in bytes; 0 for no limit. Admit looks
// only at the length that a request announces: who reads a body without one has to
// stop here.
func (p *Policy) MaxBody() int64 {
	if p == nil {
		return 0
	}
	return p.maxBody
}

// refuse returns a copy, which the caller may change.
func refuse(r Refusal) *Refusal { return &r }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w door: "+format, append([]any{relay.ErrInvalid}, args...)...)
}
