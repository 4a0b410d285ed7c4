package http1

import (
	"bytes"
	"net/http"
	"strings"
)

// Simple is the head of a request that has nothing special about it.
type Simple struct {
	Method, Target, Host string
	Header               http.Header
	Length               int64 // of the body; 0 for none
}

// simpleMethods are what Simple may have.
var simpleMethods = map[string]bool{
	"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "OPTIONS": true,
}

// ParseSimple parses the head at the start of buf and returns the number of its
// bytes. ok is false when the head is not complete, or when anything about it is
// unusual: another version or method, an absolute target, a line end that is not
// CRLF, a header that frames the message otherwise than by one Content-Length,
// asks for an upgrade or an interim answer, or comes from a proxy. Such requests
// are for net/http and the checks behind it.
func ParseSimple(buf []byte) (s Simple, n int, ok bool) {
	end := bytes.Index(buf, []byte("\r\n\r\n"))
	if end < 0 {
		return s, 0, false
	}
	head := string(buf[:end+2])
	line, fields, _ := strings.Cut(head, "\r\n")
	method, rest, _ := strings.Cut(line, " ")
	target, proto, _ := strings.Cut(rest, " ")
	if proto != "HTTP/1.1" || !simpleMethods[method] || !simpleTarget(target) {
		return s, 0, false
	}
	if s.Header, ok = simpleFields(fields); !ok {
		return s, 0, false
	}
	s.Method, s.Target = method, target
	host := s.Header["Host"]
	if len(host) != 1 {
		return s, 0, false
	}
	s.Host = host[0]
	delete(s.Header, "Host")
	for _, k := range special {
		if _, found := s.Header[k]; found {
			return s, 0, false
		}
	}
	if c, found := s.Header["Connection"]; found && (len(c) != 1 || !strings.EqualFold(c[0], "keep-alive")) {
		return s, 0, false
	}
	if cl, found := s.Header["Content-Length"]; found {
		if len(cl) != 1 || cl[0] == "" || len(cl[0]) > 9 {
			return s, 0, false
		}
		var err error
		if s.Length, err = parseLength(cl[0]); err != nil {
			return s, 0, false
		}
	}
	return s, end + 4, true
}

// special are headers with which a request is not simple.
var special = []string{"Transfer-Encoding", "Upgrade", "Expect", "Te", "Trailer", "Keep-Alive", "Proxy-Connection", "Http2-Settings"}

// simpleTarget admits paths of visible ASCII without a fragment and with percent
// signs only where they escape something.
func simpleTarget(t string) bool {
	if t == "" || t[0] != '/' || len(t) > 2048 {
		return false
	}
	path := true
	for i := 0; i < len(t); i++ {
		switch c := t[i]; {
		case c <= ' ' || c >= 0x7f || c == '#':
			return false
		case c == '?':
			path = false
		case c == '%' && path && (i+2 >= len(t) || !isHex(t[i+1]) || !isHex(t[i+2])):
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// simpleFields parses header lines that leave no doubt: CRLF ends, a token and a
// colon, no folding, no underscore, no control character.
func simpleFields(lines string) (http.Header, bool) {
	count := strings.Count(lines, "\n")
	if count > 100 {
		return nil, false
	}
	h := make(http.Header, count+6) // room for what the edge adds
	values := make([]string, 0, count)
	for lines != "" {
		line, rest, ok := strings.Cut(lines, "\r\n")
		if !ok {
			return nil, false
		}
		lines = rest
		colon := strings.IndexByte(line, ':')
		if colon <= 0 || strings.IndexByte(line[:colon], '_') >= 0 {
			return nil, false
		}
		key, ok := canonical(line[:colon])
		v := strings.Trim(line[colon+1:], " \t")
		if !ok || !validValue(v) {
			return nil, false
		}
		values = append(values, v)
		if old, found := h[key]; found {
			h[key] = append(old, v)
			continue
		}
		h[key] = values[len(values)-1 : len(values) : len(values)]
	}
	return h, true
}

// AppendFields adds header lines to b, except those that frame the message.
func AppendFields(b []byte, h http.Header) ([]byte, error) { return appendFields(b, h) }

// AppendTrailer adds the last chunk and a trailer section to b.
func AppendTrailer(b []byte, t http.Header) []byte {
	b = append(b, "0\r\n"...)
	for k, vs := range t {
		if !token(k) || !trailerAllowed(k) {
			continue
		}
		for _, v := range vs {
			if safe(v) {
				b = append(b, k...)
				b = append(b, ": "...)
				b = append(b, v...)
				b = append(b, "\r\n"...)
			}
		}
	}
	return append(b, "\r\n"...)
}
