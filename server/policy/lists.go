package policy

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// The lists as they were at a day, so that a server knows them before it has asked
// anybody, and where it may ask nobody.
//
//go:embed snapshot/*.json
var snapshots embed.FS

// published is where senders publish the addresses that their webhooks come from. A
// line is here only with a snapshot.
var published = map[string]source{
	"github": {"https://api.github.com/meta", "hooks"},
	"stripe": {"https://stripe.com/files/ips/ips_webhooks.json", "WEBHOOKS"},
	"linear": {"https://linear.app/.well-known/appspecific/app.linear.ips.json", "ips"},
}

// source is a JSON document with a list of addresses and ranges under a key.
type source struct{ url, key string }

const (
	// every is how often a list that somebody uses is asked for. Senders announce
	// changes some days before.
	every = 24 * time.Hour
	// again is the wait after a try that failed.
	again = time.Hour
	// maxList is the longest list that is taken for one, and the widest ranges: a
	// list that lets the whole world in is a mistake or worse.
	maxList          = 10_000
	widest4, widest6 = 8, 16
)

// ListOptions are what Lists works with. The zero value is good: nothing is kept then.
type ListOptions struct {
	// Dir is a folder to keep the last good lists in; it is made when it is needed.
	// Without it a start begins with what came with the program.
	Dir string
	// Fetch gets a published document. The default asks by HTTPS.
	Fetch func(ctx context.Context, url string) ([]byte, error)
	Now   func() time.Time
	Log   *slog.Logger
}

// Lists are the addresses that senders publish. Only lists that a Policy names are
// asked for, once a day; a list that cannot be had, or is not as it should be, leaves
// the last good one in place.
type Lists struct {
	o    ListOptions
	wake chan struct{} // somebody wants a list for the first time

	mu  sync.RWMutex
	all map[string]*list
}

// list is what is known of one sender.
type list struct {
	set      *addresses
	prefixes []netip.Prefix
	asOf     time.Time
	wanted   bool
	next     time.Time // of the next try; zero for at once
	failure  string
}

// ListStatus says how a list is.
type ListStatus struct {
	Provider string
	Source   string    // where it is published
	AsOf     time.Time // when it was so
	Ranges   int
	Used     bool
	Failure  string // of the last try to get a newer one; empty if there was none
}

// NewLists makes the lists that came with the program. Load reads newer ones that were
// kept, Run gets newer ones yet.
func NewLists(o ListOptions) (*Lists, error) {
	if o.Fetch == nil {
		o.Fetch = httpsGetter().get
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Lists{o: o, wake: make(chan struct{}, 1), all: make(map[string]*list)}
	for name := range published {
		text, err := snapshots.ReadFile("snapshot/" + name + ".json")
		if err != nil {
			return nil, fmt.Errorf("read list of %s: %w", name, err)
		}
		if l.all[name], err = readKept(text); err != nil {
			return nil, fmt.Errorf("read list of %s: %w", name, err)
		}
	}
	return l, nil
}

// Contains tells whether the sender publishes the address as its own.
func (l *Lists) Contains(provider string, addr netip.Addr) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	one := l.all[provider]
	return one != nil && one.set.has(plain(addr))
}

// Status says how all lists are, in the order of their names.
func (l *Lists) Status() []ListStatus {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var all []ListStatus
	for _, name := range slices.Sorted(maps.Keys(l.all)) {
		one := l.all[name]
		all = append(all, ListStatus{name, published[name].url, one.asOf, len(one.prefixes), one.wanted, one.failure})
	}
	return all
}

// has tells whether there is a list of the sender; the nil Lists has none.
func (l *Lists) has(provider string) bool { return slices.Contains(l.names(), provider) }

func (l *Lists) names() []string {
	if l == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(l.all)) // the keys never change
}

// want notes that the lists are used from now on.
func (l *Lists) want(providers []string) {
	if l == nil || len(providers) == 0 {
		return
	}
	l.mu.Lock()
	for _, name := range providers {
		l.all[name].wanted = true
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run keeps the lists that are used up to date, until ctx ends.
func (l *Lists) Run(ctx context.Context) error {
	for {
		wait := every
		for _, name := range l.names() {
			due, wanted := l.due(name)
			if wanted && due <= 0 {
				l.refresh(ctx, name)
				due, _ = l.due(name)
			}
			if wanted {
				wait = min(wait, due)
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-l.wake:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// due is how long it is until the list is to be asked for.
func (l *Lists) due(name string) (time.Duration, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	one := l.all[name]
	return one.next.Sub(l.o.Now()), one.wanted
}

// refresh gets one list, and keeps the old one if it cannot be had.
func (l *Lists) refresh(ctx context.Context, name string) {
	prefixes, err := l.fetch(ctx, published[name])
	if ctx.Err() != nil {
		return
	}
	now := l.o.Now()
	if err != nil {
		l.mu.Lock()
		one := l.all[name]
		one.failure, one.next = err.Error(), now.Add(jitter(again))
		asOf := one.asOf
		l.mu.Unlock()
		l.o.Log.Warn("the addresses of a sender could not be asked for; the last good ones stay", "sender", name, "as_of", asOf, "err", err)
		return
	}
	l.mu.Lock()
	one := l.all[name]
	changed := !slices.Equal(one.prefixes, prefixes)
	one.set, one.prefixes, one.asOf, one.failure, one.next = setOf(prefixes), prefixes, now, "", now.Add(jitter(every))
	l.mu.Unlock()
	if changed {
		l.o.Log.Info("the addresses of a sender have changed", "sender", name, "ranges", len(prefixes))
	}
	if err := l.keep(name, prefixes, now); err != nil {
		l.o.Log.Warn("the addresses of a sender could not be kept for the next start", "sender", name, "err", err)
	}
}

// jitter is up to a tenth more or less, so that not all servers ask at once.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

func (l *Lists) fetch(ctx context.Context, from source) ([]netip.Prefix, error) {
	text, err := l.o.Fetch(ctx, from.url)
	if err != nil {
		return nil, err
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("read %s: it is no JSON object", from.url)
	}
	var lines []string
	if err := json.Unmarshal(document[from.key], &lines); err != nil {
		return nil, fmt.Errorf("read %s: it has no list %q", from.url, from.key)
	}
	prefixes, err := readPrefixes(lines)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", from.url, err)
	}
	return prefixes, nil
}

// readPrefixes takes a list whole or not at all.
func readPrefixes(lines []string) ([]netip.Prefix, error) {
	if len(lines) == 0 {
		return nil, errors.New("the list is empty")
	}
	if len(lines) > maxList {
		return nil, fmt.Errorf("the list has %d entries", len(lines))
	}
	var prefixes []netip.Prefix
	for _, line := range lines {
		p, ok := parsePrefix(line)
		if !ok {
			return nil, fmt.Errorf("%q is not an address or range", line[:min(len(line), 64)])
		}
		if p.Addr().Is4() && p.Bits() < widest4 || p.Addr().Is6() && p.Bits() < widest6 {
			return nil, fmt.Errorf("the range %s is too wide to be one sender's", p)
		}
		prefixes = append(prefixes, p)
	}
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(prefixes), nil
}
