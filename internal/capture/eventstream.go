package capture

import (
	"bytes"
	"strings"
)

// eventParser reads an event stream as it passes.
type eventParser struct {
	emit func(Frame)

	line    []byte
	cr      bool // the last byte was a CR: an LF belongs to it
	name    string
	id      string
	data    []byte
	size    int64
	hasData bool
}

// maxLine bounds what is kept of a line.
const maxLine = framePreview + 16

func (e *eventParser) write(p []byte) {
	for len(p) > 0 {
		if e.cr && p[0] == '\n' {
			p, e.cr = p[1:], false
			continue
		}
		e.cr = false
		i := bytes.IndexAny(p, "\r\n")
		if i < 0 {
			e.add(p)
			return
		}
		e.add(p[:i])
		e.cr = p[i] == '\r'
		p = p[i+1:]
		e.lineEnd()
	}
}

func (e *eventParser) add(p []byte) {
	e.size += int64(len(p))
	e.line = append(e.line, p[:min(len(p), maxLine-len(e.line))]...)
}

func (e *eventParser) lineEnd() {
	line := e.line
	defer func() { e.line = e.line[:0] }()
	if len(line) == 0 {
		if e.hasData {
			f := Frame{From: FromApp, Kind: "event", Name: e.name, EventID: e.id, Size: int64(len(e.data))}
			if e.size > f.Size && len(e.data) >= framePreview {
				f.Size = e.size
			}
			f.show(e.data)
			e.emit(f)
		}
		e.name, e.data, e.size, e.hasData = "", e.data[:0], 0, false
		return
	}
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(field) {
	case "event":
		e.name = strings.ToValidUTF8(string(value[:min(len(value), 200)]), "\ufffd")
	case "id":
		e.id = strings.ToValidUTF8(string(value[:min(len(value), 200)]), "\ufffd")
	case "data":
		if e.hasData && len(e.data) < framePreview {
			e.data = append(e.data, '\n')
		}
		e.hasData = true
		e.data = append(e.data, value[:min(len(value), framePreview-len(e.data))]...)
	}
}
