package tui

import (
	"cmp"
	"slices"

	"github.com/relaytunnel/relay/internal/capture"
)

// list is the requests, and which of them are looked at.
type list struct {
	all      []*capture.Exchange // by Seq
	stats    capture.Stats
	filter   *capture.Filter
	judged   map[uint64]judged   // what the filter said
	visible  []*capture.Exchange // the newest first
	selected uint64              // Seq; 0 for none
	follows  bool                // the newest is the selected one
	top      int                 // the first visible one on the screen
}

// judged is what a filter said of a snapshot.
type judged struct {
	x  *capture.Exchange
	ok bool
}

func newList() list { return list{follows: true, judged: map[uint64]judged{}} }

// merge takes in what has changed.
func (l *list) merge(c capture.Changes) {
	for _, x := range c.Changed {
		i, found := l.search(x.Seq)
		if found {
			l.all[i] = x
		} else {
			l.all = slices.Insert(l.all, i, x)
		}
	}
	gone := 0
	for gone < len(l.all) && l.all[gone].Seq < c.Oldest {
		delete(l.judged, l.all[gone].Seq)
		l.all[gone] = nil // its bodies are held by nobody else
		gone++
	}
	l.all = l.all[gone:]
	l.stats = c.Stats
	l.show()
}

// search finds where an exchange is, or belongs.
func (l *list) search(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(l.all, seq, func(x *capture.Exchange, seq uint64) int { return cmp.Compare(x.Seq, seq) })
}

// bySeq is one of all; nil when it is not kept.
func (l *list) bySeq(seq uint64) *capture.Exchange {
	if i, ok := l.search(seq); ok {
		return l.all[i]
	}
	return nil
}

// choose takes another filter; nil shows all.
func (l *list) choose(f *capture.Filter) {
	l.filter = f
	clear(l.judged)
	l.show()
}

// show finds out what is visible. A snapshot is judged once: a filter may look into
// bodies.
func (l *list) show() {
	at := l.index()
	clear(l.visible)
	l.visible = l.visible[:0]
	for _, x := range slices.Backward(l.all) {
		if l.filter != nil {
			j, ok := l.judged[x.Seq]
			if !ok || j.x != x {
				j = judged{x, l.filter.Match(x)}
				l.judged[x.Seq] = j
			}
			if !j.ok {
				continue
			}
		}
		l.visible = append(l.visible, x)
	}
	switch {
	case len(l.visible) == 0:
		l.selected = 0
	case l.follows || l.selected == 0:
		l.selected = l.visible[0].Seq
	case l.index() < 0: // gone, or filtered away: its neighbor
		l.selected = l.visible[min(max(at, 0), len(l.visible)-1)].Seq
	}
}

// index is where the selected one is among the visible; -1 for nowhere.
func (l *list) index() int {
	return slices.IndexFunc(l.visible, func(x *capture.Exchange) bool { return x.Seq == l.selected })
}

// current is the selected one; nil for none.
func (l *list) current() *capture.Exchange {
	if i := l.index(); i >= 0 {
		return l.visible[i]
	}
	return nil
}

// move selects another, by so many further down. At the top the list follows what comes.
func (l *list) move(by int) {
	if len(l.visible) == 0 {
		return
	}
	i := min(max(l.index()+by, 0), len(l.visible)-1)
	l.selected = l.visible[i].Seq
	l.follows = i == 0
}

// find selects one by its id, and tells whether it is visible.
func (l *list) find(id string) bool {
	i := slices.IndexFunc(l.visible, func(x *capture.Exchange) bool { return x.ID == id })
	if i < 0 {
		return false
	}
	l.selected, l.follows = l.visible[i].Seq, i == 0
	return true
}

// window is what of the visible ones fits into so many lines.
func (l *list) window(lines int) []*capture.Exchange {
	if lines <= 0 {
		return nil
	}
	i := max(l.index(), 0)
	switch {
	case i < l.top:
		l.top = i
	case i >= l.top+lines:
		l.top = i - lines + 1
	}
	l.top = min(l.top, max(len(l.visible)-lines, 0))
	return l.visible[l.top:min(l.top+lines, len(l.visible))]
}
