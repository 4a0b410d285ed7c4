// Package webhook is the inbox: it keeps a request before anybody is told that it
// has arrived, answers the sender, and delivers the event to the app until the app
// takes it. What was accepted is never lost.
//
// The way of one event:
//
//	receive.go   the body, within limits; a handshake is answered here
//	check.go     is it signed right
//	always.go    kept, answered, delivered afterwards
//	fallback.go  kept and forwarded at the same time: the app answers, or the relay
//	lane.go      what waits for an endpoint, in order of arrival
//	deliver.go   one try: claim, forward, finish
//
// Each event has one owner: whoever was told the outcome. Until the sender is told,
// a crash leaves the event to the relay, which delivers it. The promise is "at
// least once"; the headers Relay-Event-Id and Relay-Attempt let an app see a
// repeat.
//
// This room does not know tunnels: it meets them as function values in Options.
package webhook

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// Store keeps endpoints, events and deliveries. Whatever it has kept is on disk
// when the method returns nil.
type Store interface {
	Shelf
	Queue

	Endpoints(ctx context.Context) ([]relay.Endpoint, error)
	LearnSecret(ctx context.Context, endpointID, secret string) (relay.Endpoint, error)

	Replay(ctx context.Context, f relay.Filter, dry bool) (int, error)
	Retry(ctx context.Context, f relay.Filter, dry bool) (int, error)
	Cancel(ctx context.Context, f relay.Filter, dry bool) (int, error)
}

// Shelf keeps events.
type Shelf interface {
	NextEventID() string
	AddEvent(ctx context.Context, n relay.NewEvent) (relay.Kept, error)
	Event(ctx context.Context, id string) (relay.Event, error)
	EventBytes(ctx context.Context, id string) (int64, error)
	Usage(ctx context.Context, endpointID string) (relay.Usage, error)
	Purge(ctx context.Context, endpointID string, keep relay.Retention, now time.Time) (relay.Purged, error)
	FreeDisk(ctx context.Context) (more bool, err error)
}

// Queue keeps deliveries, each of which has one owner at a time.
type Queue interface {
	ClaimDeliveries(ctx context.Context, endpointID string, c relay.Claim, now time.Time, n int, strict bool) ([]relay.Delivery, error)
	FinishAttempt(ctx context.Context, before, after relay.Delivery, a relay.Attempt) error
	ReleaseClaims(ctx context.Context, owner string, now time.Time) (endpointIDs []string, err error)
	NextDelivery(ctx context.Context, endpointID string, strict bool) (at time.Time, ok bool, err error)
	OpenEndpoints(ctx context.Context) ([]string, error)
}

// ErrUnsent is in the chain of an error of Options.Forward, beside
// relay.ErrOffline, when nothing of the request has left.
var ErrUnsent = errors.New("nothing was sent")

// Visitor is who sent a request.
type Visitor struct {
	Client netip.Addr
	Proto  string // http or https, as the visitor used it
	Host   string // with the port that the visitor named
}

