package store

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"slices"
)

// packHeader writes a header as lines "Name:value\n", each value as it is and
// those of one name in their order. Names and values of HTTP have no line
// breaks, and names no colon.
func packHeader(h http.Header) []byte {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			b = append(append(append(append(b, name...), ':'), value...), '\n')
		}
	}
	return b
}

// unpackHeader is the inverse of packHeader.
func unpackHeader(b []byte) (http.Header, error) {
	h := http.Header{}
	for line := range bytes.Lines(b) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !bytes.HasSuffix(value, []byte("\n")) {
			return nil, errors.New("the stored header is damaged")
		}
		h[string(name)] = append(h[string(name)], string(value[:len(value)-1]))
	}
	return h, nil
}
