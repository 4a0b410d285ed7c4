package tui

import "fmt"

// last says how it was, in lines without colors.
func (m *model) last() []string {
	var lines []string
	for _, t := range m.tunnels {
		if t.url == "" {
			continue
		}
		lines = append(lines, t.url+" -> "+t.target)
		if t.why != "" {
			lines = append(lines, "  it did not answer from here: "+printable(t.why))
		}
	}
	seen := "no requests"
	if n := m.list.stats.Seen; n > 0 {
		seen = several(n, "request", "requests")
	}
	if m.o.Recorder == nil {
		seen = "requests were not looked at"
	}
	lines = append(lines, fmt.Sprintf("%s, in %s", seen, duration(m.o.Now().Sub(m.began))))
	if !m.online && m.reason != "" {
		lines = append(lines, "the server was lost: "+printable(m.reason))
	}
	if m.inbox.waiting > 0 {
		lines = append(lines, several(uint64(m.inbox.waiting), "event waits", "events wait")+" at the server for the next time")
	}
	return lines
}
