package http1

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// readHead reads up to the empty line and returns everything before it, with
// CRLF ends, as one string. The string is all that is allocated when the head
// fits the buffer.
func readHead(br *bufio.Reader, limit int) (string, error) {
	for want := 1; ; {
		if _, err := br.Peek(want); err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				return readLongHead(br, limit)
			}
			return "", err
		}
		buf, _ := br.Peek(br.Buffered())
		if end, skip := headEnd(buf, want-1); end >= 0 {
			head := string(buf[:end])
			_, _ = br.Discard(end + skip)
			return head, nil
		}
		want = len(buf) + 1
	}
}

// headEnd finds the empty line that ends a head: the index where the head ends
// and how many bytes the ending has.
func headEnd(buf []byte, from int) (end, skip int) {
	from = max(0, from-3)
	for {
		i := bytes.IndexByte(buf[from:], '\n')
		if i < 0 {
			return -1, 0
		}
		i += from
		rest := buf[i+1:]
		switch {
		case len(rest) >= 1 && rest[0] == '\n':
			return i + 1, 1
		case len(rest) >= 2 && rest[0] == '\r' && rest[1] == '\n':
			return i + 1, 2
		}
		from = i + 1
	}
}

func readLongHead(br *bufio.Reader, limit int) (string, error) {
	var head []byte
	for {
		line, err := br.ReadSlice('\n')
		head = append(head, line...)
		if len(head) > limit {
			return "", badAnswer("a head of more than %d KiB", limit>>10)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return "", err
		}
		if n := len(head); bytes.HasSuffix(head, []byte("\n\r\n")) {
			return string(head[:n-2]), nil
		} else if bytes.HasSuffix(head, []byte("\n\n")) {
			return string(head[:n-1]), nil
		}
	}
}

// parseFields parses header lines. Values keep their order per name.
func parseFields(lines string) (http.Header, error) {
	n := strings.Count(lines, "\n")
	if n > MaxLines {
		return nil, badAnswer("more than %d header lines", MaxLines)
	}
	h := make(http.Header, n)
	values := make([]string, 0, n)
	for lines != "" {
		line, rest, _ := strings.Cut(lines, "\n")
		lines = rest
		line = strings.TrimSuffix(line, "\r")
		colon := strings.IndexByte(line, ':')
		if colon <= 0 {
			return nil, badAnswer("header line %.40q", line)
		}
		key, ok := canonical(line[:colon])
		if !ok {
			return nil, badAnswer("header name %.40q", line[:colon])
		}
		v := strings.Trim(line[colon+1:], " \t")
		if !validValue(v) {
			return nil, badAnswer("a control character in the value of %s", key)
		}
		values = append(values, v)
		if old, found := h[key]; found {
			h[key] = append(old, v)
			continue
		}
		// Full slice expression: a second value must not overwrite a neighbour.
		h[key] = values[len(values)-1 : len(values) : len(values)]
	}
	return h, nil
}

// isToken marks the bytes that a header name or method may have (RFC 9110, 5.6.2).
var isToken = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

func token(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isToken[s[i]] {
			return false
		}
	}
	return s != ""
}

// canonical gives the canonical form of a header name, without allocating when
// it already has it.
func canonical(name string) (string, bool) {
	upper, is := true, true
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !isToken[c] {
			return "", false
		}
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			is = false
		}
		upper = c == '-'
	}
	if is {
		return name, true
	}
	return textproto.CanonicalMIMEHeaderKey(name), true
}

// validValue refuses control characters other than tab (RFC 9110, 5.5).
func validValue(v string) bool {
	for i := 0; i < len(v); i++ {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// framing is how the end of a body is known.
type framing struct {
	length  int64 // -1 when not known before
	chunked bool
}

// parseFraming reads Content-Length and Transfer-Encoding and refuses what could
// be understood in two ways.
func parseFraming(h http.Header) (framing, error) {
	f := framing{length: -1}
	te, cl := h["Transfer-Encoding"], h["Content-Length"]
	if len(te) > 0 {
		if len(te) > 1 || !strings.EqualFold(te[0], "chunked") {
			return f, badAnswer("Transfer-Encoding %.40q", strings.Join(te, ", "))
		}
		if len(cl) > 0 {
			return f, badAnswer("both Transfer-Encoding and Content-Length")
		}
		f.chunked = true
		return f, nil
	}
	if len(cl) == 0 {
		return f, nil
	}
	for _, v := range cl[1:] {
		if v != cl[0] {
			return f, badAnswer("Content-Length twice, with different values")
		}
	}
	n, err := parseLength(cl[0])
	if err != nil {
		return f, err
	}
	h["Content-Length"] = cl[:1]
	f.length = n
	return f, nil
}

func parseLength(s string) (int64, error) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, badAnswer("Content-Length %.40q", s)
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, badAnswer("Content-Length %.40q", s)
	}
	return n, nil
}

// hasToken tells whether a comma-separated header contains a token, whatever its case.
func hasToken(values []string, want string) bool {
	for _, v := range values {
		for v != "" {
			var part string
			part, v, _ = strings.Cut(v, ",")
			if strings.EqualFold(strings.Trim(part, " \t"), want) {
				return true
			}
		}
	}
	return false
}

// parseStatus parses a status line. minor is the minor version.
func parseStatus(line string) (status, minor int, reason string, err error) {
	line = strings.TrimSuffix(line, "\r")
	if len(line) < len("HTTP/1.1 200") || !strings.HasPrefix(line, "HTTP/1.") || line[8] != ' ' ||
		line[7] != '0' && line[7] != '1' || len(line) > 12 && line[12] != ' ' {
		return 0, 0, "", badAnswer("status line %.60q", line)
	}
	status, serr := strconv.Atoi(line[9:12])
	if serr != nil || status < 100 || line[9] == '+' || line[9] == '-' {
		return 0, 0, "", badAnswer("status %.20q", line[9:])
	}
	if len(line) > 13 {
		reason = line[13:]
		if !validValue(reason) {
			return 0, 0, "", badAnswer("a control character in the status line")
		}
	}
	return status, int(line[7] - '0'), reason, nil
}

// parseRequestLine parses a request line of a stream.
func parseRequestLine(line string) (method, target string, minor int, err error) {
	line = strings.TrimSuffix(line, "\r")
	method, rest, ok := strings.Cut(line, " ")
	target, proto, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !token(method) || target == "" || len(proto) != 8 || !strings.HasPrefix(proto, "HTTP/1.") ||
		proto[7] != '0' && proto[7] != '1' {
		return "", "", 0, badAnswer("request line %.60q", line)
	}
	for i := 0; i < len(target); i++ {
		if target[i] <= ' ' || target[i] == 0x7f {
			return "", "", 0, badAnswer("request target %.60q", target)
		}
	}
	return method, target, int(proto[7] - '0'), nil
}
