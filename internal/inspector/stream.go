package inspector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

// news is one event of the stream.
type news struct {
	Items  []liveItem    `json:"items"`  // new, or further than before; by seq
	Oldest uint64        `json:"oldest"` // all with a smaller seq are gone
	Stats  capture.Stats `json:"stats"`
	Target string        `json:"target,omitempty"`
}

type liveItem struct {
	Summary
	Match bool `json:"match"` // with the filter that was given
}

const (
	// pace is the least time between two events, so that a flood of requests is a
	// few large ones.
	pace = 80 * time.Millisecond
	// alive is how often a silent stream shows that it lives.
	alive = 15 * time.Second
)

// stream tells of changes as server-sent events, from now on or, when it is taken up
// again, from where it broke off. Its first event is "hello", also when nothing has
// changed. After an id of another process, or when it is asked for the first time,
// "hello" has no items: the caller lists.
func (h *handler) stream(w http.ResponseWriter, r *http.Request) {
	filter, ok := h.filter(w, r)
	if !ok {
		return
	}
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Time{})
	first, err := h.Source.Next(r.Context(), 0)
	if err != nil {
		h.broken(w, err)
		return
	}
	after := first.Version
	was, version, _ := strings.Cut(r.Header.Get("Last-Event-Id"), ":")
	if n, err := strconv.ParseUint(version, 10, 64); err == nil && was == h.epoch && n <= first.Version {
		after = n
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	epoch := h.epoch
	send := func(event string, c capture.Changes) bool {
		if c.Missed { // the caller is to list anew, as after another process
			epoch = h.epoch + "-" + strconv.FormatUint(c.Version, 10)
			event = "hello"
		}
		out := news{Items: []liveItem{}, Oldest: c.Oldest, Stats: c.Stats, Target: h.Target}
		for _, x := range c.Changed {
			out.Items = append(out.Items, liveItem{summary(x), filter.Match(x)})
		}
		b, err := json.Marshal(out)
		if err != nil {
			h.log.Error("inspector", "err", err)
			return false
		}
		_, err = fmt.Fprintf(w, "event: %s\nid: %s:%d\ndata: %s\n\n", event, epoch, c.Version, b)
		return err == nil && rc.Flush() == nil
	}
	first.Changed, first.Version = nil, after
	if !send("hello", first) {
		return
	}
	h.follow(w, r, after, send)
}

// follow sends what is new until somebody leaves.
func (h *handler) follow(w http.ResponseWriter, r *http.Request, after uint64, send func(string, capture.Changes) bool) {
	for {
		ctx, cancel := context.WithTimeout(r.Context(), alive)
		c, err := h.Source.Next(ctx, after)
		cancel()
		switch {
		case err == nil:
			if !send("changes", c) {
				return
			}
			after = c.Version
			select {
			case <-time.After(pace):
			case <-r.Context().Done():
				return
			}
		case r.Context().Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return
		default:
			if _, err := fmt.Fprint(w, ": still here\n\n"); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	}
}
