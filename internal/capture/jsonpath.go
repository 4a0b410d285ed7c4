package capture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// jsonPath is a way into a JSON document: .action, .items[0].id, .items[*].id, .*.key,
// .["odd key"].
type jsonPath []jsonStep

type jsonStep struct {
	any   bool
	index int // of an array; -1 for a key
	key   string
}

func (s jsonStep) takes(in *jsonLevel) bool {
	switch {
	case s.any:
		return true
	case in.array:
		return s.index >= 0 && s.index == in.index
	}
	return s.index < 0 && s.key == in.key
}

// parseJSONPath reads a path, which begins with a dot or a bracket.
func parseJSONPath(s string) (jsonPath, error) {
	var p jsonPath
	bad := fmt.Errorf("%q is not a path like .action or .items[0].id", s)
	for rest := s; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "[*]"):
			p, rest = append(p, jsonStep{any: true}), rest[3:]
		case strings.HasPrefix(rest, `["`) || strings.HasPrefix(rest, `.["`):
			rest = strings.TrimPrefix(rest, ".")
			q, err := strconv.QuotedPrefix(rest[1:])
			if err != nil || !strings.HasPrefix(rest[1+len(q):], "]") {
				return nil, bad
			}
			key, err := strconv.Unquote(q)
			if err != nil {
				return nil, bad
			}
			p, rest = append(p, jsonStep{index: -1, key: key}), rest[len(q)+2:]
		case rest[0] == '[':
			digits, after, ok := strings.Cut(rest[1:], "]")
			n, err := strconv.ParseUint(digits, 10, 31)
			if !ok || err != nil {
				return nil, bad
			}
			p, rest = append(p, jsonStep{index: int(n)}), after
		case rest[0] == '.':
			end := strings.IndexAny(rest[1:], ".[")
			if end < 0 {
				end = len(rest) - 1
			}
			key := rest[1 : 1+end]
			if key == "" {
				return nil, bad
			}
			p, rest = append(p, jsonStep{any: key == "*", index: -1, key: key}), rest[1+end:]
		default:
			return nil, bad
		}
	}
	if len(p) == 0 {
		return nil, bad
	}
	return p, nil
}

// jsonLevel is an object or array that is being read.
type jsonLevel struct {
	array bool
	index int    // of the value in an array
	key   string // of the value in an object
	named bool   // the key has been read
	on    bool   // the path leads to here
	found bool   // the path ends with this very value
	start int
}

// bom may stand before a text.
const bom = "\ufeff"

// walkJSON calls found with the place of each value that the path leads to, until
// it returns false. It does not recurse, however deep the document. The error says
// where it is not JSON any more, which for a truncated document is its end.
func walkJSON(doc []byte, p jsonPath, found func(start, end int) bool) (read int, err error) {
	if rest, ok := bytes.CutPrefix(doc, []byte(bom)); ok {
		read, err = walkJSON(rest, p, func(start, end int) bool { return found(start+len(bom), end+len(bom)) })
		return read + len(bom), err
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var stack []jsonLevel
	for {
		before := int(d.InputOffset())
		tok, err := d.Token()
		if err != nil {
			switch {
			case !errors.Is(err, io.EOF):
				return before, err
			case len(stack) > 0:
				return before, io.ErrUnexpectedEOF
			}
			return len(doc), nil
		}
		end := int(d.InputOffset())
		start := before
		for start < end && bytes.IndexByte([]byte(" \t\r\n,:"), doc[start]) >= 0 {
			start++
		}
		if delim, ok := tok.(json.Delim); ok && (delim == '}' || delim == ']') {
			top := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if top.found && !found(top.start, end) {
				return end, nil
			}
			next(stack)
			continue
		}
		if n := len(stack); n > 0 && !stack[n-1].array && !stack[n-1].named {
			stack[n-1].key, _ = tok.(string)
			stack[n-1].named = true
			continue
		}
		// A value: does the path lead to it?
		depth := len(stack)
		on := depth == 0
		if !on {
			up := &stack[depth-1]
			on = up.on && depth <= len(p) && p[depth-1].takes(up)
		}
		hit := on && depth == len(p)
		if delim, ok := tok.(json.Delim); ok {
			stack = append(stack, jsonLevel{array: delim == '[', on: on && !hit, found: hit, start: start})
			continue
		}
		if hit && !found(start, end) {
			return end, nil
		}
		next(stack)
	}
}

// next goes on behind a value.
func next(stack []jsonLevel) {
	if n := len(stack); n > 0 {
		stack[n-1].index++
		stack[n-1].named = false
	}
}
