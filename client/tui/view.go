package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/relaytunnel/relay/internal/capture"
)

const (
	// splitFrom is how wide a terminal must be for list and detail side by side.
	splitFrom = 120
	// margin is the room at both sides.
	margin = 1
)

// View draws the screen: who and how, the requests or a page, and what keys do.
func (m *model) View() tea.View {
	v := tea.View{AltScreen: true}
	w := max(m.width-2*margin, 10)
	if m.page == pageQR {
		if lines := m.qrAlone(); lines != nil {
			v.SetContent(strings.Join(lines, "\n"))
			return v
		}
	}
	top := m.header(w)
	bottom := m.footer(w)
	room := m.height - len(top) - len(bottom)
	if room < 3 { // a very small window: what is looked at comes first
		top = top[:max(min(len(top), m.height-len(bottom)-3), 0)]
		room = max(m.height-len(top)-len(bottom), 0)
	}
	lines := append(top, m.body(w, room)...)
	for len(lines) < m.height-len(bottom) {
		lines = append(lines, "")
	}
	lines = append(lines, bottom...)
	lines = lines[:min(len(lines), max(m.height, 1))]
	for i, l := range lines {
		if l != "" {
			lines[i] = spaces(margin) + l
		}
		if width(lines[i]) > m.width { // columns have a least width
			lines[i] = m.st.plain.MaxWidth(m.width).Render(lines[i])
		}
	}
	v.SetContent(strings.Join(lines, "\n"))
	if m.typing {
		if c := m.filter.Cursor(); c != nil {
			c.X += margin + len("filter ")
			c.Y = len(lines) - 2
			v.Cursor = c
		}
	}
	return v
}

// header says where the app is reached and how it goes.
func (m *model) header(w int) []string {
	name := "relay"
	state, style := m.state()
	state = shorten(state, w-len(name)-2)
	lines := []string{m.st.bold.Render(name) + spaces(w-len(name)-width(state)) + style.Render(state)}
	few := min(max(m.height/4, 2), len(m.tunnels))
	from := min(max(m.at-few/2, 0), len(m.tunnels)-few)
	for i := from; i < from+few; i++ {
		lines = append(lines, m.tunnelLine(i, w))
		if t := m.tunnels[i]; t.why != "" {
			says := wrapWords("The URL does not answer from here: "+printable(t.why), w)
			for _, l := range says[:min(len(says), 2)] {
				lines = append(lines, m.st.warn.Render(l))
			}
		}
	}
	if more := len(m.tunnels) - few; more > 0 {
		lines = append(lines, m.st.dim.Render(fmt.Sprintf("and %d more: tab goes through them", more)))
	}
	if m.o.Inspector != "" {
		lines = append(lines, m.st.dim.Render("inspector  ")+shorten(m.o.Inspector, w-11))
	}
	if m.inbox.shows {
		lines = append(lines, m.progress(w))
	}
	return lines
}

// state is how the connection is.
func (m *model) state() (string, styleOf) {
	switch {
	case m.drain != "":
		return "● the server is about to stop: " + printable(m.drain), m.st.warn
	case !m.online && m.reason != "":
		return "○ offline: " + printable(m.reason) + "; next try " + clock(m.retry), m.st.bad
	case !m.online:
		return "○ connecting", m.st.dim
	}
	for _, t := range m.tunnels {
		if t.url != "" && !t.sure {
			return "◌ connected; trying whether the URL answers", m.st.dim
		}
	}
	if m.trip > 0 {
		return "● online  " + roundly(m.trip), m.st.good
	}
	return "● online", m.st.good
}

// tunnelLine is one URL and what it leads to.
func (m *model) tunnelLine(i, w int) string {
	t := m.tunnels[i]
	mark := ""
	if len(m.tunnels) > 1 {
		mark = "  "
		if i == m.at {
			mark = m.st.key.Render("▸ ")
		}
		w -= 2
	}
	u := t.url
	if u == "" {
		u = "…"
	}
	if rest := w - width(u) - 3; rest >= width(t.target) {
		return mark + m.st.bold.Render(u) + m.st.dim.Render(" → ") + t.target
	}
	return mark + m.st.bold.Render(shorten(u, w))
}

