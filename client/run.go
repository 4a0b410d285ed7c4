package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/relaytunnel/relay/internal/backoff"
	"github.com/relaytunnel/relay/internal/link"
	"github.com/relaytunnel/relay/protocol"
)

// UnreachableError says that the server could not be reached at all.
type UnreachableError struct {
	Server string
	Err    error
}

// Error makes UnreachableError an error.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot reach %s: %v. Is the server running, and is the address right?", e.Server, e.Err)
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

const (
	retryMin = 200 * time.Millisecond
	retryMax = 15 * time.Second
	// steadyAfter is how long a connection must have lived for the waits to
	// begin anew.
	steadyAfter = 30 * time.Second
	// ownShadow is how long, in DeadAfters, a name that this agent has had may be
	// taken by a session of its own that the server has not given up yet.
	ownShadow = 2
)

// Run connects and stays connected until ctx ends; then it returns nil. A server
// that is lost is sought for ever: at once, then with growing, jittered waits.
// Run returns an error when the first try does not reach the server
// (*UnreachableError), or when the server refuses for a reason that trying again
// does not mend (*protocol.Error).
func (c *Client) Run(ctx context.Context) error {
	wait := backoff.Backoff{Min: retryMin, Max: retryMax}
	var lost time.Time // when the agent was last online; zero before the first time
	for {
		began := time.Now()
		online, err := c.once(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is how Run ends well
		}
		if online {
			lost = time.Now()
		}
		var refused *protocol.Error
		if errors.As(err, &refused) && !refused.Retry() {
			shadow := !online && refused.Code == protocol.CodeTaken && time.Since(lost) < ownShadow*c.o.DeadAfter
			if !shadow {
				return refused
			}
		}
		if lost.IsZero() {
			var stranger *strangerError
			if errors.As(err, &stranger) {
				return stranger.refusal()
			}
			return err
		}
		var pause time.Duration
		if online {
			if time.Since(began) > steadyAfter {
				wait.Reset()
			} else {
				pause = wait.Next()
			}
		} else {
			pause = wait.Next()
		}
		if refused != nil {
			pause = max(pause, time.Duration(refused.RetryIn)*time.Millisecond)
		}
		c.o.OnEvent(Offline{Reason: err.Error(), RetryIn: pause})
		if pause > 0 {
			t := time.NewTimer(pause)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return nil
			}
		}
	}
}

// strangerError says that something else than a relay server answered. Where a
// relay server has answered before, it is something on the way that will go again.
type strangerError struct{ why string }

func (e *strangerError) Error() string { return e.why }

func (e *strangerError) refusal() error {
	return &protocol.Error{Code: protocol.CodeProtocol, Message: e.why}
}

// session is one connection to the server, of one or more links.
type session struct {
	c       *Client
	welcome protocol.Welcome
	first   *link.Link
	bulk    chan struct{} // a stream began to move much
	drain   chan protocol.Drain
	ended   chan error // a reason from the server

	wg     sync.WaitGroup
	mu     sync.Mutex
	extra  []*link.Link
	closed bool // takes no further links
}

// once connects, serves until the link is lost, and cleans up. online tells
// whether the server had accepted the agent; err is never nil.
func (c *Client) once(ctx context.Context) (online bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{c: c, bulk: make(chan struct{}, 1), drain: make(chan protocol.Drain, 1), ended: make(chan error, 1)}
	c.mu.Lock()
	resume := c.resume
	c.mu.Unlock()
	hello := protocol.Hello{
		Agent: c.o.Agent, Software: c.o.Software, Hostname: c.o.Hostname, Resume: resume, Binds: c.binds(),
	}
	l, err := s.dial(ctx, hello, &s.welcome)
	if err != nil {
		return false, err
	}
	s.first = l
	c.setLive(l)
	defer c.setLive(nil)
	defer s.wg.Wait()
	defer cancel() // before that: a further link may be dialed
	defer s.closeAll()
	if s.welcome.Resume != "" {
		c.mu.Lock()
		c.resume = s.welcome.Resume
		c.mu.Unlock()
		if c.o.SaveResume != nil {
			c.o.SaveResume(s.welcome.Resume)
		}
	}
	s.wg.Go(func() { s.accept(l) })
	c.bound(s.welcome.Tunnels)
	return true, s.watch(ctx)
}

