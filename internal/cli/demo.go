package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/client/forward"
)

func demoCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:  "demo",
		Usage: "see it work: server, agent and webhook receiver in one process",
		Description: "Starts a server on localhost, a sample webhook receiver and an agent, sends requests\n" +
			"through the public URL and tells what happened. Then it stays up to be tried with curl.\n" +
			"It needs nothing and leaves nothing behind.\n\n" +
			"   relay demo\n" +
			"   relay demo --once",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "http-addr", Value: demoAddr, Usage: "`ADDRESS` for the server; when the default is taken, a free port is used"},
			&urfave.BoolFlag{Name: "once", Usage: "end after the story: 0 when all went well, 1 when not"},
			jsonFlag(), verboseFlag(),
		},
		Action: func(c *urfave.Context) error { return runDemo(c, e) },
	}
}

const demoAddr = "127.0.0.1:8080"

func runDemo(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	t := teller{out: e.out, asJSON: c.Bool("json"), color: isTerminal(e.out) && !noColor()}
	o := worldOptions{addr: c.String("http-addr"), choose: !c.IsSet("http-addr")}
	if c.Bool("verbose") {
		o.log = e.logger(true)
	}
	listing := newListing(e.out, t.asJSON)
	defer listing.close()
	o.onExchange = listing.exchange

	w, err := newDemoWorld(o)
	if err != nil {
		return err
	}
	defer w.close()

	t.title()
	sum := tell(c.Context, &t, w, demoStory)
	if c.Context.Err() != nil {
		return interruptedStory(c.Context, c.Bool("once"))
	}
	listing.begin() // whoever reads the next line may send at once
	t.end(sum, w)
	switch {
	case sum.broken || c.Bool("once") && sum.failed > 0:
		return errSilent
	case c.Bool("once"):
		return nil
	}
	t.invite(w)
	select {
	case <-c.Context.Done():
		return nil
	case err := <-w.failed:
		return err
	}
}

// interruptedStory is how a demo ends that was stopped before its end: a script
// that asked for the verdict must not take SIGTERM for a good one.
func interruptedStory(ctx context.Context, once bool) error {
	var i Interrupted
	if once && errors.As(context.Cause(ctx), &i) && i.Signal == syscall.SIGTERM {
		return errors.New("stopped before the end of the demo")
	}
	return ctx.Err()
}

// demoStep is one line of the story. run returns what was seen; an error is why
// it is not what it should be.
type demoStep struct {
	name string
	run  func(ctx context.Context, w *demoWorld) (detail string, err error)
	// must is set when the rest makes no sense without this step.
	must bool
}

// stepTimeout is far more than any step takes; a hang must end as a ✗.
const stepTimeout = 60 * time.Second

// summary is what came of a story.
type summary struct {
	passed, failed int
	broken         bool // a step without which nothing goes on has failed
	took           time.Duration
}

// tell runs the steps one after another and tells of each.
func tell(ctx context.Context, t *teller, w *demoWorld, story []demoStep) summary {
	var sum summary
	began := time.Now()
	for _, s := range story {
		began := time.Now()
		stepCtx, cancel := context.WithTimeout(ctx, stepTimeout)
		detail, err := s.run(stepCtx, w)
		cancel()
		if ctx.Err() != nil {
			break
		}
		t.step(s.name, detail, err, time.Since(began))
		if err == nil {
			sum.passed++
			continue
		}
		sum.failed++
		if s.must {
			sum.broken = true
			break
		}
	}
	sum.took = time.Since(began)
	return sum
}

// teller writes the story, for people or for programs.
type teller struct {
	out    io.Writer
	asJSON bool
	color  bool
}

// The events of "relay demo --json"; see docs/json.md.
type (
	stepEvent struct {
		Event      string  `json:"event"`
		Name       string  `json:"name"`
		OK         bool    `json:"ok"`
		Detail     string  `json:"detail"`
		DurationMS float64 `json:"duration_ms"`
	}
	doneEvent struct {
		Event      string  `json:"event"`
		OK         bool    `json:"ok"`
		Passed     int     `json:"passed"`
		Failed     int     `json:"failed"`
		URL        string  `json:"url"`
		DurationMS float64 `json:"duration_ms"`
	}
)

func (t *teller) title() {
	if !t.asJSON {
		_, _ = fmt.Fprint(t.out, "A relay server, an agent and a webhook receiver, all in this process.\n\n")
	}
}

func (t *teller) step(name, detail string, err error, took time.Duration) {
	if err != nil {
		detail = err.Error()
	}
	if t.asJSON {
		t.json(stepEvent{"step", name, err == nil, detail, milliseconds(took)})
		return
	}
	_, _ = fmt.Fprintf(t.out, "  %s %-16s %7s  %s\n", t.mark(err == nil), name, duration(took), printable(detail))
}

func (t *teller) mark(ok bool) string {
	switch {
	case ok && t.color:
		return "\x1b[32m✓\x1b[0m"
	case ok:
		return "✓"
	case t.color:
		return "\x1b[31m✗\x1b[0m"
	}
	return "✗"
}

func (t *teller) end(s summary, w *demoWorld) {
	if t.asJSON {
		t.json(doneEvent{"done", s.failed == 0, s.passed, s.failed, w.url, milliseconds(s.took)})
		return
	}
	if s.failed == 0 {
		_, _ = fmt.Fprintf(t.out, "\nAll %d steps went well, in %s.\n", s.passed, duration(s.took))
		return
	}
	_, _ = fmt.Fprintf(t.out, "\n%d of %d steps failed.\n", s.failed, s.passed+s.failed)
	if s.broken {
		_, _ = fmt.Fprintln(t.out, "The rest was not tried. Run it with --verbose to see more.")
	}
}

// invite says what there is to try. The signature in it is right, so that the
// command works as it stands, and fails when a letter is changed.
func (t *teller) invite(w *demoWorld) {
	if t.asJSON {
		return
	}
	const body = `{"zen":"Keep it logically awesome."}`
	_, _ = fmt.Fprintf(t.out, `
It stays up until Ctrl-C. Try it from another terminal:

  curl %[1]s/
  curl -N %[1]s/events
  curl -T somefile %[1]s/upload
  curl %[1]s/github -H 'X-GitHub-Event: ping' \
    -H 'X-Hub-Signature-256: %[3]s' \
    -d '%[2]s'

Change a letter in the last one and the receiver refuses it.
What comes in is listed here:

`, w.url, body, sign(w.receiver.secret, []byte(body)))
}

func (t *teller) json(v any) {
	_ = json.NewEncoder(t.out).Encode(v)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// listing lists the requests that come once the story is told; those of the story
// are told there, even when their end is heard of late.
type listing struct {
	p     *printer
	since atomic.Pointer[time.Time]
}

func newListing(out io.Writer, asJSON bool) *listing {
	return &listing{p: newPrinter(out, asJSON)}
}

func (l *listing) begin() {
	now := time.Now()
	l.since.Store(&now)
}

func (l *listing) close() { l.p.close() }

func (l *listing) exchange(x forward.Exchange) {
	if since := l.since.Load(); since != nil && x.Time.After(*since) {
		l.p.exchange(x)
	}
}

// tempFolder makes the data folder of the demo's server.
func tempFolder() (string, error) {
	dir, err := os.MkdirTemp("", "relay-demo-")
	if err != nil {
		return "", fmt.Errorf("make a folder for the demo's server: %w", err)
	}
	return dir, nil
}
