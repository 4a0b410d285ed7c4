package relay

import (
	"fmt"
	"slices"
	"strings"
)

// Rights bound what a user may do. The zero value of each field means the default.
type Rights struct {
	// Names are patterns of the names that the user may take, in which * stands for
	// anything; default: the user's own name and what ends with a hyphen and it. Names that
	// are held already stay.
	Names []string `json:"names,omitempty"`
	// Endpoints is how many names the user may hold; default 100.
	Endpoints int `json:"endpoints,omitempty"`
	// Domains is how many hosts of their own; default 20, -1 for none.
	Domains int `json:"domains,omitempty"`
	// Sessions is how many agents may be connected at a time; default 50.
	Sessions int `json:"sessions,omitempty"`
	// Concurrent is how many requests may be under way at a time; default 1000.
	Concurrent int `json:"concurrent,omitempty"`
	// Rate is how many requests may come in a second; default no limit.
	Rate float64 `json:"rate,omitempty"`
}

// Defaults returns the rights with every default filled in, for a user of that name.
func (r Rights) Defaults(user string) Rights {
	if len(r.Names) == 0 {
		r.Names = []string{user, "*-" + user}
	}
	or(&r.Endpoints, 100)
	or(&r.Domains, 20)
	or(&r.Sessions, 50)
	or(&r.Concurrent, 1000)
	return r
}

// Check finds what can never be right (ErrInvalid), in words for whoever wrote it.
func (r Rights) Check() error {
	for _, p := range r.Names {
		if err := CheckPattern(p); err != nil {
			return err
		}
	}
	if r.Endpoints < 0 || r.Sessions < 0 || r.Concurrent < 0 || r.Rate < 0 || r.Domains < -1 {
		return fmt.Errorf("%w rights: a number is negative", ErrInvalid)
	}
	return nil
}

// CheckPattern finds out whether p can be a pattern of names (ErrInvalid).
func CheckPattern(p string) error {
	for i := range len(p) {
		if c := p[i]; c != '*' && c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return fmt.Errorf("%w pattern %q: it has lower-case letters, digits, hyphens and * for anything, like pr-*", ErrInvalid, p)
		}
	}
	if p == "" || len(p) > maxName {
		return fmt.Errorf("%w pattern %q: it is empty or too long", ErrInvalid, p)
	}
	return nil
}

// MatchAny tells whether one of the patterns fits s. A pattern fits another one when it
// fits all names that the other fits.
func MatchAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matchPattern(p, s) })
}

func matchPattern(p, s string) bool {
	parts := strings.Split(p, "*")
	if len(parts) == 1 {
		return s == p
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		_, rest, found := strings.Cut(s, part)
		if !found {
			return false
		}
		s = rest
	}
	return strings.HasSuffix(s, last)
}

// MayTake tells whether u may take a name that nobody holds.
func (u User) MayTake(n Name) bool {
	return !Reserved(n) && MatchAny(u.Rights.Defaults(u.Name).Names, string(n)) && u.MayUse(n)
}

// MayUse tells whether the token with which u came is good for a name.
func (u User) MayUse(n Name) bool { return len(u.Only) == 0 || MatchAny(u.Only, string(n)) }

// Scope is a part of what a token may be used for.
type Scope string

// The scopes.
const (
	ScopeTunnel      Scope = "tunnel"       // connect agents, take names
	ScopeEventsRead  Scope = "events:read"  // see events and recorded requests
	ScopeEventsWrite Scope = "events:write" // replay, retry, cancel and remove them
	ScopeEndpoints   Scope = "endpoints"    // change names, settings, domains
	ScopeTokens      Scope = "tokens"       // make and revoke tokens
	ScopeAdmin       Scope = "admin"        // what admins may
)

// Scopes are all of them.
func Scopes() []Scope {
	return []Scope{ScopeTunnel, ScopeEventsRead, ScopeEventsWrite, ScopeEndpoints, ScopeTokens, ScopeAdmin}
}

// CheckScopes finds scopes that do not exist (ErrInvalid).
func CheckScopes(scopes []Scope) error {
	for _, s := range scopes {
		if !slices.Contains(Scopes(), s) {
			var known []string
			for _, k := range Scopes() {
				known = append(known, string(k))
			}
			return fmt.Errorf("%w scope %q: known are %s", ErrInvalid, s, strings.Join(known, ", "))
		}
	}
	return nil
}

// Allows tells whether a token is good for a scope. One without scopes is good for all
// that its user may. "" is what every token is good for.
func (t Token) Allows(s Scope) bool {
	return s == "" || len(t.Scopes) == 0 || slices.Contains(t.Scopes, s)
}

// Narrow is u as a token shows them: with no more than the token is good for.
func (u User) Narrow(t Token) User {
	u.Only = t.Endpoints
	u.Admin = u.Admin && t.Allows(ScopeAdmin) && len(t.Endpoints) == 0
	return u
}

// Child finds out whether a token of that kind may be made with this one (ErrDenied): it
// may not be good for more, nor last longer.
func (t Token) Child(c Token) error {
	if len(t.Scopes) > 0 {
		if len(c.Scopes) == 0 {
			return fmt.Errorf("%w: the token with which you ask has scopes; give the new one some of them", ErrDenied)
		}
		for _, s := range c.Scopes {
			if !t.Allows(s) {
				return fmt.Errorf("%w: the token with which you ask has no scope %s to give", ErrDenied, s)
			}
		}
	}
	if len(t.Endpoints) > 0 {
		if len(c.Endpoints) == 0 {
			return fmt.Errorf("%w: the token with which you ask is for %s; give the new one some of these endpoints", ErrDenied, strings.Join(t.Endpoints, ", "))
		}
		for _, p := range c.Endpoints {
			if !MatchAny(t.Endpoints, p) {
				return fmt.Errorf("%w: the token with which you ask is not for the endpoints %s", ErrDenied, p)
			}
		}
	}
	if !t.Expires.IsZero() && (c.Expires.IsZero() || c.Expires.After(t.Expires)) {
		return fmt.Errorf("%w: the token with which you ask ends on %s; the new one may not last longer", ErrDenied, t.Expires.Format("2006-01-02 15:04"))
	}
	return nil
}