// progress is how far an inbox is drained.
func (m *model) progress(w int) string {
	done := m.inbox.most - m.inbox.waiting
	label := fmt.Sprintf("  %d of %d done, %d to go", done, m.inbox.most, m.inbox.waiting)
	bar := min(max(w-11-width(label), 4), 30)
	full := bar * done / m.inbox.most
	return m.st.dim.Render("inbox      ") + m.st.good.Render(strings.Repeat("█", full)) +
		m.st.dim.Render(strings.Repeat("░", bar-full)) + shorten(label, w-11-bar)
}

// body is what is between header and footer.
func (m *model) body(w, room int) []string {
	if room <= 0 {
		return nil
	}
	switch m.page {
	case pageDetail:
		if m.width >= splitFrom {
			left := w * 45 / 100
			return beside(m.listing(left, room), m.detail(w-left-3, room), left, m.st.dim.Render(" │ "))
		}
		return m.detail(w, room)
	case pageHelp:
		return m.paged("Keys and filter", textKey{page: pageHelp, width: w}, w, room, func() []string { return m.help(w) })
	case pageNotes:
		key := textKey{page: pageNotes, width: w, notes: m.lost + len(m.notes)}
		return m.paged("Notes", key, w, room, func() []string { return m.notesLines(w) })
	case pageQR:
		return m.qr(w, room)
	}
	return m.listing(w, room)
}

// beside puts two columns side by side.
func beside(left, right []string, w int, between string) []string {
	lines := make([]string, max(len(left), len(right)))
	for i := range lines {
		l, r := "", ""
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		lines[i] = l + spaces(w-width(l)) + between + r
	}
	return lines
}

// rule is a line with a title in it.
func (m *model) rule(title, end string, w int) string {
	title = shorten(title, w-4)
	if width(title)+width(end)+8 > w {
		end = ""
	}
	line := m.st.dim.Render("── ") + title + " "
	if title == "" {
		line = m.st.dim.Render("───")
	}
	if end != "" {
		end = " " + end + " ──"
	}
	return line + m.st.dim.Render(strings.Repeat("─", max(w-width(line)-width(end), 0))+end)
}

// listing is the requests.
func (m *model) listing(w, room int) []string {
	if m.o.Recorder == nil {
		return m.hint(w, room, "Requests", "Requests pass, and nobody looks at them: --no-inspect is set.")
	}
	title := "Requests"
	if n := m.list.stats.Seen; n > 0 {
		title = several(n, "request", "requests")
	}
	if m.filter.Value() != "" && m.wrong == "" {
		title = fmt.Sprintf("%d of %d match %s", len(m.list.visible), len(m.list.all), printable(m.filter.Value()))
	}
	switch {
	case len(m.list.all) == 0 && m.url() != "":
		return m.hint(w, room, title, "Nothing has come yet. Try it:", "", "curl "+m.url())
	case len(m.list.visible) == 0:
		return m.hint(w, room, title, "No request matches. esc shows all again.")
	}
	rows := m.list.window(room - 1)
	end := ""
	if more := len(m.list.visible) - m.list.top - len(rows); more > 0 {
		end = fmt.Sprintf("%d more below", more)
	}
	if !m.list.follows && m.list.top > 0 {
		end = "g: the newest"
	}
	lines := []string{m.rule(title, end, w)}
	for _, x := range rows {
		lines = append(lines, m.row(x, w))
	}
	return lines
}

// hint stands where there is nothing to list.
func (m *model) hint(w, room int, title string, texts ...string) []string {
	lines := []string{m.rule(title, "", w), ""}
	for _, t := range texts {
		for _, l := range wrap(t, w) {
			lines = append(lines, m.st.dim.Render(l))
		}
	}
	return lines[:min(len(lines), room)]
}

