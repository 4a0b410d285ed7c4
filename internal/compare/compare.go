// Package compare tells how two answers to the same request differ, where it matters:
// the status, the header fields that a client acts upon, and the body. What is
// different each time by nature, like a date or the id of a request, is not looked at.
//
// A body is compared as what it is: JSON value by value, whatever the order of its keys;
// other text line by line; anything else byte for byte. A secret that was masked when an
// answer was kept is taken for the same as any other value.
package compare

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/relaytunnel/relay/internal/capture"
)

// Kind says what has become of something.
type Kind string

// What can become of something.
const (
	Changed Kind = "changed"
	Added   Kind = "added"
	Removed Kind = "removed"
)

// Change is one difference.
type Change struct {
	Part   string `json:"part"`         // status, header or body
	At     string `json:"at,omitempty"` // the header's name, or the path in a JSON body, which capture.ParsePath reads
	Kind   Kind   `json:"kind"`
	Before string `json:"before,omitempty"` // as JSON where it is a value of a JSON body
	After  string `json:"after,omitempty"`
	Lines  []Line `json:"lines,omitempty"` // of a body that is text, with those around
}

// Rules say what does not matter beyond what never does. The zero value is good.
type Rules struct {
	headers []string // canonical names
	paths   []capture.Path
}

// NewRules makes Rules that leave out header fields, by name, and values of JSON bodies,
// by path, with all that is below. The error is a sentence for people.
func NewRules(ignoreHeaders, ignorePaths []string) (*Rules, error) {
	r := &Rules{}
	for _, name := range ignoreHeaders {
		r.headers = append(r.headers, http.CanonicalHeaderKey(strings.TrimSpace(name)))
	}
	for _, s := range ignorePaths {
		p, err := capture.ParsePath(s)
		if err != nil {
			return nil, err
		}
		r.paths = append(r.paths, p)
	}
	return r, nil
}

// Answers returns how b, the later answer, differs from a: nothing when it does not. nil
// is no answer. Bodies must be whole: of a truncated one the missing end counts as empty.
func (r *Rules) Answers(a, b *capture.Response) []Change {
	if a == nil || b == nil {
		if a == b {
			return nil
		}
		return []Change{{Part: "status", Kind: Changed, Before: statusOf(a), After: statusOf(b)}}
	}
	var all []Change
	if a.Status != b.Status {
		all = append(all, Change{Part: "status", Kind: Changed, Before: statusOf(a), After: statusOf(b)})
	}
	all = append(all, r.header(a.Header, b.Header)...)
	return append(all, r.body(&a.Body, &b.Body)...)
}

func statusOf(x *capture.Response) string {
	if x == nil {
		return "none"
	}
	return strconv.Itoa(x.Status)
}

// ignores tells whether a place in JSON bodies does not matter.
func (r *Rules) ignores(at []any) bool {
	return slices.ContainsFunc(r.paths, func(p capture.Path) bool { return p.Leads(at) })
}

// pathOf writes a place in a JSON body, as capture.ParsePath reads it.
func pathOf(at []any) string {
	var b strings.Builder
	for _, step := range at {
		switch v := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", v)
		case string:
			if v == "" || v == "*" || strings.ContainsAny(v, `.["`) || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || !strconv.IsPrint(r) }) {
				fmt.Fprintf(&b, "[%s]", strconv.Quote(v))
				continue
			}
			b.WriteString("." + v)
		}
	}
	return b.String()
}
