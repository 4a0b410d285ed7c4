package cert

import (
	"context"
	"time"
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
	presentKey(ctx context.Context, domain, key string) error
	cleanUpKey(ctx context.Context, domain, key string) error
}

// A settler knows how to wait until the world can see what was presented.
type settler interface {
	settle(ctx context.Context, fqdn string, values []string) error
}

func (k *Keeper) show(ctx context.Context, p proof) error {
	if s, ok := k.o.Solver.(keySolver); ok {
		return s.presentKey(ctx, p.domain, p.key)
	}
	return k.o.Solver.Present(ctx, p.fqdn, p.value)
}

func (k *Keeper) hide(ctx context.Context, p proof) error {
	if s, ok := k.o.Solver.(keySolver); ok {
		return s.cleanUpKey(ctx, p.domain, p.key)
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
