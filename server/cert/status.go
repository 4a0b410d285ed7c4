package cert

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relaytunnel/relay/server/store"
)

// The sources of a certificate, and the states it can be in.
const (
	SourceFile     = "file"
	SourceWildcard = "wildcard"
	SourceSingle   = "acme"

	StateValid    = "valid"
	StateOrdering = "ordering"
	StateFailed   = "failed"  // there is none, and the last order failed
	StateExpired  = "expired" // it is served, and refused by browsers
	StateMissing  = "missing" // not asked for so far
)

// Status is what a Keeper has and does now.
type Status struct {
	Certificates []Certificate
	Authority    string  // its directory; empty: nothing is ordered
	Quota        []Quota // what the authority counts; empty where it has no limit
}

// A Certificate is the state of one certificate, or of a missing one.
type Certificate struct {
	Host     string // or the file
	Hosts    []string
	Source   string
	State    string
	NotAfter time.Time // zero: there is none
	Err      string    // of the last try; empty: it went well
	NextTry  time.Time // of an order or a renewal; zero: none
}

// A Quota is how much of the authority's weekly limit is used for one domain.
type Quota struct {
	Zone        string
	Used, Limit int
}

// Status tells what there is. It asks the store for the counts.
func (k *Keeper) Status(ctx context.Context) (Status, error) {
	s := Status{Certificates: k.states(k.o.Now())}
	if k.o.Offline {
		return s, nil
	}
	s.Authority = k.o.Directory
	if k.o.Weekly <= 0 {
		return s, nil
	}
	orders, err := k.o.Store.CertOrders(ctx, k.o.Directory, k.o.Now().Add(-week))
	if err != nil {
		return s, fmt.Errorf("count certificates: %w", err)
	}
	used := map[string]int{zone(k.o.Domain): 0}
	for _, o := range orders {
		if o.Outcome == store.CertNew {
			used[o.Zone]++
		}
	}
	for z, n := range used {
		s.Quota = append(s.Quota, Quota{z, n, k.o.Weekly})
	}
	slices.SortFunc(s.Quota, func(a, b Quota) int { return strings.Compare(a.Zone, b.Zone) })
	return s, nil
}

// states lists the files, then the others by name.
func (k *Keeper) states(now time.Time) []Certificate {
	var list []Certificate
	files := k.files.Load()
	for _, p := range files.pairs {
		c := Certificate{Host: p.file, Hosts: p.hosts, Source: SourceFile, State: StateValid, NotAfter: p.cert.Leaf.NotAfter, Err: files.problem}
		if !valid(p.cert, now) {
			c.State = StateExpired
		}
		list = append(list, c)
	}
	n := len(list)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, h := range k.hosts {
		if h.cert == nil && !h.wanted {
			continue // covered by another, or only looked for
		}
		list = append(list, k.stateLocked(h, now))
	}
	slices.SortFunc(list[n:], func(a, b Certificate) int { return strings.Compare(a.Host, b.Host) })
	return list
}

func (k *Keeper) stateLocked(h *host, now time.Time) Certificate {
	c := Certificate{Host: h.name, Hosts: []string{h.name}, Source: SourceSingle, State: StateMissing}
	if h.name == k.wildcard {
		c.Source = SourceWildcard
	}
	if h.cert != nil {
		c.NotAfter, c.Hosts, c.State = h.cert.Leaf.NotAfter, h.cert.Leaf.DNSNames, StateValid
		if !valid(h.cert, now) {
			c.State = StateExpired
		}
	}
	if h.failed != nil {
		c.Err = h.failed.Error()
		if h.cert == nil {
			c.State = StateFailed
		}
	}
	if h.ordering {
		c.State = StateOrdering
	} else if at, needed := k.neededLocked(h, now); needed {
		c.NextTry = at
	}
	return c
}
