package inspector

import (
	"context"
	"encoding/json"
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

// replayMany replays one after the other, in the order in which they came. What was
// itself a replay is left out of a filter's choice.
func (h *handler) replayMany(w http.ResponseWriter, r *http.Request) {
	var in bulk
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err != nil {
		problem(w, http.StatusUnprocessableEntity, "invalid", "That is no JSON, or too large: "+err.Error()+".")
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
		x, found, err := h.Source.Get(r.Context(), id) // one at a time: bodies may be large
		switch {
		case err != nil:
			h.broken(w, err)
			return
		case !found && in.Filter == nil:
			problem(w, http.StatusNotFound, "not_found", "The request "+id+" is not kept.")
			return
		case !found: // it went meanwhile
			continue
		}
		out.Count++
		again, err := Again(x)
		if err != nil {
			out.Skipped++
			continue
		}
		if in.DryRun {
			continue
		}
		again.To, again.Sign = in.To, in.Sign
		if err := h.replayOne(ctx, again); err != nil {
			p := h.refusal(err, again.Sign)
			if p.Status != http.StatusInternalServerError && out.Replayed == 0 && len(out.Failed) == 0 {
				p.write(w) // it would be the same with all of them
				return
			}
			out.Failed = append(out.Failed, bulkFailed{x.ID, p.Detail})
			continue
		}
		out.Replayed++
	}
	answer(w, http.StatusOK, out)
}

func (h *handler) replayOne(ctx context.Context, a capture.Again) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, replayWithin)
	defer cancel()
	id, err := h.Source.Replay(ctx, a)
	if errors.Is(err, context.DeadlineExceeded) && id != "" {
		return nil // an event stream has no end; it has been sent
	}
	return err
}

// chosen are the ids, the oldest first.
func (h *handler) chosen(w http.ResponseWriter, r *http.Request, in bulk) ([]string, bool) {
	ids, tooMany := in.IDs, false
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
