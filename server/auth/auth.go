// Package auth says who is calling. Agents and the API show a token; auth
// finds its owner, slows down those who try tokens that do not exist, and
// remembers when a token was used last. It also makes the first user of an
// empty server.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

// touchEvery is how exact the time of last use is: writing it down on every
// request would make each one wait for the disk.
const touchEvery = time.Minute

// touchKept bounds the memory of which tokens were touched lately.
const touchKept = 10_000

// Options are what Auth needs. Only Store is required.
type Options struct {
	Store *store.Store
	Now   func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: nothing is logged
}

// Auth finds the user behind a token. Its methods are safe for concurrent use.
// It has no goroutines and nothing to close; the store belongs to the caller.
type Auth struct {
	store *store.Store
	now   func() time.Time
	log   *slog.Logger
	tries tries

	mu      sync.Mutex
	touched map[string]time.Time // by id of the token, when it was last written
}

// New returns an Auth.
func New(o Options) *Auth {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Auth{store: o.Store, now: o.Now, log: o.Log, touched: make(map[string]time.Time)}
}

// errUnknown is the one answer to a token that is malformed, was never made,
// or has been deleted.
var errUnknown = fmt.Errorf("%w: this token is not known here; check it, or ask the operator for a new one", relay.ErrDenied)

var errTries = fmt.Errorf("%w: too many wrong tokens from this address; try again in a minute", relay.ErrLimit)

// Token returns the owner of the secret plain, and what is known of the token.
// from is the address of the caller.
//
// A token that is malformed or unknown is ErrDenied, always with the same
// message and after the same work; one that has expired is ErrDenied and says
// so. After 10 such tries in a minute from one IPv4 address or one IPv6 /64,
// further ones are ErrLimit. A good token passes even then: a forgotten job
// with an old token must not lock out the office it runs in, and 256 random
// bits are not found by trying. An error of no kind means that the store could
// not be asked.
func (a *Auth) Token(ctx context.Context, plain string, from netip.Addr) (relay.User, relay.Token, error) {
	if len(plain) > tokenChars {
		plain = plain[:tokenChars+1] // still malformed, cheap to hash
	}
	// A malformed token is looked up too, so that it takes as long.
	shaped := WellFormed(plain)
	user, token, err := a.store.UserByToken(ctx, Hash(plain))
	now := a.now()
	switch {
	case err == nil && shaped:
		a.touch(ctx, token, now, from)
		return user, token, nil
	case err == nil, errors.Is(err, relay.ErrNotFound):
		err = errUnknown
	case !errors.Is(err, relay.ErrDenied):
		return relay.User{}, relay.Token{}, fmt.Errorf("look up the token: %w", err)
	}
	if !a.tries.allow(from, now) {
		err = errTries
	}
	return relay.User{}, relay.Token{}, err
}

// touch writes down that the token is used now, when the last time that was
// done is a minute ago. It is no reason to refuse the caller when that fails.
func (a *Auth) touch(ctx context.Context, t relay.Token, now time.Time, from netip.Addr) {
	if now.Sub(t.LastUsed) < touchEvery || !a.dueTouch(t.ID, now) {
		return
	}
	if err := a.store.TouchToken(ctx, t.ID, now, from.Unmap().String()); err != nil {
		a.log.WarnContext(ctx, "the time of last use of a token was not kept", "token", t.ID, "error", err)
	}
}

// dueTouch lets one of many callers with the same token through.
func (a *Auth) dueTouch(id string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.touched[id]) < touchEvery {
		return false
	}
	if len(a.touched) >= touchKept {
		clear(a.touched) // the store still knows; at worst one more write each
	}
	a.touched[id] = now
	return true
}

// FirstUser makes, in a store without users, an admin of that name with a
// token called "first" that does not expire, and returns the secret, which
// cannot be shown again. When there are users already it changes nothing, and
// created is false.
func (a *Auth) FirstUser(ctx context.Context, name string) (user relay.User, token string, created bool, err error) {
	n, err := a.store.CountUsers(ctx)
	if err != nil || n > 0 {
		return relay.User{}, "", false, err
	}
	plain, hash, prefix := NewToken()
	user, _, created, err = a.store.AddFirstUser(ctx, name, "first", hash, prefix)
	if err != nil || !created {
		return relay.User{}, "", false, err
	}
	return user, plain, true, nil
}
