// Package gate faces agents: it admits their links, binds the names they ask
// for, and owns their sessions until they end.
//
// A session is one agent with one to a few links. Everything of a session ends
// with its last link. An agent that comes back shows its resume secret: the
// older session is ended and its names move at once.
package gate

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/link"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/protocol"
	"github.com/relaytunnel/relay/server/registry"
)

// Claimed is a name that an agent may use.
type Claimed struct {
	Name string // the bound name
	Host string // its canonical public host
	URL  string // what the user is told
}

// Options are the gate's joints. All functions are required.
type Options struct {
	// Authenticate finds the user behind a token; an error of kind ErrDenied or
	// ErrLimit refuses.
	Authenticate func(ctx context.Context, token string, from netip.Addr) (relay.User, relay.Token, error)
	// Enter tells whether a user may have one more session beside those that they have
	// (ErrLimit). nil lets everybody.
	Enter func(u relay.User, sessions int) error
	// Claim decides which name a bind gets. live tells whether another agent
	// serves a host just now, and whether this agent may take it.
	Claim func(ctx context.Context, u relay.User, b protocol.Bind, live func(host string) bool) (Claimed, error)
	// SaveResume keeps the hash of a session's resume secret; TakeResume gives
	// the session that it belongs to, once.
	SaveResume func(ctx context.Context, hash []byte, user, agent, session string, expires time.Time) error
	TakeResume func(ctx context.Context, hash []byte, user, agent string) (session string, err error)
	// RemoteAddr gives the agent's address, behind trusted proxies too.
	RemoteAddr func(*http.Request) netip.Addr
	// Registry gets the tunnels.
	Registry *registry.Registry
	// MaxBuffered bounds the bytes that all links hold in memory, in all; 0 means
	// 256 MiB.
	MaxBuffered int64
	Log         *slog.Logger
	// ResumeFor is how long a resume secret is kept; 0 is 10 minutes. That of a
	// live session is good as long as the session lives.
	ResumeFor time.Duration
	// DeadAfter is the silence after which an agent is given up; 0 is the
	// protocol's.
	DeadAfter time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Gate admits agents. Run keeps watch over their links; Drain and Close end
// them.
type Gate struct {
	o      Options
	log    *slog.Logger
	budget *link.Budget

	mu       sync.Mutex
	sessions map[string]*session
	resumes  map[string]*session // live sessions by the hash of their resume secret
	links    map[*link.Link]*session
	draining bool
	closed   bool            // nothing begins any more; see begin
	drain    *protocol.Drain // what every agent is told once; nil before Drain
	wg       sync.WaitGroup  // the watcher of each link
}

// New makes a gate.
func New(o Options) *Gate {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ResumeFor == 0 {
		o.ResumeFor = 10 * time.Minute
	}
	if o.MaxBuffered == 0 {
		o.MaxBuffered = 256 << 20
	}
	if o.DeadAfter == 0 {
		o.DeadAfter = protocol.DeadAfter
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Gate{
		o: o, log: o.Log, budget: link.NewBudget(o.MaxBuffered),
		sessions: map[string]*session{}, resumes: map[string]*session{}, links: map[*link.Link]*session{},
	}
}

// sweepMost is how often silent links are looked for, at least.
const sweepMost = time.Second

// Run ends links whose agent is silent, until ctx ends. One timer serves them all.
func (g *Gate) Run(ctx context.Context) error {
	every := min(sweepMost, g.o.DeadAfter/4)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			for _, l := range g.silent(now.Add(every)) { // before the next look
				go l.Abandon(errors.New("the agent was silent for too long"))
			}
		}
	}
}

func (g *Gate) silent(now time.Time) []*link.Link {
	g.mu.Lock()
	defer g.mu.Unlock()
	var dead []*link.Link
	for l := range g.links {
		if l.Silent(now) > g.o.DeadAfter {
			dead = append(dead, l)
		}
	}
	return dead
}

// ServeHTTP takes an upgrade request of an agent. It returns when the link is up;
// the link lives on without this goroutine.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := g.admit(w, r); err != nil {
		g.refuse(w, r, err)
	}
}

// errAnswered says that the response has been written already.
var errAnswered = errors.New("answered")

