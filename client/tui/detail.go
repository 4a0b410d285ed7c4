package tui

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

// maxFrames is how many messages of a live connection are listed, the newest.
const maxFrames = 200

// detail is one request and its answer, with its secrets masked.
func (m *model) detail(w, room int) []string {
	m.original = m.latest()
	if m.original == nil {
		return m.hint(w, room, "Details", "This request is not kept any more: only the newest are.")
	}
	key := textKey{page: pageDetail, width: w, x: m.original}
	title := printable(m.original.Request.Method) + " " + answered(m.original)
	return m.paged(title, key, w, room, func() []string {
		x := m.original
		if m.o.Masks != nil {
			x = m.o.Masks.Apply(x)
		}
		return m.exchange(x, w)
	})
}

// latest is the newest snapshot of what is shown in detail; the last that there was when
// it is not kept any more.
func (m *model) latest() *capture.Exchange {
	if m.original != nil {
		if x := m.list.bySeq(m.original.Seq); x != nil {
			return x
		}
	}
	return m.original
}

// answered is the outcome in short.
func answered(x *capture.Exchange) string {
	switch {
	case x.Response != nil:
		return strings.TrimSpace(fmt.Sprintf("%d %s", x.Response.Status, http.StatusText(x.Response.Status)))
	case x.State == capture.Live:
		return "not answered yet"
	}
	return "no answer"
}

// exchange is all that is shown of one.
func (m *model) exchange(x *capture.Exchange, w int) []string {
	var lines []string
	put := func(style styleOf, text string) {
		for _, l := range wrap(text, w) {
			lines = append(lines, style.Render(l))
		}
	}
	put(m.st.bold, printable(x.URL()))
	about := x.Began.Format("15:04:05.000")
	if x.Visitor != "" {
		about += " from " + printable(x.Visitor)
	}
	if x.Upstream != "" {
		about += " to " + x.Upstream
	}
	put(m.st.dim, about)
	if x.State == capture.Live {
		put(m.st.dim, "not over yet")
	} else {
		took := "took " + duration(time.Duration(x.Duration))
		if x.FirstByte > 0 {
			took += ", first byte after " + duration(time.Duration(x.FirstByte))
		}
		put(m.st.dim, took)
	}
	if x.RequestID != "" {
		put(m.st.dim, printable(x.RequestID))
	}
	if x.Replay {
		put(m.st.info, "sent again"+of(x.ReplayOf))
	}
	if x.Error != "" {
		put(m.st.bad, printable(x.Error))
	}
	lines = append(lines, "")
	put(m.st.bold, printable(x.Request.Method+" "+x.Request.Target))
	lines = append(lines, m.half(x.Request.Header, x.Request.Trailer, &x.Request.Body, w)...)
	if x.Response != nil {
		lines = append(lines, "")
		put(m.st.status(x.Response.Status).Bold(true), answered(x))
		lines = append(lines, m.half(x.Response.Header, x.Response.Trailer, &x.Response.Body, w)...)
	}
	return append(lines, m.frames(x, w)...)
}

func of(id string) string {
	if id == "" {
		return ""
	}
	return ": " + printable(id)
}

// half is head and body of a request or an answer.
func (m *model) half(head, trailer capture.Header, body *capture.Body, w int) []string {
	var lines []string
	fields := func(h capture.Header) {
		for _, f := range h.Fields() {
			name := printable(f.Name) + ": "
			for i, l := range wrap(name+printable(f.Value), w) {
				if i == 0 && len(l) >= len(name) {
					l = m.st.dim.Render(name) + l[len(name):]
				}
				lines = append(lines, l)
			}
		}
	}
	fields(head)
	if body.Size > 0 {
		text, note := pretty(body)
		lines = append(lines, "")
		for _, t := range text {
			lines = append(lines, wrap(t, w)...)
		}
		if note != "" {
			for _, l := range wrap(note, w) {
				lines = append(lines, m.st.dim.Render(l))
			}
		}
	}
	if len(trailer) > 0 {
		lines = append(lines, "")
		fields(trailer)
	}
	return lines
}

// frames are the messages of a WebSocket or an event stream.
func (m *model) frames(x *capture.Exchange, w int) []string {
	if len(x.Frames) == 0 && x.FramesNote == "" {
		return nil
	}
	list := x.Frames
	before := x.FramesDropped
	if more := len(list) - maxFrames; more > 0 {
		list, before = list[more:], before+more
	}
	lines := []string{"", m.st.bold.Render("Messages")}
	if before > 0 {
		lines = append(lines, m.st.dim.Render(fmt.Sprintf("%d older ones are not shown", before)))
	}
	for _, f := range list {
		arrow := m.st.key.Render("→")
		if f.From == capture.FromApp {
			arrow = m.st.good.Render("←")
		}
		text := f.Text
		switch {
		case f.Compressed:
			text = "compressed"
		case text == "" && f.Base64 != "":
			b, _ := base64.StdEncoding.DecodeString(f.Base64) // it was encoded here
			text = fmt.Sprintf("% x", b[:min(len(b), 32)])
		}
		if f.Name != "" {
			text = f.Name + ": " + text
		}
		label := fmt.Sprintf("%8s %-6s %7s  ", duration(time.Duration(f.At)), f.Kind, size(f.Size))
		if f.Kind == "text" || f.Kind == "event" {
			label = fmt.Sprintf("%8s %7s  ", duration(time.Duration(f.At)), size(f.Size))
		}
		lines = append(lines, arrow+m.st.dim.Render(label)+shorten(printable(text), w-1-width(label)))
	}
	if x.FramesNote != "" {
		for _, l := range wrap(printable(x.FramesNote), w) {
			lines = append(lines, m.st.dim.Render(l))
		}
	}
	return lines
}
