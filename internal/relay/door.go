package relay

import (
	"fmt"
	"strings"
)

// A Door says who may come to an endpoint. The zero value lets everybody in.
type Door struct {
	// AllowIP and DenyIP are addresses and ranges: "203.0.113.7", "2001:db8::/32".
	// What is denied stays out even if it is allowed too; if nothing is allowed by
	// name, all the others may come.
	AllowIP []string `json:"allow_ip,omitempty"`
	DenyIP  []string `json:"deny_ip,omitempty"`
	// AllowProviderIPs are senders whose published addresses are allowed as well:
	// "github".
	AllowProviderIPs []string `json:"allow_provider_ips,omitempty"`
	// RequireToken are places of a token, of which a request has to show a good one
	// in any: "header:X-Token", "query:token", "bearer". The tokens themselves are
	// DoorTokens.
	RequireToken []string `json:"require_token,omitempty"`
	// Strip takes the token out before the app sees the request.
	Strip bool `json:"strip,omitempty"`
	// Rate is how many requests may come in a time: "10/s", "600/m", "1000/h"; Burst
	// is how many of them at once. The default of Burst is a second's worth, or 10
	// where that is less, but no more than the number in Rate.
	Rate  string `json:"rate,omitempty"`
	Burst int    `json:"burst,omitempty"`
	// MaxBody is the largest body that comes in, in bytes; 0 for no limit here.
	MaxBody int64 `json:"max_body,omitempty"`
}

// DoorTokens are the tokens of a Door by their places. While one is changed there
// are two in a place. They are secrets, and never logged.
type DoorTokens map[string][]string

// String keeps tokens out of logs and messages.
func (t DoorTokens) String() string { return fmt.Sprintf("tokens in %d places", len(t)) }

// GoString does the same for %#v.
func (t DoorTokens) GoString() string { return t.String() }

// ParseDoorToken takes apart what a user writes, "header:X-Token=VALUE",
// "query:token=VALUE" or "bearer:VALUE". An error (ErrInvalid) has no part of the
// token in it.
func ParseDoorToken(s string) (place, token string, err error) {
	kind, rest, ok := strings.Cut(s, ":")
	if !ok {
		kind = "" // it may be a token that was written without anything before it
	}
	switch kind {
	case "bearer":
		place, token = kind, rest
	case "header", "query":
		name, value, _ := strings.Cut(rest, "=")
		if name != "" {
			place, token = kind+":"+name, value
		}
	}
	if place == "" || token == "" {
		return "", "", fmt.Errorf("%w token: write header:NAME=TOKEN, query:NAME=TOKEN or bearer:TOKEN", ErrInvalid)
	}
	return place, token, nil
}
