package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/protocol"
	"github.com/relaytunnel/relay/server/gate"
	"github.com/relaytunnel/relay/server/store"
)

// names are the held names, in memory: every request for a tunnel that is away
// asks for one.
type names struct {
	mu  sync.RWMutex
	all map[relay.Name]string // to the id of the user
}

func (n *names) load(ctx context.Context, st *store.Store) error {
	all, err := st.AllNames(ctx)
	if err != nil {
		return fmt.Errorf("load names: %w", err)
	}
	n.mu.Lock()
	n.all = all
	n.mu.Unlock()
	return nil
}

func (n *names) held(name relay.Name) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	_, ok := n.all[name]
	return ok
}

func (n *names) holder(name relay.Name) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.all[name]
}

// like finds a name of another user that people would take for this one.
func (n *names) like(name relay.Name, user string) (other relay.Name, found bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for held, holder := range n.all {
		if holder != user && held != name && held.LooksLike(name) {
			return held, true
		}
	}
	return "", false
}

// count is how many names a user holds.
func (n *names) count(user string) (all int) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, holder := range n.all {
		if holder == user {
			all++
		}
	}
	return all
}

func (n *names) add(name relay.Name, user string) {
	n.mu.Lock()
	n.all[name] = user
	n.mu.Unlock()
}

func (n *names) drop(name relay.Name) {
	n.mu.Lock()
	delete(n.all, name)
	n.mu.Unlock()
}

// claim decides which name a bind gets, and reserves it for the user. live tells
// whether another agent serves a host just now.
func (s *Server) claim(ctx context.Context, u relay.User, b protocol.Bind, live func(string) bool) (gate.Claimed, error) {
	if strings.ContainsAny(b.HostHeader, " \t\r\n\x00/") || len(b.HostHeader) > 255 {
		return gate.Claimed{}, &protocol.Error{Code: protocol.CodeBadRequest, Bind: b.ID, Message: fmt.Sprintf("The host header %q is not a host.", b.HostHeader)}
	}
	name, err := s.pick(ctx, u, b, live)
	if err != nil {
		return gate.Claimed{}, refusal(b, err)
	}
	if err := s.claimFor(ctx, u, name); err != nil {
		code := protocol.CodeTaken
		switch {
		case errors.Is(err, relay.ErrDenied):
			code = protocol.CodeDenied
		case errors.Is(err, relay.ErrLimit):
			code = protocol.CodeLimit
		case !errors.Is(err, relay.ErrTaken):
			return gate.Claimed{}, err
		}
		return gate.Claimed{}, &protocol.Error{Code: code, Bind: b.ID, Message: plainly(err)}
	}
	if b.Name == "" && b.Hint != "" {
		if old, err := s.store.DefaultName(ctx, u.ID, b.Hint); err != nil || old != name {
			if err := s.store.SetDefaultName(ctx, u.ID, b.Hint, name); err != nil {
				return gate.Claimed{}, fmt.Errorf("remember name: %w", err)
			}
		}
	}
	if c := (change{b.Settings, b.Secrets}); !c.empty() {
		if _, err := s.setEndpoint(ctx, u, name, c, false); err != nil {
			return gate.Claimed{}, refusal(b, err)
		}
	}
	if err := s.certify(ctx, s.hostOf(name)); err != nil {
		return gate.Claimed{}, err
	}
	return gate.Claimed{Name: string(name), Host: s.hostOf(name), URL: s.urlOf(name)}, nil
}

// plainly is the sentence of an error whose kind a code tells.
func plainly(err error) string {
	text := err.Error()
	for _, kind := range []error{relay.ErrDenied, relay.ErrLimit, relay.ErrTaken} {
		text = strings.TrimPrefix(text, kind.Error()+": ")
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func refusal(b protocol.Bind, err error) error {
	if errors.Is(err, relay.ErrInvalid) {
		return &protocol.Error{Code: protocol.CodeBadRequest, Bind: b.ID, Message: strings.TrimSuffix(err.Error(), ".") + "."}
	}
	return err
}

func (s *Server) hostOf(name relay.Name) string { return string(name) + "." + s.c.Domain }

// pick chooses among the names that the user may have.
func (s *Server) pick(ctx context.Context, u relay.User, b protocol.Bind, live func(string) bool) (relay.Name, error) {
	if b.Name != "" {
		name, err := relay.ParseName(strings.ToLower(b.Name))
		if err != nil {
			if len(b.Name) == 1 { // too short by itself, but not with the user's
				return relay.ParseName(strings.ToLower(b.Name) + "-" + u.Name)
			}
			return "", err
		}
		if s.names.holder(name) == u.ID || u.MayTake(name) {
			return name, nil
		}
		return relay.ParseName(string(name) + "-" + u.Name)
	}
	own := relay.Name(u.Name)
	further, err := relay.ParseName(label(b.Hint) + "-" + u.Name)
	if err != nil {
		return "", err
	}
	// The same command gets the same name again; a new one gets the user's own
	// name while no other agent has it.
	candidates := []relay.Name{own, further}
	if last, err := s.store.DefaultName(ctx, u.ID, b.Hint); err == nil {
		candidates = []relay.Name{last, own, further}
	} else if !errors.Is(err, relay.ErrNotFound) {
		return "", fmt.Errorf("default name: %w", err)
	}
	for _, name := range candidates {
		holder := s.names.holder(name)
		if holder != u.ID && (holder != "" || !u.MayTake(name)) || !u.MayUse(name) || live(s.hostOf(name)) {
			continue
		}
		return name, nil
	}
	return further, nil
}

// label makes a part of a name from a hint like "http:8080".
func label(hint string) string {
	_, what, _ := strings.Cut(hint, ":")
	var b strings.Builder
	for _, c := range strings.ToLower(what) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 24 {
			break
		}
	}
	l := strings.Trim(b.String(), "-")
	if l == "" {
		return "app"
	}
	return l
}
