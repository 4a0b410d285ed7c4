package cert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// acmeDNS sets records at an acme-dns server (github.com/joohoi/acme-dns). The
// operator has registered there once, and set a CNAME from _acme-challenge to the
// name that was given. Such a server keeps the last two values and shows them at
// once, so that nothing is waited for or cleaned up.
type acmeDNS struct {
	update    string // URL
	user, key string
	subdomain string
	client    *http.Client
}

func newACMEDNS(env settings) (DNSSolver, error) {
	base, err := env.need("the address of its API", "ACME_DNS_API_BASE")
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%w ACME_DNS_API_BASE %q: give a URL like https://auth.acme-dns.io", relay.ErrInvalid, base)
	}
	s := &acmeDNS{
		update: strings.TrimRight(base, "/") + "/update",
		client: &http.Client{Timeout: 30 * time.Second},
	}
	for _, v := range []struct {
		to        *string
		what, env string
	}{
		{&s.user, "the username from its registration", "ACME_DNS_USERNAME"},
		{&s.key, "the password from its registration", "ACME_DNS_PASSWORD"},
		{&s.subdomain, "the subdomain from its registration", "ACME_DNS_SUBDOMAIN"},
	} {
		if *v.to, err = env.need(v.what, v.env); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *acmeDNS) Present(ctx context.Context, _, value string) error {
	body, err := json.Marshal(map[string]string{"subdomain": s.subdomain, "txt": value})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.update, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-User", s.user)
	req.Header.Set("X-Api-Key", s.key)
	res, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("acme-dns: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(res.Body, maxSaid))
		return fmt.Errorf("acme-dns answers %s: %s", res.Status, bytes.TrimSpace(said))
	}
	return nil
}

func (s *acmeDNS) CleanUp(context.Context, string, string) error { return nil }
