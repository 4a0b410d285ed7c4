package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/api"
	"github.com/relaytunnel/relay/server/domain"
	"github.com/relaytunnel/relay/server/store"
)

// openDomains reads the hosts of users' own.
func (s *Server) openDomains(ctx context.Context, st *store.Store) error {
	s.domains = domain.New(domain.Options{
		Store: st, Domain: s.c.Domain, Addrs: s.c.PublicIPs, Holder: s.names.holder, Claim: s.claimFor, Log: s.log,
		Active: func(host string) {
			if s.certs == nil {
				return
			}
			go func() { // it does not wait: the order goes on in the room cert
				ctx, cancel := context.WithTimeout(context.Background(), certifyWithin)
				defer cancel()
				_ = s.certs.Prepare(ctx, host) // the room logs what fails
			}()
		},
	})
	return s.domains.Load(ctx)
}

// claimFor makes sure that a user holds a name, by the rules of binds.
func (s *Server) claimFor(ctx context.Context, u relay.User, name relay.Name) error {
	holder := s.names.holder(name)
	r := u.Rights.Defaults(u.Name)
	switch {
	case !u.MayUse(name):
		return fmt.Errorf("%w: your token is for the names %s, and not for %s", relay.ErrDenied, strings.Join(u.Only, ", "), name)
	case holder == u.ID:
		return nil
	case holder != "":
		return fmt.Errorf("%w: the name %s belongs to another user; choose another with --name", relay.ErrTaken, name)
	case relay.Reserved(name):
		return fmt.Errorf("%w: nobody may have the name %s: it is kept, or looks like one that is", relay.ErrDenied, name)
	case !u.MayTake(name):
		return fmt.Errorf("%w: you may take the names %s, and not %s", relay.ErrDenied, strings.Join(r.Names, ", "), name)
	}
	if other, found := s.names.like(name, u.ID); found {
		return fmt.Errorf("%w: the name %s looks like %s, which belongs to another user; choose another with --name", relay.ErrTaken, name, other)
	}
	if n := s.names.count(u.ID); n >= r.Endpoints {
		return fmt.Errorf("%w: you hold %d names, and %d are the most; give one back with relay endpoint release", relay.ErrLimit, n, r.Endpoints)
	}
	if err := s.store.Reserve(ctx, u.ID, name); err != nil {
		if errors.Is(err, relay.ErrTaken) {
			return fmt.Errorf("%w: the name %s belongs to another user; choose another with --name", relay.ErrTaken, name)
		}
		return err
	}
	s.names.add(name, u.ID)
	return nil
}

// nameOf gives the name that a host leads to: one below the base domain, or what the
// owner of a domain has said. ok is false when it is neither, or nobody holds it.
func (s *Server) nameOf(host string) (name relay.Name, ok bool) {
	if label, base, _ := strings.Cut(host, "."); base == s.c.Domain {
		name = relay.Name(label)
		return name, s.names.held(name)
	}
	return s.domains.Find(host)
}

// domainsAPI is what the API calls for domains.
func (s *Server) domainsAPI() *api.Domains {
	show := func(ctx context.Context, d relay.Domain) (api.Domain, error) {
		setup, err := s.domains.Setup(ctx, d)
		if err != nil {
			return api.Domain{}, unasked(err)
		}
		out := api.Domain{
			Host: d.Host, Name: string(d.Name), State: string(d.State), Reason: d.Reason, URL: s.schemeOf() + "://" + d.Host,
			Checked: some(d.Checked), Dropped: some(domain.Dropped(d)),
		}
		for _, r := range setup.CNAME {
			out.CNAME = append(out.CNAME, api.Record(r))
		}
		for _, r := range setup.TXT {
			out.TXT = append(out.TXT, api.Record(r))
		}
		return out, nil
	}
	return &api.Domains{
		Add: func(ctx context.Context, u relay.User, host, name string) (api.Domain, error) {
			if err := s.mayAddDomain(ctx, u, host); err != nil {
				return api.Domain{}, err
			}
			d, err := s.domains.Add(ctx, u, host, relay.Name(strings.ToLower(name)))
			if err != nil {
				return api.Domain{}, err
			}
			return show(ctx, d)
		},
		Verify: func(ctx context.Context, u relay.User, host string) (api.Domain, error) {
			d, err := s.domains.Verify(ctx, u, host)
			if err != nil {
				return api.Domain{}, unasked(err)
			}
			return show(ctx, d)
		},
		List: func(ctx context.Context, u relay.User) ([]api.Domain, error) {
			all, err := s.domains.List(ctx, u)
			if err != nil {
				return nil, err
			}
			out := make([]api.Domain, 0, len(all))
			for _, d := range all {
				one, err := show(ctx, d)
				if err != nil {
					return nil, err
				}
				out = append(out, one)
			}
			return out, nil
		},
		Remove: func(ctx context.Context, u relay.User, host string) error { return s.domains.Remove(ctx, u, host) },
	}
}

// mayAddDomain bounds how many domains a user has.
func (s *Server) mayAddDomain(ctx context.Context, u relay.User, host string) error {
	most := u.Rights.Defaults(u.Name).Domains
	if most < 0 {
		return fmt.Errorf("%w: you may have no domains of your own", relay.ErrDenied)
	}
	all, err := s.domains.List(ctx, u)
	if err != nil {
		return err
	}
	if len(all) >= most && !slices.ContainsFunc(all, func(d relay.Domain) bool { return strings.EqualFold(d.Host, host) }) {
		return fmt.Errorf("%w: you have %d domains, and %d are the most", relay.ErrLimit, len(all), most)
	}
	return nil
}

// unasked makes a sentence of a DNS that could not be asked.
func unasked(err error) error {
	var d *net.DNSError
	if errors.As(err, &d) {
		return fmt.Errorf("%w: DNS could not be asked for %s (%s); try again in a minute", relay.ErrOffline, d.Name, d.Err)
	}
	return err
}

// schemeOf is how visitors reach the server.
func (s *Server) schemeOf() string { return s.public.Scheme }
