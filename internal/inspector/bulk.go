package inspector

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

const (
	// maxBulk bounds how many requests one call replays.
	maxBulk = 1000
	// bulkWithin bounds how long that may take.
	bulkWithin = 4 * time.Minute
)

// bulk says what is to be replayed: what a filter chooses, or what is named.
type bulk struct {
	Filter *string  `json:"filter"`
	IDs    []string `json:"ids"`
	To     string   `json:"to"`
	Sign   bool     `json:"sign"`
	DryRun bool     `json:"dry_run"`
}

// bulkResult tells what became of it.
type bulkResult struct {
	Count    int          `json:"count"`   // how many were chosen
	Skipped  int          `json:"skipped"` // how many of them cannot be sent again
	Replayed int          `json:"replayed"`
	Failed   []bulkFailed `json:"failed"`
}

type bulkFailed struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// replayMany replays one after the other: what a filter chooses in the order in which it
// came, without what was itself a replay; what is named in the order of the names.
func (h *handler) replayMany(w http.ResponseWriter, r *http.Request) {
	var in bulk
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = unmarshal(text, &in)
	}
	if err != nil {
		problem(w, http.StatusUnprocessableEntity, "invalid", "That cannot be read: "+err.Error()+".")
		return
	}
	if (in.Filter == nil) == (len(in.IDs) == 0) {
		problem(w, http.StatusUnprocessableEntity, "invalid", "Give a filter, which may be empty, or ids.")
		return
	}
	ids, ok := h.chosen(w, r, in)
	if !ok {
		return
	}
	out := bulkResult{Failed: []bulkFailed{}}
	ctx, cancel := context.WithTimeout(r.Context(), bulkWithin)
	defer cancel()
	for _, id := range ids {
		if p := h.replayNext(ctx, in, id, &out); p != nil {
			p.write(w)
			return
		}
	}
	answer(w, http.StatusOK, out)
}

// replayNext replays one of many and counts it. A problem is that of all of them.
func (h *handler) replayNext(ctx context.Context, in bulk, id string, out *bulkResult) *failure {
	fail := func(why string) *failure {
		out.Failed = append(out.Failed, bulkFailed{id, why})
		return nil
	}
	if ctx.Err() != nil {
		out.Count++
		return fail("There was no time left for it.")
	}
	x, found, err := h.Source.Get(ctx, id) // one at a time: bodies may be large
	if !found && err == nil && in.Filter != nil {
		return nil // it went meanwhile
	}
	out.Count++
	switch {
	case err != nil:
		return fail(h.failed(err).Detail)
	case !found:
		return fail("This request is not kept any more.")
	}
	again, err := Again(x)
	if err != nil {
		out.Skipped++
		return nil
	}
	if in.DryRun {
		return nil
	}
	again.To, again.Sign = in.To, in.Sign
	if err := h.replayOne(ctx, again); err != nil {
		p := h.refusal(err, again.Sign)
		if in.To != "" && p.Status < http.StatusInternalServerError && out.Replayed == 0 && len(out.Failed) == 0 {
			return p // all of them go there, and it would be the same with all
		}
		return fail(p.Detail)
	}
	out.Replayed++
	return nil
}

func (h *handler) replayOne(ctx context.Context, a capture.Again) error {
	ctx, cancel := context.WithTimeout(ctx, replayWithin)
	defer cancel()
	id, err := h.Source.Replay(ctx, a)
	if errors.Is(err, context.DeadlineExceeded) && id != "" {
		return nil // an event stream has no end; it has been sent
	}
	return err
}

// chosen are the ids: as they were given, or what the filter chooses, the oldest first.
func (h *handler) chosen(w http.ResponseWriter, r *http.Request, in bulk) ([]string, bool) {
	ids, tooMany := in.IDs, len(in.IDs) > maxBulk
	if !tooMany {
		for _, id := range ids { // one that is wrong is told before any is sent
			_, found, err := h.Source.Get(r.Context(), id)
			if err != nil {
				h.broken(w, err)
				return nil, false
			}
			if !found {
				problem(w, http.StatusNotFound, "not_found", "The request "+id+" is not kept.")
				return nil, false
			}
		}
	}
	if in.Filter != nil {
		f, ok := h.parse(w, *in.Filter)
		if !ok {
			return nil, false
		}
		list, more, err := h.Source.List(r.Context(), capture.Query{Filter: f, Limit: 2 * maxBulk})
		if err != nil {
			h.broken(w, err)
			return nil, false
		}
		for _, x := range list {
			if !x.Replay {
				ids = append(ids, x.ID)
			}
		}
		slices.Reverse(ids)
		tooMany = more
	}
	if tooMany || len(ids) > maxBulk {
		problem(w, http.StatusUnprocessableEntity, "too_many", "These are more than 1000 requests: choose fewer.")
		return nil, false
	}
	return ids, true
}
