package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/lmittmann/tint"
	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/client/tui"
	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
)

// wantsScreen tells whether a command shows a screen: to somebody who sits at a
// terminal and did not ask for lines.
func (e *env) wantsScreen(c *urfave.Context) bool {
	ci := os.Getenv("CI")
	term := os.Getenv("TERM")
	return !c.Bool("log") && !c.Bool("json") && (ci == "" || ci == "false") && term != "" && term != "dumb" &&
		isTerminal(e.in) && isTerminal(e.out)
}

// onScreen shows what happens on a screen, from the moment when the agent is connected.
// What is to stay is printed after it.
func (a *agentRun) onScreen(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var w *wiring
	o := tui.Options{
		In: a.env.in, Out: a.env.out, NoColor: noColor(), Recorder: a.recorder, Masks: a.masks, Open: openBrowser,
		Ping:    func(ctx context.Context) (d time.Duration, err error) { return w.agent.Ping(ctx) },
		Backlog: a.backlog,
		Replay: func(ctx context.Context, x *capture.Exchange) (string, error) {
			again, err := inspector.Again(x)
			if err != nil {
				return "", err
			}
			return w.source().Replay(ctx, again)
		},
	}
	if a.inspect != nil {
		o.Inspector = a.inspect.url
	}
	screen := tui.New(o)
	notes := &notebook{tell: screen.Note}
	told := announcer{tell: func(ev client.Event) {
		switch ev := ev.(type) {
		case client.Online:
			screen.Works(ev, "")
		case unreachable:
			screen.Works(ev.Online, ev.why)
		}
	}}
	w = a.wire(notes.logger(a.verbose), func(ev client.Event) {
		screen.Event(ev)
		told.event(ev)
	})
	told.probe = w.agent.Probe
	defer told.close()
	for i, ln := range w.listeners {
		screen.Serves(ln, a.tunnels[i].forward.Addr)
	}
	w.forward(nil)
	defer w.close()
	if a.inspect != nil {
		if err := a.inspect.start(w); err != nil {
			return err
		}
		defer a.inspect.close() // before the forwards, which it uses
	}
	return a.besides(ctx, cancel, screen, notes, func(ctx context.Context) error {
		return serve(ctx, w.agent, w.listeners, w.forwards)
	})
}

// besides runs the screen and what it shows; the end of one is that of the other.
func (a *agentRun) besides(ctx context.Context, cancel context.CancelCauseFunc, screen *tui.Screen, notes *notebook, serve func(context.Context) error) error {
	var (
		showing sync.WaitGroup
		end     tui.End
		failed  error
	)
	showing.Go(func() {
		end, failed = screen.Run(ctx)
		if end != tui.Over || failed != nil {
			// The terminal's Ctrl-C is a signal again, and this time it ends the
			// process at once.
			signal.Reset(os.Interrupt)
			cancel(nil)
		}
	})
	err := serve(ctx)
	cause := context.Cause(ctx)
	cancel(nil)
	showing.Wait()
	a.farewell(screen, notes, end, cause)
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	case end == tui.Interrupted:
		return Interrupted{os.Interrupt}
	}
	return nil
}

// farewell prints what is to stay of a screen.
func (a *agentRun) farewell(screen *tui.Screen, notes *notebook, end tui.End, cause error) {
	for _, line := range notes.close() {
		_, _ = fmt.Fprintln(a.env.err, line)
	}
	last := screen.Last()
	if last == nil {
		return
	}
	switch end {
	case tui.Interrupted:
		last = append(last, "ended by Ctrl-C")
	case tui.Left:
		last = append(last, "ended by Ctrl-D")
	case tui.Over:
		if i, ok := cause.(Interrupted); ok { //nolint:errorlint // the very value
			last = append(last, "ended by the signal "+i.Signal.String())
		}
	}
	for _, line := range last {
		_, _ = fmt.Fprintln(a.env.out, line)
	}
}

// backlog asks the server how many events wait for delivery to a name.
func (a *agentRun) backlog(ctx context.Context, name string) (waiting int, inbox bool, err error) {
	var e struct {
		Effective struct {
			Inbox string `json:"inbox"`
		} `json:"effective"`
		Kept struct {
			Pending int `json:"pending"`
		} `json:"kept"`
	}
	err = call(ctx, a.cred, http.MethodGet, "/endpoints/"+url.PathEscape(name), nil, &e)
	return e.Kept.Pending, e.Effective.Inbox != "" && e.Effective.Inbox != "off", err
}

// maxNotes is how many lines a notebook keeps.
const maxNotes = 500

// notebook keeps what goes to standard error while a screen is there, to be printed
// after it. Before there is a screen nobody sees it any earlier.
type notebook struct {
	tell func(line string)

	mu    sync.Mutex
	lines []string
	lost  int
}

// Write takes one or more lines, as loggers write them.
func (n *notebook) Write(b []byte) (int, error) {
	text := strings.TrimRight(string(b), "\n")
	n.mu.Lock()
	n.lines = append(n.lines, text)
	if len(n.lines) > maxNotes {
		n.lines, n.lost = n.lines[1:], n.lost+1
	}
	n.mu.Unlock()
	n.tell(text)
	return len(b), nil
}

// logger logs into the notebook.
func (n *notebook) logger(verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(tint.NewTextHandler(n, &tint.Options{Level: level, TimeFormat: "15:04:05", NoColor: true}))
}

// close returns what was noted.
func (n *notebook) close() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lost > 0 {
		return append([]string{fmt.Sprintf("… %d lines before", n.lost)}, n.lines...)
	}
	return n.lines
}
