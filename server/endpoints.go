package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/protocol"
	"github.com/relaytunnel/relay/server/api"
	"github.com/relaytunnel/relay/server/webhook"
)

// change is what somebody says of an endpoint: JSON of relay.Settings and
// relay.Secrets. What it does not mention stays as it is.
type change struct{ settings, secrets json.RawMessage }

func (c change) empty() bool { return len(c.settings) == 0 && len(c.secrets) == 0 }

// into makes the change. A field that is not known is an error, not a setting that
// does nothing.
func (c change) into(e *relay.Endpoint) error {
	for _, part := range []struct {
		text json.RawMessage
		to   any
		what string
	}{{c.settings, &e.Settings, "settings"}, {c.secrets, &e.Secrets, "secrets"}} {
		if len(part.text) == 0 {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(part.text))
		d.DisallowUnknownFields()
		if err := d.Decode(part.to); err != nil {
			// Its text may repeat a value, and values of secrets are secret.
			if part.what == "secrets" {
				return fmt.Errorf("%w secrets: give signing (a list of texts), handshake (a text) and door (lists of texts by place)", relay.ErrInvalid)
			}
			return fmt.Errorf("%w settings: %s", relay.ErrInvalid, strings.TrimPrefix(err.Error(), "json: "))
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return fmt.Errorf("%w %s: there is something behind them", relay.ErrInvalid, part.what)
		}
	}
	c.agree(e)
	if e.Secrets.Lost { // tokens of the door that are wanted and not there are refused like always
		if e.Verifies() == relay.VerifyEnforce && len(e.Secrets.Signing) == 0 && !e.Settings.AwaitSecret {
			return fmt.Errorf("%w: the secrets of %s were lost with the server key; give that of its sender together with the change, or say that its signatures are not checked", relay.ErrInvalid, e.Name)
		}
		e.Secrets.Lost = false
	}
	if err := e.Settings.Check(); err != nil {
		return err
	}
	return webhook.Check(*e)
}

// agree settles what a change means for what it does not mention: who names a sender
// wants no scheme of their own any more, and an inbox, before which signatures are
// checked.
func (c change) agree(e *relay.Endpoint) {
	var said map[string]json.RawMessage
	_ = json.Unmarshal(c.settings, &said) // into has read it
	s := &e.Settings
	_, scheme := said["scheme"]
	_, provider := said["provider"]
	if string(s.Scheme) == "null" || provider && !scheme {
		s.Scheme = nil
	}
	if _, inbox := said["inbox"]; (provider || scheme) && !inbox && s.Defaults().Inbox == relay.InboxOff && (s.Provider != "" || s.Scheme != nil) {
		s.Inbox = relay.InboxFallback
	}
}

// put makes a kept endpoint work as it says.
func (s *Server) put(e relay.Endpoint) error {
	if err := s.doors.set(e); err != nil {
		return err
	}
	s.history.Set(e)
	return s.inbox.Set(e)
}

// ownName is the name that a user means.
func (s *Server) ownName(u relay.User, given string) (relay.Name, error) {
	if given == "" {
		given = u.Name
	}
	name, err := s.pick(context.Background(), u, protocol.Bind{Name: given}, nil)
	if err != nil {
		return "", err
	}
	if !u.MayUse(name) {
		return "", fmt.Errorf("%w: your token is for the names %s, and not for %s", relay.ErrDenied, strings.Join(u.Only, ", "), name)
	}
	return name, nil
}

// setEndpoint changes the endpoint of a name that the user holds, and makes it if
// there is none. fresh refuses one that exists.
func (s *Server) setEndpoint(ctx context.Context, u relay.User, name relay.Name, c change, fresh bool) (relay.Endpoint, error) {
	s.endpointMu.Lock()
	defer s.endpointMu.Unlock()
	e, err := s.store.EndpointByName(ctx, name)
	switch {
	case errors.Is(err, relay.ErrNotFound):
		e = relay.Endpoint{UserID: u.ID, Name: name}
		if err := c.into(&e); err != nil {
			return relay.Endpoint{}, err
		}
		if err := s.doors.check(e); err != nil {
			return relay.Endpoint{}, err
		}
		if e, err = s.store.AddEndpoint(ctx, u.ID, name, e.Settings, e.Secrets); err != nil {
			return relay.Endpoint{}, err
		}
		return e, s.put(e)
	case err != nil:
		return relay.Endpoint{}, err
	case e.UserID != u.ID:
		return relay.Endpoint{}, fmt.Errorf("%w: the endpoint %s belongs to another user", relay.ErrTaken, name)
	case fresh:
		return relay.Endpoint{}, fmt.Errorf("%w: the endpoint %s exists; change it with relay endpoint set", relay.ErrTaken, name)
	}
	if err := c.into(&e); err != nil {
		return relay.Endpoint{}, err
	}
	if err := s.doors.check(e); err != nil {
		return relay.Endpoint{}, err
	}
	if err := s.store.SetEndpoint(ctx, e); err != nil {
		return relay.Endpoint{}, err
	}
	return e, s.put(e)
}

