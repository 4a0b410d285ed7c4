package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// AddAudit keeps what somebody did; its id is set here. Nothing changes it afterwards but
// PurgeAudit.
func (s *Store) AddAudit(ctx context.Context, a relay.Audit) error {
	a.ID = s.ids.next("aud_", s.now())
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`
			insert into audit (id, at, user_id, actor, token, address, action, target, result, detail)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			a.ID, millis(a.At), a.UserID, a.Actor, a.Token, a.Address, a.Action, a.Target, a.Result, a.Detail)
		return kind(err)
	})
	if err != nil {
		return fmt.Errorf("add to the audit log: %w", err)
	}
	return nil
}

// Audit returns what was done, the newest first.
func (s *Store) Audit(ctx context.Context, q relay.AuditQuery) ([]relay.Audit, error) {
	all, err := collect(ctx, s.reader, func(r row) (a relay.Audit, err error) {
		var at int64
		err = r.Scan(&a.ID, &at, &a.UserID, &a.Actor, &a.Token, &a.Address, &a.Action, &a.Target, &a.Result, &a.Detail)
		a.At = moment(at)
		return a, kind(err)
	}, `
		select id, at, user_id, actor, token, address, action, target, result, detail from audit
		where ($1 = '' or actor = $1) and ($2 = '' or action = $2 or action like $2 || '.%') and at >= $3 and ($4 = '' or id < $4)
		order by id desc limit $5`, q.Actor, q.Action, millis(q.Since), q.Before, q.Limit)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return all, nil
}

// PurgeAudit removes what was done before a time.
func (s *Store) PurgeAudit(ctx context.Context, before time.Time) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`delete from audit where at < $1`, millis(before))
		return err
	})
	if err != nil {
		return fmt.Errorf("purge the audit log: %w", err)
	}
	return nil
}
