package signature

import "strings"

// Detect guesses the sender from the headers. It proves nothing: anyone can
// send them.
func Detect(r Request) (Scheme, bool) {
	m := message{Request: r}
	for _, s := range table() {
		for _, sign := range s.Signs {
			name, part, valued := strings.Cut(sign, "=")
			for _, value := range m.Header.Values(name) {
				if !valued || strings.Contains(strings.ToLower(value), strings.ToLower(part)) {
					return s, true
				}
			}
		}
	}
	return Scheme{}, false
}

// EventID returns the id that the sender gave to this delivery, by which a
// repeat is known, or "" if it gave none.
func EventID(s Scheme, r Request) string {
	m := message{Request: r}
	return m.first(s.ids())
}

// EventType returns what happened, in the words of the sender: "push",
// "invoice.paid"; or "" if it does not say.
func EventType(s Scheme, r Request) string {
	m := message{Request: r}
	if kind := m.first(s.Type); kind != "" {
		return kind
	}
	for _, way := range s.ways() {
		if kind := m.first(way.Type); kind != "" {
			return kind
		}
	}
	return ""
}

// ids are where the id of a delivery can be.
func (s Scheme) ids() []Source {
	ids := append([]Source(nil), s.ID...)
	for _, way := range s.ways() {
		if way.Name != s.Name {
			ids = append(ids, way.ID...)
		}
		if way.MessageID != "" {
			ids = append(ids, way.MessageID)
		}
	}
	return ids
}
