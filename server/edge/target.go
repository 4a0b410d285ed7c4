package edge

import (
	"errors"
	"net/http"
	"strings"
)

// originForm gives the request's target as the app is to see it: everything from
// the first slash on, byte for byte.
func originForm(r *http.Request) (string, error) {
	target := r.RequestURI
	for i := 0; i < len(target); i++ {
		switch c := target[i]; {
		case c == '#':
			return "", errors.New("it has a fragment (#)")
		case c <= ' ' || c == 0x7f:
			return "", errors.New("it has a space or control character")
		}
	}
	if target == "*" {
		if r.Method != http.MethodOptions {
			return "", errors.New("* is for OPTIONS only")
		}
		return target, nil
	}
	if strings.HasPrefix(target, "/") {
		return target, nil
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if r.ProtoMajor >= 2 {
		return "", errors.New("it does not begin with a slash")
	}
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", errors.New("it begins neither with a slash nor with http:// or https://")
	}
	if r.URL.Host == "" {
		return "", errors.New("it names no host") // r.Host is then the header's
	}
	if r.URL.User != nil {
		return "", errors.New("it names a user")
	}
	i := strings.IndexAny(rest, "/?")
	if i < 0 {
		return "/", nil
	}
	if rest[i] == '?' {
		return "/" + rest[i:], nil
	}
	return rest[i:], nil
}

// withPort gives host with the port of raw, whose host it is. The host itself,
// without copying, when raw is canonical.
func withPort(host, raw string) string {
	if len(raw) == len(host) {
		return host
	}
	if strings.HasPrefix(raw, host) && raw[len(host)] == ':' {
		return raw
	}
	if i := strings.LastIndexByte(raw, ':'); i >= 0 && !strings.HasSuffix(raw, "]") {
		return host + raw[i:]
	}
	return host
}

// isToken tells whether a method is one (RFC 9110, 5.6.2). net/http looks at
// those of HTTP/1 only.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// plainLength tells whether a Content-Length is absent or one number. net/http
// takes an HTTP/2 request with another for one without a body.
func plainLength(vs []string) bool {
	if len(vs) == 0 {
		return true
	}
	for i := 0; i < len(vs[0]); i++ {
		if c := vs[0][i]; c < '0' || c > '9' {
			return false
		}
	}
	return len(vs) == 1 && vs[0] != "" && len(vs[0]) < 19
}