func (c *Client) setLive(l *link.Link) {
	c.mu.Lock()
	c.live = l
	c.mu.Unlock()
}

// watch keeps the session alive and gives it more links while streams move much.
func (s *session) watch(ctx context.Context) error {
	tick := min(time.Second, s.c.o.PingEvery/5)
	pingEvery := s.c.o.PingEvery - tick
	t := time.NewTicker(tick)
	defer t.Stop()
	var pinged time.Time
	var widened chan struct{} // while a further link is dialed: closed when that is over
	var draining string
	for {
		bulk := s.bulk
		if widened != nil {
			bulk = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.ended:
			return err
		case <-s.first.Done():
			select {
			case err := <-s.ended:
				return err
			case d := <-s.drain:
				return fmt.Errorf("the server ended the connection: %s", d.Reason)
			default:
			}
			if draining != "" {
				return fmt.Errorf("the server ended the connection: %s", draining)
			}
			return s.first.Err()
		case d := <-s.drain:
			draining = d.Reason
			s.c.o.OnEvent(Draining{Reason: d.Reason})
		case <-bulk:
			done := make(chan struct{})
			widened = done
			s.wg.Go(func() { defer close(done); s.widen(ctx) }) // the links want to be watched meanwhile
		case <-widened:
			widened = nil
		case now := <-t.C:
			now = now.Round(0) // by the wall clock: a sleeping machine's other clock sleeps too
			ping := now.Sub(pinged) >= pingEvery
			for _, l := range s.links() {
				if l.Silent(now)+tick > s.c.o.DeadAfter { // before the next look
					l.Abandon(fmt.Errorf("the server was silent for %v", s.c.o.DeadAfter))
				} else if ping && (l.Silent(now) >= pingEvery || l.Quiet(now) >= pingEvery) {
					l.Ping()
					pinged = now
				}
			}
			s.narrow()
		}
	}
}

func (s *session) links() []*link.Link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*link.Link{s.first}, s.extra...)
}

// widen opens one more link when every link has a stream that moves much.
func (s *session) widen(ctx context.Context) {
	all := s.links()
	if len(all) >= s.c.o.MaxLinks {
		return
	}
	for _, l := range all {
		if l.Bulk() == 0 {
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var w protocol.Welcome
	l, err := s.dial(ctx, protocol.Hello{
		Agent: s.c.o.Agent, Join: &protocol.Join{Session: s.welcome.Session, Secret: s.welcome.Join},
	}, &w)
	if err != nil {
		s.c.log.Debug("no further link", "err", err)
		return
	}
	s.mu.Lock()
	late := s.closed
	if !late {
		s.extra = append(s.extra, l)
	}
	s.mu.Unlock()
	if late {
		_ = l.Close()
		return
	}
	s.wg.Go(func() { s.accept(l) })
}

// narrow closes further links that carry nothing any more.
func (s *session) narrow() {
	s.mu.Lock()
	var rest, idle []*link.Link
	for _, l := range s.extra {
		switch {
		case l.Ended():
		case l.Streams() == 0 && l.Age() > time.Minute:
			idle = append(idle, l)
		default:
			rest = append(rest, l)
		}
	}
	s.extra = rest
	s.mu.Unlock()
	for _, l := range idle {
		_ = l.Close()
	}
}

func (s *session) closeAll() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, l := range s.links() {
		wg.Go(func() { _ = l.Close() })
	}
	wg.Wait()
}

// accept hands the streams of a link to their listeners.
func (s *session) accept(l *link.Link) {
	for {
		st, err := l.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() {
			if err := s.deliver(l, st); err != nil {
				s.c.log.Debug("stream refused", "err", err)
				st.Reset()
			}
		})
	}
}

