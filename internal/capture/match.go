package capture

import (
	"bytes"
	"encoding/json"
	"strings"
)

const (
	// searchedBody is how much of a body a free text is sought in.
	searchedBody = 256 << 10
	// searchedJSON bounds a JSON body, uncompressed, that is looked into.
	searchedJSON = 1 << 20
)

// contains is the term of a free text.
func contains(text string) func(*Exchange) bool {
	want := []byte(fold(text))
	inHeader := func(h Header) bool {
		for name, values := range h {
			if containsFold([]byte(name), want) {
				return true
			}
			for _, v := range values {
				if containsFold([]byte(v), want) {
					return true
				}
			}
		}
		return false
	}
	inBody := func(b *Body) bool {
		data, _, _ := b.Decode(searchedBody)
		return containsFold(data[:min(len(data), searchedBody)], want)
	}
	return func(x *Exchange) bool {
		if containsFold([]byte(x.Request.Method), want) || containsFold([]byte(x.Request.Target), want) ||
			containsFold([]byte(x.Request.Host), want) || containsFold([]byte(x.Error), want) || inHeader(x.Request.Header) || inBody(&x.Request.Body) {
			return true
		}
		return x.Response != nil && (inHeader(x.Response.Header) || inBody(&x.Response.Body))
	}
}

// fold makes lower case of ASCII letters: bytes stay bytes, whatever they are.
func fold(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lower(c)
	}
	return string(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// containsFold finds want, which is folded, in b.
func containsFold(b, want []byte) bool {
	first := string(want[:1]) // as a set of characters
	if c := want[0]; 'a' <= c && c <= 'z' {
		first += string(c - 'a' + 'A')
	}
	for len(b) >= len(want) {
		var i int
		if len(first) == 2 {
			i = bytes.IndexAny(b, first)
		} else {
			i = bytes.IndexByte(b, want[0])
		}
		if i < 0 || i+len(want) > len(b) {
			return false
		}
		j := 1
		for j < len(want) && lower(b[i+j]) == want[j] {
			j++
		}
		if j == len(want) {
			return true
		}
		b = b[i+1:]
	}
	return false
}

// glob is a term about one string: it begins with the pattern (prefix) or is it.
func glob(pattern string, of func(*Exchange) string, prefix bool) func(*Exchange) bool {
	pattern = fold(pattern)
	if prefix && !strings.Contains(pattern, "*") {
		return func(x *Exchange) bool { return strings.HasPrefix(fold(of(x)), pattern) }
	}
	return func(x *Exchange) bool { return matchGlob(pattern, fold(of(x))) }
}

// matchGlob tells whether s is the pattern, in which * stands for anything.
func matchGlob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return s == pattern
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// jsonTerm is about a value in the JSON body of request or answer.
func jsonTerm(v string) (func(*Exchange) bool, string) {
	path, want, valued := strings.Cut(v, "=")
	p, err := parseJSONPath(path)
	if err != nil {
		return nil, err.Error()
	}
	in := func(b *Body) bool {
		data, _, ok := b.Decode(searchedJSON)
		if !ok || len(data) == 0 || !looksLikeJSON(data) {
			return false
		}
		hit := false
		_, _ = walkJSON(data, p, func(start, end int) bool {
			hit = !valued || jsonIs(data[start:end], want)
			return !hit
		})
		return hit
	}
	return func(x *Exchange) bool { return in(&x.Request.Body) || x.Response != nil && in(&x.Response.Body) }, ""
}

// looksLikeJSON tells whether a text begins as an object or array does.
func looksLikeJSON(b []byte) bool {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte(bom)), " \t\r\n")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[')
}

// jsonIs compares a value with what was typed: a string by its text, all else as
// written.
func jsonIs(value []byte, want string) bool {
	if len(value) > 0 && value[0] == '"' {
		var s string
		if json.Unmarshal(value, &s) != nil {
			return false
		}
		return matchGlob(want, s)
	}
	return string(value) == want
}
