package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// AddSession keeps the session of somebody who has signed in with a token. hash is the
// SHA-256 of the cookie, which the store never sees.
func (s *Store) AddSession(ctx context.Context, tokenID string, hash []byte, expires time.Time) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`delete from sessions where expires <= $1`, millis(s.now())); err != nil {
			return err
		}
		_, err := tx.Exec(`insert into sessions (hash, token_id, created, expires) values ($1, $2, $3, $4)`,
			hexHash(hash), tokenID, millis(s.now()), millis(expires))
		return kind(err)
	})
	if err != nil {
		return fmt.Errorf("add session: %w", err)
	}
	return nil
}

// UserBySession returns whose session that is, the token it began with, and until when
// it lasts. One that nobody has, or that is over, or whose token is gone or has expired,
// is ErrNotFound.
func (s *Store) UserBySession(ctx context.Context, hash []byte) (relay.User, relay.Token, time.Time, error) {
	var (
		u     userRow
		t     tokenRow
		until int64
		now   = millis(s.now())
	)
	err := s.reader.QueryRowContext(ctx, `
		select sessions.expires, `+userColumns+`, `+tokenColumns+`
		from sessions join tokens on tokens.id = sessions.token_id join users on users.id = tokens.user_id
		where sessions.hash = $1 and sessions.expires > $2 and (tokens.expires = 0 or tokens.expires > $2) and not users.disabled`, hexHash(hash), now).
		Scan(append(append([]any{&until}, u.into()...), t.into()...)...)
	var user relay.User
	if err == nil {
		user, err = u.user()
	}
	if err != nil {
		return relay.User{}, relay.Token{}, time.Time{}, fmt.Errorf("session: %w", kind(err))
	}
	return user, t.token(), moment(until), nil
}

// DeleteSession ends a session. One that does not exist is no error.
func (s *Store) DeleteSession(ctx context.Context, hash []byte) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`delete from sessions where hash = $1`, hexHash(hash))
		return err
	})
	if err != nil {
		return fmt.Errorf("delete session: %w", err)
	}
	return nil
}
