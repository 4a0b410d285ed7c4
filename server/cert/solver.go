package cert

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// cleanUpTime bounds taking records away after an order.
const cleanUpTime = time.Minute

// A DNSSolver puts TXT records into the DNS, to prove that a domain is ours. fqdn
// ends with a dot; several values may be present for it at the same time. When
// Present returns, the record can be seen by the world, or soon will be.
type DNSSolver interface {
	Present(ctx context.Context, fqdn, value string) error
	CleanUp(ctx context.Context, fqdn, value string) error
}

// A keySolver wants what the value is made of, and makes it itself.
type keySolver interface {
	presentKey(ctx context.Context, domain, token, key string) error
	cleanUpKey(ctx context.Context, domain, token, key string) error
}

// A settler knows how to wait until the world can see what was presented.
type settler interface {
	settle(ctx context.Context, fqdn string, values []string) error
}

// solvers are the names that NewSolver knows, and what makes each.
var solvers = []struct {
	name string
	make func(env settings) (DNSSolver, error)
}{
	{"acme-dns", newACMEDNS},
	{"cloudflare", newCloudflare},
	{"digitalocean", newDigitalOcean},
	{"exec", newExec},
	{"gandi", newGandi},
	{"hetzner", newHetzner},
	{"ovh", newOVH},
	{"rfc2136", newRFC2136},
}

// NewSolver returns the solver of that name, with its settings from the
// environment: env is os.Getenv. Its errors say which setting is missing.
func NewSolver(name string, env func(string) string) (DNSSolver, error) {
	var known []string
	for _, s := range solvers {
		if s.name == name {
			return s.make(settings{name, env})
		}
		known = append(known, s.name)
	}
	return nil, fmt.Errorf("%w DNS provider %q; there are %s, and exec runs a program of yours for any other", relay.ErrInvalid, name, strings.Join(known, ", "))
}

// settings reads what a solver needs from the environment.
type settings struct {
	solver string
	env    func(string) string
}

// need returns the value of the first of the variables that is set.
func (s settings) need(what string, names ...string) (string, error) {
	for _, name := range names {
		if v := s.env(name); v != "" {
			return v, nil
		}
	}
	return "", fmt.Errorf("%w: the DNS provider %s needs %s; set the environment variable %s", relay.ErrInvalid, s.solver, what, strings.Join(slices.Compact(names), " or "))
}

func (k *Keeper) show(ctx context.Context, p proof) error {
	if s, ok := k.o.Solver.(keySolver); ok {
		return s.presentKey(ctx, p.domain, p.challenge.Token, p.key)
	}
	return k.o.Solver.Present(ctx, p.fqdn, p.value)
}

func (k *Keeper) hide(ctx context.Context, p proof) error {
	if s, ok := k.o.Solver.(keySolver); ok {
		return s.cleanUpKey(ctx, p.domain, p.challenge.Token, p.key)
	}
	return k.o.Solver.CleanUp(ctx, p.fqdn, p.value)
}

// seen waits until the records can be seen, where the solver does not.
func (k *Keeper) seen(ctx context.Context, proofs []proof) error {
	s, ok := k.o.Solver.(settler)
	if !ok || len(proofs) == 0 {
		return nil
	}
	values := make([]string, len(proofs))
	for i, p := range proofs {
		values[i] = p.value
	}
	return s.settle(ctx, proofs[0].fqdn, values) // all are for the same name
}
