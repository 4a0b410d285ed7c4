package capture

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Options bound a Recorder. Zero values take the defaults.
type Options struct {
	MaxExchanges int   // default 1000
	MaxBytes     int64 // of heads, bodies and frames together; default 256 MiB
	BodyLimit    int   // how much of each body is kept; default 1 MiB
	// Budget is memory that several recorders share, beside the limits of each.
	Budget *Budget
	// ByClock makes Seq grow with the time, so that it goes on rising when another
	// Recorder takes over after a restart; else it counts from 1.
	ByClock bool
	// Ended is told of each exchange when it is over. It must not block, nor call the
	// Recorder.
	Ended func(*Exchange)
	Now   func() time.Time
}

// A Budget bounds the memory of several recorders together, in bytes. Who is over it
// forgets its own oldest exchanges, not those of others.
type Budget struct {
	Max  int64
	used atomic.Int64
}

// What Options default to.
const (
	DefaultMaxExchanges = 1000
	DefaultMaxBytes     = 256 << 20
	DefaultBodyLimit    = 1 << 20
)

// A Recorder keeps the newest exchanges in memory. All its methods may be called at
// once. A nil *Recorder records nothing.
type Recorder struct {
	o     Options
	bytes atomic.Int64

	mu      sync.Mutex // taken before that of a Tap, never after it
	version uint64     // grows with every change of anything
	kept    []*Tap     // by Seq
	byID    map[string]*Tap
	seq     uint64 // of the newest
	seen    uint64
	dropped uint64
	lost    uint64        // the version of the newest change that went with an exchange
	news    chan struct{} // closed at the next change, when somebody waits
}

// New makes a Recorder.
func New(o Options) *Recorder {
	if o.MaxExchanges <= 0 {
		o.MaxExchanges = DefaultMaxExchanges
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.BodyLimit <= 0 {
		o.BodyLimit = DefaultBodyLimit
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Recorder{o: o, byID: map[string]*Tap{}, version: 1} // 0 is before everything
}

// add puts a tap at the end, under an id of its own.
func (r *Recorder) add(t *Tap, cost int64) {
	r.mu.Lock()
	r.seen++
	r.seq++
	if r.o.ByClock {
		r.seq = max(r.seq, uint64(t.x.Began.UnixMilli())<<seqBits)
	}
	t.x.Seq = r.seq
	id := t.x.RequestID
	for n := r.seq; id == "" || r.byID[id] != nil; n++ {
		id = fmt.Sprintf("%s-%d", cmp.Or(t.x.RequestID, "x"), n)
	}
	t.x.ID = id
	t.cost = cost
	r.byID[id] = t
	r.kept = append(r.kept, t)
	r.count(cost)
	if len(r.kept) > r.o.MaxExchanges {
		r.dropOldest()
	}
	r.mu.Unlock()
	r.trim()
	r.changed(t)
}

// seqBits leave room for 1024 exchanges in a millisecond, and for 2^53, above which a
// page cannot count, until the year 2248.
const seqBits = 10

// count adds to what is kept.
func (r *Recorder) count(n int64) {
	r.bytes.Add(n)
	if r.o.Budget != nil {
		r.o.Budget.used.Add(n)
	}
}

func (r *Recorder) over() bool {
	return r.bytes.Load() > r.o.MaxBytes || r.o.Budget != nil && r.o.Budget.used.Load() > r.o.Budget.Max
}

// trim makes room.
func (r *Recorder) trim() {
	if !r.over() {
		return
	}
	r.mu.Lock()
	for r.over() && len(r.kept) > 0 {
		r.dropOldest()
	}
	r.mu.Unlock()
}

// Forget drops the exchanges that ended before a time, and returns how many are left:
// for who has them elsewhere.
func (r *Recorder) Forget(before time.Time) (left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.kept) > 0 && r.kept[0].endedBefore(before) {
		r.dropOldest()
	}
	return len(r.kept)
}

// dropOldest forgets one exchange, though it be live. r.mu is held.
func (r *Recorder) dropOldest() {
	t := r.kept[0]
	r.kept[0] = nil
	r.kept = r.kept[1:]
	delete(r.byID, t.x.ID)
	r.dropped++
	r.lost = max(r.lost, t.version)
	r.count(-t.drop())
}

// changed says that there is news of t.
func (r *Recorder) changed(t *Tap) {
	r.mu.Lock()
	r.version++
	t.version = r.version
	if r.news != nil {
		close(r.news)
		r.news = nil
	}
	r.mu.Unlock()
}

// snapshot is the taps of this moment, by Seq.
func (r *Recorder) snapshot() []*Tap {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Tap(nil), r.kept...)
}

