package capture

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Filter chooses exchanges. A nil Filter chooses all.
type Filter struct{ terms []term }

type term struct {
	not    bool
	takes  func(*Exchange) bool
	bodies bool      // it looks into bodies
	since  time.Time // it takes nothing older; zero for no such limit
}

// With is f with one more term; f may be nil.
func (f *Filter) With(takes func(*Exchange) bool) *Filter {
	out := &Filter{}
	if f != nil {
		out.terms = slices.Clone(f.terms)
	}
	out.terms = append(out.terms, term{takes: takes})
	return out
}

// Bodies tells whether f looks into bodies: for who would have to fetch them.
func (f *Filter) Bodies() bool {
	return f != nil && slices.ContainsFunc(f.terms, func(t term) bool { return t.bodies })
}

// Since is the time before which f chooses nothing; zero where it has no such limit.
func (f *Filter) Since() (since time.Time) {
	if f == nil {
		return since
	}
	for _, t := range f.terms {
		if !t.not && t.since.After(since) {
			since = t.since
		}
	}
	return since
}

// Match tells whether f chooses x: all its terms have to.
func (f *Filter) Match(x *Exchange) bool {
	if f == nil {
		return true
	}
	for _, t := range f.terms {
		if t.takes(x) == t.not {
			return false
		}
	}
	return true
}

// FilterError says what is wrong with a filter, and where.
type FilterError struct {
	At   int    `json:"at"`   // the byte at which the wrong term begins
	Term string `json:"term"` // that term
	Why  string `json:"why"`
}

func (e *FilterError) Error() string {
	return fmt.Sprintf("%q at character %d of the filter: %s", e.Term, e.At+1, e.Why)
}

// ParseFilter reads a filter: terms with spaces between, all of which must be true.
//
//	status:404 status:5xx status:none      the answer's status, its class, or no answer
//	method:POST                            the method
//	path:/hooks path:*.png                 what the path begins with, or a pattern
//	host:api.example.com visitor:10.0.0.1  the same for host and visitor's address
//	header:x-github-event=push             a field of request or answer; without = that it is there
//	json:.action=opened                    a value in a JSON body; without = that it is there
//	duration:>500ms size:>10kb             how long it took, how large the answer was
//	endpoint:hooks signature:ok            where it came to; ok, bad, none, or the reason
//	is:live is:failed is:replay is:event is:websocket is:truncated
//	after:10m before:2026-01-31T12:00:00Z  when: ago, or a time, or a day
//	word "two words"                       in path, heads or the beginnings of bodies
//	-status:2xx                            a minus in front: not so
//
// In values * stands for anything, and quotes keep spaces together. Letters of either
// case are the same, but in JSON. now is the time that "ago" counts from. An error is
// a *FilterError.
func ParseFilter(s string, now time.Time) (*Filter, error) {
	f := &Filter{}
	for pos := 0; ; {
		word, at, end, err := nextWord(s, pos)
		if err != nil {
			return nil, err
		}
		if at == len(s) {
			break
		}
		pos = end
		t, why := parseTerm(word, now)
		if why != "" {
			return nil, &FilterError{At: at, Term: s[at:end], Why: why}
		}
		f.terms = append(f.terms, t)
	}
	return f, nil
}

// word is a term without its quotes.
type word struct {
	not      bool
	key      string // before the first colon that stands outside of quotes
	value    string
	hasColon bool
}