// row is one request in the list. The columns are the same in all rows; a narrow list
// does without the size.
func (m *model) row(x *capture.Exchange, w int) string {
	mark, text := "  ", m.st.plain
	if x.Seq == m.list.selected {
		mark, text = m.st.key.Render("▸ "), m.st.bold
	}
	target := x.Request.Target
	if len(m.tunnels) > 1 {
		name, _, _ := strings.Cut(x.Request.Host, ".")
		target = name + target
	}
	if x.Replay {
		target = "↻ " + target
	}
	took, bytes := "", ""
	status, style := "…", m.st.dim
	if x.Response != nil {
		status, style = fmt.Sprint(x.Response.Status), m.st.status(x.Response.Status)
		bytes = size(x.Response.Body.Size)
	}
	if x.State != capture.Live {
		took = duration(time.Duration(x.Duration))
		if x.Response == nil {
			status, style = "–", m.st.bad
		}
	}
	if x.State == capture.Failed {
		style = m.st.bad
	}
	const timeW, methodW, statusW, tookW, sizeW = 8, 7, 3, 7, 7
	rest := w - 2 - methodW - 1 - 1 - statusW - 1 - tookW
	when, end := "", ""
	if w >= 46 {
		rest -= timeW + 2
		when = m.st.dim.Render(clock(x.Began)) + "  "
	}
	if w >= 56 {
		rest -= 1 + sizeW
		end = " " + m.st.dim.Render(right(bytes, sizeW))
	}
	return mark + when + text.Render(fit(printable(x.Request.Method), methodW)) + " " +
		text.Render(fit(printable(target), rest)) + " " +
		style.Render(right(status, statusW)) + " " + m.st.dim.Render(right(took, tookW)) + end
}

// paged is a text with a title.
func (m *model) paged(title string, key textKey, w, room int, text func() []string) []string {
	if m.textFor != key {
		m.text.lines, m.textFor = text(), key
	}
	lines := m.text.window(room - 1)
	end := ""
	if more := m.text.below(room - 1); more > 0 {
		end = several(uint64(more), "line below", "lines below")
	}
	return append([]string{m.rule(title, end, w)}, lines...)
}

// footer is the last lines: what is typed or was told, and what keys do.
func (m *model) footer(w int) []string {
	if m.typing {
		m.filter.SetWidth(w - len("filter ") - 1)
		says := m.keysLine(w, [][2]string{{"enter", "keep"}, {"esc", "as before"}, {"", "status:5xx method:POST path:/hooks -is:replay word"}})
		if m.wrong != "" {
			says = m.st.warn.Render(shorten(printable(m.wrong), w))
		}
		return []string{m.st.key.Render("filter ") + m.filter.View(), says}
	}
	keys := m.keysLine(w, m.keys())
	switch {
	case m.flash != "":
		return []string{shorten(printable(m.flash), w), keys}
	case m.unread:
		last := shorten("! "+m.notes[len(m.notes)-1], w-len("  n: notes"))
		return []string{m.st.warn.Render(last) + m.st.dim.Render("  n: notes"), keys}
	}
	return []string{"", keys}
}

// keys are those that do something on this page, the most wanted first.
func (m *model) keys() [][2]string {
	quit, help := [2]string{"ctrl+c", "quit"}, [2]string{"?", "help"}
	switch m.page {
	case pageDetail:
		return [][2]string{quit, {"esc", "list"}, {"r", "replay"}, {"j/k", "scroll"}, {"←/→", "others"}, help}
	case pageQR:
		return [][2]string{quit, {"esc", "back"}, {"c", "copy URL"}, {"o", "open"}}
	case pageHelp, pageNotes:
		return [][2]string{quit, {"esc", "back"}, {"j/k", "scroll"}}
	}
	keys := [][2]string{quit, {"q", "QR code"}}
	if m.o.Recorder != nil {
		keys = append(keys, [2]string{"enter", "details"}, [2]string{"/", "filter"}, [2]string{"r", "replay"})
	}
	return append(keys, help, [2]string{"c", "copy URL"}, [2]string{"o", "open"})
}

// keysLine tells as many keys as fit.
func (m *model) keysLine(w int, keys [][2]string) string {
	var b strings.Builder
	used := 0
	for _, k := range keys {
		between := 0
		if used > 0 {
			between = 3
		}
		n := width(k[0]) + width(k[1])
		if k[0] != "" {
			n++
		}
		if used+between+n > w {
			continue
		}
		b.WriteString(spaces(between))
		if k[0] != "" {
			b.WriteString(m.st.key.Render(k[0]) + " ")
		}
		b.WriteString(m.st.dim.Render(k[1]))
		used += between + n
	}
	return b.String()
}
