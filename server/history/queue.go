package history

import (
	"context"
	"encoding/json"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
)

const (
	// queued is how many exchanges wait for the store at most.
	queued = 4096
	// groupRows and groupBytes bound what is written in one step, some milliseconds of a
	// processor: events wait behind it.
	groupRows  = 32
	groupBytes = 1 << 20
	// gather is how long the first of a group waits for others.
	gather = 250 * time.Millisecond
	// rests is how many times as long as a write took the next one waits: under a flood
	// the processor belongs to the requests, and who looks at them sees a part.
	rests = 24
	// lingers is how long what is over stays in memory: who follows the list is told of
	// it from there.
	lingers = 10 * time.Second
	// purgeEvery is how often is removed what may not be kept.
	purgeEvery = time.Minute
	// lastWords is how long Run tries to write what waits when it is to end.
	lastWords = 5 * time.Second
)

// waiting is an exchange on its way to the store.
type waiting struct {
	user *user
	x    *capture.Exchange
	cost int64
}

// queue holds what waits for the store, within limits of number and bytes.
type queue struct {
	rows  chan waiting
	bytes chan int64 // one value: how many bytes are free
}

func newQueue(bytes int64) queue {
	q := queue{make(chan waiting, queued), make(chan int64, 1)}
	q.bytes <- bytes
	return q
}

// put takes w unless there is no room.
func (q *queue) put(w waiting) bool {
	if !q.take(w.cost) {
		return false
	}
	select {
	case q.rows <- w:
		return true
	default:
		q.give(w.cost)
		return false
	}
}

func (q *queue) take(n int64) bool {
	free := <-q.bytes
	if free < n {
		q.bytes <- free
		return false
	}
	q.bytes <- free - n
	return true
}

func (q *queue) give(n int64) { q.bytes <- n + <-q.bytes }

// ended puts an exchange into the queue.
func (h *History) ended(u *user, x *capture.Exchange) {
	w := waiting{u, x, int64(len(x.Request.Body.Kept)) + 1024}
	if x.Response != nil {
		w.cost += int64(len(x.Response.Body.Kept))
	}
	for i := range x.Frames {
		w.cost += int64(len(x.Frames[i].Text) + len(x.Frames[i].Base64) + 64)
	}
	if !h.queue.put(w) {
		u.dropped.Add(1)
	}
}

// Run writes what is recorded to the store, and removes what may not be kept, until ctx
// ends. Then it writes what waits.
func (h *History) Run(ctx context.Context) error {
	purge := time.NewTicker(purgeEvery)
	defer purge.Stop()
	forget := time.NewTicker(lingers / 2)
	defer forget.Stop()
	for {
		select {
		case <-ctx.Done():
			h.rest()
			return nil
		case w := <-h.queue.rows:
			all := h.group(ctx, w)
			began := time.Now()
			h.write(ctx, all)
			select {
			case <-time.After(rests * time.Since(began)):
			case <-ctx.Done():
			}
		case <-forget.C:
			h.forget()
		case <-purge.C:
			h.purge(ctx)
		}
	}
}

// rest writes what waits at the end.
func (h *History) rest() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	over, done := context.WithCancel(ctx)
	done()
	for {
		select {
		case w := <-h.queue.rows:
			h.write(ctx, h.group(over, w))
		default:
			return
		}
	}
}

// group gathers what belongs to one write with first. Once ctx has ended it takes only
// what is there.
func (h *History) group(ctx context.Context, first waiting) []waiting {
	all, bytes := []waiting{first}, first.cost
	late := time.NewTimer(gather)
	defer late.Stop()
	for len(all) < groupRows && bytes < groupBytes {
		if ctx.Err() != nil {
			select {
			case w := <-h.queue.rows:
				all, bytes = append(all, w), bytes+w.cost
				continue
			default:
				return all
			}
		}
		select {
		case w := <-h.queue.rows:
			all, bytes = append(all, w), bytes+w.cost
		case <-late.C:
			return all
		case <-ctx.Done():
		}
	}
	return all
}

// write keeps a group. What the store does not take is lost, and counted.
func (h *History) write(ctx context.Context, all []waiting) {
	rows := make([]relay.Recorded, 0, len(all))
	cost := int64(0)
	for _, w := range all {
		cost += w.cost
		row, ok := h.row(w)
		if !ok {
			w.user.dropped.Add(1)
			continue
		}
		rows = append(rows, row)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := h.o.Store.AddRecorded(ctx, rows); err != nil {
		h.log.Warn("recorded requests were not kept", "count", len(rows), "err", err)
		for _, w := range all {
			w.user.dropped.Add(1)
		}
	}
	h.queue.give(cost)
}

// row is an exchange as the store has it. The body of an event is there already.
func (h *History) row(w waiting) (relay.Recorded, bool) {
	p := h.place(w.x.Endpoint)
	if p == nil || p.endpoint.UserID != w.user.id {
		return relay.Recorded{}, false // it is gone, or not recorded any more
	}
	x := w.x.WithoutBodies()
	head, err := json.Marshal(x)
	if err != nil {
		h.log.Error("write an exchange", "err", err)
		return relay.Recorded{}, false
	}
	r := relay.Recorded{
		ID: x.ID, UserID: w.user.id, EndpointID: p.endpoint.ID, Seq: x.Seq, Began: x.Began, EventID: x.EventID, Head: head,
	}
	if x.EventID == "" {
		r.Request = w.x.Request.Body.Kept
	}
	if w.x.Response != nil {
		r.Response = w.x.Response.Body.Kept
	}
	return r, true
}

// exchange is the inverse of row. Without bodies they are left out.
func exchange(r relay.Recorded, bodies bool) (*capture.Exchange, error) {
	var x capture.Exchange
	if err := json.Unmarshal(r.Head, &x); err != nil {
		return nil, err
	}
	x.Verified = r.Verified
	if bodies {
		b := &x.Request.Body
		b.Kept, b.Omitted = r.Request, false
		if x.EventID != "" { // an inbox keeps all of it, unless it is gone by now
			b.Truncated = int64(len(b.Kept)) < b.Size
		}
		if x.Response != nil {
			x.Response.Body.Kept, x.Response.Body.Omitted = r.Response, false
		}
	}
	return &x, nil
}

// forget drops what is over from memory.
func (h *History) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.o.Now().Add(-lingers)
	for _, u := range h.users {
		u.recorder.Forget(before)
	}
}

// purge removes what may not be kept.
func (h *History) purge(ctx context.Context) {
	users, err := h.o.Store.RecordedUsers(ctx)
	for _, id := range users {
		for n := 1; n > 0 && err == nil && ctx.Err() == nil; {
			n, err = h.o.Store.PurgeRecorded(ctx, id, h.o.Keep, h.o.Now())
		}
	}
	if err != nil && ctx.Err() == nil {
		h.log.Warn("remove old recorded requests", "err", err)
	}
}
