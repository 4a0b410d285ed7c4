package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// SessionLasts is how long somebody stays signed in on the dashboard.
const SessionLasts = 7 * 24 * time.Hour

// maxCookie is longer than any cookie of ours.
const maxCookie = 64

// Session is somebody who is signed in.
type Session struct {
	User    relay.User
	Token   relay.Token // with which it began, and ends
	Expires time.Time
}

// SignIn begins a session for the owner of a token. It fails as Token does. cookie is
// the secret that stands for the session; it is kept nowhere.
func (a *Auth) SignIn(ctx context.Context, plain string, from netip.Addr) (cookie string, s Session, err error) {
	if s.User, s.Token, err = a.Token(ctx, plain, from); err != nil {
		return "", Session{}, err
	}
	s.Expires = a.now().Add(SessionLasts)
	if ends := s.Token.Expires; !ends.IsZero() && ends.Before(s.Expires) {
		s.Expires = ends
	}
	cookie = rand.Text() + rand.Text() // 256 bits and more
	if err := a.store.AddSession(ctx, s.Token.ID, Hash(cookie), s.Expires); err != nil {
		return "", Session{}, err
	}
	return cookie, s, nil
}

// Session returns who is signed in with a cookie. ErrDenied means that nobody is (any
// more).
func (a *Auth) Session(ctx context.Context, cookie string, from netip.Addr) (s Session, err error) {
	if len(cookie) > maxCookie {
		cookie = ""
	}
	s.User, s.Token, s.Expires, err = a.store.UserBySession(ctx, Hash(cookie))
	switch {
	case errors.Is(err, relay.ErrNotFound):
		return Session{}, fmt.Errorf("%w: you are not signed in, or not any more", relay.ErrDenied)
	case err != nil:
		return Session{}, err
	}
	a.touch(ctx, s.Token, a.now(), from)
	return s, nil
}

// SignOut ends the session of a cookie. One that does not exist is no error.
func (a *Auth) SignOut(ctx context.Context, cookie string) error {
	return a.store.DeleteSession(ctx, Hash(cookie))
}

// AddToken makes a token as t describes it. plain is the secret, which cannot be shown
// again.
func (a *Auth) AddToken(ctx context.Context, t relay.Token) (plain string, made relay.Token, err error) {
	plain, hash, prefix := NewToken()
	t.Prefix = prefix
	if made, err = a.store.AddTokenWith(ctx, t, hash); err != nil {
		return "", relay.Token{}, err
	}
	return plain, made, nil
}