func (g *Gate) admit(w http.ResponseWriter, r *http.Request) error {
	// Before anything is bound for it.
	if r.Header.Get("Origin") != "" {
		return &protocol.Error{Code: protocol.CodeDenied, Message: "This address is for agents, and the request comes from a browser."}
	}
	if !hasVersion(r) {
		return &protocol.Error{Code: protocol.CodeVersion, Message: fmt.Sprintf(
			"This server speaks version %d of the protocol (%s), the agent asked for %q. Update the older of the two.",
			protocol.Version, protocol.Subprotocol, r.Header.Get("Sec-Websocket-Protocol"))}
	}
	from := g.o.RemoteAddr(r)
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return &protocol.Error{Code: protocol.CodeAuth, Message: "No token was sent. Run: relay login SERVER --token TOKEN"}
	}
	user, key, err := g.o.Authenticate(r.Context(), token, from)
	if err != nil {
		return err
	}
	var hello protocol.Hello
	if err := protocol.Decode(r.Header.Get(protocol.HelloHeader), &hello); err != nil {
		return &protocol.Error{Code: protocol.CodeBadRequest, Message: fmt.Sprintf("The header %s could not be read: %v.", protocol.HelloHeader, err)}
	}
	if hello.Join != nil {
		return g.join(w, r, user, hello)
	}
	return g.open(w, r, user, key, hello, from)
}

func hasVersion(r *http.Request) bool {
	for _, v := range r.Header["Sec-Websocket-Protocol"] {
		for _, p := range strings.Split(v, ",") {
			if strings.TrimSpace(p) == protocol.Subprotocol {
				return true
			}
		}
	}
	return false
}

// open begins a session: bind first, then upgrade, so that the 101 says all.
func (g *Gate) open(w http.ResponseWriter, r *http.Request, user relay.User, key relay.Token, hello protocol.Hello, from netip.Addr) error {
	if hello.Agent == "" || len(hello.Agent) > 64 || len(hello.Binds) > protocol.MaxBinds || len(hello.Hostname) > 255 {
		return &protocol.Error{Code: protocol.CodeBadRequest, Message: "The Hello has no agent id, or too many binds."}
	}
	s := &session{
		gate: g, user: user, token: key.ID, agent: hello.Agent, where: where(hello, from), since: time.Now(),
		id: "ses_" + secret(12), join: secret(32), gone: make(chan struct{}), binds: map[uint32]*bound{},
	}
	if hello.Resume != "" {
		old, err := g.takeResume(r.Context(), hash(hello.Resume), user.ID, hello.Agent)
		if err != nil {
			return fmt.Errorf("resume: %w", err)
		}
		s.resumes = old
	}
	if err := g.enter(s); err != nil {
		return err
	}
	welcome := protocol.Welcome{Session: s.id, User: user.Name, Join: s.join, Resume: secret(32)}
	for _, b := range hello.Binds {
		bd, err := s.bind(r.Context(), b)
		if err != nil {
			s.end("")
			return err
		}
		welcome.Tunnels = append(welcome.Tunnels, bd)
	}
	resume := hash(welcome.Resume)
	if err := g.o.SaveResume(r.Context(), resume, user.ID, s.agent, s.id, g.o.Now().Add(g.o.ResumeFor)); err != nil {
		s.end("")
		return fmt.Errorf("save resume secret: %w", err)
	}
	g.mu.Lock()
	if g.sessions[s.id] == s { // else the gate has closed
		s.resume = string(resume)
		g.resumes[s.resume] = s
	}
	g.mu.Unlock()
	if err := g.upgrade(w, r, s, welcome); err != nil {
		s.end("")
		return err
	}
	if s.resumes != "" {
		g.endSession(s.resumes, "this agent connected again")
	}
	g.log.Info("agent connected", "user", user.Name, "session", s.id, "from", from, "host", hello.Hostname, "software", hello.Software, "tunnels", len(hello.Binds))
	return nil
}