// ownEndpoint finds an endpoint of the user.
func (s *Server) ownEndpoint(ctx context.Context, u relay.User, given string) (relay.Endpoint, error) {
	name, err := s.ownName(u, given)
	if err != nil {
		return relay.Endpoint{}, err
	}
	e, err := s.store.EndpointByName(ctx, name)
	if errors.Is(err, relay.ErrNotFound) || err == nil && e.UserID != u.ID {
		return relay.Endpoint{}, fmt.Errorf("%w: you have no endpoint %s", relay.ErrNotFound, name)
	}
	return e, err
}

// endpointsAPI is what the API calls for endpoints.
func (s *Server) endpointsAPI() *api.Endpoints {
	return &api.Endpoints{
		Create: func(ctx context.Context, u relay.User, in api.EndpointChange) (api.Endpoint, error) {
			name, err := s.ownName(u, in.Name)
			if err != nil {
				return api.Endpoint{}, err
			}
			if err := s.claimFor(ctx, u, name); err != nil {
				return api.Endpoint{}, err
			}
			e, err := s.setEndpoint(ctx, u, name, change{in.Settings, in.Secrets}, true)
			if err != nil {
				return api.Endpoint{}, err
			}
			if err := s.certify(ctx, s.hostOf(name)); err != nil {
				return api.Endpoint{}, err
			}
			return s.showEndpoint(ctx, e)
		},
		Change: func(ctx context.Context, u relay.User, name string, in api.EndpointChange) (api.Endpoint, error) {
			e, err := s.ownEndpoint(ctx, u, name)
			if err != nil {
				return api.Endpoint{}, err
			}
			if e, err = s.setEndpoint(ctx, u, e.Name, change{in.Settings, in.Secrets}, false); err != nil {
				return api.Endpoint{}, err
			}
			return s.showEndpoint(ctx, e)
		},
		Show: func(ctx context.Context, u relay.User, name string) (api.Endpoint, error) {
			e, err := s.ownEndpoint(ctx, u, name)
			if err != nil {
				return api.Endpoint{}, err
			}
			return s.showEndpoint(ctx, e)
		},
		List: func(ctx context.Context, u relay.User) ([]api.Endpoint, error) {
			return s.listEndpoints(ctx, u)
		},
		Release: func(ctx context.Context, u relay.User, given string) error { return s.releaseName(ctx, u, given) },
	}
}

// listEndpoints lists the names that the user holds, with their settings if they
// have any.
func (s *Server) listEndpoints(ctx context.Context, u relay.User) ([]api.Endpoint, error) {
	names, err := s.store.Names(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	all, err := s.store.Endpoints(ctx)
	if err != nil {
		return nil, err
	}
	var out []api.Endpoint
	for _, name := range names {
		if !u.MayUse(name) {
			continue
		}
		e := relay.Endpoint{Name: name, UserID: u.ID}
		if i := slices.IndexFunc(all, func(e relay.Endpoint) bool { return e.Name == name && e.UserID == u.ID }); i >= 0 {
			e = all[i]
		}
		one, err := s.showEndpoint(ctx, e)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// showEndpoint tells of an endpoint all but its secrets.
func (s *Server) showEndpoint(ctx context.Context, e relay.Endpoint) (api.Endpoint, error) {
	out := api.Endpoint{
		Name: string(e.Name), URL: s.urlOf(e.Name), Settings: e.Settings, Effective: e.Settings.Defaults(), Created: some(e.Created),
		Secrets: len(e.Secrets.Signing), Handshake: e.Secrets.Handshake != "", Verify: string(e.Verifies()),
		SecretsLost: e.Secrets.Lost,
	}
	if t, ok := s.registry.Find(s.hostOf(e.Name)); ok {
		out.Agent = t.Where
	}
	if e.ID == "" {
		return out, nil
	}
	usage, err := s.store.Usage(ctx, e.ID)
	if err != nil {
		return out, err
	}
	out.Kept = api.Usage{Events: usage.Events, Pending: usage.Pending, Dead: usage.Dead, Bytes: usage.Bytes}
	return out, nil
}

// releaseName gives a name back, with its endpoint and all that this has kept.
func (s *Server) releaseName(ctx context.Context, u relay.User, given string) error {
	name, err := s.ownName(u, given)
	if err != nil {
		return err
	}
	if s.names.holder(name) != u.ID {
		return fmt.Errorf("%w: you do not hold the name %s", relay.ErrNotFound, name)
	}
	if t, ok := s.registry.Find(s.hostOf(name)); ok {
		return fmt.Errorf("%w: your agent on %s serves %s; stop it first", relay.ErrTaken, t.Where, name)
	}
	s.endpointMu.Lock()
	defer s.endpointMu.Unlock()
	if e, err := s.store.EndpointByName(ctx, name); err == nil && e.UserID == u.ID {
		s.inbox.Remove(e.ID)
		s.doors.drop(name)
		s.history.Drop(name)
		if err := s.store.DeleteEndpoint(ctx, e.ID); err != nil {
			return err
		}
	} else if err != nil && !errors.Is(err, relay.ErrNotFound) {
		return err
	}
	if err := s.store.Release(ctx, u.ID, name); err != nil {
		return err
	}
	s.names.drop(name)
	return nil
}
