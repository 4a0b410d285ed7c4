package link

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// firstWindow is what every yamux stream starts with, on either side.
	firstWindow = 256 << 10
	// startWindow is what a stream is granted with its first frame, while few
	// others have it: it saves a long path one round trip.
	startWindow = 1 << 20
	// minWindow is what a stream with a slow reader shrinks to.
	minWindow = 64 << 10
	// maxWindow is what one stream may grow to: 16 MiB carries 100 MB/s over
	// 100 ms.
	maxWindow = 16 << 20
	// growBelow: a reader that takes a quarter of the window faster than this
	// has a window that is shorter than 250 ms of its rate.
	growBelow = 62 * time.Millisecond
	// growStep is how often, in bytes, growing is considered: a burst of the first
	// window is enough to grow to a few MiB, so that a long path fills in two
	// round trips.
	growStep = 64 << 10
	// shrinkAbove: a reader that takes a quarter of the window slower than this
	// and leaves a backlog gets a shorter one.
	shrinkAbove = 500 * time.Millisecond

	// MaxBuffered is how many received bytes may wait in one link. Beyond it the
	// stream with the biggest backlog is reset.
	MaxBuffered = 16 << 20
	// maxLoans bounds what the streams of a link are granted beyond their first
	// windows, all together.
	maxLoans = 16 << 20
	// sayEvery is how often a link's log tells of streams that were reset.
	sayEvery = time.Minute
)

// took accounts n bytes that the reader of s has taken, and returns the credit
// that the peer is to get for them: some each quarter of the window. mu is held.
func (s *Stream) took(n int) (more int64) {
	l := s.link
	s.read += int64(n)
	if s.settled {
		return 0
	}
	l.free(int64(n))
	if s.finIn {
		return 0 // nothing will come for it
	}
	s.sinceGrant += int64(n)
	if s.sinceGrant < min(s.window/4, growStep) {
		return 0
	}
	now := time.Now()
	took := now.Sub(s.lastGrant)
	rate := s.sinceGrant // bytes in took
	s.sinceGrant, s.lastGrant = 0, now
	switch {
	case s.in.size > s.window/2 && s.window > firstWindow:
		s.window /= 2 // the reader is what is slow: more credit only fills memory
	case s.in.size > s.window/4 && took > shrinkAbove && s.window > minWindow:
		s.window /= 2
	case s.in.size <= growStep && s.window < maxWindow &&
		took < time.Duration(rate*int64(growBelow)/(s.window/4)) && l.lend(s.window):
		s.window *= 2
	}
	more = s.read + s.window - s.granted
	if more < s.window/4 {
		return 0
	}
	s.granted += more
	loan := max(0, s.granted-s.read-firstWindow)
	l.loaned.Add(loan - s.loan)
	s.loan = loan
	return more
}

// start returns the credit that goes with the first frame; mu is held.
func (s *Stream) start() int64 {
	const more = startWindow - firstWindow
	if s.settled || s.link.loaned.Load() > maxLoans/4 || !s.link.lend(more) {
		return 0
	}
	s.window = startWindow
	s.granted += more
	s.loan = more
	s.link.loaned.Add(more)
	return more
}

// lend tells whether a stream's window may grow by more bytes.
func (l *Link) lend(more int64) bool {
	if l.loaned.Load()+more > maxLoans {
		return false
	}
	b := l.opts.Budget
	return b == nil || b.used.Load()+more <= b.max/2
}

// holds counts n bytes that wait for a reader. Over a budget, the link's reader
// finds somebody to give up before the next frame.
func (l *Link) holds(n int64) {
	if l.buffered.Add(n) > MaxBuffered {
		l.tooMuch.Store(true)
	}
	if b := l.opts.Budget; b != nil && b.used.Add(n) > b.max {
		l.tooMuch.Store(true)
	}
}

// free takes n bytes out of the budgets.
func (l *Link) free(n int64) {
	l.buffered.Add(-n)
	if b := l.opts.Budget; b != nil {
		b.used.Add(-n)
	}
}

// relieveIfFull resets a stream when a budget is used up.
func (l *Link) relieveIfFull() {
	if !l.tooMuch.Swap(false) {
		return
	}
	if l.buffered.Load() > MaxBuffered {
		l.relieve()
	}
	if b := l.opts.Budget; b != nil && b.used.Load() > b.max {
		b.relieve()
	}
}

// Budget bounds the received bytes that wait in memory, over many links.
type Budget struct {
	max  int64
	used atomic.Int64

	mu    sync.Mutex
	links map[*Link]struct{}
}

// NewBudget makes a budget of max bytes.
func NewBudget(maxBytes int64) *Budget {
	return &Budget{max: maxBytes, links: map[*Link]struct{}{}}
}

// Used is the number of bytes that wait.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) add(l *Link) {
	b.mu.Lock()
	b.links[l] = struct{}{}
	b.mu.Unlock()
}

func (b *Budget) remove(l *Link) {
	b.mu.Lock()
	delete(b.links, l)
	b.mu.Unlock()
}

// relieve resets the stream with the biggest backlog on the fullest link.
func (b *Budget) relieve() {
	b.mu.Lock()
	var worst *Link
	for l := range b.links {
		if worst == nil || l.buffered.Load() > worst.buffered.Load() {
			worst = l
		}
	}
	b.mu.Unlock()
	if worst != nil {
		worst.relieve()
	}
}

// relieve resets the stream with the biggest backlog of the link.
func (l *Link) relieve() {
	l.smu.Lock()
	var worst *Stream
	var most int64
	for _, s := range l.streams {
		s.mu.Lock()
		if s.in.size > most && !s.over {
			worst, most = s, s.in.size
		}
		s.mu.Unlock()
	}
	if worst == nil {
		l.smu.Unlock()
		return
	}
	l.tooSlow++
	count := l.tooSlow
	say := time.Since(l.toldSlow) > sayEvery
	if say {
		l.tooSlow, l.toldSlow = 0, time.Now()
	}
	l.smu.Unlock()
	if say {
		l.log.Warn("stream reset: its reader is too slow", "waiting_bytes", most, "link_bytes", l.buffered.Load(), "streams", count)
	}
	if worst.giveUp(errSlow) {
		go worst.sendReset() // not here: it may wait for the link's sender
	}
}
