// Package history keeps the exchanges of endpoints that are recorded, and shows each
// user their own.
//
// What passes is recorded in memory (internal/capture), user by user, so that nobody's
// traffic pushes out what another wants to see. When an exchange is over it goes into a
// queue, and from there to the store in groups. The queue is bounded and never waited
// for: what does not fit is not kept, and counted. Memory and store together are what
// is listed.
package history

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
)

// Store is what history needs of the store.
type Store interface {
	AddRecorded(ctx context.Context, all []relay.Recorded) error
	Recorded(ctx context.Context, q relay.RecordedQuery) ([]relay.Recorded, error)
	RecordedByID(ctx context.Context, userID, id string) (relay.Recorded, error)
	RecordedUsage(ctx context.Context, userID string) (relay.RecordedUsage, error)
	RecordedUsers(ctx context.Context) ([]string, error)
	PurgeRecorded(ctx context.Context, userID string, keep relay.Retention, now time.Time) (int, error)
}

// Options make a History. Store, Carry and Sign are required.
type Options struct {
	Store Store
	// Carry takes a replay to the agent of a name of the user, and to nobody else. Who it
	// is said to come from stands in from. An error of kind relay.ErrOffline says that no
	// agent is there.
	Carry func(ctx context.Context, name relay.Name, from Sender, req *http.Request) (*http.Response, error)
	// Sign puts the signature of a name's sender in the place of what a request has. An
	// error of kind relay.ErrInvalid says, to people, why that cannot be.
	Sign func(name relay.Name, r signature.Request) (signature.Request, error)
	// Live tells whether an agent serves a name.
	Live func(relay.Name) bool
	// Keep bounds what is kept of a user; DefaultKeep without it.
	Keep relay.Retention
	// Memory bounds what is in memory, in bytes, of all users; 0 means 64 MiB. A user may
	// take a quarter of it.
	Memory int64
	Now    func() time.Time
	Log    *slog.Logger
}

// Sender is who sent a request.
type Sender struct {
	Visitor, Scheme, Host string
}

// DefaultKeep is what is kept of a user's exchanges unless told otherwise.
func DefaultKeep() relay.Retention {
	return relay.Retention{Age: relay.Duration(7 * 24 * time.Hour), Count: 10_000, Bytes: 256 << 20}
}

const (
	// defaultMemory is that of Options.Memory.
	defaultMemory = 64 << 20
	// share of the memory is the most that one user may take.
	share = 4
	// recent is how many exchanges of a user are in memory at most.
	recent = 1000
)

// History has the exchanges of all users. Make it with New, let it live with Run.
type History struct {
	o      Options
	log    *slog.Logger
	budget capture.Budget
	queue  queue

	mu    sync.RWMutex
	names map[relay.Name]*place
	users map[string]*user
}

// place is a name that is recorded.
type place struct {
	endpoint relay.Endpoint
	recorder *capture.Recorder
}

// user is somebody whose exchanges are recorded.
type user struct {
	id       string
	recorder *capture.Recorder
	dropped  atomic.Uint64 // ended, and not kept
}

// New makes a History; nothing runs before Run.
func New(o Options) *History {
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	if o.Keep == (relay.Retention{}) {
		o.Keep = DefaultKeep()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &History{
		o: o, log: o.Log, budget: capture.Budget{Max: o.Memory}, queue: newQueue(o.Memory / 2),
		names: map[relay.Name]*place{}, users: map[string]*user{},
	}
}

// Set takes over how an endpoint is set up: whether it is recorded, and whose it is.
func (h *History) Set(e relay.Endpoint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !e.Settings.Records() {
		delete(h.names, e.Name)
		return
	}
	h.names[e.Name] = &place{e, h.user(e.UserID).recorder}
}

// Drop forgets an endpoint.
func (h *History) Drop(name relay.Name) {
	h.mu.Lock()
	delete(h.names, name)
	h.mu.Unlock()
}

// Recorder is where the exchanges of a name are recorded; nil where they are not.
func (h *History) Recorder(name relay.Name) *capture.Recorder {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if p := h.names[name]; p != nil {
		return p.recorder
	}
	return nil
}

// user finds a user, or makes one. h.mu is held.
func (h *History) user(id string) *user {
	u := h.users[id]
	if u == nil {
		u = &user{id: id}
		u.recorder = capture.New(capture.Options{
			MaxExchanges: recent, MaxBytes: h.o.Memory / share, Budget: &h.budget, ByClock: true, Now: h.o.Now,
			Ended: func(x *capture.Exchange) { h.ended(u, x) },
		})
		h.users[id] = u
	}
	return u
}

// of is the user with an id.
func (h *History) of(id string) *user {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.user(id)
}

// place is the endpoint of a name, if it is recorded.
func (h *History) place(name string) *place {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.names[relay.Name(name)]
}

// Stats is what is kept of a user, and what of it was lost.
type Stats struct {
	Kept    int
	Bytes   int64
	Dropped uint64 // since the server started
}

// Stats measures a user's exchanges.
func (h *History) Stats(ctx context.Context, userID string) (Stats, error) {
	u, err := h.o.Store.RecordedUsage(ctx, userID)
	if err != nil {
		return Stats{}, err
	}
	return Stats{u.Count, u.Bytes, h.of(userID).dropped.Load()}, nil
}
