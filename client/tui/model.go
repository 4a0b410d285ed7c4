package tui

import (
	"context"
	"strings"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/capture"
)

// page is what is looked at.
type page int

const (
	pageList page = iota
	pageDetail
	pageQR
	pageHelp
	pageNotes
)

// tunnel is one public name and what it leads to.
type tunnel struct {
	listener *client.Listener
	target   string
	url      string // empty before it is known
	sure     bool   // it was tried
	why      string // it does not answer from here
}

// maxNotes is how many notes are kept; older ones go.
const maxNotes = 500

// model is the state of the screen. Only the program's own goroutine uses it while the
// screen runs.
type model struct {
	o             Options
	st            styles
	began         time.Time
	width, height int
	page          page
	end           End

	tunnels []tunnel
	at      int // the tunnel that keys are about
	online  bool
	reason  string    // why not
	retry   time.Time // when the next try comes
	drain   string    // the server is about to stop, and why
	trip    time.Duration

	list     list
	typing   bool // into the filter
	filter   textinput.Model
	applied  string            // the filter before the typing
	wrong    string            // with the filter
	original *capture.Exchange // what is shown in detail
	text     pager
	textFor  textKey // what the pager's lines were made of

	notes   []string
	unread  bool
	lost    int    // notes that had to go
	flash   string // what a key did; until the next one
	sending bool   // a replay is under way
	inbox   drainage

	// begin makes a command of what takes time.
	begin func(func(context.Context) tea.Msg) tea.Cmd
}

func newModel(o Options) *model {
	m := &model{o: o, st: newStyles(o.NoColor), began: o.Now(), width: 80, height: 24, list: newList()}
	m.filter = textinput.New()
	m.filter.Prompt = ""
	m.filter.SetVirtualCursor(false)        // the terminal's own does not need repainting
	m.filter.KeyMap.Paste.SetEnabled(false) // terminals paste by themselves
	st := m.filter.Styles()
	st.Focused, st.Blurred = textinput.StyleState{}, textinput.StyleState{}
	st.Cursor.Blink, st.Cursor.Color = false, nil // the terminal's own
	m.filter.SetStyles(st)
	return m
}

// Init begins nothing: all comes from outside.
func (m *model) Init() tea.Cmd { return nil }

// Update takes in what happened.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.press(msg)
	case tea.PasteMsg:
		if m.typing {
			return m, m.typed(tea.PasteMsg{Content: strings.Join(strings.Fields(msg.Content), " ")})
		}
	default:
		m.told(msg)
	}
	return m, nil
}

// told takes in what came from elsewhere than the terminal.
func (m *model) told(msg tea.Msg) {
	switch msg := msg.(type) {
	case client.Online:
		m.online, m.reason, m.drain = true, "", ""
		if t := m.tunnel(msg.Listener); t != nil {
			t.url, t.sure, t.why = msg.URL, false, ""
		}
	case tried:
		if t := m.tunnel(msg.Listener); t != nil {
			t.url, t.sure, t.why = msg.URL, true, msg.why
		}
	case client.Offline:
		m.online, m.trip, m.drain = false, 0, ""
		m.reason, m.retry = msg.Reason, m.o.Now().Add(msg.RetryIn)
	case client.Draining:
		m.drain = msg.Reason
	case roundTrip:
		m.trip = time.Duration(msg)
	case note:
		m.noted(string(msg))
	case requests:
		m.list.merge(capture.Changes(msg))
	case backlog:
		if done := m.inbox.take(msg); done != "" {
			m.flash = done
		}
	case replayed:
		m.replayed(msg)
	case opened:
		if msg.err != nil {
			m.flash = "No browser could be opened: " + msg.err.Error()
		}
	}
}

func (m *model) tunnel(ln *client.Listener) *tunnel {
	for i := range m.tunnels {
		if m.tunnels[i].listener == ln {
			return &m.tunnels[i]
		}
	}
	return nil
}

// url is the one that keys are about; empty while it is not known.
func (m *model) url() string {
	if m.at < len(m.tunnels) {
		return m.tunnels[m.at].url
	}
	return ""
}

func (m *model) noted(line string) {
	for line := range strings.Lines(line) {
		m.notes = append(m.notes, printable(strings.TrimRight(line, "\r\n")))
	}
	if more := len(m.notes) - maxNotes; more > 0 {
		m.notes = append(m.notes[:0], m.notes[more:]...)
		m.lost += more
	}
	m.unread = m.page != pageNotes
}

// drainage is how an inbox is being emptied.
type drainage struct {
	waiting, most int
	looks         int // how often in a row something waited
	shows         bool
}

// take takes in a count and returns what is to be told when all is done. What waits at
// a single look is most likely on its way just now, and not worth a bar, unless it was
// there when the agent came.
func (d *drainage) take(b backlog) string {
	if b.waiting == 0 {
		told := ""
		if d.shows {
			told = "Inbox: all " + several(uint64(d.most), "event", "events") + " that waited are done."
			if d.most == 1 {
				told = "Inbox: the event that waited is done."
			}
		}
		*d = drainage{}
		return told
	}
	d.looks++
	d.waiting, d.most = b.waiting, max(d.most, b.waiting)
	d.shows = d.shows || b.first || d.looks > 1
	return ""
}
