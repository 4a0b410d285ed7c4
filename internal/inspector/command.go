package inspector

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/relaytunnel/relay/internal/capture"
)

// maxArgument bounds a body that is an argument of a command: Linux takes one of less
// than 128 KiB.
const maxArgument = 100_000

// isText tells whether a body is text.
func isText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

// isArgument tells whether a body can be an argument of a command.
func isArgument(b []byte) bool { return isText(b) && len(b) <= maxArgument }

// writable says why a request cannot be written as a command, to people; "" is that it
// can.
func writable(x *capture.Exchange, format string) string {
	method, body := x.Request.Method, len(x.Request.Body.Kept) > 0
	switch {
	case format == "fetch" && body && (method == http.MethodGet || method == http.MethodHead):
		return "fetch sends no body with " + method + ": copy it as curl or HTTPie."
	case format == "curl" && body && method == http.MethodHead:
		return "curl sends no body with HEAD: copy it as HTTPie."
	}
	return ""
}

// curl is the request as a command for a POSIX shell; bash where it has control
// characters.
func curl(x *capture.Exchange) string {
	body := x.Request.Body.Kept
	var b strings.Builder
	if !isArgument(body) {
		fmt.Fprintf(&b, "base64 -d <<'END' |\n%s\nEND\n", base64.StdEncoding.EncodeToString(body))
	}
	b.WriteString("curl --globoff --path-as-is")
	switch {
	case x.Request.Method == http.MethodHead:
		b.WriteString(" --head")
	case x.Request.Method != http.MethodGet || len(body) > 0:
		b.WriteString(" -X " + quote(x.Request.Method))
	}
	b.WriteString(" " + quote(x.URL()))
	typed := false
	for _, f := range sent(x) {
		typed = typed || f.Name == "Content-Type"
		if f.Value == "" {
			b.WriteString(" \\\n  -H " + quote(f.Name+";"))
			continue
		}
		b.WriteString(" \\\n  -H " + quote(f.Name+": "+f.Value))
	}
	if len(body) > 0 {
		if !typed { // or curl would call it a form
			b.WriteString(" \\\n  -H 'Content-Type:'")
		}
		if isArgument(body) {
			b.WriteString(" \\\n  --data-raw " + quote(string(body)))
		} else {
			b.WriteString(" \\\n  --data-binary @-")
		}
	}
	return b.String() + "\n"
}

// httpie is the same for the http command.
func httpie(x *capture.Exchange) string {
	body := x.Request.Body.Kept
	var b strings.Builder
	stdin := " --ignore-stdin"
	if !isArgument(body) {
		fmt.Fprintf(&b, "base64 -d <<'END' |\n%s\nEND\n", base64.StdEncoding.EncodeToString(body))
		stdin = ""
	}
	b.WriteString("http" + stdin + " --path-as-is")
	if len(body) > 0 && isArgument(body) {
		b.WriteString(" --raw=" + quote(string(body))) // with =, for it may begin with a dash
	}
	b.WriteString(" " + quote(x.Request.Method) + " " + quote(x.URL()))
	for _, f := range sent(x) {
		switch {
		case f.Value == "":
			b.WriteString(" \\\n  " + quote(f.Name+";"))
		case strings.HasPrefix(f.Value, "=") || strings.HasPrefix(f.Value, "@"): // :=, :@ mean something else
			b.WriteString(" \\\n  " + quote(f.Name+`:\`+f.Value))
		default:
			b.WriteString(" \\\n  " + quote(f.Name+":"+f.Value))
		}
	}
	return b.String() + "\n"
}

// steers tells whether a character steers a terminal, or changes the order in which
// text is shown: neither is written as it is into what somebody pastes.
func steers(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// quote makes one word for a shell of s. Where that could do harm, characters are
// written with escapes.
func quote(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:@%+,", r)
	})
	if plain {
		return s
	}
	odd := strings.ContainsFunc(s, func(r rune) bool { return steers(r) || r == utf8.RuneError })
	if !odd {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for _, c := range []byte(s) {
		switch {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + "'"
}

// fetch is the same as JavaScript.
func fetch(x *capture.Exchange) string {
	body := x.Request.Body.Kept
	headers := [][2]string{}
	for _, f := range sent(x) {
		value := f.Value
		if !f.Masked { // which is for the reader, not to be sent
			value = byBytes(value)
		}
		headers = append(headers, [2]string{f.Name, value})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "await fetch(%s, {\n  method: %s,\n  headers: [\n", script(x.URL()), script(x.Request.Method))
	for _, f := range headers {
		fmt.Fprintf(&b, "    [%s, %s],\n", script(f[0]), script(f[1]))
	}
	b.WriteString("  ],\n")
	switch {
	case len(body) == 0:
	case isText(body):
		fmt.Fprintf(&b, "  body: %s,\n", script(string(body)))
	default:
		fmt.Fprintf(&b, "  body: Uint8Array.from(atob(%s), (c) => c.charCodeAt(0)),\n", script(base64.StdEncoding.EncodeToString(body)))
	}
	return b.String() + "});\n"
}

// byBytes is the value of a field as fetch wants it: a character for each byte.
func byBytes(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

// script is a string as JavaScript has it; JSON's are that.
func script(s string) string {
	text, _ := json.Marshal(s) // of a string it cannot fail
	var b strings.Builder
	for _, r := range string(text) {
		if steers(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
