// Package inspector serves a page that shows recorded exchanges, and the JSON API
// under it: list, detail, bodies, live changes, replay, diff, export.
//
// What was captured is hostile: strangers sent it. No byte of it is ever answered
// with a content type of its own, and secrets are masked unless the caller says
// reveal. Who may call at all is decided by Local, or by whoever mounts Handler.
package inspector

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

// A Source has the exchanges. A capture.Recorder has the first three.
type Source interface {
	// List returns what q chooses, and whether there may be more after it.
	List(ctx context.Context, q capture.Query) (list []*capture.Exchange, more bool, err error)
	// Get returns one exchange; found is false when it is not kept.
	Get(ctx context.Context, id string) (x *capture.Exchange, found bool, err error)
	// Next waits for changes after a version; 0 answers at once.
	Next(ctx context.Context, after uint64) (capture.Changes, error)
	// Replay sends a request again, and returns the id of the new exchange when it is
	// over or ctx has ended. Errors of these kinds are told to people: relay.ErrOffline
	// (nobody is there to get it), relay.ErrNotFound (there is no such target),
	// relay.ErrInvalid (it cannot be signed).
	Replay(ctx context.Context, a capture.Again) (id string, err error)
	// Targets lists who can get a replay.
	Targets(ctx context.Context) ([]capture.Target, error)
}

// Options make a Handler.
type Options struct {
	Source Source
	Masks  *capture.Masks // nil: the default ones
	// Target is told to the page: where requests and replays go.
	Target string
	Log    *slog.Logger
	Now    func() time.Time
}

type handler struct {
	Options
	masks *capture.Masks
	log   *slog.Logger
	epoch string // of this process: versions of another mean nothing here
}

// Handler serves the page at / and the API at /api/v1/. Event streams end with their
// requests' contexts: give the server a BaseContext that ends when it is to stop.
func Handler(o Options) (http.Handler, error) {
	h := &handler{Options: o, masks: o.Masks, log: o.Log, epoch: newEpoch()}
	if h.masks == nil {
		m, err := capture.NewMasks()
		if err != nil {
			return nil, err
		}
		h.masks = m
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.Now == nil {
		h.Now = time.Now
	}
	page, err := newPage()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", page)
	for _, r := range h.routes() {
		mux.HandleFunc(r.method+" "+r.path, r.serve)
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "not_found", "There is no "+r.Method+" "+r.URL.Path+" here.")
	})
	return headers(mux), nil
}
