package store

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

const tokenColumns = `tokens.id, tokens.user_id, tokens.name, tokens.prefix, tokens.created, tokens.last_used, tokens.last_addr, tokens.expires`

// AddToken makes a token of a user (ErrNotFound when there is no such user).
// hash is the SHA-256 of the secret, which the store never sees (ErrTaken when
// it is known already). A zero expires means that the token does not expire.
func (s *Store) AddToken(ctx context.Context, userID, name string, hash []byte, prefix string, expires time.Time) (relay.Token, error) {
	t := s.newToken(userID, name, prefix, expires)
	err := s.write(ctx, func(tx *sql.Tx) error { return insertToken(tx, t, hash) })
	if err != nil {
		return relay.Token{}, fmt.Errorf("add token %q of user %q: %w", name, userID, err)
	}
	return t, nil
}

// UserByToken returns the owner of the token with that hash, and the token. A
// hash nobody has is ErrNotFound; a token that has expired is ErrDenied.
func (s *Store) UserByToken(ctx context.Context, hash []byte) (relay.User, relay.Token, error) {
	var (
		u                 relay.User
		t                 relay.Token
		stored            string
		userCreated       int64
		created, used, ex int64
		want              = hexHash(hash)
	)
	err := s.reader.QueryRowContext(ctx, `
		select users.id, users.name, users.admin, users.created, tokens.hash, `+tokenColumns+`
		from tokens join users on users.id = tokens.user_id
		where tokens.hash = $1`, want).
		Scan(&u.ID, &u.Name, &u.Admin, &userCreated, &stored,
			&t.ID, &t.UserID, &t.Name, &t.Prefix, &created, &used, &t.LastAddr, &ex)
	if err != nil {
		return relay.User{}, relay.Token{}, fmt.Errorf("token: %w", kind(err))
	}
	if subtle.ConstantTimeCompare([]byte(stored), []byte(want)) != 1 {
		return relay.User{}, relay.Token{}, fmt.Errorf("token: %w", relay.ErrNotFound)
	}
	u.Created = moment(userCreated)
	t.Created, t.LastUsed, t.Expires = moment(created), moment(used), moment(ex)
	if !t.Expires.IsZero() && !s.now().Before(t.Expires) {
		return relay.User{}, relay.Token{}, fmt.Errorf("%w: the token %q has expired on %s",
			relay.ErrDenied, t.Name, t.Expires.Format(time.DateOnly))
	}
	return u, t, nil
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
	_, err := tx.Exec(`
		insert into tokens (id, user_id, name, hash, prefix, created, expires, last_used, last_addr)
		values ($1, $2, $3, $4, $5, $6, $7, 0, '')`,
		t.ID, t.UserID, t.Name, hexHash(hash), t.Prefix, millis(t.Created), millis(t.Expires))
	return kind(err)
}

func scanToken(r row) (relay.Token, error) {
	var t relay.Token
	var created, used, expires int64
	err := r.Scan(&t.ID, &t.UserID, &t.Name, &t.Prefix, &created, &used, &t.LastAddr, &expires)
	t.Created, t.LastUsed, t.Expires = moment(created), moment(used), moment(expires)
	return t, kind(err)
}
