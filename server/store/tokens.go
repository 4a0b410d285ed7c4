package store

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

const tokenColumns = `tokens.id, tokens.user_id, tokens.name, tokens.prefix, tokens.created, tokens.last_used, tokens.last_addr, tokens.expires,
	tokens.scopes, tokens.endpoints, tokens.parent`

// AddToken makes a token that is good for all that its user may; see AddTokenWith.
func (s *Store) AddToken(ctx context.Context, userID, name string, hash []byte, prefix string, expires time.Time) (relay.Token, error) {
	return s.AddTokenWith(ctx, relay.Token{UserID: userID, Name: name, Prefix: prefix, Expires: expires}, hash)
}

// AddTokenWith makes a token (ErrNotFound when there is no such user); its id and its
// time are set here. hash is the SHA-256 of the secret, which the store never sees
// (ErrTaken when it is known already). A zero Expires means that it does not expire.
func (s *Store) AddTokenWith(ctx context.Context, t relay.Token, hash []byte) (relay.Token, error) {
	made := s.newToken(t.UserID, t.Name, t.Prefix, t.Expires)
	made.Scopes, made.Endpoints, made.Parent = t.Scopes, t.Endpoints, t.Parent
	err := s.write(ctx, func(tx *sql.Tx) error { return insertToken(tx, made, hash) })
	if err != nil {
		return relay.Token{}, fmt.Errorf("add token %q of user %q: %w", t.Name, t.UserID, err)
	}
	return made, nil
}

// UserByToken returns the owner of the token with that hash, and the token. A
// hash nobody has is ErrNotFound; a token that has expired is ErrDenied.
func (s *Store) UserByToken(ctx context.Context, hash []byte) (relay.User, relay.Token, error) {
	fail := func(err error) (relay.User, relay.Token, error) {
		return relay.User{}, relay.Token{}, fmt.Errorf("token: %w", err)
	}
	var (
		u      userRow
		t      tokenRow
		stored string
		want   = hexHash(hash)
	)
	err := s.reader.QueryRowContext(ctx, `
		select tokens.hash, `+userColumns+`, `+tokenColumns+`
		from tokens join users on users.id = tokens.user_id
		where tokens.hash = $1`, want).
		Scan(append(append([]any{&stored}, u.into()...), t.into()...)...)
	if err != nil {
		return fail(kind(err))
	}
	if subtle.ConstantTimeCompare([]byte(stored), []byte(want)) != 1 {
		return fail(relay.ErrNotFound)
	}
	user, err := u.user()
	if err != nil {
		return fail(err)
	}
	token := t.token()
	switch {
	case user.Disabled:
		return relay.User{}, relay.Token{}, fmt.Errorf("%w: the user %s is disabled", relay.ErrDenied, user.Name)
	case !token.Expires.IsZero() && !s.now().Before(token.Expires):
		return relay.User{}, relay.Token{}, fmt.Errorf("%w: the token %q has expired on %s",
			relay.ErrDenied, token.Name, token.Expires.Format(time.DateOnly))
	}
	return user, token, nil
}

// Tokens returns the tokens of a user, the oldest first.
func (s *Store) Tokens(ctx context.Context, userID string) ([]relay.Token, error) {
	tokens, err := collect(ctx, s.reader, scanToken,
		`select `+tokenColumns+` from tokens where user_id = $1 order by id`, userID)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return tokens, nil
}

// TouchToken remembers when and from which address a token was used last. An
// earlier time than the one remembered changes nothing.
func (s *Store) TouchToken(ctx context.Context, tokenID string, at time.Time, addr string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`update tokens set last_used = $1, last_addr = $2 where id = $3 and last_used < $1`,
			millis(at), addr, tokenID)
		return err
	})
	if err != nil {
		return fmt.Errorf("touch token %q: %w", tokenID, err)
	}
	return nil
}

// DeleteToken removes a token (ErrNotFound). It is refused from then on;
// sessions that began with it go on.
func (s *Store) DeleteToken(ctx context.Context, tokenID string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		return changed(tx.Exec(`delete from tokens where id = $1`, tokenID))
	})
	if err != nil {
		return fmt.Errorf("delete token %q: %w", tokenID, err)
	}
	return nil
}

func (s *Store) newToken(userID, name, prefix string, expires time.Time) relay.Token {
	now := s.now()
	return relay.Token{
		ID: s.ids.next("tok_", now), UserID: userID, Name: name, Prefix: prefix,
		Created: now, Expires: moment(millis(expires)),
	}
}

func insertToken(tx *sql.Tx, t relay.Token, hash []byte) error {
	var scopes []string
	for _, one := range t.Scopes {
		scopes = append(scopes, string(one))
	}
	_, err := tx.Exec(`
		insert into tokens (id, user_id, name, hash, prefix, created, expires, last_used, last_addr, scopes, endpoints, parent)
		values ($1, $2, $3, $4, $5, $6, $7, 0, '', $8, $9, $10)`,
		t.ID, t.UserID, t.Name, hexHash(hash), t.Prefix, millis(t.Created), millis(t.Expires),
		strings.Join(scopes, " "), strings.Join(t.Endpoints, " "), t.Parent)
	return kind(err)
}

func scanToken(r row) (relay.Token, error) {
	var t tokenRow
	if err := r.Scan(t.into()...); err != nil {
		return relay.Token{}, kind(err)
	}
	return t.token(), nil
}

// tokenRow is tokenColumns on their way into a Token.
type tokenRow struct {
	t                      relay.Token
	created, used, expires int64
	scopes, endpoints      string
}

func (r *tokenRow) into() []any {
	return []any{
		&r.t.ID, &r.t.UserID, &r.t.Name, &r.t.Prefix, &r.created, &r.used, &r.t.LastAddr, &r.expires,
		&r.scopes, &r.endpoints, &r.t.Parent,
	}
}

func (r *tokenRow) token() relay.Token {
	t := r.t
	t.Created, t.LastUsed, t.Expires = moment(r.created), moment(r.used), moment(r.expires)
	for _, one := range strings.Fields(r.scopes) {
		t.Scopes = append(t.Scopes, relay.Scope(one))
	}
	if all := strings.Fields(r.endpoints); len(all) > 0 {
		t.Endpoints = all
	}
	return t
}
