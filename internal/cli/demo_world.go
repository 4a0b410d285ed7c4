package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/client/forward"
	"github.com/relaytunnel/relay/server"
)

// demoWorld is what the demo plays with: a server, a receiver and an agent. The
// steps of the story start them.
type demoWorld struct {
	o        worldOptions
	dir      string // the server's data
	receiver *receiver
	failed   chan error // the server's end, when nobody asked for it

	stopServer context.CancelFunc
	running    sync.WaitGroup
	ready      server.Ready
	visitor    *http.Client // a visitor: sends to the server whatever the host

	agentID   string
	stopAgent func() // waits until the agent is gone
	url       string // the public URL
}

type worldOptions struct {
	addr string
	// choose is set when another port may be taken while that of addr is in use.
	choose     bool
	onExchange func(forward.Exchange)
	log        *slog.Logger
}

// demoHold is how long the demo's server holds requests for an agent that was
// just here. A reader of the story waits that long for the 503.
const demoHold = 2 * time.Second

func newDemoWorld(o worldOptions) (*demoWorld, error) {
	r, err := newReceiver()
	if err != nil {
		return nil, err
	}
	w := &demoWorld{
		o: o, receiver: r, failed: make(chan error, 1), agentID: client.NewAgentID(),
		stopServer: func() {}, stopAgent: func() {},
	}
	w.visitor = &http.Client{
		Transport: &http.Transport{DialContext: w.dial, DisableCompression: true},
		// A redirect would be the receiver's answer: it has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w, nil
}

// close ends everything, the agent first, and leaves nothing behind.
func (w *demoWorld) close() {
	w.visitor.CloseIdleConnections()
	w.stopAgent()
	w.receiver.close()
	w.stopServer()
	w.running.Wait()
	if w.dir != "" {
		_ = os.RemoveAll(w.dir)
	}
}

// dial reaches the server, whatever name is asked for: not every resolver knows
// that the names below localhost are this machine.
func (w *demoWorld) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(w.ready.HTTPAddr)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
}

// startServer starts the server and returns when it serves.
func (w *demoWorld) startServer(ctx context.Context) error {
	var err error
	if w.dir, err = tempFolder(); err != nil {
		return err
	}
	ready := make(chan server.Ready, 1)
	cfg := server.Config{
		Domain: "localhost", Plain: true, HTTPAddr: w.o.addr, DataDir: w.dir, FirstUser: "demo",
		HoldFor: demoHold, DrainFor: 500 * time.Millisecond, Log: w.o.log,
		OnReady: func(r server.Ready) { ready <- r },
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	if w.o.choose {
		cfg.HTTPAddr = freeAddr(cfg.HTTPAddr)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stopServer = stop
	w.running.Go(func() {
		if err := server.New(cfg).Run(life); err != nil {
			w.failed <- err
		}
	})
	select {
	case w.ready = <-ready:
		return nil
	case err := <-w.failed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the server did not start: %w", ctx.Err())
	}
}

// freeAddr returns addr, or the same host with any free port when addr is taken.
func freeAddr(addr string) string {
	if ln, err := net.Listen("tcp", addr); err == nil {
		_ = ln.Close()
		return addr
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr // the server says what is wrong with it
	}
	return net.JoinHostPort(host, "0")
}

// startAgent starts an agent for the receiver and returns its public URL when it
// is online.
func (w *demoWorld) startAgent(ctx context.Context) (publicURL string, err error) {
	online := make(chan client.Online, 1)
	onEvent := func(ev client.Event) {
		if on, ok := ev.(client.Online); ok {
			select {
			case online <- on:
			default:
			}
		}
	}
	agent := client.New(client.Options{
		Server: w.ready.URL, Token: w.ready.Token, Agent: w.agentID, Software: software(), Hostname: "demo",
		OnEvent: onEvent, DialContext: w.dial, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }, Log: w.o.log,
	})
	ln := agent.Listen(client.Spec{Hint: hintOf(w.receiver.addr)})
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f := forward.New(forward.Options{Addr: w.receiver.addr, OnExchange: w.o.onExchange, Log: w.o.log})
		defer f.Close()
		failed = serve(life, agent, []*client.Listener{ln}, []*forward.Forwarder{f})
	}()
	w.stopAgent = func() {
		stop()
		<-ended
	}
	select {
	case on := <-online:
		return on.URL, nil
	case <-ended:
		stop()
		return "", fmt.Errorf("the agent ended: %w", failed)
	case <-ctx.Done():
		return "", fmt.Errorf("the agent did not come online: %w", ctx.Err())
	}
}
