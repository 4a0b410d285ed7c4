// Package relaytest runs a relay server and its agents in the process of a test:
// on port 0, with a store in a temporary folder, over true connections. What a
// test starts here ends with it.
//
//	w := relaytest.Start(t)
//	a := w.Agent(t, client.Options{}, client.Spec{Name: "api"}, handler)
//	status, body := w.Get(t, a.URL())
package relaytest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/server"
	"github.com/relaytunnel/relay/server/auth"
	"github.com/relaytunnel/relay/server/store"
)

// patience is how long a step may take before a test calls it a hang.
const patience = 15 * time.Second

// Options change the server of a World. The zero value works.
type Options struct {
	// Users are the names of the users; the first is the first user. None means
	// alice.
	Users []string
	// TLS is a server that does HTTPS, with a wildcard certificate of this authority.
	TLS *Authority
	// Config changes the configuration before the server is made.
	Config func(*server.Config)
	Log    *slog.Logger
}

// World is a server with its users.
type World struct {
	// URL is the control host's address, Addr where the server listens, Plain where
	// it leads to HTTPS.
	URL, Addr, Plain string

	config server.Config
	tls    *tls.Config // trusts the server
	tokens map[string]string
	first  string

	stop    context.CancelFunc
	stopped chan error
}

// Start runs a server until the test ends.
func Start(t testing.TB, o Options) *World {
	t.Helper()
	if len(o.Users) == 0 {
		o.Users = []string{"alice"}
	}
	w := &World{tokens: map[string]string{}, first: o.Users[0]}
	w.config = server.Config{
		Domain: "relay.localhost", Plain: true, HTTPAddr: "127.0.0.1:0", DataDir: t.TempDir(), FirstUser: w.first,
		DrainFor: time.Second, Log: o.Log,
	}
	if o.TLS != nil {
		cert, key := o.TLS.Issue(t, w.config.Domain, "*."+w.config.Domain)
		w.config.Plain, w.config.HTTPSAddr, w.config.HTTP3 = false, "127.0.0.1:0", true
		w.config.CertFiles, w.config.KeyFiles = []string{cert}, []string{key}
		w.tls = &tls.Config{RootCAs: o.TLS.Roots, MinVersion: tls.VersionTLS12}
	}
	if o.Config != nil {
		o.Config(&w.config)
	}
	w.users(t, o.Users)
	w.Restart(t)
	t.Cleanup(func() { w.Stop(t) })
	return w
}

// users fills the store before the server opens it.
func (w *World) users(t testing.TB, names []string) {
	t.Helper()
	ctx := context.Background()
	st, err := store.Open(ctx, w.config.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	for i, name := range names {
		if i == 0 {
			_, token, _, err := auth.New(auth.Options{Store: st}).FirstUser(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			w.tokens[name] = token
			continue
		}
		u, err := st.AddUser(ctx, name, false)
		if err != nil {
			t.Fatal(err)
		}
		plain, hash, prefix := auth.NewToken()
		if _, err := st.AddToken(ctx, u.ID, "test", hash, prefix, time.Time{}); err != nil {
			t.Fatal(err)
		}
		w.tokens[name] = plain
	}
}

// Token is a token of the user.
func (w *World) Token(user string) string { return w.tokens[user] }

// Restart runs the server again, at the same address, after Stop.
func (w *World) Restart(t testing.TB) {
	t.Helper()
	c := w.config
	ready := make(chan server.Ready, 1)
	c.OnReady = func(r server.Ready) { ready <- r }
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- server.New(c).Run(ctx) }()
	select {
	case r := <-ready:
		w.Addr, w.URL = r.HTTPAddr, r.URL
		w.config.HTTPAddr = r.HTTPAddr
		if r.HTTPSAddr != "" {
			w.Addr, w.Plain = r.HTTPSAddr, r.HTTPAddr
			w.config.HTTPSAddr = r.HTTPSAddr
		}
	case err := <-stopped:
		stop()
		t.Fatalf("the server does not start: %v", err)
	case <-time.After(patience):
		stop()
		t.Fatal("the server does not start")
	}
	w.stop, w.stopped = stop, stopped
}

// Stop ends the server as a signal does.
func (w *World) Stop(t testing.TB) {
	t.Helper()
	if w.stop == nil {
		return
	}
	w.stop()
	w.stop = nil
	select {
	case err := <-w.stopped:
		if err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	case <-time.After(patience):
		t.Error("the server does not stop")
	}
}

// Agent is a client with one listener, and what happened to it.
type Agent struct {
	*client.Listener

	cancel context.CancelFunc
	ended  chan struct{}
	err    error

	mu     sync.Mutex
	events []client.Event
	news   chan struct{} // closed and made anew with each event
}

// Agent runs an agent that serves h until the test ends, or Stop. What o leaves
// empty is filled in; the token is the first user's.
func (w *World) Agent(t testing.TB, o client.Options, s client.Spec, h http.Handler) *Agent {
	t.Helper()
	if o.Server == "" {
		o.Server = w.URL
	}
	if o.TLS == nil {
		o.TLS = w.tls
	}
	if o.Token == "" {
		o.Token = w.tokens[w.first]
	}
	a := &Agent{ended: make(chan struct{}), news: make(chan struct{})}
	tell := o.OnEvent
	o.OnEvent = func(e client.Event) {
		a.mu.Lock()
		a.events = append(a.events, e)
		close(a.news)
		a.news = make(chan struct{})
		a.mu.Unlock()
		if tell != nil {
			tell(e)
		}
	}
	c := client.New(o)
	a.Listener = c.Listen(s)
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), ReadHeaderTimeout: patience}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(a.Listener) }()
	go func() {
		defer close(a.ended)
		a.err = c.Run(ctx)
		_ = srv.Close()
		<-served
	}()
	t.Cleanup(func() { _ = a.Stop(t) })
	return a
}

