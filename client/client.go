// Package client is the agent as a library: it connects to a relay server and
// gives a net.Listener for each public name. A listener outlives reconnects;
// what it accepts are the visitors' connections.
//
//	c := client.New(client.Options{Server: "https://relay.example.com", Token: token})
//	ln := c.Listen(client.Spec{Name: "api"})
//	go http.Serve(ln, handler)
//	err := c.Run(ctx)
//
// The streams of an HTTP tunnel are kept-alive HTTP/1.1 connections that carry
// the requests of one visitor after another.
package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/link"
	"github.com/relaytunnel/relay/protocol"
)

// Options say which server to connect to, and as whom.
type Options struct {
	// Server is the address of the server: http or https, host, port.
	Server string
	// Token is the user's token.
	Token string
	// Agent is an id that stays the same when the same agent starts again; empty
	// makes a random one.
	Agent string
	// Resume is the resume secret of an earlier run of the same agent, if there
	// is one. SaveResume is given each new one to keep.
	Resume     string
	SaveResume func(secret string)
	// Software and Hostname are shown to the user and in the server's log.
	Software, Hostname string
	// OnEvent is told what happens, in order; it must not block.
	OnEvent func(Event)
	// MaxLinks is how many links the agent opens when streams move much; 0
	// means as many as the protocol allows.
	MaxLinks int
	// DialContext opens TCP connections; nil uses net.Dialer, with localhost
	// names going to the loopback address.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Proxy picks a proxy for reaching the server; nil takes it from the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// TLS is the configuration for a server at an https address; nil is Go's.
	TLS *tls.Config
	Log *slog.Logger
	// DeadAfter is the silence after which the server is given up, PingEvery how
	// long a link may be quiet before a ping is sent; 0 means the protocol's.
	DeadAfter, PingEvery time.Duration
}

// Spec is a public name to listen on.
type Spec struct {
	// Name is the wanted name; empty for the user's default.
	Name string
	// Hint says what is served ("http:8080"): the same hint gets the same
	// default name again.
	Hint string
	// Takeover ends another agent of the same user that has the name.
	Takeover bool
	// HostHeader replaces the Host in the requests; empty leaves the public host.
	HostHeader string
	// Settings and Secrets, JSON objects, change how the name works on the server; see
	// the API's endpoints. Empty changes nothing.
	Settings, Secrets json.RawMessage
}

// Event is something that happened to a client: one of Online, Offline and
// Ended.
type Event interface{ event() }

// Online says that the tunnel of a listener is live.
type Online struct {
	Name, URL string
	Listener  *Listener
}

// Offline says that the server was lost, or could not be reached again. The
// next try comes after RetryIn.
type Offline struct {
	Reason  string
	RetryIn time.Duration
}

// Draining says that the server is about to stop.
type Draining struct{ Reason string }

func (Online) event()   {}
func (Offline) event()  {}
func (Draining) event() {}

// Client is one agent. Run connects it.
type Client struct {
	o   Options
	log *slog.Logger

	mu        sync.Mutex
	listeners map[uint32]*Listener
	nextID    uint32
	resume    string
	live      *link.Link // of the session, if there is one
}

// New makes a client. It does nothing until Run.
func New(o Options) *Client {
	if o.Agent == "" {
		o.Agent = NewAgentID()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	if o.MaxLinks == 0 || o.MaxLinks > protocol.MaxLinks {
		o.MaxLinks = protocol.MaxLinks
	}
	if o.DialContext == nil {
		o.DialContext = DialContext
	}
	if o.DeadAfter == 0 {
		o.DeadAfter = protocol.DeadAfter
	}
	if o.PingEvery == 0 {
		o.PingEvery = protocol.PingInterval
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	return &Client{o: o, log: o.Log, listeners: map[uint32]*Listener{}, resume: o.Resume}
}

// NewAgentID makes a random id for an agent.
func NewAgentID() string {
	var b [12]byte
	_, _ = rand.Read(b[:])
	return "agt_" + base64.RawURLEncoding.EncodeToString(b[:])
}

// Listen returns a listener for a public name. It is called before Run.
func (c *Client) Listen(s Spec) *Listener {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextID++
	ln := &Listener{client: c, id: c.nextID, spec: s, conns: make(chan net.Conn), closed: make(chan struct{})}
	c.listeners[ln.id] = ln
	return ln
}

func (c *Client) binds() []protocol.Bind {
	c.mu.Lock()
	defer c.mu.Unlock()
	var bs []protocol.Bind
	for id := uint32(1); id <= c.nextID; id++ {
		if ln := c.listeners[id]; ln != nil {
			bs = append(bs, protocol.Bind{
				ID: id, Kind: protocol.KindHTTP, Name: ln.wanted(), Hint: ln.spec.Hint,
				Takeover: ln.spec.Takeover, HostHeader: ln.spec.HostHeader,
				Settings: ln.spec.Settings, Secrets: ln.spec.Secrets,
			})
		}
	}
	return bs
}

func (c *Client) listener(id uint32) *Listener {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listeners[id]
}

// bound notes what the server answered to the binds. A name that was given once
// is asked for by name from then on: a reconnect must not change the URL.
func (c *Client) bound(bs []protocol.Bound) {
	for _, b := range bs {
		ln := c.listener(b.ID)
		if ln == nil { // closed meanwhile
			c.mu.Lock()
			live := c.live
			c.mu.Unlock()
			if live != nil {
				_ = live.Control(protocol.Message{Unbind: &protocol.Unbind{ID: b.ID}})
			}
			continue
		}
		ln.mu.Lock()
		ln.name, ln.url = b.Name, b.URL
		ln.mu.Unlock()
		c.o.OnEvent(Online{Name: b.Name, URL: b.URL, Listener: ln})
	}
}

// errNotConnected is the error of what needs a server while there is none.
var errNotConnected = errors.New("not connected")

// Ping asks the server for a sign of life, on the link that is live, and returns how
// long that took. A ping can get lost: ctx wants a bound.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	c.mu.Lock()
	live := c.live
	c.mu.Unlock()
	if live == nil {
		return 0, errNotConnected
	}
	return live.RoundTrip(ctx)
}

// Listener accepts the visitors' connections of one public name.
type Listener struct {
	client *Client
	id     uint32
	spec   Spec
	conns  chan net.Conn

	closeOnce sync.Once
	closed    chan struct{}

	mu        sync.Mutex
	name, url string
}

// Accept waits for the next connection. It returns net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener and its tunnel. Connections that were accepted stay, as
// those of other listeners do.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() {
		l.client.mu.Lock()
		delete(l.client.listeners, l.id)
		live := l.client.live
		l.client.mu.Unlock()
		close(l.closed)
		if live != nil {
			// A link that has ended takes its tunnels with it.
			_ = live.Control(protocol.Message{Unbind: &protocol.Unbind{ID: l.id}})
		}
	})
	return nil
}

// wanted is the name to ask for.
func (l *Listener) wanted() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.name != "" {
		return l.name
	}
	return l.spec.Name
}

// Addr is the public URL, once the listener has one.
func (l *Listener) Addr() net.Addr { return publicAddr(l.URL()) }

// URL is the public URL; empty before the client was connected.
func (l *Listener) URL() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.url
}

type publicAddr string

func (publicAddr) Network() string  { return "relay" }
func (a publicAddr) String() string { return string(a) }

var errNoListener = errors.New("no listener for this tunnel")
