package tui

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/relaytunnel/relay/internal/capture"
)

// styleOf is short for a style of the library.
type styleOf = lipgloss.Style

// help tells all keys, and how to filter.
func (m *model) help(w int) []string {
	var lines []string
	table := func(title string, rows [][2]string) {
		if len(lines) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, m.st.bold.Render(title))
		wide := 0
		for _, r := range rows {
			wide = max(wide, width(r[0]))
		}
		for _, r := range rows {
			for i, l := range wrapWords(r[1], w-wide-4) {
				left := spaces(wide)
				if i == 0 {
					left = m.st.key.Render(fit(r[0], wide))
				}
				lines = append(lines, "  "+left+"  "+l)
			}
		}
	}
	keys := [][2]string{
		{"j k ↓ ↑", "down, up; space and b by pages; g the newest, G the oldest"},
		{"enter", "what was asked and answered; esc goes back"},
		{"← →", "in details: the request above, the one below"},
		{"/", "filter; esc shows all again"},
		{"r", "send the request to the app again"},
		{"q", "a QR code of the URL, for a phone"},
		{"c", "copy the URL, where the terminal allows it (OSC 52)"},
		{"o", "open the URL in a browser"},
	}
	if m.o.Inspector != "" {
		keys = append(keys, [2]string{"i", "open the inspector, which can edit, compare and export"})
	}
	if len(m.tunnels) > 1 {
		keys = append(keys, [2]string{"tab", "the next URL, for q, c and o"})
	}
	keys = append(keys, [][2]string{
		{"n", "notes: warnings and what the log says"},
		{"ctrl+c", "end; a second one ends at once. ctrl+d ends as well"},
	}...)
	table("Keys", keys)
	table("Filter", [][2]string{
		{"status:5xx", "the answer's status, its class, or none"},
		{"method:POST", "the method"},
		{"path:/hooks", "what the path begins with; * is anything"},
		{"header:x-event=push", "a field of request or answer"},
		{"json:.action=opened", "a value in a JSON body"},
		{"duration:>500ms", "how long it took; size:>10kb how large the answer was"},
		{"is:failed", "also is:live, is:replay, is:websocket, is:truncated"},
		{"after:10m", "since then; before: until then"},
		{"word", "anywhere in path, heads and bodies"},
		{"-status:2xx", "not so"},
	})
	if m.o.Recorder != nil {
		lines = append(lines, "")
		for _, l := range wrapWords(fmt.Sprintf("Secrets are shown as dots. The newest %d requests are kept, in memory only.", capture.DefaultMaxExchanges), w) {
			lines = append(lines, m.st.dim.Render(l))
		}
	}
	return lines
}

// notesLines are the notes, the newest last.
func (m *model) notesLines(w int) []string {
	if len(m.notes) == 0 {
		return []string{m.st.dim.Render("There are none.")}
	}
	var lines []string
	if m.lost > 0 {
		lines = append(lines, m.st.dim.Render(several(uint64(m.lost), "older one is gone", "older ones are gone")))
	}
	for _, n := range m.notes {
		lines = append(lines, wrap(n, w)...)
	}
	return lines
}

// qr is a QR code below the header, if it fits there.
func (m *model) qr(w, room int) []string {
	u := m.url()
	if u == "" {
		return m.hint(w, room, "QR code", "There is no URL yet.")
	}
	code := qrCode(u, w, room-1)
	if code == nil {
		least := qrCode(u, 1000, 1000)
		rows := (len(least)*2 - 2*4 + 2*1 + 1) / 2 // without most of the white around it
		return m.hint(w, room, "QR code", fmt.Sprintf("The code wants about %d columns and %d rows; this window has %d and %d.",
			width(least[0])-6+margin, rows, m.width, m.height), "", u)
	}
	lines := []string{m.rule("QR code of "+u, "", w)}
	for _, l := range code {
		lines = append(lines, m.st.dark.Render(l))
	}
	return lines
}

// qrAlone is a QR code that fills a small window; nil when it fits below the header, or
// not at all.
func (m *model) qrAlone() []string {
	u := m.url()
	w := max(m.width-2*margin, 10)
	if u == "" || qrCode(u, w, m.height-len(m.header(w))-len(m.footer(w))-1) != nil {
		return nil
	}
	var lines []string
	for i, l := range qrCode(u, w, m.height) {
		l = spaces(margin) + m.st.dark.Render(l)
		rest := m.width - width(l) - 3
		if about := []string{"", shorten(u, rest), "", "esc back", "ctrl+c quit"}; i < len(about) && rest >= 12 {
			l += "  " + m.st.dim.Render(about[i])
		}
		lines = append(lines, l)
	}
	return lines
}

// wrapWords breaks a line between words.
func wrapWords(s string, n int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		switch {
		case line == "":
			line = word
		case width(line)+1+width(word) <= n:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	var out []string
	for _, l := range append(lines, line) {
		out = append(out, wrap(l, n)...)
	}
	return out
}
