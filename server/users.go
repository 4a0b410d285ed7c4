package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/api"
	"github.com/relaytunnel/relay/server/gate"
)

// auditKept is how long it is known who did what.
const auditKept = 400 * 24 * time.Hour

// usersAPI is what the API calls for users.
func (s *Server) usersAPI() *api.Users {
	return &api.Users{
		List: func(ctx context.Context) ([]relay.User, error) { return s.store.Users(ctx) },
		Show: func(ctx context.Context, name string) (relay.User, error) {
			u, err := s.store.UserByName(ctx, name)
			if err != nil {
				return u, fmt.Errorf("%w: there is no user %s", relay.ErrNotFound, name)
			}
			return u, nil
		},
		Add: s.addUser,
		Change: func(ctx context.Context, u relay.User) error {
			if err := s.store.SetUser(ctx, u); err != nil {
				return lastAdmin(u, err)
			}
			s.traffic.limit(u)
			if u.Disabled {
				s.gate.Kick(func(l gate.Live) bool { return l.UserID == u.ID }, "the user "+u.Name+" was disabled")
			}
			return nil
		},
		Remove: s.removeUser,
	}
}

// addUser makes a user, who holds their own name from the beginning if the rights and
// others allow it.
func (s *Server) addUser(ctx context.Context, name string, admin bool, rights relay.Rights) (relay.User, error) {
	if own, err := relay.ParseName(name); err == nil && relay.Reserved(own) && !admin {
		return relay.User{}, fmt.Errorf("%w: nobody may have the name %s, so that a user of that name is of no use", relay.ErrInvalid, name)
	}
	all, err := s.store.Users(ctx)
	if err != nil {
		return relay.User{}, err
	}
	for _, other := range all {
		if other.Name != name && relay.Name(other.Name).LooksLike(relay.Name(name)) {
			return relay.User{}, fmt.Errorf("%w: the name %s looks like %s, which another user has", relay.ErrTaken, name, other.Name)
		}
	}
	u, err := s.store.AddUserWith(ctx, name, admin, rights)
	if errors.Is(err, relay.ErrTaken) {
		return u, fmt.Errorf("%w: there is a user %s already", relay.ErrTaken, name)
	}
	if err != nil {
		return u, err
	}
	s.traffic.limit(u)
	if own := relay.Name(u.Name); u.MayTake(own) && !s.names.held(own) {
		if err := s.claimFor(ctx, u, own); err != nil {
			s.log.Warn("reserve the name of a new user", "user", u.Name, "err", err)
		}
	}
	return u, nil
}

// lastAdmin says in words for people why the last admin stays.
func lastAdmin(u relay.User, err error) error {
	if errors.Is(err, relay.ErrDenied) {
		return fmt.Errorf("%w: %s is the last admin; make another one first", relay.ErrDenied, u.Name)
	}
	return err
}

// removeUser removes a user with all that is theirs.
func (s *Server) removeUser(ctx context.Context, u relay.User) error {
	names, err := s.store.Names(ctx, u.ID)
	if err != nil {
		return err
	}
	all, err := s.store.Endpoints(ctx)
	if err != nil {
		return err
	}
	if err := s.store.DeleteUser(ctx, u.ID); err != nil {
		return lastAdmin(u, err)
	}
	s.gate.Kick(func(l gate.Live) bool { return l.UserID == u.ID }, "the user "+u.Name+" was removed")
	s.endpointMu.Lock()
	defer s.endpointMu.Unlock()
	for _, e := range all {
		if e.UserID == u.ID {
			s.inbox.Remove(e.ID)
			s.doors.drop(e.Name)
			s.history.Drop(e.Name)
		}
	}
	for _, name := range names {
		s.names.drop(name)
	}
	return s.domains.Load(ctx)
}

// agentsAPI is what the API calls for agents that are connected.
func (s *Server) agentsAPI() *api.Agents {
	return &api.Agents{
		List: func(_ context.Context, user string) ([]api.Agent, error) {
			out := []api.Agent{}
			for _, l := range s.gate.List() {
				if user == "" || l.User == user {
					names := l.Names
					if names == nil {
						names = []string{}
					}
					out = append(out, api.Agent{ID: l.ID, User: l.User, Where: l.Where, Since: l.Since, Names: names})
				}
			}
			return out, nil
		},
		Kick: func(_ context.Context, id string) error {
			if s.gate.Kick(func(l gate.Live) bool { return l.ID == id }, "somebody disconnected it") == 0 {
				return fmt.Errorf("%w: there is no such session", relay.ErrNotFound)
			}
			return nil
		},
	}
}

// auditAPI is what the API calls for the log of who did what.
func (s *Server) auditAPI() *api.Audit {
	return &api.Audit{
		Add: func(ctx context.Context, a relay.Audit) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if err := s.store.AddAudit(ctx, a); err != nil {
				s.log.Error("write the audit log", "action", a.Action, "user", a.Actor, "err", err)
			}
		},
		List: func(ctx context.Context, q relay.AuditQuery) ([]relay.Audit, error) { return s.store.Audit(ctx, q) },
	}
}
