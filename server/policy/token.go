package policy

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/relaytunnel/relay/internal/relay"
)

// maxShown bounds how many values of one request are tried in one place. A sender
// sends one.
const maxShown = 8

// token is what a request may show in one place. Of the tokens only hashes are kept,
// so that nothing can print them and all comparisons take equally long.
type token struct {
	kind, name string // "header", "query" or "bearer"; the name of the first two
	hashes     [][sha256.Size]byte
}

func parseTokens(places []string, secrets relay.DoorTokens) ([]token, error) {
	var tokens []token
	for _, place := range places {
		kind, name, _ := strings.Cut(place, ":")
		switch {
		case kind == "header" && isToken(name) && !strings.EqualFold(name, "Host"): // which is no header any more when it comes here
			name = textproto.CanonicalMIMEHeaderKey(name)
		case kind == "query" && name != "":
		case place == "bearer":
		default:
			return nil, invalid("require_token: %q is no place; write header:NAME, query:NAME or bearer", shorten(place))
		}
		t := token{kind: kind, name: name}
		for _, secret := range secrets[place] {
			if secret != "" {
				t.hashes = append(t.hashes, sha256.Sum256([]byte(secret)))
			}
		}
		if len(t.hashes) == 0 {
			return nil, invalid("require_token: there is no token for %s", place)
		}
		tokens = append(tokens, t)
	}
	return tokens, nil
}

// shorten is what may be shown of a place that is none: someone may have written the
// token into it.
func shorten(place string) string {
	place, _, _ = strings.Cut(place, "=")
	return place[:min(len(place), 16)]
}

// isToken tells whether a text can be the name of a header.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// tokenPasses tells whether the request shows a good token, if one is wanted.
func (p *Policy) tokenPasses(r *http.Request) bool {
	good := 0
	for _, t := range p.tokens {
		for _, shown := range t.shown(r) {
			hash := sha256.Sum256([]byte(shown))
			for i := range t.hashes {
				good |= subtle.ConstantTimeCompare(hash[:], t.hashes[i][:])
			}
		}
	}
	return good == 1 || len(p.tokens) == 0
}

func (p *Policy) wantsBearer() bool {
	return slices.ContainsFunc(p.tokens, func(t token) bool { return t.kind == "bearer" })
}

// shown is what the request has in the place of the token.
func (t token) shown(r *http.Request) []string {
	var all []string
	switch t.kind {
	case "header":
		all = r.Header[t.name]
	case "bearer":
		for _, v := range r.Header["Authorization"] {
			if scheme, credentials, ok := strings.Cut(v, " "); ok && strings.EqualFold(scheme, "Bearer") {
				all = append(all, strings.TrimLeft(credentials, " "))
			}
		}
	case "query":
		for piece := range strings.SplitSeq(r.URL.RawQuery, "&") {
			if value, ok := t.valueIn(piece); ok && len(all) < maxShown {
				all = append(all, value)
			}
		}
	}
	return all[:min(len(all), maxShown)]
}

// valueIn is the value of a piece of a query that is the token's.
func (t token) valueIn(piece string) (string, bool) {
	key, value, _ := strings.Cut(piece, "=")
	if name, err := url.QueryUnescape(key); err != nil || name != t.name {
		return "", false
	}
	plain, err := url.QueryUnescape(value)
	return plain, err == nil
}

// Strip takes the token out of a request that is about to go to the app, if the
// settings ask for it. All else of the address and the headers stays as it came. Call
// it after signatures are checked: some senders sign the address with its query.
func (p *Policy) Strip(r *http.Request) {
	if p == nil || !p.strip {
		return
	}
	for _, t := range p.tokens {
		switch t.kind {
		case "header":
			delete(r.Header, t.name)
		case "bearer":
			left := slices.DeleteFunc(slices.Clone(r.Header["Authorization"]), func(v string) bool {
				scheme, _, _ := strings.Cut(v, " ")
				return strings.EqualFold(scheme, "Bearer")
			})
			if delete(r.Header, "Authorization"); len(left) > 0 {
				r.Header["Authorization"] = left
			}
		case "query":
			u := *r.URL
			u.RawQuery = t.without(u.RawQuery)
			u.ForceQuery = false
			r.URL = &u
			if path, query, ok := strings.Cut(r.RequestURI, "?"); ok {
				if r.RequestURI = path; t.without(query) != "" {
					r.RequestURI += "?" + t.without(query)
				}
			}
		}
	}
}

// without is the query without the token.
func (t token) without(query string) string {
	pieces := slices.DeleteFunc(strings.Split(query, "&"), func(piece string) bool {
		key, _, _ := strings.Cut(piece, "=")
		name, err := url.QueryUnescape(key)
		return err == nil && name == t.name
	})
	return strings.Join(pieces, "&")
}
