package cert

import (
	"context"

	"github.com/go-acme/lego/v5/challenge"
	"github.com/go-acme/lego/v5/providers/dns/cloudflare"
	"github.com/go-acme/lego/v5/providers/dns/digitalocean"
	"github.com/go-acme/lego/v5/providers/dns/gandiv5"
	"github.com/go-acme/lego/v5/providers/dns/hetzner"
	"github.com/go-acme/lego/v5/providers/dns/ovh"
)

// legoSolver is a provider of lego, which knows the interfaces of DNS hosters.
// It finds the zone and follows a CNAME of _acme-challenge by itself.
type legoSolver struct {
	provider challenge.Provider
	visible
}

func (s *legoSolver) presentKey(ctx context.Context, domain, token, key string) error {
	return s.provider.Present(ctx, domain, token, key)
}

func (s *legoSolver) cleanUpKey(ctx context.Context, domain, token, key string) error {
	return s.provider.CleanUp(ctx, domain, token, key)
}

// Present and CleanUp are not called: a keySolver is asked by the other two.
func (s *legoSolver) Present(context.Context, string, string) error { return errNoKey }
func (s *legoSolver) CleanUp(context.Context, string, string) error { return errNoKey }

func newCloudflare(env settings) (DNSSolver, error) {
	token, err := env.need("an API token with the right to edit the zone's DNS", "CLOUDFLARE_DNS_API_TOKEN", "CF_DNS_API_TOKEN")
	if err != nil {
		return nil, err
	}
	c := cloudflare.NewDefaultConfig()
	c.AuthToken = token
	p, err := cloudflare.NewDNSProviderConfig(c)
	return lego(p, err)
}

func newDigitalOcean(env settings) (DNSSolver, error) {
	token, err := env.need("an API token", "DO_AUTH_TOKEN")
	if err != nil {
		return nil, err
	}
	c := digitalocean.NewDefaultConfig()
	c.AuthToken = token
	p, err := digitalocean.NewDNSProviderConfig(c)
	return lego(p, err)
}

func newGandi(env settings) (DNSSolver, error) {
	token, err := env.need("a personal access token", "GANDIV5_PERSONAL_ACCESS_TOKEN")
	if err != nil {
		return nil, err
	}
	c := gandiv5.NewDefaultConfig()
	c.PersonalAccessToken = token
	p, err := gandiv5.NewDNSProviderConfig(c)
	return lego(p, err)
}

func newHetzner(env settings) (DNSSolver, error) {
	token, err := env.need("an API token of the Hetzner Console", "HETZNER_API_TOKEN")
	if err != nil {
		return nil, err
	}
	c := hetzner.NewDefaultConfig()
	c.APIToken = token
	p, err := hetzner.NewDNSProviderConfig(c)
	return lego(p, err)
}

func newOVH(env settings) (DNSSolver, error) {
	c := ovh.NewDefaultConfig()
	for _, v := range []struct {
		to        *string
		what, env string
	}{
		{&c.APIEndpoint, "the endpoint of its API, like ovh-eu", "OVH_ENDPOINT"},
		{&c.ApplicationKey, "an application key", "OVH_APPLICATION_KEY"},
		{&c.ApplicationSecret, "the secret of the application key", "OVH_APPLICATION_SECRET"},
		{&c.ConsumerKey, "a consumer key", "OVH_CONSUMER_KEY"},
	} {
		var err error
		if *v.to, err = env.need(v.what, v.env); err != nil {
			return nil, err
		}
	}
	p, err := ovh.NewDNSProviderConfig(c)
	return lego(p, err)
}

func lego(p challenge.Provider, err error) (DNSSolver, error) {
	if err != nil {
		return nil, err
	}
	return &legoSolver{p, worldwide()}, nil
}
