package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// A Resume lets an agent that was cut off take its session back once.
type Resume struct {
	Hash      []byte    // SHA-256 of the secret that the agent has
	UserID    string    // whose agent it is
	AgentID   string    // which agent
	SessionID string    // which session it takes over
	Expires   time.Time // kept to the millisecond
}

// SaveResume keeps r in place of what was kept for the same session. It
// returns ErrNotFound when there is no such user, and ErrTaken when another
// session has the same hash.
func (s *Store) SaveResume(ctx context.Context, r Resume) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`
			insert into resumes (session_id, hash, user_id, agent_id, expires) values ($1, $2, $3, $4, $5)
			on conflict (session_id) do update set
				hash = excluded.hash, user_id = excluded.user_id, agent_id = excluded.agent_id, expires = excluded.expires`,
			r.SessionID, hexHash(r.Hash), r.UserID, r.AgentID, millis(r.Expires))
		return kind(err)
	})
	if err != nil {
		return fmt.Errorf("save resume of session %q: %w", r.SessionID, err)
	}
	return nil
}

// TakeResume removes the resume with that hash and returns it. Of several
// callers at the same time one gets it. It returns ErrNotFound when there is
// none, or it has expired by now.
func (s *Store) TakeResume(ctx context.Context, hash []byte, now time.Time) (Resume, error) {
	r := Resume{Hash: append([]byte(nil), hash...)}
	var expires int64
	err := s.write(ctx, func(tx *sql.Tx) error {
		return kind(tx.QueryRow(`
			delete from resumes where hash = $1
			returning user_id, agent_id, session_id, expires`, hexHash(hash)).
			Scan(&r.UserID, &r.AgentID, &r.SessionID, &expires))
	})
	r.Expires = moment(expires)
	if err == nil && !now.Before(r.Expires) {
		err = relay.ErrNotFound
	}
	if err != nil {
		return Resume{}, fmt.Errorf("take resume: %w", err)
	}
	return r, nil
}

// PurgeResumes removes those that have expired by now.
func (s *Store) PurgeResumes(ctx context.Context, now time.Time) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`delete from resumes where expires <= $1`, millis(now))
		return err
	})
	if err != nil {
		return fmt.Errorf("purge resumes: %w", err)
	}
	return nil
}