// takeResume gives the session that a resume secret belongs to, once; none for a
// secret that is too old, used, or another's, which makes an ordinary Hello.
func (g *Gate) takeResume(ctx context.Context, hash []byte, user, agent string) (session string, err error) {
	session, err = g.o.TakeResume(ctx, hash, user, agent)
	if err != nil && !errors.Is(err, relay.ErrNotFound) {
		return "", err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.resumes[string(hash)]
	if s == nil {
		return session, nil
	}
	delete(g.resumes, string(hash))
	// What is kept may have expired while the session lived on.
	if s.user.ID != user || s.agent != agent {
		return "", nil
	}
	return s.id, nil
}

// join adds a link to a live session.
func (g *Gate) join(w http.ResponseWriter, r *http.Request, user relay.User, hello protocol.Hello) error {
	g.mu.Lock()
	s := g.sessions[hello.Join.Session]
	g.mu.Unlock()
	if s == nil || s.user.ID != user.ID || subtle.ConstantTimeCompare([]byte(s.join), []byte(hello.Join.Secret)) != 1 {
		return &protocol.Error{Code: protocol.CodeDenied, Message: "There is no such session to join."}
	}
	if !s.mayJoin() {
		return &protocol.Error{Code: protocol.CodeLimit, Message: fmt.Sprintf("A session has %d links at most.", protocol.MaxLinks)}
	}
	defer s.joined()
	return g.upgrade(w, r, s, protocol.Welcome{Session: s.id, User: user.Name})
}

func (g *Gate) upgrade(w http.ResponseWriter, r *http.Request, s *session, welcome protocol.Welcome) error {
	enc, err := protocol.Encode(welcome)
	if err != nil {
		return err
	}
	l, err := link.Accept(w, r, http.Header{protocol.WelcomeHeader: {enc}}, link.Options{
		Control: s.control, Budget: g.budget, Log: g.log,
	})
	if err != nil {
		g.log.Debug("upgrade failed", "err", err)
		return errAnswered
	}
	return s.addLink(l)
}

// enter registers a session, unless the gate is closing.
func (g *Gate) enter(s *session) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		return &protocol.Error{Code: protocol.CodeInternal, Message: "The server is stopping. Try again in a moment.", RetryIn: 1000}
	}
	if g.o.Enter != nil {
		n := 0
		for _, other := range g.sessions {
			if other.user.ID == s.user.ID && other.id != s.resumes {
				n++
			}
		}
		if err := g.o.Enter(s.user, n); err != nil {
			return err
		}
	}
	g.sessions[s.id] = s
	return nil
}

func (g *Gate) endSession(id, why string) {
	g.mu.Lock()
	s := g.sessions[id]
	g.mu.Unlock()
	if s != nil {
		s.end(why)
	}
}

// Sessions is the number of live sessions.
func (g *Gate) Sessions() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sessions)
}

// Drain admits nobody any more and asks all agents to connect again soon.
func (g *Gate) Drain(why string) {
	drain := &protocol.Drain{Reason: why, RetryIn: 500}
	g.mu.Lock()
	g.draining, g.drain = true, drain
	all := make([]*link.Link, 0, len(g.links))
	for l := range g.links {
		all = append(all, l)
	}
	g.mu.Unlock()
	for _, l := range all {
		_ = l.Control(protocol.Message{Drain: drain})
	}
}

// Close ends all sessions and waits for their goroutines.
func (g *Gate) Close() {
	g.mu.Lock()
	g.draining = true
	all := make([]*session, 0, len(g.sessions))
	for _, s := range g.sessions {
		all = append(all, s)
	}
	g.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() { s.end("") }) // each may take a moment for its goodbye
	}
	wg.Wait()
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wg.Wait()
}

// begin counts a goroutine that Close waits for, until wg.Done. It is false when Close
// has ended everything: requests that have become links may still be on their way.
func (g *Gate) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.wg.Add(1)
	return true
}

// spawn does f in a goroutine that Close waits for; not after Close, which has ended
// all that f could be about.
func (g *Gate) spawn(f func()) {
	if g.begin() {
		go func() {
			defer g.wg.Done()
			f()
		}()
	}
}

func where(h protocol.Hello, from netip.Addr) string {
	if h.Hostname == "" {
		return from.String()
	}
	return h.Hostname + " (" + from.String() + ")"
}

func secret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func hash(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}
