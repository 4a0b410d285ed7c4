package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
)

const (
	// cutRejected is how much of a rejected body is kept: enough to see what it is.
	cutRejected = 64 << 10
	// rejectedRate is how many rejected events an endpoint records in a second.
	// Anybody can send them, and each costs the disk a write.
	rejectedRate = 20
)

// endpoint is one with its defaults filled in and its scheme found. It does not
// change.
type endpoint struct {
	relay.Endpoint
	scheme *signature.Scheme // nil when no sender is named
	verify relay.VerifyMode
}

// compile finds the scheme.
func compile(e relay.Endpoint) (*endpoint, error) {
	if err := e.Settings.Check(); err != nil {
		return nil, err
	}
	c := &endpoint{verify: e.Verifies()}
	switch s := e.Settings; {
	case len(s.Scheme) > 0:
		scheme, err := signature.ParseScheme(s.Scheme)
		if err != nil {
			return nil, fmt.Errorf("%w scheme: %w", relay.ErrInvalid, err)
		}
		c.scheme = &scheme
	case s.Provider != "":
		scheme, ok := signature.Lookup(s.Provider)
		if !ok {
			return nil, fmt.Errorf("%w provider %q: it is not known; describe it with a scheme of your own", relay.ErrInvalid, s.Provider)
		}
		c.scheme = &scheme
	}
	e.Settings = e.Settings.Defaults()
	c.Endpoint = e
	return c, nil
}

// check looks at the signature and finds out what the sender calls the event. It
// answers and returns false when the request is refused.
func (b *Inbox) check(w http.ResponseWriter, a *arrival) bool {
	e, ev := a.endpoint, &a.event
	scheme := e.scheme
	if scheme == nil {
		if guess, ok := signature.Detect(a.signed); ok {
			scheme = &guess
		}
	}
	if scheme != nil {
		ev.Provider = scheme.Name
		ev.ProviderID = signature.EventID(*scheme, a.signed)
		ev.Type = signature.EventType(*scheme, a.signed)
	}
	if e.verify == "" {
		return true
	}
	certErr := b.certify(b.life, e, &a.signed, a.came)
	err := signature.Verify(*e.scheme, e.Secrets.Signing, a.signed, a.came)
	if err == nil {
		ev.Verified = verified
		return true
	}
	ev.Verified = "failed"
	var why *signature.Error
	if errors.As(err, &why) {
		ev.Verified = string(why.Reason)
	}
	if e.verify == relay.VerifyObserve {
		return true
	}
	answer := badSignature
	if why != nil && why.Reason == signature.NoCert && certErr != nil {
		why.Detail = certErr.Error()
		answer = notChecked // it may well be right: the sender is to come again
	}
	b.reject(a, err)
	refuse(w, answer)
	return false
}

// certify fetches the certificate with which the request says it was signed, where
// its sender signs so. Without it the request does not verify (signature.NoCert).
func (b *Inbox) certify(ctx context.Context, e *endpoint, r *signature.Request, at time.Time) error {
	address, domain, ok := e.scheme.CertURL(*r)
	if !ok {
		return nil
	}
	var err error
	r.Signer, err = b.o.Signer(ctx, address, domain, at, func() bool { return b.shelf(e.ID).certs.AllowN(b.o.Now(), 1) })
	if err != nil {
		b.log.Debug("no certificate to verify with", "endpoint", e.Name, "address", address, "err", err)
	}
	return err
}

// verified is the Event.Verified of what was signed right.
const verified = "ok"

// reject records a request that is refused. The sender is refused also where that
// fails.
func (b *Inbox) reject(a *arrival, why error) {
	e := a.endpoint
	a.told(a.event)
	if !b.shelf(e.ID).mayReject(b.o.Now()) {
		b.log.Debug("a rejected event is not recorded, there are too many", "endpoint", e.Name)
		return
	}
	ev := a.event
	ev.State, ev.Reason = relay.EventRejected, why.Error()
	if len(ev.Body) > cutRejected {
		ev.Body, ev.Cut = ev.Body[:cutRejected], true
	}
	if _, err := b.keep(a, relay.NewEvent{Event: ev}); err != nil {
		b.log.Warn("record rejected event", "endpoint", e.Name, "err", err)
	}
}