// Query chooses exchanges, the newest first.
type Query struct {
	Filter *Filter // nil takes all
	Before uint64  // only those with a smaller Seq; 0 begins with the newest
	Limit  int     // at most so many; 0 is no limit
}

// List returns the exchanges that q chooses, and whether there may be more after
// them.
func (r *Recorder) List(ctx context.Context, q Query) (list []*Exchange, more bool, err error) {
	taps := r.snapshot()
	for i := len(taps) - 1; i >= 0; i-- {
		if q.Before != 0 && taps[i].x.Seq >= q.Before {
			continue
		}
		if q.Limit > 0 && len(list) == q.Limit {
			return list, true, nil
		}
		if err := ctx.Err(); err != nil { // a filter may have much to read
			return nil, false, err
		}
		if x := taps[i].snapshot(); q.Filter.Match(x) {
			list = append(list, x)
		}
	}
	return list, false, nil
}

// Get returns one exchange; the bool is false when it is not kept (any more).
func (r *Recorder) Get(_ context.Context, id string) (*Exchange, bool, error) {
	r.mu.Lock()
	t := r.byID[id]
	r.mu.Unlock()
	if t == nil {
		return nil, false, nil
	}
	return t.snapshot(), true, nil
}

// Changes is what has happened since a version.
type Changes struct {
	Version uint64      // to ask Next with
	Changed []*Exchange // new ones and those that went on, by Seq
	Oldest  uint64      // the Seq of the oldest that is kept; all before it are gone
	Missed  bool        // some that changed since then are not here any more
	Stats   Stats
}

// Stats counts what a Recorder has seen.
type Stats struct {
	Kept    int    `json:"kept"`
	Bytes   int64  `json:"bytes"`
	Seen    uint64 `json:"seen"`
	Dropped uint64 `json:"dropped"` // seen, and gone to make room
}

// Next waits until something has changed after a version, or ctx ends. However much
// has happened, it is one answer: a slow reader misses states in between, never the
// last one. Version 0 answers at once, with everything.
func (r *Recorder) Next(ctx context.Context, after uint64) (Changes, error) {
	for {
		r.mu.Lock()
		if after == 0 || r.version > after {
			r.mu.Unlock()
			return r.since(after), nil
		}
		if r.news == nil {
			r.news = make(chan struct{})
		}
		news := r.news
		r.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return Changes{}, ctx.Err()
		}
	}
}

func (r *Recorder) since(after uint64) Changes {
	r.mu.Lock()
	c := Changes{
		Version: r.version, Oldest: r.seq + 1, Missed: r.lost > after && after > 0,
		Stats: Stats{Kept: len(r.kept), Bytes: r.bytes.Load(), Seen: r.seen, Dropped: r.dropped},
	}
	var changed []*Tap
	for i, t := range r.kept {
		if i == 0 {
			c.Oldest = t.x.Seq
		}
		if t.version > after {
			changed = append(changed, t)
		}
	}
	r.mu.Unlock()
	for _, t := range changed { // what comes meanwhile is told twice
		c.Changed = append(c.Changed, t.snapshot())
	}
	return c
}
