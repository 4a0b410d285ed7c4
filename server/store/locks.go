package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// Lock gives the lock to the owner for the time of the lease, also when the
// owner has it already, or the one who had it has let its lease pass. It returns
// ErrTaken when another owner has it, and does not wait. All processes on the
// store see the same locks.
func (s *Store) Lock(ctx context.Context, name, owner string, lease time.Duration) error {
	now := s.now()
	err := s.write(ctx, func(tx *sql.Tx) error {
		var got string
		err := tx.QueryRow(`
			insert into locks (name, owner, expires) values ($1, $2, $3)
			on conflict (name) do update set owner = excluded.owner, expires = excluded.expires
				where locks.owner = excluded.owner or locks.expires <= $4
			returning owner`, name, owner, millis(now.Add(lease)), millis(now)).Scan(&got)
		if errors.Is(err, sql.ErrNoRows) {
			return relay.ErrTaken
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("lock %q: %w", name, err)
	}
	return nil
}

// Unlock gives the lock back. It does nothing when the owner does not have it,
// or not any more.
func (s *Store) Unlock(ctx context.Context, name, owner string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`delete from locks where name = $1 and owner = $2`, name, owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("unlock %q: %w", name, err)
	}
	return nil
}
