package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/link"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/protocol"
	"github.com/relaytunnel/relay/server/registry"
)

// session is one agent, from its Hello to the end of its last link.
type session struct {
	gate    *Gate
	id      string
	join    string
	user    relay.User
	token   string // the id of that with which it came
	agent   string
	where   string
	since   time.Time
	resumes string // the id of the session that this one continues
	resume  string // the hash of its own resume secret; the gate's mu guards this

	gone     chan struct{} // closed when the session has ended
	goneOnce sync.Once

	mu      sync.Mutex
	links   []*link.Link
	joining int // links that are about to come
	binds   map[uint32]*bound
	ended   bool
	code    protocol.Code // how the agent is told; "" is replaced
	why     string        // what the agent is told of the end, if anything
	todo    []func()      // what messages ask for, in order
	working bool          // somebody does it
	warned  time.Time     // when the log told of the agent's complaints
}

// bound is a live tunnel of the session.
type bound struct {
	tunnel *registry.Tunnel
	lanes  map[*link.Link]func()

	mu     sync.Mutex
	remove func(back bool) // out of the registry
}

// bind makes one tunnel live.
func (s *session) bind(ctx context.Context, b protocol.Bind) (protocol.Bound, error) {
	if b.Kind != protocol.KindHTTP {
		return protocol.Bound{}, &protocol.Error{Code: protocol.CodeBadRequest, Bind: b.ID, Message: fmt.Sprintf("This server knows no tunnel of the kind %q.", b.Kind)}
	}
	reg := s.gate.o.Registry
	live := func(host string) bool {
		t, ok := reg.Find(host)
		return ok && !s.mayReplace(t, b.Takeover)
	}
	c, err := s.gate.o.Claim(ctx, s.user, b, live)
	if err != nil {
		return protocol.Bound{}, err
	}
	t := &registry.Tunnel{
		Host: c.Host, Name: c.Name, URL: c.URL, User: s.user.Name, Session: s.id, Agent: s.agent,
		Where: s.where, Since: s.since, HostHeader: b.HostHeader, Gone: s.gone, End: s.end,
	}
	bd := &bound{tunnel: t, lanes: map[*link.Link]func(){}}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return protocol.Bound{}, s.over(b.ID)
	}
	if _, dup := s.binds[b.ID]; dup || len(s.binds) >= protocol.MaxBinds {
		s.mu.Unlock()
		return protocol.Bound{}, &protocol.Error{Code: protocol.CodeBadRequest, Bind: b.ID, Message: "The same bind id twice, or too many binds."}
	}
	for _, l := range s.links {
		s.addLane(bd, b.ID, l)
	}
	s.binds[b.ID] = bd
	s.mu.Unlock()

	remove, old, ok := reg.Add(t, func(old *registry.Tunnel) bool { return s.mayReplace(old, b.Takeover) })
	if !ok {
		s.unbind(b.ID)
		return protocol.Bound{}, &protocol.Error{Code: protocol.CodeTaken, Bind: b.ID, Message: fmt.Sprintf(
			"%s is already served by your agent on %s, since %s. Use --takeover to replace it, or --name to take another name.",
			c.Name, old.Where, old.Since.Format("2006-01-02 15:04:05 MST"))}
	}
	bd.mu.Lock()
	bd.remove = remove
	bd.mu.Unlock()
	s.mu.Lock()
	ended := s.ended // and whoever ended it may have come too early to remove
	s.mu.Unlock()
	if ended {
		remove(false)
		return protocol.Bound{}, s.over(b.ID)
	}
	if old != nil && old.Session != s.id && old.Session != s.resumes {
		// In its own goroutine: ending waits for the other agent's link.
		s.gate.spawn(func() { old.End("another agent took over " + c.Name + ": " + s.where) })
	}
	return protocol.Bound{ID: b.ID, Name: c.Name, URL: c.URL}, nil
}

// over is the answer to a bind of a session that has ended meanwhile: an agent that
// is replaced before it is welcome is told so like any other.
func (s *session) over(bind uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &protocol.Error{Code: cmp.Or(s.code, protocol.CodeReplaced), Bind: bind, Message: ended(s.why)}
}

func ended(why string) string {
	if why == "" {
		return "This session has ended."
	}
	return "This session was ended: " + why + "."
}

// mayReplace tells whether this session may take the place of a live tunnel. The
// host belongs to this session's user: Claim has seen to that.
func (s *session) mayReplace(t *registry.Tunnel, takeover bool) bool {
	return t.IsGone() || t.Session == s.resumes || t.User == s.user.Name && (takeover && t.Session != s.id)
}

func (s *session) unbind(id uint32) {
	s.mu.Lock()
	bd := s.binds[id]
	delete(s.binds, id)
	s.mu.Unlock()
	if bd != nil {
		bd.close(false)
	}
}

func (b *bound) close(back bool) {
	b.mu.Lock()
	leave := b.remove
	b.mu.Unlock()
	if leave != nil {
		leave(back)
	}
	for _, remove := range b.lanes {
		remove()
	}
}

// addLane lets a tunnel use a link; mu is held.
func (s *session) addLane(b *bound, id uint32, l *link.Link) {
	p := protocol.Preface{Tunnel: id}
	b.lanes[l] = b.tunnel.AddLane(func(ctx context.Context) (net.Conn, error) { return l.Open(ctx, p) }, l.Bulk, l.Ended)
}

// mayJoin keeps a place for one more link, if there is one; joined ends that.
func (s *session) mayJoin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.links)+s.joining >= protocol.MaxLinks {
		return false
	}
	s.joining++
	return true
}

