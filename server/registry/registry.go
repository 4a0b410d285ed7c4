// Package registry knows which tunnels are live on this node, finds one by its
// public host, and carries a request into it.
package registry

import (
	"context"
	"sync"
	"time"
)

// Registry is the set of live tunnels. The zero value is empty and ready.
type Registry struct {
	mu      sync.RWMutex
	tunnels map[string]*Tunnel
	left    map[string]time.Time       // hosts whose tunnel went, and when
	wake    map[string]*waiters        // of hosts that requests wait for
	watch   map[chan struct{}]struct{} // signalled at every change
}

// keepLeft is how long the registry remembers that a host was live.
const keepLeft = 10 * time.Minute

// Add makes t live under its host. When another tunnel is live there, mayReplace
// decides; it is called with the registry locked and must not block. ok is false
// when the other one stays; old is that other one, replaced or not. remove takes
// t away again, and nothing when t has been replaced; back tells whether it may
// be back in a moment.
func (r *Registry) Add(t *Tunnel, mayReplace func(old *Tunnel) bool) (remove func(back bool), old *Tunnel, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tunnels == nil {
		r.tunnels = map[string]*Tunnel{}
		r.left = map[string]time.Time{}
	}
	old = r.tunnels[t.Host]
	if old != nil && !mayReplace(old) {
		return nil, old, false
	}
	r.tunnels[t.Host] = t
	delete(r.left, t.Host)
	if w := r.wake[t.Host]; w != nil {
		close(w.live)
		delete(r.wake, t.Host)
	}
	r.changed()
	return func(back bool) { r.remove(t, back) }, old, true
}

func (r *Registry) remove(t *Tunnel, back bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tunnels[t.Host] != t {
		return
	}
	delete(r.tunnels, t.Host)
	now := time.Now()
	for host, at := range r.left {
		if now.Sub(at) > keepLeft {
			delete(r.left, host)
		}
	}
	if back {
		r.left[t.Host] = now
	}
	r.changed()
}

func (r *Registry) changed() {
	for c := range r.watch {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Find returns the live tunnel of a host.
func (r *Registry) Find(host string) (*Tunnel, bool) {
	r.mu.RLock()
	t := r.tunnels[host]
	r.mu.RUnlock()
	return t, t != nil
}

// Left tells how long ago the host's tunnel went; ok is false when it is live or
// was not live lately.
func (r *Registry) Left(host string) (ago time.Duration, ok bool) {
	r.mu.RLock()
	at, ok := r.left[host]
	r.mu.RUnlock()
	return time.Since(at), ok
}

// waiters are the requests that wait for a host.
type waiters struct {
	live chan struct{} // closed when the host comes live
	n    int
}

// Await waits until the host has a live tunnel other than not, or ctx ends.
func (r *Registry) Await(ctx context.Context, host string, not *Tunnel) (*Tunnel, error) {
	for {
		r.mu.Lock()
		if t := r.tunnels[host]; t != nil && t != not {
			r.mu.Unlock()
			return t, nil
		}
		w := r.wake[host]
		if w == nil {
			w = &waiters{live: make(chan struct{})}
			if r.wake == nil {
				r.wake = map[string]*waiters{}
			}
			r.wake[host] = w
		}
		w.n++
		r.mu.Unlock()
		select {
		case <-w.live:
		case <-ctx.Done():
			r.mu.Lock()
			if w.n--; w.n == 0 && r.wake[host] == w {
				delete(r.wake, host) // nobody waits any more: do not remember every host asked for
			}
			r.mu.Unlock()
			return nil, ctx.Err()
		}
	}
}

// Watch returns a channel that is signalled after every change, and a function
// that ends that.
func (r *Registry) Watch() (changes <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watch == nil {
		r.watch = map[chan struct{}]struct{}{}
	}
	r.watch[c] = struct{}{}
	return c, func() {
		r.mu.Lock()
		delete(r.watch, c)
		r.mu.Unlock()
	}
}

// Snapshot lists the live tunnels, in no order.
func (r *Registry) Snapshot() []*Tunnel {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*Tunnel, 0, len(r.tunnels))
	for _, t := range r.tunnels {
		all = append(all, t)
	}
	return all
}