// Stop ends the agent and returns what Run returned.
func (a *Agent) Stop(t testing.TB) error {
	t.Helper()
	a.cancel()
	return a.Wait(t)
}

// Wait waits for the agent to end by itself and returns what Run returned.
func (a *Agent) Wait(t testing.TB) error {
	t.Helper()
	select {
	case <-a.ended:
		return a.err
	case <-time.After(patience):
		t.Error("the agent does not end")
		return errors.New("still running")
	}
}

// Events are the events so far.
func (a *Agent) Events() []client.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]client.Event(nil), a.events...)
}

// Await waits until the n-th event (from 1) for which ok is true, and returns it.
// It fails when the agent ends before.
func (a *Agent) Await(t testing.TB, n int, ok func(client.Event) bool) client.Event {
	t.Helper()
	late := time.After(patience)
	for {
		a.mu.Lock()
		found := 0
		for _, e := range a.events {
			if ok(e) {
				if found++; found == n {
					a.mu.Unlock()
					return e
				}
			}
		}
		news := a.news
		a.mu.Unlock()
		select {
		case <-news:
		case <-a.ended:
			t.Fatalf("the agent ended: %v; events: %+v", a.err, a.Events())
		case <-late:
			t.Fatalf("it did not happen %d times; events: %+v", n, a.Events())
		}
	}
}

// Online waits until the agent is online for the n-th time.
func (a *Agent) Online(t testing.TB, n int) client.Online {
	t.Helper()
	return a.Await(t, n, func(e client.Event) bool { _, ok := e.(client.Online); return ok }).(client.Online)
}

// Offline waits until the agent is offline for the n-th time.
func (a *Agent) Offline(t testing.TB, n int) client.Offline {
	t.Helper()
	return a.Await(t, n, func(e client.Event) bool { _, ok := e.(client.Offline); return ok }).(client.Offline)
}

// Client is a visitor's: it connects to the server whatever host the URL names.
func (w *World) Client(t testing.TB) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.Addr)
		},
		MaxIdleConnsPerHost: 256,
		TLSClientConfig:     w.tls.Clone(), // the transport changes it
		ForceAttemptHTTP2:   w.tls != nil,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// Get visits a URL, on a connection of its own.
func (w *World) Get(t testing.TB, address string) (status int, body string) {
	t.Helper()
	if _, err := url.Parse(address); err != nil {
		t.Fatal(err)
	}
	c := w.Client(t)
	defer c.CloseIdleConnections()
	res, err := c.Get(address) //nolint:noctx // the client has a timeout
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}
