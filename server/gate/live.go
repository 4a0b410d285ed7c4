package gate

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Live is a session as it is told of.
type Live struct {
	ID, UserID, User, TokenID string
	Where                     string
	Since                     time.Time
	Names                     []string
}

// List lists the live sessions, the oldest first.
func (g *Gate) List() []Live {
	g.mu.Lock()
	all := slices.Collect(maps.Values(g.sessions))
	g.mu.Unlock()
	var out []Live
	for _, s := range all {
		l := Live{ID: s.id, UserID: s.user.ID, User: s.user.Name, TokenID: s.token, Where: s.where, Since: s.since}
		s.mu.Lock()
		for _, b := range s.binds {
			l.Names = append(l.Names, b.tunnel.Name)
		}
		s.mu.Unlock()
		slices.Sort(l.Names)
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Live) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Kick ends the sessions that which chooses, for good: their agents are told why, and
// do not come back by themselves. Their resume secrets are worth nothing any more.
func (g *Gate) Kick(which func(Live) bool, why string) (n int) {
	for _, l := range g.List() {
		if !which(l) {
			continue
		}
		n++
		g.mu.Lock()
		s := g.sessions[l.ID]
		g.mu.Unlock()
		if s != nil {
			g.spawn(func() { s.kick(why) }) // it waits for the goodbye
		}
	}
	return n
}
