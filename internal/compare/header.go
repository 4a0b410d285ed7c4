package compare

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/relaytunnel/relay/internal/capture"
)

// Headers lists the fields that are compared, by their names: those that say what the
// body is and what a client is to do. docs/testing-webhooks.md has the list too.
func Headers() []string {
	return []string{
		"Allow", "Access-Control-Allow-Credentials", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Origin",
		"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Location", "Set-Cookie", "Vary",
		"Www-Authenticate",
	}
}

// header compares the fields that matter.
func (r *Rules) header(a, b capture.Header) []Change {
	var all []Change
	for _, name := range Headers() {
		if slices.Contains(r.headers, name) {
			continue
		}
		before, after := a[name], b[name]
		c := Change{Part: "header", At: name, Before: strings.Join(shown(name, before), ", "), After: strings.Join(shown(name, after), ", ")}
		switch {
		case len(before) == 0 && len(after) == 0:
			continue
		case len(before) == 0:
			c.Kind = Added
		case len(after) == 0:
			c.Kind = Removed
		case slices.Contains(before, capture.Mask) || slices.Equal(normal(name, before), normal(name, after)):
			continue
		default:
			c.Kind = Changed
		}
		all = append(all, c)
	}
	return all
}

// shown is what is told of a field: of cookies their names, because a value is new for
// every visitor, and a secret.
func shown(name string, values []string) []string {
	if name != "Set-Cookie" {
		return values
	}
	names := []string{}
	for _, v := range values {
		if v == capture.Mask {
			names = append(names, v)
			continue
		}
		pair, _, _ := strings.Cut(v, ";")
		one, _, _ := strings.Cut(pair, "=")
		names = append(names, strings.TrimSpace(one))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// normal is what is compared of a field: two values that mean the same are the same.
func normal(name string, values []string) []string {
	switch name {
	case "Set-Cookie":
		return shown(name, values)
	case "Content-Type":
		out := make([]string, len(values))
		for i, v := range values {
			out[i] = mediaType(v)
		}
		return out
	case "Allow", "Vary", "Cache-Control", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods": // lists in any order
		var out []string
		for _, v := range values {
			for _, one := range strings.Split(v, ",") {
				if one = strings.ToLower(strings.TrimSpace(one)); one != "" {
					out = append(out, one)
				}
			}
		}
		slices.Sort(out)
		return out
	}
	return values
}

// mediaType leaves out the boundary of multipart bodies, which is another each time.
func mediaType(v string) string {
	kind, params, err := mime.ParseMediaType(v)
	if err != nil {
		return strings.ToLower(strings.TrimSpace(v))
	}
	delete(params, "boundary")
	if set, ok := params["charset"]; ok {
		params["charset"] = strings.ToLower(set)
	}
	return mime.FormatMediaType(kind, params)
}

// KeptOf makes what is compared of an answer that was read whole.
func KeptOf(res *http.Response, body []byte) *capture.Response {
	return &capture.Response{Status: res.StatusCode, Header: capture.Header(res.Header), Body: capture.Body{
		Size: int64(len(body)), Kept: body, Type: res.Header.Get("Content-Type"), Encoding: res.Header.Get("Content-Encoding"),
	}}
}
