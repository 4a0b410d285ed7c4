package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/policy"
	"github.com/relaytunnel/relay/server/store"
)

// doorkeeper has the doors of all endpoints that have one, in memory: every request
// asks for one.
type doorkeeper struct {
	lists *policy.Lists

	mu    sync.RWMutex
	doors map[relay.Name]*policy.Policy
}

// openDoors reads the doors of all endpoints.
func (s *Server) openDoors(ctx context.Context, st *store.Store) (err error) {
	s.doors.doors = map[relay.Name]*policy.Policy{}
	if s.doors.lists, err = policy.NewLists(policy.ListOptions{Dir: filepath.Join(s.c.DataDir, "ips"), Log: s.log}); err != nil {
		return fmt.Errorf("addresses of senders: %w", err)
	}
	s.doors.lists.Load()
	all, err := st.Endpoints(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if err := s.doors.set(e); err != nil {
			return fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		if e.Secrets.Lost {
			s.log.Warn("the secrets of an endpoint cannot be read with this server key: what needs them is refused until they are given anew", "endpoint", e.Name)
		}
	}
	return nil
}

// check finds what can never be right in an endpoint's door (ErrInvalid).
func (d *doorkeeper) check(e relay.Endpoint) error {
	_, err := policy.Parse(e.Settings.Door, e.Secrets.Door, d.lists)
	return err
}

// set takes the door of an endpoint, in place of the one before.
func (d *doorkeeper) set(e relay.Endpoint) error {
	tokens := e.Secrets.Door
	if e.Secrets.Lost { // nobody has these
		tokens = relay.DoorTokens{}
		for _, place := range e.Settings.Door.RequireToken {
			tokens[place] = []string{rand.Text()}
		}
	}
	p, err := policy.Parse(e.Settings.Door, tokens, d.lists)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p == nil {
		delete(d.doors, e.Name)
		return nil
	}
	p.Follow(d.doors[e.Name])
	d.doors[e.Name] = p
	return nil
}

func (d *doorkeeper) drop(name relay.Name) {
	d.mu.Lock()
	delete(d.doors, name)
	d.mu.Unlock()
}

// of is the door of a name; nil lets everybody in.
func (d *doorkeeper) of(name relay.Name) *policy.Policy {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.doors[name]
}
