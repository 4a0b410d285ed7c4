package relay_test

import (
	"errors"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

func TestMatchAny(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"shop", "shop", true},
		{"shop", "shopx", false},
		{"*-alice", "api-alice", true},
		{"*-alice", "alice", false},
		{"*-alice", "-alice", true},
		{"pr-*", "pr-17", true},
		{"pr-*", "xpr-17", false},
		{"pr-*-shop", "pr-17-shop", true},
		{"pr-*-shop", "pr-shop", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"*", "", true},
		{"*b*", "abc", true},
		// of patterns
		{"pr-*", "pr-*-shop", true},
		{"pr-*-shop", "pr-*", false},
		{"*", "*", true},
		{"shop", "*", false},
	} {
		if got := relay.MatchAny([]string{"x-x", c.pattern}, c.s); got != c.want {
			t.Errorf("%s fits %s: %v", c.pattern, c.s, got)
		}
	}
}

func TestMayTake(t *testing.T) {
	alice := relay.User{Name: "alice"}
	wide := relay.User{Name: "bob", Rights: relay.Rights{Names: []string{"shop", "*-shop", "admin"}}}
	narrow := relay.User{Name: "alice", Only: []string{"pr-*"}}
	for _, c := range []struct {
		u    relay.User
		name relay.Name
		want bool
	}{
		{alice, "alice", true},
		{alice, "api-alice", true},
		{alice, "malice", false},
		{alice, "shop", false},
		{wide, "shop", true},
		{wide, "a-shop", true},
		{wide, "bob", false},
		{wide, "admin", false}, // reserved
		{narrow, "pr-1-alice", true},
		{narrow, "alice", false},
		{narrow, "pr-1", false},
	} {
		if got := c.u.MayTake(c.name); got != c.want {
			t.Errorf("%s (%v) may take %s: %v", c.u.Name, c.u.Rights.Names, c.name, got)
		}
	}
}

func TestRightsCheck(t *testing.T) {
	for _, r := range []relay.Rights{
		{Names: []string{""}},
		{Names: []string{"Shop"}},
		{Names: []string{"a.b"}},
		{Names: []string{"a b"}},
		{Endpoints: -1},
		{Domains: -2},
		{Rate: -1},
	} {
		if err := r.Check(); !errors.Is(err, relay.ErrInvalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := (relay.Rights{Names: []string{"*", "pr-*"}, Domains: -1}).Check(); err != nil {
		t.Error(err)
	}
}

func TestChildTokens(t *testing.T) {
	soon, later := time.Unix(1000, 0), time.Unix(2000, 0)
	all := relay.Token{}
	narrow := relay.Token{Scopes: []relay.Scope{relay.ScopeTunnel, relay.ScopeTokens}, Endpoints: []string{"pr-*"}, Expires: soon}
	for _, c := range []struct {
		what          string
		parent, child relay.Token
		ok            bool
	}{
		{"all of all", all, all, true},
		{"some of all", all, narrow, true},
		{"the same", narrow, narrow, true},
		{"less", narrow, relay.Token{Scopes: []relay.Scope{relay.ScopeTunnel}, Endpoints: []string{"pr-*-shop", "pr-1"}, Expires: soon}, true},
		{"all of some", narrow, all, false},
		{"another scope", narrow, relay.Token{Scopes: []relay.Scope{relay.ScopeAdmin}, Endpoints: []string{"pr-1"}, Expires: soon}, false},
		{"all scopes", narrow, relay.Token{Endpoints: []string{"pr-1"}, Expires: soon}, false},
		{"all endpoints", narrow, relay.Token{Scopes: narrow.Scopes, Expires: soon}, false},
		{"another endpoint", narrow, relay.Token{Scopes: narrow.Scopes, Endpoints: []string{"*"}, Expires: soon}, false},
		{"for longer", narrow, relay.Token{Scopes: narrow.Scopes, Endpoints: narrow.Endpoints, Expires: later}, false},
		{"for ever", narrow, relay.Token{Scopes: narrow.Scopes, Endpoints: narrow.Endpoints}, false},
	} {
		if err := c.parent.Child(c.child); (err == nil) != c.ok || err != nil && !errors.Is(err, relay.ErrDenied) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestNarrow(t *testing.T) {
	admin := relay.User{Name: "root", Admin: true}
	for _, c := range []struct {
		token relay.Token
		admin bool
	}{
		{relay.Token{}, true},
		{relay.Token{Scopes: []relay.Scope{relay.ScopeAdmin}}, true},
		{relay.Token{Scopes: []relay.Scope{relay.ScopeTunnel}}, false},
		{relay.Token{Endpoints: []string{"pr-*"}}, false},
	} {
		if got := admin.Narrow(c.token).Admin; got != c.admin {
			t.Errorf("with %+v an admin: %v", c.token, got)
		}
	}
}
