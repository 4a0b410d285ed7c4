package tui

import (
	"context"
	"errors"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/relaytunnel/relay/internal/capture"
)

// replayWithin bounds a replay: an event stream has no end of its own.
const replayWithin = 30 * time.Second

// What commands have to tell.
type (
	replayed struct {
		id  string
		err error
	}
	opened struct{ err error }
)

// press does what a key is for.
func (m *model) press(k tea.KeyPressMsg) tea.Cmd {
	key := k.String()
	switch key {
	case "ctrl+c":
		m.end = Interrupted
		return tea.Quit
	case "ctrl+d":
		m.end = Left
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	}
	m.flash = ""
	if m.typing {
		return m.typed(k)
	}
	switch key {
	case "?":
		m.turn(pageHelp)
	case "q":
		m.turn(pageQR)
	case "n":
		m.turn(pageNotes)
		m.unread = false
	case "c":
		if u := m.url(); u != "" {
			m.flash = "Copied " + u
			return tea.SetClipboard(u)
		}
	case "o":
		return m.open(m.url())
	case "i":
		return m.open(m.o.Inspector)
	case "tab":
		if len(m.tunnels) > 0 {
			m.at = (m.at + 1) % len(m.tunnels)
		}
	case "r":
		return m.replay()
	case "/":
		if m.o.Recorder != nil {
			m.page, m.typing, m.applied = pageList, true, m.filter.Value()
			m.filter.CursorEnd()
			return m.filter.Focus()
		}
	case "esc":
		m.back()
	default:
		m.travel(key)
	}
	return nil
}

// turn shows a page, or the list again when it is shown already.
func (m *model) turn(to page) {
	if m.page == to {
		to = pageList
	}
	m.page, m.text.top = to, 0
}

// back goes one step back: from a page to the list, from a filter to all.
func (m *model) back() {
	switch {
	case m.page != pageList:
		m.page, m.text.top = pageList, 0
	case m.filter.Value() != "":
		m.filter.Reset()
		m.choose()
	}
}

// travel goes up and down.
func (m *model) travel(key string) {
	if m.page == pageDetail {
		switch key {
		case "enter":
			m.back()
			return
		case "left", "[", "right", "]":
			by := 1
			if key == "left" || key == "[" {
				by = -1
			}
			m.list.move(by)
			m.look()
			return
		}
	}
	if m.page == pageList && key == "enter" {
		if m.list.current() != nil {
			m.page = pageDetail
			m.look()
		}
		return
	}
	some := max(m.height-8, 1)
	by, ok := map[string]int{
		"j": 1, "down": 1, "k": -1, "up": -1, "pgdown": some, "space": some, "pgup": -some, "b": -some,
		"g": -1 << 20, "home": -1 << 20, "G": 1 << 20, "end": 1 << 20,
	}[key]
	switch {
	case !ok:
	case m.page == pageList:
		m.list.move(by)
	default:
		m.text.top += by // the view knows how far that goes
	}
}

// look shows the selected request in detail, from its beginning.
func (m *model) look() {
	m.original, m.text.top = m.list.current(), 0
}

// typed edits the filter. It works while it is typed.
func (m *model) typed(msg tea.Msg) tea.Cmd {
	if k, ok := msg.(tea.KeyPressMsg); ok {
		switch k.String() {
		case "enter":
			if m.wrong != "" {
				return nil // the reason is shown
			}
			m.typing = false
			m.filter.Blur()
			return nil
		case "esc":
			m.typing = false
			m.filter.Blur()
			m.filter.SetValue(m.applied)
			m.choose()
			return nil
		}
	}
	before := m.filter.Value()
	var cmd tea.Cmd
	m.filter, cmd = m.filter.Update(msg)
	if m.filter.Value() != before {
		m.choose()
	}
	return cmd
}

// choose filters by what the input says. While that is wrong the last right filter
// stays.
func (m *model) choose() {
	text := m.filter.Value()
	m.wrong = ""
	if text == "" {
		m.list.choose(nil)
		return
	}
	f, err := capture.ParseFilter(text, m.o.Now())
	if err != nil {
		m.wrong = err.Error()
		var bad *capture.FilterError
		if errors.As(err, &bad) {
			m.wrong = bad.Term + ": " + bad.Why
		}
		return
	}
	m.list.choose(f)
}

// replay sends the selected request again.
func (m *model) replay() tea.Cmd {
	x := m.list.current()
	if m.page == pageDetail && m.original != nil {
		x = m.original
	}
	if m.o.Replay == nil || x == nil || m.sending || m.page > pageDetail {
		return nil
	}
	m.sending, m.flash = true, "Sending it again…"
	return m.begin(func(ctx context.Context) tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, replayWithin)
		defer cancel()
		id, err := m.o.Replay(ctx, x)
		return replayed{id, err}
	})
}

// replayed shows what came of a replay.
func (m *model) replayed(r replayed) {
	m.sending = false
	if r.err != nil {
		m.flash = "Not sent again: " + r.err.Error()
		if r.id != "" && errors.Is(r.err, context.DeadlineExceeded) {
			m.flash = "Sent again, and broken off after " + replayWithin.String()
		}
	}
	x, ok, err := m.o.Recorder.Get(context.Background(), r.id)
	if err != nil || !ok {
		return
	}
	if r.err == nil {
		m.flash = "Sent again: " + answered(x) + " after " + duration(time.Duration(x.Duration))
	}
	m.list.merge(capture.Changes{Changed: []*capture.Exchange{x}, Stats: m.list.stats})
	if m.list.find(x.ID) && m.page == pageDetail {
		m.look()
	}
}

// open shows a URL in a browser.
func (m *model) open(url string) tea.Cmd {
	if url == "" || m.o.Open == nil {
		return nil
	}
	m.flash = "Opening " + url
	return m.begin(func(ctx context.Context) tea.Msg { return opened{m.o.Open(ctx, url)} })
}
