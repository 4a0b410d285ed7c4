package tui

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/relaytunnel/relay/internal/capture"
)

const (
	// maxShown is how much of a body is looked at, in bytes; the inspector has all.
	maxShown = 64 << 10
	// maxHex is how much is shown of what is no text.
	maxHex = 512
	// maxLine is how much is shown of a line.
	maxLine = 4 << 10
)

// pretty is a body for people, and what is to be said of it. What is shown is a copy:
// the bytes themselves stay as they are.
func pretty(b *capture.Body) (lines []string, note string) {
	data, whole, ok := b.Decode(maxShown)
	if len(data) > maxShown { // it was not encoded
		data, whole = data[:maxShown], false
	}
	kind, _, _ := mime.ParseMediaType(b.Type)
	switch {
	case !ok:
		note = fmt.Sprintf("%s, encoded as %s", size(b.Size), printable(b.Encoding))
	case !whole:
		note = fmt.Sprintf("only the beginning is shown, of %s", size(b.Size))
	}
	if len(data) == 0 {
		return nil, note
	}
	if !ok || !isText(data, whole) {
		if note == "" {
			note = size(b.Size)
		}
		if len(data) > maxHex {
			data = data[:maxHex]
			note += ", shown are the first " + size(maxHex)
		}
		return strings.Split(strings.TrimRight(hex.Dump(data), "\n"), "\n"), note
	}
	text := string(data)
	switch {
	case whole && capture.IsJSON(b.Type):
		var out bytes.Buffer
		if json.Indent(&out, data, "", "  ") == nil {
			text = out.String()
		}
	case whole && kind == "application/x-www-form-urlencoded":
		if v, err := url.ParseQuery(text); err == nil {
			return form(v), note
		}
	}
	for line := range strings.Lines(text) {
		line = strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    ")
		if len(line) > maxLine {
			line = strings.ToValidUTF8(line[:maxLine], "") + "…"
		}
		lines = append(lines, printable(line))
	}
	return lines, note
}

// form lists the fields of a form.
func form(v url.Values) []string {
	var names []string
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	var lines []string
	for _, name := range names {
		for _, value := range v[name] {
			lines = append(lines, printable(name)+" = "+printable(value))
		}
	}
	return lines
}

// isText tells whether data is for people; cut off, it may end within a letter.
func isText(data []byte, whole bool) bool {
	if !whole {
		for range utf8.UTFMax - 1 {
			if utf8.Valid(data) || len(data) == 0 {
				break
			}
			data = data[:len(data)-1]
		}
	}
	return utf8.Valid(data) && !bytes.ContainsRune(data, 0)
}
