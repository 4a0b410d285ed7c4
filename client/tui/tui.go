// Package tui is the terminal screen of an agent: where its apps are reached, how it
// goes, which requests come, and what was in them.
//
// A Screen is told what happens (Event, Works, Note), from any goroutine and without
// being waited for. It appears when the agent is connected for the first time: until
// then nothing is written, so that a refusal is a plain sentence. Run shows it until
// its context ends or the user leaves, and gives the terminal back as it was. Last then
// says in plain lines what is to stay in the scrollback.
//
// Requests are not told to it. It looks at the recorder's snapshots, at most twenty
// times a second, so that no request ever waits for a terminal.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/capture"
)

// Options say what the screen shows and what its keys do. A function that is nil takes
// its key or line away.
type Options struct {
	In  io.Reader // the terminal's keys
	Out io.Writer // the terminal
	// Environ is the environment of the terminal; nil is that of the process.
	Environ []string
	// NoColor leaves the terminal's own colors alone.
	NoColor bool

	// Recorder has the requests; nil when nobody looks at them.
	Recorder *capture.Recorder
	Masks    *capture.Masks
	// Inspector is the URL of the page that shows the same; empty for none.
	Inspector string
	// Replay sends a request to the app again and returns the id of the new exchange.
	Replay func(ctx context.Context, x *capture.Exchange) (id string, err error)
	// Open shows a URL in a browser.
	Open func(ctx context.Context, url string) error
	// Ping measures the way to the server.
	Ping func(ctx context.Context) (time.Duration, error)
	// Backlog asks how many events wait for delivery to a name; inbox is false for a
	// name that keeps none.
	Backlog func(ctx context.Context, name string) (waiting int, inbox bool, err error)
	Now     func() time.Time // nil is time.Now
}

// End says why a screen ended.
type End int

// The ends of a screen.
const (
	Over        End = iota // the context ended, or the screen failed
	Interrupted            // Ctrl-C
	Left                   // Ctrl-D
)

// maxRepaints is how often in a second the terminal is written to, at most.
const maxRepaints = 20

// Screen is the screen of one agent.
type Screen struct {
	o     Options
	model *model
	ready chan struct{} // closed when there is something to show
	once  sync.Once

	mu       sync.Mutex
	queue    []tea.Msg     // told, and not shown yet
	wake     chan struct{} // has one when the queue has something
	busy     sync.WaitGroup
	closed   bool   // nothing is begun any more
	panicked string // what is to be told of a panic
	names    map[*client.Listener]string
	joined   chan struct{} // has one when the agent was connected anew
	shown    bool          // only Run's caller uses it
}

// New makes a Screen. It does nothing until Run.
func New(o Options) *Screen {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Screen{
		o: o, ready: make(chan struct{}), wake: make(chan struct{}, 1),
		names: map[*client.Listener]string{}, joined: make(chan struct{}, 1),
	}
	s.model = newModel(o)
	return s
}

// Serves says that a listener leads to target. It is called before Run.
func (s *Screen) Serves(ln *client.Listener, target string) {
	s.model.tunnels = append(s.model.tunnels, tunnel{listener: ln, target: target})
}

// Event is told what happens to the client; see client.Options.
func (s *Screen) Event(ev client.Event) {
	s.tell(ev)
	on, ok := ev.(client.Online)
	if !ok {
		return
	}
	s.mu.Lock()
	s.names[on.Listener] = on.Name
	s.mu.Unlock()
	poke(s.joined)
	s.once.Do(func() { close(s.ready) })
}

// Works says that a URL was tried; why it does not answer, if it does not.
func (s *Screen) Works(on client.Online, why string) { s.tell(tried{on, why}) }

// Note shows a line for people: a warning, or what a log says.
func (s *Screen) Note(line string) { s.tell(note(line)) }

func (s *Screen) tell(msg tea.Msg) {
	s.mu.Lock()
	s.queue = append(s.queue, msg)
	s.mu.Unlock()
	poke(s.wake)
}

// poke puts something into a channel for one, unless it is there already.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run shows the screen until ctx ends or the user leaves, and says which. The terminal
// is as it was before when it returns. It is called once.
func (s *Screen) Run(ctx context.Context) (End, error) {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return Over, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.shown = true
	s.model.begin = func(f func(context.Context) tea.Msg) tea.Cmd { return s.command(ctx, f) }
	o := []tea.ProgramOption{
		tea.WithInput(s.o.In), tea.WithOutput(s.o.Out), tea.WithFPS(maxRepaints),
		tea.WithoutSignalHandler(), // the command line has one
	}
	if s.o.Environ != nil {
		o = append(o, tea.WithEnvironment(s.o.Environ))
	}
	p := tea.NewProgram(s.model, o...)
	s.busy.Go(func() { s.feed(ctx, p) })
	s.busy.Go(func() { s.watch(ctx, p) })
	s.busy.Go(func() { s.measure(ctx, p) })
	s.busy.Go(func() { s.count(ctx, p) })
	s.busy.Go(func() {
		<-ctx.Done()
		p.Quit()
	})
	_, err := p.Run()
	cancel()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.busy.Wait()
	if s.panicked != "" {
		_, _ = fmt.Fprintln(os.Stderr, s.panicked)
		err = errors.New("a bug in it")
	}
	if err != nil {
		return Over, fmt.Errorf("the screen failed: %w; --log prints plain lines instead", err)
	}
	return s.model.end, nil
}

// command makes something that the screen does besides; Run waits for it.
func (s *Screen) command(ctx context.Context, f func(context.Context) tea.Msg) tea.Cmd {
	return func() (msg tea.Msg) {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil
		}
		s.busy.Add(1)
		s.mu.Unlock()
		defer s.busy.Done()
		defer s.tellPanic(&msg)
		return f(ctx)
	}
}

// tellPanic keeps what is told of a panic until the terminal is as it was before, and ends
// the screen. Bubble Tea would tell it from a goroutine that nobody waits for.
func (s *Screen) tellPanic(msg *tea.Msg) {
	r := recover()
	if r == nil {
		return
	}
	s.mu.Lock()
	s.panicked = fmt.Sprintf("panic: %v\n\n%s", r, debug.Stack())
	s.mu.Unlock()
	*msg = tea.Quit()
}

// Last says what the screen has shown at the end, in lines without colors; nothing if
// it never was there. It is called after Run.
func (s *Screen) Last() []string {
	if !s.shown {
		return nil
	}
	for _, msg := range s.taken() { // what came too late to be shown
		s.model.told(msg)
	}
	return s.model.last()
}

// taken takes what was told and not shown.
func (s *Screen) taken() []tea.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queue
	s.queue = nil
	return q
}

// pause waits, and tells whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
