package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/relaytunnel/relay/internal/relay"
)

// Reserve gives the name to the user, until Release. It returns nil when the
// user holds it already, ErrTaken when another user does, and ErrNotFound when
// there is no such user. It does not look at relay.Reserved.
func (s *Store) Reserve(ctx context.Context, userID string, name relay.Name) error {
	// An agent that comes back holds its names already: no write for it.
	if owner, err := s.Owner(ctx, name); err == nil && owner == userID {
		return nil
	}
	now := s.now()
	err := s.write(ctx, func(tx *sql.Tx) error {
		var owner string
		// The update changes nothing; it is there to return the owner.
		err := tx.QueryRow(`
			insert into names (name, user_id, created) values ($1, $2, $3)
			on conflict (name) do update set name = excluded.name
			returning user_id`, string(name), userID, millis(now)).Scan(&owner)
		if err != nil {
			return kind(err)
		}
		if owner != userID {
			return relay.ErrTaken
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reserve name %q: %w", name, err)
	}
	return nil
}

// Release gives the name back, and forgets it as a default of the user. It
// returns ErrNotFound when this user does not hold it.
func (s *Store) Release(ctx context.Context, userID string, name relay.Name) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		if err := changed(tx.Exec(`delete from names where name = $1 and user_id = $2`, string(name), userID)); err != nil {
			return err
		}
		_, err := tx.Exec(`delete from default_names where name = $1 and user_id = $2`, string(name), userID)
		return err
	})
	if err != nil {
		return fmt.Errorf("release name %q: %w", name, err)
	}
	return nil
}

// Owner returns the id of the user who holds the name (ErrNotFound).
func (s *Store) Owner(ctx context.Context, name relay.Name) (userID string, err error) {
	err = s.reader.QueryRowContext(ctx, `select user_id from names where name = $1`, string(name)).Scan(&userID)
	if err != nil {
		return "", fmt.Errorf("owner of name %q: %w", name, kind(err))
	}
	return userID, nil
}

// Names returns the names that the user holds, in their order.
func (s *Store) Names(ctx context.Context, userID string) ([]relay.Name, error) {
	names, err := collect(ctx, s.reader, func(r row) (n relay.Name, err error) {
		err = r.Scan(&n)
		return n, err
	}, `select name from names where user_id = $1 order by name`, userID)
	if err != nil {
		return nil, fmt.Errorf("list names: %w", err)
	}
	return names, nil
}

// AllNames returns the owner of every name that is held.
func (s *Store) AllNames(ctx context.Context) (map[relay.Name]string, error) {
	type held struct {
		name   relay.Name
		userID string
	}
	rows, err := collect(ctx, s.reader, func(r row) (h held, err error) {
		err = r.Scan(&h.name, &h.userID)
		return h, err
	}, `select name, user_id from names`)
	if err != nil {
		return nil, fmt.Errorf("list all names: %w", err)
	}
	owners := make(map[relay.Name]string, len(rows))
	for _, h := range rows {
		owners[h.name] = h.userID
	}
	return owners, nil
}

// DefaultName returns the name that the same command of the user got last
// time (ErrNotFound). hint says what the same command is, like "http:8080".
// The name may have gone to another user since.
func (s *Store) DefaultName(ctx context.Context, userID, hint string) (relay.Name, error) {
	var n relay.Name
	err := s.reader.QueryRowContext(ctx,
		`select name from default_names where user_id = $1 and hint = $2`, userID, hint).Scan(&n)
	if err != nil {
		return "", fmt.Errorf("default name for %q: %w", hint, kind(err))
	}
	return n, nil
}

// SetDefaultName remembers the name for DefaultName (ErrNotFound when there is
// no such user).
func (s *Store) SetDefaultName(ctx context.Context, userID, hint string, name relay.Name) error {
	if known, err := s.DefaultName(ctx, userID, hint); err == nil && known == name {
		return nil
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`
			insert into default_names (user_id, hint, name) values ($1, $2, $3)
			on conflict (user_id, hint) do update set name = excluded.name`, userID, hint, string(name))
		return kind(err)
	})
	if err != nil {
		return fmt.Errorf("set default name for %q: %w", hint, err)
	}
	return nil
}