// handshakes tells whether the endpoint answers the first requests of its sender.
func (e *endpoint) handshakes() bool {
	return e.scheme != nil && e.scheme.Handshake != "" && !e.Settings.NoHandshake
}

// handshake answers a sender that tries the address, agent or not; false when the
// request is none of that kind.
func (b *Inbox) handshake(w http.ResponseWriter, a *arrival) bool {
	e := a.endpoint
	if !e.handshakes() {
		return false
	}
	secrets := e.Secrets.Signing
	if e.scheme.Token {
		secrets = nil
		if e.Secrets.Handshake != "" {
			secrets = []string{e.Secrets.Handshake}
		}
	}
	answer, ok := signature.Handshake(*e.scheme, secrets, a.signed, a.came)
	if !ok {
		return false
	}
	if answer.Secret != "" && !slices.Contains(e.Secrets.Signing, answer.Secret) {
		// Anybody can send such a request. Unless somebody waits for it, it is an
		// event like others.
		if !e.Settings.AwaitSecret || len(e.Secrets.Signing) > 0 {
			return false
		}
		if err := b.learn(e, answer.Secret); err != nil {
			b.log.Error("keep secret of the sender", "endpoint", e.Name, "err", err)
			refuse(w, notKept)
			return true
		}
	}
	h := w.Header()
	for name, values := range answer.Header {
		h[name] = values
	}
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body)
	b.log.Debug("handshake answered", "endpoint", e.Name, "provider", e.scheme.Name, "status", answer.Status)
	return true
}

// learn keeps the secret that the sender has told.
func (b *Inbox) learn(e *endpoint, secret string) error {
	ctx, cancel := storeContext()
	defer cancel()
	now, err := b.store.LearnSecret(ctx, e.ID, secret)
	if err != nil {
		return err
	}
	return b.Set(now)
}

// Sign returns a request as the sender of an endpoint would send it now, with the newest
// secret. An error of kind relay.ErrInvalid says why that cannot be.
func (b *Inbox) Sign(name relay.Name, r signature.Request) (signature.Request, error) {
	b.mu.RLock()
	e := b.byName[name]
	b.mu.RUnlock()
	if e == nil || e.scheme == nil || len(e.Secrets.Signing) == 0 {
		return r, fmt.Errorf("%w: the endpoint %s has no secret to sign with", relay.ErrInvalid, name)
	}
	if local := strings.TrimSuffix(e.Settings.LocalURL, "/"); local != "" {
		if u, err := url.Parse(r.URL); err == nil {
			r.URL = local + u.RequestURI()
		}
	}
	signed, err := signature.Sign(*e.scheme, e.Secrets.Signing[0], r, b.o.Now())
	if err != nil {
		return r, fmt.Errorf("%w: %w", relay.ErrInvalid, err)
	}
	return signed, nil
}

// resign returns the request as the sender would sign it now, if the event was
// signed right when it came and its secret can do it; else as it is. A request
// that was not signed right must not become so here.
func (e *endpoint) resign(ev relay.Event, r signature.Request, now time.Time) signature.Request {
	if ev.Verified != verified || e.scheme == nil || len(e.Secrets.Signing) == 0 || !e.scheme.Fresh() {
		return r
	}
	secret := e.Secrets.Signing[0]
	for _, s := range e.Secrets.Signing {
		original := signature.Request{Method: ev.Method, URL: ev.URL, Header: ev.Header, Body: ev.Body}
		if signature.Verify(*e.scheme, []string{s}, original, ev.Received) == nil {
			secret = s
			break
		}
	}
	signed, err := signature.Sign(*e.scheme, secret, r, now)
	if err != nil || string(signed.Body) != string(r.Body) {
		return r // a signature inside the body has no time: it is still good
	}
	for name, values := range r.Header {
		if !slices.Equal(values, signed.Header[name]) {
			signed.Header["Relay-Original-"+name] = values
		}
	}
	return signed
}
