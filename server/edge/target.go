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
	if strings.IndexByte(target, '#') >= 0 {
		return "", errors.New("it has a fragment (#)")
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
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", errors.New("it begins neither with a slash nor with http:// or https://")
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
