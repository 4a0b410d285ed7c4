// Package domain lets users serve hosts of their own, as hooks.acme.com, which
// lead to one of their names.
//
// Whoever can change the DNS of a host owns it. The user proves that by a CNAME
// to a name that they hold here, or, where a CNAME cannot be, by a TXT record
// with a token that is theirs alone, beside addresses that are ours (check.go).
// The proof has to stay: it is looked up again every hour (run.go), and more often
// while it is awaited. When DNS says
// something else, the domain is failing: it is served on, its user is warned,
// and after seven days it is free for others (state.go). A look-up that fails
// says nothing and changes nothing.
package domain

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

// maxPerUser is far above what a user has; each costs look-ups every hour.
const maxPerUser = 50

// Options say where domains are kept and how they are checked.
type Options struct {
	Store *store.Store
	// Domain is the base domain, as relay.ParseHost writes it.
	Domain string
	// Addrs are the public addresses of this server, where they are known. Those
	// of the base domain count as well.
	Addrs []netip.Addr
	// Holder returns the id of the user who holds a name; "" for nobody. It is
	// asked on requests: a look-up in memory.
	Holder func(relay.Name) string
	// Claim makes sure that the user holds the name, or says why not.
	Claim func(context.Context, relay.User, relay.Name) error
	// Active, if not nil, is told each host that has become active, so that it
	// can get its certificate. It must not block.
	Active func(host string)
	// Resolver asks DNS; nil is net.DefaultResolver.
	Resolver Resolver
	Now      func() time.Time // nil is time.Now
	Log      *slog.Logger
}

// Domains are the domains of all users. Its methods are safe for concurrent use.
// Make it with New, and call Load before Find.
type Domains struct {
	o    Options
	seed maphash.Seed // spreads the checks, see run.go

	// changing is held from reading a domain in the store to having changed it
	// there, so that a check that was under way does not undo what another found.
	changing sync.Mutex

	held atomic.Pointer[map[string]relay.Domain] // by host; never changed, only replaced
}

// New returns the domains of the store.
func New(o Options) *Domains {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	clock := o.Now
	// As the store keeps it, so that what is returned equals what is kept.
	o.Now = func() time.Time { return clock().UTC().Truncate(time.Millisecond) }
	d := &Domains{o: o, seed: maphash.MakeSeed()}
	d.held.Store(&map[string]relay.Domain{})
	return d
}

// Load reads what the store has, for Find.
func (d *Domains) Load(ctx context.Context) error {
	all, err := d.o.Store.AllDomains(ctx)
	if err != nil {
		return fmt.Errorf("load domains: %w", err)
	}
	held := make(map[string]relay.Domain, len(all))
	for _, dom := range all {
		if dom.Held() {
			held[dom.Host] = dom
		}
	}
	d.held.Store(&held)
	return nil
}

// Find returns the name that a host, as relay.ParseHost writes it, leads to. It
// is a look-up in memory. A name that has gone to another user since is not
// found: the owner of the host has not chosen that user.
func (d *Domains) Find(host string) (relay.Name, bool) {
	dom, ok := (*d.held.Load())[host]
	if !ok || d.o.Holder(dom.Name) != dom.UserID {
		return "", false
	}
	return dom.Name, true
}

// Add adds a host for the user, pending until its proof is
// seen, or changes where it leads
// if the user has it. An empty name is the user's own. Refusals are of kind
// ErrInvalid, ErrTaken and ErrLimit, and those of Claim, and say what to do.
func (d *Domains) Add(ctx context.Context, u relay.User, host string, name relay.Name) (relay.Domain, error) {
	host, err := parse(host, d.o.Domain)
	if err != nil {
		return relay.Domain{}, err
	}
	if name == "" {
		name = relay.Name(u.Name)
	}
	if err := d.o.Claim(ctx, u, name); err != nil {
		return relay.Domain{}, fmt.Errorf("name %s: %w", name, err)
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	dom, err := d.o.Store.AddDomain(ctx, u.ID, host, name, maxPerUser)
	switch {
	case errors.Is(err, relay.ErrTaken):
		return relay.Domain{}, taken(host)
	case errors.Is(err, relay.ErrLimit):
		return relay.Domain{}, fmt.Errorf("%w: you have %d domains; remove one that you do not need with relay domain rm", relay.ErrLimit, maxPerUser)
	case err != nil:
		return relay.Domain{}, err
	}
	return dom, d.Load(ctx)
}

// List returns the domains of the user, in the order of their hosts.
func (d *Domains) List(ctx context.Context, u relay.User) ([]relay.Domain, error) {
	return d.o.Store.Domains(ctx, u.ID)
}

// Remove forgets a host of the user (ErrNotFound).
func (d *Domains) Remove(ctx context.Context, u relay.User, host string) error {
	host, err := relay.ParseHost(host)
	if err != nil {
		return err
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	if err := d.o.Store.RemoveDomain(ctx, u.ID, host); err != nil {
		return err
	}
	return d.Load(ctx)
}

// A Record is a DNS record that a user sets.
type Record struct{ Type, Name, Value string }

// A Setup is what a user sets in the DNS of a host: all of one list. It has to
// stay there.
type Setup struct {
	// CNAME is the simple way; empty where DNS does not allow it, at the top of
	// a domain like acme.com.
	CNAME []Record
	// TXT is the proof, and the addresses beside it.
	TXT []Record
}

// Setup returns what to set for a domain. Where the addresses of this server are
// not known it looks them up, and fails if it cannot.
func (d *Domains) Setup(ctx context.Context, dom relay.Domain) (Setup, error) {
	token, err := d.o.Store.DomainToken(dom.UserID, dom.Host)
	if err != nil {
		return Setup{}, err
	}
	addrs := d.o.Addrs
	if len(addrs) == 0 {
		if addrs, err = d.o.Resolver.LookupNetIP(ctx, "ip", d.o.Domain+"."); err != nil {
			return Setup{}, fmt.Errorf("look up the addresses of %s: %w", d.o.Domain, err)
		}
	}
	set := Setup{TXT: []Record{{"TXT", proofLabel + dom.Host, token}}}
	for _, a := range addrs {
		kind := "A"
		if a = a.Unmap(); a.Is6() {
			kind = "AAAA"
		}
		set.TXT = append(set.TXT, Record{kind, dom.Host, a.String()})
	}
	if top, err := publicsuffix.EffectiveTLDPlusOne(dom.Host); err == nil && top != dom.Host {
		set.CNAME = []Record{{"CNAME", dom.Host, string(dom.Name) + "." + d.o.Domain}}
	}
	return set, nil
}

func taken(host string) error {
	return fmt.Errorf("%w: %s is served for another user; it is free when that user removes it, or seven days after its DNS has ceased to lead to that user", relay.ErrTaken, host)
}
