package signature

import (
	"fmt"
	"hash/crc32"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// field is a piece of a template: text as it stands, or the name of something
// with an argument, as header:X-Id.
type field struct {
	text      string
	name, arg string
}

// parse reads a template of signed content.
func parse(template string) ([]field, error) {
	var fields []field
	for template != "" {
		text, rest, open := strings.Cut(template, "{")
		if text != "" {
			fields = append(fields, field{text: text})
		}
		if !open {
			break
		}
		inside, rest, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, fmt.Errorf("a { has no } in %q", template)
		}
		name, arg, _ := strings.Cut(inside, ":")
		switch {
		case name == "url" && slices.Contains([]string{"", "decoded", "port", "noport"}, arg):
		case (name == "header" || name == "item") && arg != "":
		case arg == "" && slices.Contains([]string{"body", "timestamp", "id", "method", "path", "form", "secret", "crc32"}, name):
		default:
			return nil, fmt.Errorf("{%s} is not known in what is signed", inside)
		}
		fields = append(fields, field{name: name, arg: arg})
		template = rest
	}
	return fields, nil
}

// content returns the pieces that are signed, in order. They are not joined: a
// body may be large.
func (m *message) content(fields []field, p parts, secret string, item any) [][]byte {
	pieces := make([][]byte, 0, len(fields))
	for _, f := range fields {
		switch f.name {
		case "":
			pieces = append(pieces, []byte(f.text))
		case "body":
			pieces = append(pieces, m.Body)
		case "timestamp":
			pieces = append(pieces, []byte(p.timestamp))
		case "id":
			pieces = append(pieces, []byte(p.id))
		case "method":
			pieces = append(pieces, []byte(m.Method))
		case "url":
			pieces = append(pieces, []byte(address(m.URL, f.arg)))
		case "path":
			pieces = append(pieces, []byte(pathOf(m.URL)))
		case "form":
			pieces = append(pieces, []byte(sorted(m.fields())))
		case "crc32":
			pieces = append(pieces, strconv.AppendUint(nil, uint64(crc32.ChecksumIEEE(m.Body)), 10))
		case "secret":
			pieces = append(pieces, []byte(secret))
		case "header":
			pieces = append(pieces, []byte(m.Header.Get(f.arg)))
		case "item":
			pieces = append(pieces, []byte(strings.Join(at(item, f.arg), "")))
		}
	}
	return pieces
}

// hubspotDecoded are the escapes that HubSpot undoes in an address before it
// signs: the list is from its page on validating requests.
var hubspotDecoded = strings.NewReplacer(
	"%3A", ":", "%2F", "/", "%3F", "?", "%40", "@", "%21", "!", "%24", "$", "%27", "'", "%28", "(", "%29", ")", "%2A", "*", "%2C", ",", "%3B", ";",
	"%3a", ":", "%2f", "/", "%3f", "?", "%2a", "*", "%2c", ",", "%3b", ";",
)

// address returns the URL in one of the forms in which senders sign it. It
// works on the text: what a sender wrote is not normalised.
func address(raw, form string) string {
	switch form {
	case "decoded":
		return hubspotDecoded.Replace(raw)
	case "port", "noport":
		scheme, rest, ok := strings.Cut(raw, "://")
		if !ok {
			return raw
		}
		host, tail := rest, ""
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			host, tail = rest[:i], rest[i:]
		}
		bare := host
		if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
			bare = host[:i]
		}
		switch {
		case form == "noport":
			host = bare
		case bare != host: // it has one
		case strings.EqualFold(scheme, "https"):
			host += ":443"
		default:
			host += ":80"
		}
		return scheme + "://" + host + tail
	}
	return raw
}

// pathOf is the path of an address with its query.
func pathOf(raw string) string {
	_, rest, _ := strings.Cut(raw, "://")
	i := strings.IndexAny(rest, "/?")
	if i < 0 {
		return "/"
	}
	path, _, _ := strings.Cut(rest[i:], "#")
	if !strings.HasPrefix(path, "/") {
		return "/" + path
	}
	return path
}

// sorted joins the fields of a form by name, each name followed by its value;
// of a name with several values each different one counts once, in order.
func sorted(form url.Values) string {
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		values := slices.Clone(form[name])
		slices.Sort(values)
		for _, value := range slices.Compact(values) {
			b.WriteString(name)
			b.WriteString(value)
		}
	}
	return b.String()
}