// nextWord finds the term that begins at pos or after it.
func nextWord(s string, pos int) (w word, start, end int, err error) {
	for pos < len(s) && isSpace(s[pos]) {
		pos++
	}
	start = pos
	if pos < len(s)-1 && s[pos] == '-' && !isSpace(s[pos+1]) {
		w.not = true
		pos++
	}
	var b strings.Builder
	quoted, quotedAt := false, 0
	for ; pos < len(s) && (quoted || !isSpace(s[pos])); pos++ {
		switch c := s[pos]; {
		case c == '"' && !quoted && w.key == "json" && s[pos-1] == '[': // of a key, as in ["odd key"]
			q, err := strconv.QuotedPrefix(s[pos:])
			if err != nil {
				return w, start, pos, &FilterError{At: pos, Term: s[pos:], Why: "the quote is not closed"}
			}
			b.WriteString(q)
			pos += len(q) - 1
		case c == '"':
			quoted, quotedAt = !quoted, pos
		case c == '\\' && quoted && pos+1 < len(s) && (s[pos+1] == '"' || s[pos+1] == '\\'):
			pos++
			b.WriteByte(s[pos])
		case c == ':' && !quoted && !w.hasColon && known(strings.ToLower(b.String())):
			w.key, w.hasColon = strings.ToLower(b.String()), true
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return w, start, pos, &FilterError{At: quotedAt, Term: s[quotedAt:], Why: "the quote is not closed"}
	}
	w.value = b.String()
	return w, start, pos, nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// known are the keys; a colon after anything else is part of a text, as in http://.
func known(key string) bool {
	return slices.Contains([]string{
		"status", "method", "path", "host", "visitor", "header", "json", "duration", "size", "is", "before", "after", "id",
		"endpoint", "signature",
	}, key)
}

func parseTerm(w word, now time.Time) (t term, why string) {
	t.not = w.not
	if w.value == "" {
		if w.hasColon {
			return t, "nothing follows the colon"
		}
		return t, "nothing is between the quotes"
	}
	switch w.key {
	case "":
		t.takes, t.bodies = contains(w.value), true
	case "status":
		t.takes, why = statusTerm(w.value)
	case "method":
		t.takes = glob(w.value, func(x *Exchange) string { return x.Request.Method }, false)
	case "path":
		t.takes = glob(w.value, func(x *Exchange) string { return x.Request.Target }, true)
	case "host":
		t.takes = glob(w.value, func(x *Exchange) string { return x.Request.Host }, true)
	case "visitor":
		t.takes = glob(w.value, func(x *Exchange) string { return x.Visitor }, true)
	case "endpoint":
		t.takes = glob(w.value, func(x *Exchange) string { return x.Endpoint }, false)
	case "signature":
		t.takes = signatureTerm(w.value)
	case "id":
		t.takes = func(x *Exchange) bool { return x.ID == w.value || x.RequestID == w.value }
	case "header":
		t.takes, why = headerTerm(w.value)
	case "json":
		t.takes, why = jsonTerm(w.value)
		t.bodies = true
	case "duration":
		t.takes, why = durationTerm(w.value)
	case "size":
		t.takes, why = sizeTerm(w.value)
	case "is":
		t.takes, why = isTerm(w.value)
	case "before", "after":
		var at time.Time
		t.takes, at, why = timeTerm(w.key == "after", w.value, now)
		if w.key == "after" {
			t.since = at
		}
	}
	return t, why
}

func statusTerm(v string) (func(*Exchange) bool, string) {
	v = strings.ToLower(v)
	if v == "none" {
		return func(x *Exchange) bool { return x.Status() == 0 }, ""
	}
	if len(v) == 3 && v[0] >= '1' && v[0] <= '5' && v[1:] == "xx" {
		class := int(v[0] - '0')
		return func(x *Exchange) bool { return x.Status()/100 == class }, ""
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 100 || n > 599 {
		return nil, "give a status like 404, a class like 5xx, or none"
	}
	return func(x *Exchange) bool { return x.Status() == n }, ""
}

func signatureTerm(v string) func(*Exchange) bool {
	switch strings.ToLower(v) {
	case "none":
		return func(x *Exchange) bool { return x.Verified == "" }
	case "bad":
		return func(x *Exchange) bool { return x.Verified != "" && x.Verified != "ok" }
	}
	return glob(v, func(x *Exchange) string { return x.Verified }, false)
}

func headerTerm(v string) (func(*Exchange) bool, string) {
	name, want, valued := strings.Cut(v, "=")
	if name == "" || strings.ContainsAny(name, " :") {
		return nil, "give the name of a header field, as in header:x-github-event=push"
	}
	in := func(h Header) bool {
		for key, values := range h {
			if strings.EqualFold(key, name) && (!valued || slices.ContainsFunc(values, func(v string) bool { return matchGlob(fold(want), fold(v)) })) {
				return true
			}
		}
		return false
	}
	return func(x *Exchange) bool { return in(x.Request.Header) || x.Response != nil && in(x.Response.Header) }, ""
}

func durationTerm(v string) (func(*Exchange) bool, string) {
	want, v, why := compared(v)
	d, err := time.ParseDuration(v)
	if why != "" || err != nil || d < 0 {
		return nil, "give more or less than a time, as in duration:>500ms"
	}
	return func(x *Exchange) bool { return x.State != Live && cmp.Compare(time.Duration(x.Duration), d) == want }, ""
}

func sizeTerm(v string) (func(*Exchange) bool, string) {
	const help = "give more or less than a size, as in size:>10kb"
	want, v, why := compared(strings.ToLower(v))
	if why != "" {
		return nil, help
	}
	unit := int64(1)
	for suffix, factor := range map[string]int64{"kb": 1e3, "mb": 1e6, "kib": 1 << 10, "mib": 1 << 20} {
		if n, ok := strings.CutSuffix(v, suffix); ok {
			v, unit = n, factor
		}
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(v, "b"), 10, 40)
	if err != nil || n < 0 {
		return nil, help
	}
	n *= unit
	return func(x *Exchange) bool {
		size := int64(0)
		if x.Response != nil {
			size = x.Response.Body.Size
		}
		return cmp.Compare(size, n) == want
	}, ""
}

// compared reads what is compared with rest: want is what cmp.Compare is to return.
func compared(v string) (want int, rest, why string) {
	switch {
	case strings.HasPrefix(v, ">"):
		return 1, v[1:], ""
	case strings.HasPrefix(v, "<"):
		return -1, v[1:], ""
	}
	return 0, v, "no < or >"
}

func isTerm(v string) (func(*Exchange) bool, string) {
	switch strings.ToLower(v) {
	case "live":
		return func(x *Exchange) bool { return x.State == Live }, ""
	case "failed":
		return func(x *Exchange) bool { return x.State == Failed }, ""
	case "replay":
		return func(x *Exchange) bool { return x.Replay }, ""
	case "event":
		return func(x *Exchange) bool { return x.EventID != "" }, ""
	case "websocket":
		return func(x *Exchange) bool { return strings.EqualFold(x.Request.Header.Get("Upgrade"), "websocket") }, ""
	case "truncated":
		return func(x *Exchange) bool {
			return x.Request.Body.Truncated || x.Response != nil && x.Response.Body.Truncated
		}, ""
	}
	return nil, "known are live, failed, replay, event, websocket and truncated"
}

func timeTerm(after bool, v string, now time.Time) (takes func(*Exchange) bool, at time.Time, why string) {
	if d, err := time.ParseDuration(v); err == nil && d >= 0 {
		at = now.Add(-d)
	} else {
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", "15:04:05", "15:04"} {
			if t, err := time.ParseInLocation(layout, strings.ToUpper(v), now.Location()); err == nil {
				at = t
				break
			}
		}
		if at.IsZero() {
			return nil, at, "give a time like 2026-01-31T12:00, a day, a time of today like 14:30, or how long ago, like 10m"
		}
		if at.Year() == 0 { // only a time of day
			y, m, d := now.Date()
			at = at.AddDate(y, int(m)-1, d-1)
		}
	}
	return func(x *Exchange) bool {
		if after {
			return !x.Began.Before(at)
		}
		return x.Began.Before(at)
	}, at, ""
}
