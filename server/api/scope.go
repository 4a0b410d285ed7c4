package api

import (
	"net/http"
	"strings"

	"github.com/relaytunnel/relay/internal/relay"
)

// scopes is the table from calls to what a token must be good for. The first line whose
// path fits counts; a path that ends in a slash fits all below it.
var scopes = []struct {
	path        string
	read, write relay.Scope
}{
	{"/me", "", ""},
	{"/session", "", ""},
	{"/events", relay.ScopeEventsRead, relay.ScopeEventsWrite},
	{"/events/", relay.ScopeEventsRead, relay.ScopeEventsWrite},
	{"/requests", relay.ScopeEventsRead, relay.ScopeEventsWrite},
	{"/requests/", relay.ScopeEventsRead, relay.ScopeEventsWrite},
	{"/targets", relay.ScopeEventsRead, relay.ScopeEventsWrite},
	{"/overview", relay.ScopeEventsRead, relay.ScopeEventsRead},
	{"/endpoints", "", relay.ScopeEndpoints},
	{"/endpoints/", "", relay.ScopeEndpoints},
	{"/domains", "", relay.ScopeEndpoints},
	{"/domains/", "", relay.ScopeEndpoints},
	{"/sessions", "", relay.ScopeTunnel},
	{"/sessions/", "", relay.ScopeTunnel},
	{"/tokens", relay.ScopeTokens, relay.ScopeTokens},
	{"/tokens/", relay.ScopeTokens, relay.ScopeTokens},
	{"/", relay.ScopeAdmin, relay.ScopeAdmin}, // users, audit, backup, status
}

// scopeOf is what a token must be good for to make a call.
func scopeOf(method, path string) relay.Scope {
	path = strings.TrimPrefix(path, Prefix)
	for _, s := range scopes {
		if path == s.path || strings.HasSuffix(s.path, "/") && strings.HasPrefix(path, s.path) {
			if method == http.MethodGet || method == http.MethodHead {
				return s.read
			}
			return s.write
		}
	}
	return relay.ScopeAdmin
}
