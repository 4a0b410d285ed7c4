package capture

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// Mask stands in the place of a secret.
const Mask = "••••••••"

// Masks know what is secret: fields of heads, and values in JSON bodies.
type Masks struct {
	names []string
	paths []jsonPath
}

// DefaultMasks are the header fields whose values are secrets by themselves.
// Signatures, as in X-Hub-Signature-256, are not among them.
func DefaultMasks() []string {
	return []string{
		"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "X-Gitlab-Token",
		"X-Telegram-Bot-Api-Secret-Token",
	}
}

// NewMasks makes Masks of the default ones and more: names of header fields, and
// paths into JSON bodies, which begin with a dot: ".user.password".
func NewMasks(more ...string) (*Masks, error) {
	m := &Masks{names: DefaultMasks()}
	for _, s := range more {
		if !strings.HasPrefix(s, ".") && !strings.HasPrefix(s, "[") {
			m.names = append(m.names, http.CanonicalHeaderKey(s))
			continue
		}
		p, err := parseJSONPath(s)
		if err != nil {
			return nil, err
		}
		m.paths = append(m.paths, p)
	}
	return m, nil
}

// Secret tells whether the values of a header field are.
func (m *Masks) Secret(name string) bool {
	return slices.ContainsFunc(m.names, func(n string) bool { return strings.EqualFold(n, name) })
}

// Apply returns x with a Mask in the place of each secret.
func (m *Masks) Apply(x *Exchange) *Exchange {
	c := *x
	c.Request.Header, c.Request.Trailer = m.header(x.Request.Header), m.header(x.Request.Trailer)
	c.Request.Body = m.body(x.Request.Body)
	if x.Response != nil {
		r := *x.Response
		r.Header, r.Trailer, r.Body = m.header(r.Header), m.header(r.Trailer), m.body(r.Body)
		c.Response = &r
	}
	if len(m.paths) > 0 {
		c.Frames = slices.Clone(x.Frames)
		for i := range c.Frames {
			if f := &c.Frames[i]; f.Text != "" {
				if masked, hit := m.json([]byte(f.Text), f.Truncated); hit {
					f.Text, f.Masked = string(masked), true
				}
			}
		}
	}
	return &c
}

func (m *Masks) header(h Header) Header {
	if h == nil {
		return nil
	}
	c := make(Header, len(h))
	for name, values := range h {
		if m.Secret(name) {
			masked := make([]string, len(values))
			for i := range masked {
				masked[i] = Mask
			}
			values = masked
		}
		c[name] = values
	}
	return c
}

// body masks values in JSON. All other bytes stay; only a compressed body is given
// uncompressed then.
func (m *Masks) body(b Body) Body {
	if len(m.paths) == 0 || len(b.Kept) == 0 {
		return b
	}
	data, whole, ok := b.Decode(DefaultBodyLimit)
	if !ok && IsJSON(b.Type) { // what it is cannot be seen, so nothing of it is shown
		b.Kept, b.Truncated, b.Masked = nil, true, true
		return b
	}
	masked, hit := m.json(data, !whole || IsJSON(b.Type))
	if hit {
		b.Kept, b.Encoding, b.Truncated, b.Masked = masked, "", !whole, true
	}
	return b
}

// json masks the values to which the paths lead, in what begins as an object or
// array: nothing else has paths, whatever it says it is. Where it ends to be JSON the
// rest may still hold a secret, as when its end was not kept, and is masked as well;
// but a text that only begins like that, and is not told to be JSON (likely), stays.
func (m *Masks) json(doc []byte, likely bool) (masked []byte, hit bool) {
	if !looksLikeJSON(doc) {
		return doc, false
	}
	type span struct{ start, end int }
	var spans []span
	for _, p := range m.paths {
		read, err := walkJSON(doc, p, func(start, end int) bool {
			spans = append(spans, span{start, end})
			return true
		})
		for read < len(doc) && bytes.IndexByte([]byte(" \t\r\n,:"), doc[read]) >= 0 {
			read++
		}
		if err != nil && read < len(doc) && (likely || len(spans) > 0 || errors.Is(err, io.ErrUnexpectedEOF)) {
			spans = append(spans, span{read, len(doc)})
		}
	}
	if len(spans) == 0 {
		return doc, false
	}
	slices.SortFunc(spans, func(a, b span) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return b.end - a.end
	})
	done := 0
	for _, s := range spans {
		if s.start < done { // inside of the one before
			continue
		}
		masked = append(masked, doc[done:s.start]...)
		masked = append(masked, '"')
		masked = append(masked, Mask...)
		masked = append(masked, '"')
		done = s.end
	}
	return append(masked, doc[done:]...), true
}

// IsJSON tells whether a Content-Type is JSON or one of its kin.
func IsJSON(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json")
}