// Options set an inbox up. Store, Forward and Live are required.
type Options struct {
	Store Store
	// Forward carries a request to the app behind a name, by the way that live
	// requests take, and tells the app of the visitor as for these. RequestURI is
	// the target, byte for byte. An error of kind relay.ErrOffline means that the
	// agent is gone (see ErrUnsent); any other that the app did not answer. It
	// returns when ctx ends.
	Forward func(ctx context.Context, name relay.Name, v Visitor, req *http.Request) (*http.Response, error)
	// Live tells whether an agent serves the name just now.
	Live func(name relay.Name) bool
	// Watch returns a channel that is signalled when agents come or go, and a
	// function that ends that.
	Watch func() (changes <-chan struct{}, stop func())
	// Visitor tells who sent a request. nil takes the other end of the connection.
	Visitor func(*http.Request) Visitor
	// Signer returns the key of the certificate at an address, which must be one of
	// the domain at that time. It is called while a sender waits, and asks may before
	// it fetches what it does not know. nil takes that of NewCertificates.
	Signer func(ctx context.Context, address, domain string, at time.Time, may func() bool) (*rsa.PublicKey, error)
	// Found is told what was made of a request: of an event that is kept, and of one whose
	// signature is wrong, which may have no id.
	Found func(*http.Request, relay.Event)
	// MaxBuffered bounds the bodies that are in memory at a time, in bytes: half of
	// it for arrivals, half for deliveries. 0 means 128 MiB.
	MaxBuffered int64
	// Progress is how long a sender may do nothing while it sends; 0 means a minute.
	Progress time.Duration
	// DrainFor is how long tries may go on when Run is to end; 0 means 10 s.
	DrainFor time.Duration
	// PurgeEvery is the time between two looks at what may be removed; 0 means a
	// minute.
	PurgeEvery time.Duration
	// Now tells the time, Rand a number in [0, 1).
	Now  func() time.Time
	Rand func() float64
	Log  *slog.Logger
}

// Inbox is the inbox of all endpoints. Make it with New, fill it with Load, let it
// live with Run.
type Inbox struct {
	o     Options
	store Store
	log   *slog.Logger
	owner string // of claims; another one after each start

	arriving, leaving *budget

	life  context.Context // of tries; ended by Run when they may not go on
	abort context.CancelFunc
	purge chan string // endpoints that have grown much

	mu        sync.RWMutex // Handler, which is asked on every request, only reads
	byName    map[relay.Name]*endpoint
	byID      map[string]*endpoint
	lanes     map[string]*lane
	shelves   map[string]*shelf
	running   bool
	closing   chan struct{} // closed when Run is to end
	tries     sync.WaitGroup
	isClosing bool
}

// New makes an inbox; nothing runs before Run.
func New(o Options) *Inbox {
	if o.Visitor == nil {
		o.Visitor = peer
	}
	if o.Signer == nil {
		o.Signer = NewCertificates(nil, nil).Signer
	}
	if o.Found == nil {
		o.Found = func(*http.Request, relay.Event) {}
	}
	if o.MaxBuffered == 0 {
		o.MaxBuffered = 128 << 20
	}
	if o.Progress == 0 {
		o.Progress = time.Minute
	}
	if o.DrainFor == 0 {
		o.DrainFor = 10 * time.Second
	}
	if o.PurgeEvery == 0 {
		o.PurgeEvery = time.Minute
	}
	if o.Watch == nil {
		o.Watch = func() (<-chan struct{}, func()) { return nil, func() {} }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = mathrand.Float64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Inbox{
		o: o, store: o.Store, log: o.Log, owner: rand.Text(),
		arriving: newBudget(o.MaxBuffered / 2), leaving: newBudget(o.MaxBuffered / 2),
		purge: make(chan string, 64), closing: make(chan struct{}),
		byName: map[relay.Name]*endpoint{}, byID: map[string]*endpoint{},
		lanes: map[string]*lane{}, shelves: map[string]*shelf{},
	}
	b.life, b.abort = context.WithCancel(context.Background())
	return b
}

// Load reads the endpoints from the store. One whose settings name a provider that
// is not known is an error.
func (b *Inbox) Load(ctx context.Context) error {
	all, err := b.store.Endpoints(ctx)
	if err != nil {
		return fmt.Errorf("load endpoints: %w", err)
	}
	for _, e := range all {
		if err := b.Set(e); err != nil {
			return err
		}
	}
	return nil
}

// Check finds what can never be right in an endpoint (ErrInvalid).
func Check(e relay.Endpoint) error {
	_, err := compile(e)
	return err
}

// Set takes an endpoint with its settings, in place of the one with the same id. It
// does not keep it. Settings that can never be right are an error (ErrInvalid).
func (b *Inbox) Set(e relay.Endpoint) error {
	c, err := compile(e)
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", e.Name, err)
	}
	b.mu.Lock()
	if old := b.byID[e.ID]; old != nil {
		delete(b.byName, old.Name)
	}
	b.byName[e.Name], b.byID[e.ID] = c, c
	b.mu.Unlock()
	b.wake(e.ID) // more may be under way at a time now
	return nil
}

