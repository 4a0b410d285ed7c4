package cert

import (
	"context"
	"time"
)

// Hurry makes the Keeper retry, and look at files, at the pace of a test.
func (k *Keeper) Hurry(first, files time.Duration) {
	k.policy.first, k.policy.files = first, files
}

// Known is how many hosts are in memory.
func (k *Keeper) Known() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.hosts)
}

// SeeAt makes a solver that looks at name servers look at these.
func SeeAt(s DNSSolver, most time.Duration, servers ...string) {
	v := visible{
		servers: func(context.Context, string) ([]string, error) { return servers, nil },
		every:   10 * time.Millisecond,
		most:    most,
		blind:   time.Millisecond,
	}
	switch s := s.(type) {
	case *dynamicDNS:
		s.visible = v
	case *legoSolver:
		s.visible = v
	}
}

// Settle waits until the servers show the values.
func Settle(ctx context.Context, most time.Duration, servers []string, fqdn string, values ...string) error {
	s := &dynamicDNS{}
	SeeAt(s, most, servers...)
	return s.settle(ctx, fqdn, values)
}