func (s *session) joined() {
	s.mu.Lock()
	s.joining--
	s.mu.Unlock()
}

// addLink gives the session a link and watches over its end.
func (s *session) addLink(l *link.Link) error {
	g := s.gate
	watched := g.begin() // until lost
	s.mu.Lock()
	if s.ended || !watched { // between the 101 and now
		why, code := s.why, cmp.Or(s.code, protocol.CodeReplaced)
		s.mu.Unlock()
		dismiss(l, code, why)
		if watched {
			g.wg.Done()
		}
		return errAnswered
	}
	s.links = append(s.links, l)
	for id, b := range s.binds {
		s.addLane(b, id, l)
	}
	s.mu.Unlock()
	g.mu.Lock()
	g.links[l] = s
	drain := g.drain // it may have begun between the 101 and now
	g.mu.Unlock()
	l.OnClose(func() { go s.lost(l) })
	if drain != nil {
		_ = l.Control(protocol.Message{Drain: drain})
	}
	return nil
}

// lost takes a link that has ended out of the session.
func (s *session) lost(l *link.Link) {
	defer s.gate.wg.Done()
	g := s.gate
	g.mu.Lock()
	delete(g.links, l)
	g.mu.Unlock()

	s.mu.Lock()
	rest := s.links[:0]
	for _, o := range s.links {
		if o != l {
			rest = append(rest, o)
		}
	}
	s.links = rest
	var lanes []func()
	for _, b := range s.binds {
		if remove := b.lanes[l]; remove != nil {
			lanes = append(lanes, remove)
			delete(b.lanes, l)
		}
	}
	last := len(rest) == 0 && !s.ended
	s.mu.Unlock()
	for _, remove := range lanes {
		remove()
	}
	if last {
		g.log.Info("agent gone", "user", s.user.Name, "session", s.id, "reason", l.Err())
		s.finish("", !errors.Is(l.Err(), link.ErrPeerClosed))
	}
}

// end ends the session. why, when not empty, is told to the agent.
func (s *session) end(why string) { s.finish(why, true) }

// kick ends the session for good.
func (s *session) kick(why string) {
	s.mu.Lock()
	s.code = protocol.CodeRevoked
	s.mu.Unlock()
	s.finish(why, false)
}

// finish ends the session. back tells whether the agent may be back in a moment,
// so that requests wait for it: not when it has said goodbye.
func (s *session) finish(why string, back bool) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended, s.why = true, why
	code := cmp.Or(s.code, protocol.CodeReplaced)
	links := append([]*link.Link(nil), s.links...)
	binds := s.binds
	s.binds = nil
	s.mu.Unlock()
	// First the sign, then the failures: whoever meets one asks for the sign.
	s.goneOnce.Do(func() { close(s.gone) })
	for _, b := range binds {
		b.close(back)
	}
	s.gate.mu.Lock()
	delete(s.gate.sessions, s.id)
	delete(s.gate.resumes, s.resume)
	s.gate.mu.Unlock()
	for _, l := range links {
		dismiss(l, code, why)
	}
}

// dismiss closes a link, with the reason as its last word if there is one.
func dismiss(l *link.Link, code protocol.Code, why string) {
	if why != "" {
		_ = l.Control(protocol.Message{Error: &protocol.Error{Code: code, Message: ended(why)}})
	}
	_ = l.Close()
}

// control takes a message of the agent. It is called on the link's reading
// goroutine, so what takes time is done elsewhere, one after the other.
func (s *session) control(l *link.Link, m protocol.Message) {
	switch {
	case m.Bind != nil:
		b := *m.Bind
		s.do(l, func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			bd, err := s.bind(ctx, b)
			if err != nil {
				e := *asError(err)
				e.Bind = b.ID
				_ = l.Control(protocol.Message{Error: &e})
				return
			}
			_ = l.Control(protocol.Message{Bound: &bd})
		})
	case m.Unbind != nil:
		id := m.Unbind.ID
		s.do(l, func() { s.unbind(id) })
	case m.Error != nil:
		s.mu.Lock()
		say := time.Since(s.warned) > warnEvery
		if say {
			s.warned = time.Now()
		}
		s.mu.Unlock()
		if say {
			s.gate.log.Warn("agent complains", "session", s.id, "code", short(string(m.Error.Code)), "message", short(m.Error.Message))
		}
	}
}

// short bounds what a stranger writes into the log.
func short(s string) string {
	if len(s) > maxWarning {
		return s[:maxWarning] + "..."
	}
	return s
}

const (
	// warnEvery is how often the log tells of what one agent complains about, and
	// maxWarning how many bytes of it.
	warnEvery  = time.Minute
	maxWarning = 500
	// maxTodo is how many binds and unbinds of a session may wait: more than an
	// honest agent has.
	maxTodo = 2 * protocol.MaxBinds
)

// do does f after what was asked for before it. An agent that asks for more than
// can be done loses its link.
func (s *session) do(l *link.Link, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.todo) >= maxTodo {
		e := &protocol.Error{Code: protocol.CodeLimit, Message: "Too many binds and unbinds are waiting.", RetryIn: 1000}
		_ = l.Control(protocol.Message{Error: e})
		go func() { _ = l.CloseWith(e) }() // not on the reading goroutine
		return
	}
	s.todo = append(s.todo, f)
	if !s.working {
		s.working = true
		s.gate.spawn(s.work)
	}
}

// work does what waits.
func (s *session) work() {
	for {
		s.mu.Lock()
		if len(s.todo) == 0 {
			s.working = false
			s.mu.Unlock()
			return
		}
		f := s.todo[0]
		s.todo = s.todo[1:]
		s.mu.Unlock()
		f()
	}
}
