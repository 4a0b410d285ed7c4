package inspector

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/compare"
)

// section is a part of a diff.
type section struct {
	Name  string         `json:"name"` // request, request-headers, request-body, response, …
	Same  bool           `json:"same"`
	Lines []compare.Line `json:"lines"`
}

// comparison is how two exchanges differ.
type comparison struct {
	A        Summary   `json:"a"`
	B        Summary   `json:"b"`
	Sections []section `json:"sections"`
}

func (h *handler) diff(w http.ResponseWriter, r *http.Request) {
	a := h.find(w, r, r.PathValue("id"))
	if a == nil {
		return
	}
	with := r.FormValue("with")
	if with == "" {
		problem(w, http.StatusUnprocessableEntity, "invalid", "Say with which request to compare it: ?with=ID.")
		return
	}
	b := h.find(w, r, with)
	if b == nil {
		return
	}
	out := comparison{A: summary(a), B: summary(b)}
	add := func(name string, of func(*capture.Exchange) string) {
		lines, same := compare.Lines(of(a), of(b))
		if lines == nil {
			lines = []compare.Line{}
		}
		out.Sections = append(out.Sections, section{name, same, lines})
	}
	add("request", func(x *capture.Exchange) string { return x.Request.Method + " " + x.Request.Target })
	add("request-headers", func(x *capture.Exchange) string { return fieldLines(x.Request.Header) })
	add("request-body", func(x *capture.Exchange) string { return bodyText(&x.Request.Body) })
	add("response", statusLine)
	add("response-headers", func(x *capture.Exchange) string {
		if x.Response == nil {
			return ""
		}
		return fieldLines(x.Response.Header)
	})
	add("response-body", func(x *capture.Exchange) string {
		if x.Response == nil {
			return ""
		}
		return bodyText(&x.Response.Body)
	})
	answer(w, http.StatusOK, out)
}

func statusLine(x *capture.Exchange) string {
	switch {
	case x.Error != "":
		return strings.TrimSpace(fmt.Sprintf("%d ", x.Status())+http.StatusText(x.Status())) + "\n" + x.Error
	case x.Response == nil:
		return "no answer yet"
	}
	return fmt.Sprintf("%d %s", x.Status(), http.StatusText(x.Status()))
}

func fieldLines(h capture.Header) string {
	var b strings.Builder
	for _, f := range h.Fields() {
		b.WriteString(f.Name + ": " + f.Value + "\n")
	}
	return b.String()
}

// bodyText is a body as it is compared: JSON with a line for each value, other texts
// as they are, of everything else the size and a sum.
func bodyText(b *capture.Body) string {
	data, whole, ok := b.Decode(comparedBody)
	if len(data) > comparedBody { // an uncompressed one is given as it is
		data, whole = data[:comparedBody], false
	}
	if !ok || !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return fmt.Sprintf("%d bytes, sha256 %x", b.Size, sha256.Sum256(b.Kept))
	}
	if whole && (capture.IsJSON(b.Type) || len(data) > 0 && (data[0] == '{' || data[0] == '[')) {
		var out bytes.Buffer
		if depth(data) <= maxDepth && json.Indent(&out, data, "", "  ") == nil && out.Len() <= 4*comparedBody {
			return out.String()
		}
	}
	if !whole {
		return string(data) + "\n(the rest is not compared)"
	}
	return string(data)
}

// comparedBody is how much of a body is compared.
const comparedBody = 1 << 20

// maxDepth bounds the nesting that is indented: each level makes every line inside
// longer.
const maxDepth = 64

// depth is how deep the brackets nest, at most: those in strings count too.
func depth(doc []byte) int {
	now, most := 0, 0
	for _, c := range doc {
		switch c {
		case '[', '{':
			now++
			most = max(most, now)
		case ']', '}':
			now--
		}
	}
	return most
}
