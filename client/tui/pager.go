package tui

import "github.com/relaytunnel/relay/internal/capture"

// pager is a text that may be longer than the screen.
type pager struct {
	lines []string // styled, none wider than the room for them
	top   int
}

// window is what of it fits into so many lines. It keeps top within bounds.
func (p *pager) window(lines int) []string {
	p.top = max(min(p.top, len(p.lines)-lines), 0)
	return p.lines[p.top:min(p.top+max(lines, 0), len(p.lines))]
}

// below is how many lines there are below the window.
func (p *pager) below(lines int) int { return max(len(p.lines)-p.top-lines, 0) }

// textKey is what the lines of a pager are made of: made again only when it changes.
type textKey struct {
	page  page
	width int
	x     *capture.Exchange
	notes int
}
