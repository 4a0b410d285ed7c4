package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// AddRecorded keeps exchanges, all in one step. One whose endpoint or user is gone is
// left out, and one whose id or place is taken.
func (s *Store) AddRecorded(ctx context.Context, all []relay.Recorded) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		head, err := tx.Prepare(insertHead) // once for all: to read SQL is a third of the work
		if err != nil {
			return err
		}
		defer head.Close()
		bodies, err := tx.Prepare(insertBodies)
		if err != nil {
			return err
		}
		defer bodies.Close()
		for _, r := range all {
			if err := insertRecorded(head, bodies, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("add %d exchanges: %w", len(all), err)
	}
	return nil
}

const (
	insertHead = `
		insert into recorded (user_id, seq, id, endpoint_id, event_id, began, bytes, head)
		select $1, $2, $3, $4, $5, $6, $7, $8
		where exists (select 1 from endpoints where id = $4 and user_id = $1)
		on conflict do nothing`
	insertBodies = `insert into recorded_bodies (user_id, seq, request, response) values ($1, $2, $3, $4)`
)

func insertRecorded(head, bodies *sql.Stmt, r relay.Recorded) error {
	done, err := head.Exec(r.UserID, int64(r.Seq), r.ID, r.EndpointID, r.EventID, millis(r.Began),
		len(r.Head)+len(r.Request)+len(r.Response), some(r.Head))
	if err != nil {
		return kind(err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 || len(r.Request)+len(r.Response) == 0 {
		return err
	}
	_, err = bodies.Exec(r.UserID, int64(r.Seq), some(r.Request), some(r.Response))
	return kind(err)
}

// some is b, but never null.
func some(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// The signature is that of the event as it is now, and the body of an event stands
// there.
const (
	recordedHead = `recorded.id, recorded.user_id, recorded.endpoint_id, recorded.seq, recorded.began, recorded.head,
		recorded.event_id, coalesce(events.verified, '')`
	recordedBodies = `, contents.body, recorded_bodies.request, recorded_bodies.response`
	recordedFrom   = ` from recorded left join events on events.id = recorded.event_id `
	recordedWith   = `
		left join recorded_bodies on recorded_bodies.user_id = recorded.user_id and recorded_bodies.seq = recorded.seq
		left join contents on contents.event_id = recorded.event_id `
)

// Recorded returns the exchanges that q chooses, the newest first.
func (s *Store) Recorded(ctx context.Context, q relay.RecordedQuery) ([]relay.Recorded, error) {
	before := int64(q.Before)
	if q.Before == 0 {
		before = 1<<63 - 1
	}
	columns, from, scan := recordedHead, recordedFrom, scanRecorded
	if q.Bodies {
		columns, from, scan = recordedHead+recordedBodies, recordedFrom+recordedWith, scanWhole
	}
	all, err := collect(ctx, s.reader, scan, `select `+columns+from+`
		where recorded.user_id = $1 and recorded.seq < $2 and recorded.began >= $3
		order by recorded.seq desc limit $4`, q.UserID, before, millis(q.Since), q.Limit)
	if err != nil {
		return nil, fmt.Errorf("list exchanges: %w", err)
	}
	return all, nil
}

// RecordedByID returns one exchange with its bodies (ErrNotFound).
func (s *Store) RecordedByID(ctx context.Context, userID, id string) (relay.Recorded, error) {
	r, err := scanWhole(s.reader.QueryRowContext(ctx, `
		select `+recordedHead+recordedBodies+recordedFrom+recordedWith+`
		where recorded.user_id = $1 and recorded.id = $2`, userID, id))
	if err != nil {
		return relay.Recorded{}, fmt.Errorf("exchange %q: %w", id, err)
	}
	return r, nil
}

func scanRecorded(r row) (relay.Recorded, error) { return scanInto(r) }

// scanWhole reads the bodies too. The request's is that of the event, if there is one.
func scanWhole(r row) (relay.Recorded, error) {
	var event, request, response []byte
	out, err := scanInto(r, &event, &request, &response)
	out.Request, out.Response = request, response
	if len(request) == 0 {
		out.Request = event
	}
	return out, err
}

func scanInto(r row, more ...any) (out relay.Recorded, err error) {
	var seq, began int64
	err = r.Scan(append([]any{&out.ID, &out.UserID, &out.EndpointID, &seq, &began, &out.Head, &out.EventID, &out.Verified}, more...)...)
	out.Seq, out.Began = uint64(seq), moment(began)
	return out, kind(err)
}

// RecordedUsage measures what is kept of a user's exchanges.
func (s *Store) RecordedUsage(ctx context.Context, userID string) (u relay.RecordedUsage, err error) {
	var oldest int64
	err = s.reader.QueryRowContext(ctx, `
		select count(*), coalesce(sum(bytes), 0), coalesce((select min(seq) from recorded where user_id = $1), 0)
		from recorded where user_id = $1`, userID).Scan(&u.Count, &u.Bytes, &oldest)
	if err != nil {
		return u, fmt.Errorf("usage of exchanges: %w", err)
	}
	u.Oldest = uint64(oldest)
	return u, nil
}

// PurgeRecorded removes a few of the exchanges that may not be kept by now: those that
// are too old, and the oldest while there are too many or too many bytes. Call it until
// it removes none.
func (s *Store) PurgeRecorded(ctx context.Context, userID string, keep relay.Retention, now time.Time) (n int, err error) {
	fail := func(err error) (int, error) { return 0, fmt.Errorf("purge exchanges: %w", err) }
	u, err := s.RecordedUsage(ctx, userID)
	if err != nil {
		return fail(err)
	}
	type one struct{ seq, began, bytes int64 }
	oldest, err := collect(ctx, s.reader, func(r row) (o one, err error) { return o, r.Scan(&o.seq, &o.began, &o.bytes) },
		`select seq, began, bytes from recorded where user_id = $1 order by seq limit $2`, userID, 4*purgeCount)
	if err != nil {
		return fail(err)
	}
	count, bytes := u.Count-keep.Count, u.Bytes-keep.Bytes
	limit := millis(now.Add(-time.Duration(keep.Age)))
	removed, last := int64(0), int64(-1)
	for _, o := range oldest {
		if o.began >= limit && count <= 0 && bytes <= 0 || removed > purgeBytes {
			break
		}
		count, bytes, removed, last = count-1, bytes-o.bytes, removed+o.bytes, o.seq
	}
	if last < 0 {
		return 0, nil
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.Exec(`delete from recorded where user_id = $1 and seq <= $2`, userID, last)
		if err != nil {
			return err
		}
		gone, err := done.RowsAffected()
		n = int(gone)
		return err
	})
	if err != nil {
		return fail(err)
	}
	return n, nil
}

// RecordedUsers are the users of whom exchanges are kept.
func (s *Store) RecordedUsers(ctx context.Context) ([]string, error) {
	all, err := collect(ctx, s.reader, func(r row) (id string, err error) { return id, r.Scan(&id) },
		`select id from users where exists (select 1 from recorded where user_id = users.id)`)
	if err != nil {
		return nil, fmt.Errorf("users with exchanges: %w", err)
	}
	return all, nil
}

// Traffic is how many requests came to a user's names in a step of time.
type Traffic struct {
	UserID           string
	At               time.Time // when the step began
	Requests, Errors int64
}

// AddTraffic adds to what is counted.
func (s *Store) AddTraffic(ctx context.Context, all []Traffic) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		for _, t := range all {
			_, err := tx.Exec(`
				insert into traffic (user_id, at, requests, errors) select $1, $2, $3, $4 where exists (select 1 from users where id = $1)
				on conflict (user_id, at) do update set requests = traffic.requests + excluded.requests, errors = traffic.errors + excluded.errors`,
				t.UserID, millis(t.At), t.Requests, t.Errors)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("add traffic: %w", err)
	}
	return nil
}

// TrafficSince returns what is counted of a user, the oldest first.
func (s *Store) TrafficSince(ctx context.Context, userID string, since time.Time) ([]Traffic, error) {
	all, err := collect(ctx, s.reader, func(r row) (t Traffic, err error) {
		var at int64
		err = r.Scan(&t.UserID, &at, &t.Requests, &t.Errors)
		t.At = moment(at)
		return t, err
	}, `select user_id, at, requests, errors from traffic where user_id = $1 and at >= $2 order by at`, userID, millis(since))
	if err != nil {
		return nil, fmt.Errorf("traffic: %w", err)
	}
	return all, nil
}

// PurgeTraffic removes what was counted before a time.
func (s *Store) PurgeTraffic(ctx context.Context, before time.Time) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`delete from traffic where at < $1`, millis(before))
		return err
	})
	if err != nil {
		return fmt.Errorf("purge traffic: %w", err)
	}
	return nil
}
