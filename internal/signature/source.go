package signature

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Source says where in a request a value is: "header:X-GitHub-Delivery",
// "body:data.object.id" in a JSON body (a number is a place in a list, * all of
// them), "form:name" in a form body, "query:name" in the URL, or "part:t=", the
// part of the signature header that begins so.
type Source string

func (s Source) check() error {
	if s == "" {
		return nil
	}
	kind, name, ok := strings.Cut(string(s), ":")
	if !ok || name == "" || !slices.Contains([]string{"header", "body", "form", "query", "part"}, kind) {
		return fmt.Errorf("%q says no place; write header:NAME, body:PATH, form:NAME, query:NAME or part:PREFIX", s)
	}
	return nil
}

// message is a request while it is looked at: what has to be parsed is parsed
// once, and only if somebody asks.
type message struct {
	Request

	parsedJSON bool
	json       any
	parsedForm bool
	form       url.Values
}

// values returns all that the source has.
func (m *message) values(s Source) []string {
	kind, name, _ := strings.Cut(string(s), ":")
	switch kind {
	case "header":
		return m.Header.Values(name)
	case "body":
		return at(m.body(), name)
	case "form":
		return m.fields()[name]
	case "query":
		return query(m.URL)[name]
	}
	return nil
}

// first returns the first value that is not empty of the sources in order.
func (m *message) first(sources []Source) string {
	for _, s := range sources {
		for _, v := range m.values(s) {
			if v != "" {
				return v
			}
		}
	}
	return ""
}

// one returns the value, and false if there is none or two that differ: then
// the app behind could take the other one.
func (m *message) one(s Source) (string, bool) {
	values := m.values(s)
	if len(values) == 0 || values[0] == "" {
		return "", false
	}
	for _, v := range values[1:] {
		if v != values[0] {
			return "", false
		}
	}
	return values[0], true
}

// body is the body as JSON, or nil. A form with a JSON document in the field
// "payload", as GitHub and Slack send, counts as that document.
func (m *message) body() any {
	if !m.parsedJSON {
		m.parsedJSON = true
		text := m.Body
		if m.isForm() {
			text = []byte(m.fields().Get("payload"))
		}
		m.json = decode(text)
	}
	return m.json
}

func (m *message) isForm() bool {
	media, _, _ := mime.ParseMediaType(m.Header.Get("Content-Type"))
	return media == "application/x-www-form-urlencoded"
}

// fields are those of a form body.
func (m *message) fields() url.Values {
	if !m.parsedForm {
		m.parsedForm = true
		if m.isForm() {
			m.form, _ = url.ParseQuery(string(m.Body)) // what could be read
		}
	}
	return m.form
}

func query(address string) url.Values {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	return u.Query()
}

// decode returns the one JSON document of text, or nil. Numbers keep their
// digits.
func decode(text []byte) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return nil
	}
	return v
}

// at returns the texts at the path in a JSON value.
func at(v any, path string) []string {
	var texts []string
	for _, found := range walk(v, path) {
		switch found := found.(type) {
		case string:
			texts = append(texts, found)
		case json.Number:
			texts = append(texts, found.String())
		case bool:
			texts = append(texts, strconv.FormatBool(found))
		}
	}
	return texts
}

// walk returns the values at the path in a JSON value.
func walk(v any, path string) []any {
	if path == "" {
		return []any{v}
	}
	step, rest, _ := strings.Cut(path, ".")
	switch v := v.(type) {
	case map[string]any:
		if inner, ok := v[step]; ok {
			return walk(inner, rest)
		}
	case []any:
		if step == "*" {
			var all []any
			for _, inner := range v {
				all = append(all, walk(inner, rest)...)
			}
			return all
		}
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(v) {
			return walk(v[i], rest)
		}
	}
	return nil
}