// Remove forgets an endpoint; its events stay in the store.
func (b *Inbox) Remove(id string) {
	b.mu.Lock()
	if e := b.byID[id]; e != nil {
		delete(b.byName, e.Name)
		delete(b.byID, id)
		delete(b.shelves, id)
	}
	b.mu.Unlock()
	b.wakeAll() // its lane finds that there is nothing left to do
}

// Handler returns the handler of the requests for a name; ok is false when it has
// no inbox. What is not the inbox's to keep goes to live: other paths, upgrades,
// and in fallback mode requests that only read.
func (b *Inbox) Handler(name relay.Name, live http.Handler) (h http.Handler, ok bool) {
	b.mu.RLock()
	e := b.byName[name]
	b.mu.RUnlock()
	if e == nil || e.Settings.Inbox == relay.InboxOff {
		return nil, false
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.receive(w, r, e, live) }), true
}

func (b *Inbox) endpoint(id string) *endpoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byID[id]
}

// sweepEvery is how often claims are looked for whose lease has ended. A lease ends
// long after its try should have.
const sweepEvery = 15 * time.Second

// Run delivers until ctx ends. Then it claims nothing more, waits Options.DrainFor
// for tries that are under way, and breaks off those that are left: they go back
// into the queue. When it returns nothing of the inbox runs. It runs once.
func (b *Inbox) Run(ctx context.Context) error {
	changes, stop := b.o.Watch()
	defer stop()
	if err := b.begin(ctx); err != nil {
		b.end()
		if ctx.Err() != nil {
			return nil // it was to end before it had begun
		}
		return err
	}
	var keeping sync.WaitGroup
	keeping.Go(func() { b.retain(ctx) })
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-changes:
			b.wakeAll()
		case <-sweep.C:
			if _, err := b.release(ctx); err != nil {
				b.log.Warn("release claims", "err", err)
			}
		case <-ctx.Done():
			b.end()
			keeping.Wait()
			return nil
		}
	}
}

// begin takes over what an earlier life has left.
func (b *Inbox) begin(ctx context.Context) error {
	n, err := b.release(ctx)
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	open, err := b.store.OpenEndpoints(ctx)
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	if n > 0 {
		b.log.Info("deliveries of an earlier start are taken up again", "endpoints", n)
	}
	b.mu.Lock()
	b.running = true
	b.mu.Unlock()
	for _, id := range open {
		b.wake(id)
	}
	return nil
}

// release takes claims from owners that have vanished.
func (b *Inbox) release(ctx context.Context) (endpoints int, err error) {
	ids, err := b.store.ReleaseClaims(ctx, b.owner, b.o.Now())
	for _, id := range ids {
		b.wake(id)
	}
	return len(ids), err
}

// end waits for the tries, and breaks them off when they take too long.
func (b *Inbox) end() {
	b.mu.Lock()
	b.isClosing = true
	b.mu.Unlock()
	close(b.closing)
	late := time.AfterFunc(b.o.DrainFor, b.abort)
	defer late.Stop()
	b.tries.Wait()
	b.abort()
}

// try runs f, which end waits for; false when it is too late to begin.
func (b *Inbox) try(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosing {
		return false
	}
	b.tries.Go(f)
	return true
}

// peer is the other end of the connection.
func peer(r *http.Request) Visitor {
	v := Visitor{Proto: "http", Host: r.Host}
	if r.TLS != nil {
		v.Proto = "https"
	}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		v.Client = ap.Addr().Unmap().WithZone("")
	}
	return v
}
