package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// The limits of one step of Purge. What is removed is overwritten with zeros, so
// that bytes count: a step takes some milliseconds, and arrivals wait no longer.
const (
	purgeCount = 100
	purgeBytes = 4 << 20
)

// freePages is how many pages FreeDisk gives back in one step, 1 MiB; sparePages
// how many stay for what comes next.
const (
	freePages  = 256
	sparePages = 1024
)

// Usage measures what an endpoint keeps.
func (s *Store) Usage(ctx context.Context, endpointID string) (relay.Usage, error) {
	u, err := usage(s.reader.QueryRowContext(ctx, usageQuery, endpointID))
	if err != nil {
		return relay.Usage{}, fmt.Errorf("usage of endpoint %q: %w", endpointID, err)
	}
	return u, nil
}

const usageQuery = `
	select count(*), coalesce(sum(bytes), 0),
		coalesce(sum(case when state = 'pending' then 1 else 0 end), 0),
		coalesce(sum(case when state = 'pending' then bytes else 0 end), 0),
		coalesce(sum(case when state = 'dead' then 1 else 0 end), 0)
	from events where endpoint_id = $1`

func usage(r row) (u relay.Usage, err error) {
	err = r.Scan(&u.Events, &u.Bytes, &u.Pending, &u.PendingBytes, &u.Dead)
	return u, err
}

// Purge removes a few of the events that an endpoint may not keep by now: those
// that are too old, whatever their state, and the oldest of those that are not
// pending while there are too many or too many bytes. Call it until it removes
// none.
func (s *Store) Purge(ctx context.Context, endpointID string, keep relay.Retention, now time.Time) (p relay.Purged, err error) {
	victims, err := s.victims(ctx, endpointID, keep, now)
	if err == nil && len(victims) > 0 {
		p, err = s.remove(ctx, victims)
	}
	if err != nil {
		return relay.Purged{}, fmt.Errorf("purge endpoint %q: %w", endpointID, err)
	}
	return p, nil
}

// PurgeEvents removes some of the events that the filter chooses, those that are
// pending too if their state is asked for by name; call it until it removes none.
func (s *Store) PurgeEvents(ctx context.Context, f relay.Filter) (p relay.Purged, err error) {
	if len(f.States) == 0 {
		f.States = without(nil, relay.EventPending)
	}
	where, args := conditions(f)
	victims, err := collect(ctx, s.reader, scanVictim,
		`select events.id, events.bytes from events where `+where+` order by events.id limit 1000`, args...)
	if err == nil && len(victims) > 0 {
		p, err = s.remove(ctx, victims)
	}
	if err != nil {
		return relay.Purged{}, fmt.Errorf("purge events: %w", err)
	}
	return p, nil
}

type victim struct {
	id    string
	bytes int64
}

func scanVictim(r row) (v victim, err error) {
	err = r.Scan(&v.id, &v.bytes)
	return v, err
}

// victims are events that have to go, the oldest first; not all of them.
func (s *Store) victims(ctx context.Context, endpointID string, keep relay.Retention, now time.Time) ([]victim, error) {
	const limit = 2 * purgeCount
	old, err := collect(ctx, s.reader, scanVictim, `
		select id, bytes from events where endpoint_id = $1 and received < $2 order by received, id limit $3`,
		endpointID, millis(now.Add(-time.Duration(keep.Age))), limit)
	if err != nil || len(old) > 0 {
		return old, err
	}
	u, err := s.Usage(ctx, endpointID)
	if err != nil {
		return nil, err
	}
	count, bytes := u.Events-keep.Count, u.Bytes-keep.Bytes
	if count <= 0 && bytes <= 0 {
		return nil, nil
	}
	all, err := collect(ctx, s.reader, scanVictim, `
		select id, bytes from events where endpoint_id = $1 and state <> 'pending' order by received, id limit $2`,
		endpointID, limit)
	if err != nil {
		return nil, err
	}
	for i, v := range all {
		if count <= 0 && bytes <= 0 {
			return all[:i], nil
		}
		count--
		bytes -= v.bytes
	}
	return all, nil
}

// remove deletes as many of the victims as one step may.
func (s *Store) remove(ctx context.Context, victims []victim) (relay.Purged, error) {
	n, bytes := 0, int64(0)
	for n < len(victims) && n < purgeCount && (n == 0 || bytes+victims[n].bytes <= purgeBytes) {
		bytes += victims[n].bytes
		n++
	}
	var p relay.Purged
	err := s.write(ctx, func(tx *sql.Tx) error {
		p = relay.Purged{}
		for _, v := range victims[:n] {
			var state relay.EventState
			if err := tx.QueryRow(`delete from events where id = $1 returning state`, v.id).Scan(&state); err != nil {
				if errors.Is(err, sql.ErrNoRows) {
					continue // it went meanwhile
				}
				return err
			}
			p.Events++
			if state == relay.EventPending {
				p.Pending++
			}
		}
		return nil
	})
	return p, err
}

// FreeDisk gives some of the space that the database does not need any more back
// to the file system; call it until there is no more. A little stays, because
// what comes next would take it again.
func (s *Store) FreeDisk(ctx context.Context) (more bool, err error) {
	n := 0
	err = s.write(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRow(`pragma freelist_count`).Scan(&n); err != nil {
			return err
		}
		if n -= sparePages; n <= 0 {
			return nil
		}
		_, err := tx.Exec(`pragma incremental_vacuum(` + strconv.Itoa(min(n, freePages)) + `)`)
		return err
	})
	if err == nil && n > 0 && n <= freePages {
		// The file becomes shorter when the log is written back into it.
		_, err = s.writer.ExecContext(ctx, `pragma wal_checkpoint(passive)`)
	}
	if err != nil {
		return false, fmt.Errorf("free disk: %w", err)
	}
	return n > freePages, nil
}