func (s *session) deliver(l *link.Link, st *link.Stream) error {
	p, err := protocol.ReadPreface(st)
	if err != nil {
		return err
	}
	ln := s.c.listener(p.Tunnel)
	if ln == nil {
		return errNoListener
	}
	select {
	case ln.conns <- st:
		return nil
	case <-ln.closed:
		return errNoListener
	case <-l.Done():
		return l.Err()
	}
}

func (s *session) control(l *link.Link, m protocol.Message) {
	switch {
	case m.Drain != nil:
		select {
		case s.drain <- *m.Drain:
		default:
		}
	case m.Error != nil:
		select {
		case s.ended <- m.Error:
		default:
		}
	}
}

// dial opens a link with a Hello and reads the Welcome.
func (s *session) dial(ctx context.Context, hello protocol.Hello, w *protocol.Welcome) (*link.Link, error) {
	c := s.c
	u, err := linkURL(c.o.Server)
	if err != nil {
		return nil, err
	}
	enc, err := protocol.Encode(hello)
	if err != nil {
		return nil, err
	}
	l, h, err := link.Dial(ctx, link.DialOptions{
		URL:         u,
		Header:      http.Header{"Authorization": {"Bearer " + c.o.Token}, protocol.HelloHeader: {enc}, "User-Agent": {c.o.Software}},
		DialContext: c.o.DialContext,
		Proxy:       c.o.Proxy,
		TLS:         c.o.TLS,
	}, link.Options{Control: s.control, Bulk: s.onBulk, Log: c.log})
	if err != nil {
		var refusal *link.Refusal
		if errors.As(err, &refusal) {
			return nil, refused(c.o.Server, refusal)
		}
		return nil, &UnreachableError{Server: c.o.Server, Err: Plainly(err)}
	}
	if err := protocol.Decode(h.Get(protocol.WelcomeHeader), w); err != nil {
		_ = l.Close()
		return nil, &protocol.Error{Code: protocol.CodeProtocol, Message: fmt.Sprintf("%s is not a relay server, or a broken one: its welcome is %v.", c.o.Server, err)}
	}
	return l, nil
}

func (s *session) onBulk(*link.Link) {
	select {
	case s.bulk <- struct{}{}:
	default:
	}
}

// refused reads why the server did not upgrade.
func refused(server string, r *link.Refusal) error {
	var e protocol.Error
	if err := json.Unmarshal(r.Body, &e); err == nil && e.Code != "" && e.Message != "" {
		return &e
	}
	if r.Status >= 500 || r.Status == http.StatusTooManyRequests {
		return &UnreachableError{Server: server, Err: fmt.Errorf("it answered %d %s", r.Status, http.StatusText(r.Status))}
	}
	return &strangerError{fmt.Sprintf(
		"%s answered %d %s: it does not look like a relay server. Check the address.", server, r.Status, http.StatusText(r.Status))}
}

// plainError says in plain words what err is.
type plainError struct {
	says string
	err  error
}

func (e *plainError) Error() string { return e.says }
func (e *plainError) Unwrap() error { return e.err }

// Plainly takes the wrapping from network errors.
func Plainly(err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return &plainError{fmt.Sprintf("the name %s is not known", dns.Name), err}
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return &plainError{"the connection was refused", err}
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// linkURL makes the address of the link path from the server's address.
func linkURL(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("the server address %q is not a URL like https://relay.example.com", server)
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return "", fmt.Errorf("the server address %q must begin with https:// or http://", server)
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + protocol.LinkPath
	u.RawQuery, u.Fragment = "", ""
	return u.String(), nil
}

// DialContext is net.Dialer's, except that localhost and the names below it go
// to the loopback address (RFC 6761): many resolvers do not know the latter.
func DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	host, port, err := net.SplitHostPort(addr)
	if err == nil && (host == "localhost" || strings.HasSuffix(host, ".localhost")) {
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			return c, nil
		}
		if c, err6 := d.DialContext(ctx, "tcp", net.JoinHostPort("::1", port)); err6 == nil {
			return c, nil
		}
		return nil, err
	}
	return d.DialContext(ctx, network, addr)
}
