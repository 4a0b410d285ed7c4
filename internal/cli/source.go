package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/relaytunnel/relay/client/forward"
	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
)

// source is what the agent has to show.
type source struct {
	*capture.Recorder
	forwards []*forward.Forwarder  // those that are recorded
	signers  map[string][]resigner // by the app's address; several names may lead to one
}

func (w *wiring) source() source {
	s := source{Recorder: w.run.recorder, signers: map[string][]resigner{}}
	for i, t := range w.run.tunnels {
		if !t.inspect { // a replay would not be seen
			continue
		}
		s.forwards = append(s.forwards, w.forwards[i])
		if sign, ok := resignerOf(t); ok {
			s.signers[t.forward.Addr] = append(s.signers[t.forward.Addr], sign)
		}
	}
	return s
}

// Replay sends a request to the app that has had it, or to another that is served here.
func (s source) Replay(ctx context.Context, a capture.Again) (string, error) {
	to := cmp.Or(a.To, a.Upstream)
	for _, f := range s.forwards {
		if f.Addr() != to {
			continue
		}
		if a.Sign {
			if err := s.sign(ctx, to, &a); err != nil {
				return "", err
			}
		}
		return f.Replay(ctx, a)
	}
	return "", fmt.Errorf("%w: no app at %s is served here", relay.ErrNotFound, to)
}

// sign puts a new signature into what is to be sent to an app.
func (s source) sign(ctx context.Context, to string, a *capture.Again) error {
	signers := s.signers[to]
	if len(signers) == 0 {
		return fmt.Errorf("%w: no secret is known to sign with: give --verify and --secret-env to relay http", relay.ErrInvalid)
	}
	signer := signers[0]
	seen, _ := signature.Detect(signature.Request{Header: a.Header})
	if i := slices.IndexFunc(signers, func(r resigner) bool { return r.scheme.Name == seen.Name }); i > 0 {
		signer = signers[i] // of several senders that whose headers it has
	}
	return signer.again(a, s.urlOf(ctx, *a), time.Now())
}

// urlOf is the public address of what is replayed.
func (s source) urlOf(ctx context.Context, a capture.Again) string {
	scheme, host := "https", a.Host
	if x, ok, err := s.Get(ctx, a.Of); err == nil && ok {
		if u, err := url.Parse(x.URL()); err == nil {
			scheme, host = u.Scheme, u.Host
		}
	}
	return scheme + "://" + host + a.Target
}

// Targets are the apps that are served.
func (s source) Targets(context.Context) ([]capture.Target, error) {
	var list []capture.Target
	for _, f := range s.forwards {
		if slices.ContainsFunc(list, func(t capture.Target) bool { return t.ID == f.Addr() }) {
			continue // under another name
		}
		list = append(list, capture.Target{ID: f.Addr(), Name: f.Addr(), Live: true, Signs: len(s.signers[f.Addr()]) > 0})
	}
	return list, nil
}

// resigner signs as the sender of a tunnel does.
type resigner struct {
	scheme signature.Scheme
	secret string
	local  string // by which address the app knows itself, if not by the public one
}

// resignerOf makes the resigner of a tunnel; false when it names no sender, or no secret.
func resignerOf(t tunnel) (resigner, bool) {
	var (
		settings relay.Settings
		secrets  relay.Secrets
	)
	// Both were made from flags or a file that has been checked.
	if len(t.spec.Settings) == 0 || json.Unmarshal(t.spec.Settings, &settings) != nil ||
		len(t.spec.Secrets) == 0 || json.Unmarshal(t.spec.Secrets, &secrets) != nil || len(secrets.Signing) == 0 {
		return resigner{}, false
	}
	s := resigner{secret: secrets.Signing[0], local: settings.LocalURL}
	if len(settings.Scheme) > 0 {
		scheme, err := signature.ParseScheme(settings.Scheme)
		s.scheme = scheme
		return s, err == nil
	}
	scheme, ok := signature.Lookup(settings.Provider)
	s.scheme = scheme
	return s, ok
}

// again puts a new signature into a request.
func (s resigner) again(a *capture.Again, address string, now time.Time) error {
	if s.local != "" {
		if u, err := url.Parse(s.local); err == nil {
			address = u.Scheme + "://" + u.Host + a.Target
		}
	}
	r, err := signature.Sign(s.scheme, s.secret, signature.Request{Method: a.Method, URL: address, Header: a.Header, Body: a.Body}, now)
	if err != nil {
		return fmt.Errorf("%w: %w", relay.ErrInvalid, err)
	}
	a.Header, a.Body = r.Header, r.Body
	if u, err := url.Parse(r.URL); err == nil { // some sign in the query
		a.Target = u.RequestURI()
	}
	return nil
}
