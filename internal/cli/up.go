package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/client/forward"
	"github.com/relaytunnel/relay/internal/capture"
)

// upCommand serves what a project file says.
func upCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:  "up",
		Usage: "give public URLs to all apps of a relay.yml",
		Description: "   relay up\n" +
			"   relay up --config deploy/relay.yml\n" +
			"   The file is looked for in this folder and those above it.",
		Flags: slices.Concat(connectFlags(), inspectFlags(), []urfave.Flag{projectFlag()}),
		Action: func(c *urfave.Context) error {
			p, err := projectOf(c)
			if err != nil {
				return err
			}
			return runUp(c, e, p)
		},
	}
}

// checkCommand reads a project file and says what is wrong with it.
func checkCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:  "check",
		Usage: "say whether a relay.yml is right",
		Flags: []urfave.Flag{projectFlag()},
		Action: func(c *urfave.Context) error {
			p, err := projectOf(c)
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(t, "TARGET\tNAME\tINBOX")
			for _, one := range p.endpoints {
				tunnel, err := one.tunnel()
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", tunnel.forward.Addr, orDash(tunnel.spec.Name), orDash(one.flags.String("inbox")))
			}
			if err := t.Flush(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.out, "\n%s is right.\n", p.path)
			return err
		},
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func projectFlag() urfave.Flag {
	return &urfave.PathFlag{Name: "config", Usage: "the `FILE` with the endpoints", DefaultText: "relay.yml, here or above"}
}

// projectOf finds and reads the project file of a command that has no arguments.
func projectOf(c *urfave.Context) (*project, error) {
	if err := noArguments(c); err != nil {
		return nil, err
	}
	path := c.Path("config")
	if path == "" {
		var err error
		if path, err = findProject(); err != nil {
			return nil, err
		}
	}
	return loadProject(path)
}

// tunnel is what the endpoint asks for; mistakes are told with their place.
func (e *projectEndpoint) tunnel() (tunnel, error) {
	t, err := tunnelOf(e.flags, e.target)
	var usage *usageError
	if errors.As(err, &usage) {
		return t, usagef("%s: %s", e.place, asKey(usage.msg))
	}
	return t, err
}

// aFlag is a flag in a message.
var aFlag = regexp.MustCompile(`--[a-z][a-z-]*`)

// asKey writes flags as the keys that they are in a file.
func asKey(msg string) string {
	return aFlag.ReplaceAllStringFunc(msg, func(name string) string {
		return strings.ReplaceAll(strings.TrimPrefix(name, "--"), "-", "_")
	})
}

func runUp(c *urfave.Context, e *env, p *project) error {
	if p.server != "" && !c.IsSet("server") {
		if err := c.Set("server", p.server); err != nil {
			return err
		}
	}
	cred, err := credentials(c)
	if err != nil {
		return err
	}
	var tunnels []tunnel
	for _, one := range p.endpoints {
		t, err := one.tunnel()
		if err != nil {
			return err
		}
		tunnels = append(tunnels, t)
	}
	path, err := filepath.Abs(p.path)
	if err != nil {
		return fmt.Errorf("find %s: %w", p.path, err)
	}
	return runAgent(c, e, cred, client.Spec{Hint: "up:" + path}, tunnels)
}

// runAgent serves tunnels until the context ends, the user leaves or the server refuses.
// who is what the agent is known by when it starts again.
func runAgent(c *urfave.Context, e *env, cred credential, who client.Spec, tunnels []tunnel) error {
	onScreen := e.wantsScreen(c)
	recorder, masks, err := recordingOf(c, slices.ContainsFunc(tunnels, func(t tunnel) bool { return t.inspect }), onScreen)
	if err != nil {
		return err
	}
	inspect, err := inspectionOf(c, recorder, masks)
	if err != nil {
		return err
	}
	defer inspect.close()
	id, err := openIdentity(cred.server, cred.token, who)
	if err != nil {
		return err
	}
	defer id.close()
	a := &agentRun{env: e, cred: cred, id: id, tunnels: tunnels, recorder: recorder, masks: masks, inspect: inspect, verbose: c.Bool("verbose")}
	if onScreen {
		return a.onScreen(c.Context)
	}
	return a.inLines(c.Context, c.Bool("json"))
}

// agentRun is one run of an agent.
type agentRun struct {
	env      *env
	cred     credential
	id       *agentIdentity
	tunnels  []tunnel
	recorder *capture.Recorder // nil when nothing is kept
	masks    *capture.Masks
	inspect  *inspection // nil when there is no page
	verbose  bool
}

// inLines tells what happens in lines.
func (a *agentRun) inLines(ctx context.Context, asJSON bool) error {
	p := newPrinter(a.env.out, asJSON)
	defer p.close()
	told := announcer{tell: p.event}
	w := a.wire(a.env.logger(a.verbose), told.event)
	told.probe = w.agent.Probe
	defer told.close()
	for i, ln := range w.listeners {
		p.serves(ln, a.tunnels[i].forward.Addr)
	}
	w.forward(p.exchange)
	defer w.close()
	if a.inspect != nil {
		if err := a.inspect.start(w); err != nil {
			return err
		}
		defer a.inspect.close() // before the forwards, which it uses
		p.inspecting(a.inspect.url)
	}
	return serve(ctx, w.agent, w.listeners, w.forwards)
}

// wiring is an agent with its listeners and what they lead to.
type wiring struct {
	run       *agentRun
	log       *slog.Logger
	agent     *client.Client
	listeners []*client.Listener
	forwards  []*forward.Forwarder
}

// wire makes the agent and its listeners; forward is to be called next.
func (a *agentRun) wire(log *slog.Logger, onEvent func(client.Event)) *wiring {
	hostname, _ := os.Hostname()
	w := &wiring{run: a, log: log, agent: client.New(client.Options{
		Server: a.cred.server, Token: a.cred.token, Agent: a.id.Agent, Resume: a.id.Resume, SaveResume: a.id.save,
		Software: software(), Hostname: hostname, TLS: a.cred.tls, OnEvent: onEvent, Log: log,
	})}
	for _, t := range a.tunnels {
		w.listeners = append(w.listeners, w.agent.Listen(t.spec))
	}
	return w
}

// forward makes what leads to the apps. onExchange is told of each request; nil tells
// nobody.
func (w *wiring) forward(onExchange func(forward.Exchange)) {
	for _, t := range w.run.tunnels {
		o := t.forward
		o.Log = w.log
		if t.inspect {
			o.OnExchange, o.Recorder = onExchange, w.run.recorder
		}
		w.forwards = append(w.forwards, forward.New(o))
	}
}

func (w *wiring) close() {
	for _, f := range w.forwards {
		f.Close()
	}
}

// serve runs an agent, each listener with its forwarder, until ctx ends or the server
// refuses. It leaves the forwarders open.
func serve(ctx context.Context, agent *client.Client, listeners []*client.Listener, forwards []*forward.Forwarder) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		serving sync.WaitGroup
		failed  = make([]error, len(listeners))
	)
	for i, ln := range listeners {
		serving.Go(func() { failed[i] = forwards[i].Serve(ctx, ln) })
	}
	err := agent.Run(ctx)
	cancel()
	for _, ln := range listeners {
		_ = ln.Close()
	}
	serving.Wait()
	for _, ferr := range failed {
		if err == nil && ferr != nil && !errors.Is(ferr, context.Canceled) {
			err = ferr
		}
	}
	return err
}
