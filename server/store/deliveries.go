package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

const deliveryColumns = `id, event_id, endpoint_id, state, replay, live, try, attempt, lost, owner, lease, next, reason, created`

// ClaimDeliveries takes up to n deliveries of an endpoint that are due at now,
// the oldest first, and returns them. Until the claim's lease ends nobody else
// gets them. With strict it takes the oldest open one or none.
func (s *Store) ClaimDeliveries(ctx context.Context, endpointID string, c relay.Claim, now time.Time, n int, strict bool) ([]relay.Delivery, error) {
	choose := `
		select id from (
			select * from (
				select id from deliveries
				where endpoint_id = $3 and state = 'pending' and next = 0
				order by id limit $5) as fresh
			union all
			select * from (
				select id from deliveries
				where endpoint_id = $3 and state = 'pending' and next > 0 and next <= $4
				order by next, id limit $5) as again
		) as due order by id limit $5`
	if strict {
		choose = `
		select id from (
			select id, state, next from deliveries
			where endpoint_id = $3 and state in ('pending', 'sending')
			order by id limit 1
		) as oldest where state = 'pending' and next <= $4 and $5 > 0`
	}
	var claimed []relay.Delivery
	err := s.write(ctx, func(tx *sql.Tx) (err error) {
		claimed, err = queryDeliveries(tx, `
			update deliveries set state = 'sending', try = try + 1, attempt = attempt + 1, owner = $1, lease = $2
			where state = 'pending' and id in (`+choose+`)
			returning `+deliveryColumns, c.Owner, millis(c.Lease), endpointID, millis(now), n)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	slices.SortFunc(claimed, func(a, b relay.Delivery) int { return strings.Compare(a.ID, b.ID) })
	return claimed, nil
}

// FinishAttempt ends the try that before describes: after is what the delivery
// becomes, and a is kept. It returns ErrTaken and changes nothing when somebody
// else has the delivery by now: the owner or the number of the try differs.
func (s *Store) FinishAttempt(ctx context.Context, before, after relay.Delivery, a relay.Attempt) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		err := changed(tx.Exec(`
			update deliveries set state = $1, attempt = $2, lost = $3, owner = '', lease = 0, next = $4, reason = $5
			where id = $6 and state = 'sending' and owner = $7 and try = $8`,
			string(after.State), after.Attempt, after.Lost, millis(after.Next), after.Reason,
			before.ID, before.Owner, before.Try))
		if errors.Is(err, relay.ErrNotFound) {
			return relay.ErrTaken
		}
		if err != nil {
			return err
		}
		a.DeliveryID, a.Try = before.ID, before.Try
		if err := insertAttempt(tx, a); err != nil {
			return err
		}
		return setEventState(tx, before.EventID)
	})
	if err != nil {
		return fmt.Errorf("finish attempt of %q: %w", before.ID, err)
	}
	return nil
}

// ReleaseClaims gives back what is claimed by an owner that has vanished: one
// whose lease has ended by now, or any other than owner, which is the only one
// that lives. It returns the endpoints concerned.
func (s *Store) ReleaseClaims(ctx context.Context, owner string, now time.Time) (endpointIDs []string, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		endpointIDs = nil
		all, err := queryDeliveries(tx, `
			select `+deliveryColumns+` from deliveries
			where state = 'sending' and (lease <= $1 or owner <> $2)`, millis(now), owner)
		if err != nil {
			return err
		}
		for _, d := range all {
			r := d.Released()
			_, err := tx.Exec(`
				update deliveries set state = $1, attempt = $2, lost = $3, owner = '', lease = 0, next = 0
				where id = $4`, string(r.State), r.Attempt, r.Lost, d.ID)
			if err != nil {
				return err
			}
			if !slices.Contains(endpointIDs, d.EndpointID) {
				endpointIDs = append(endpointIDs, d.EndpointID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("release claims: %w", err)
	}
	return endpointIDs, nil
}

// OpenEndpoints returns the ids of endpoints that have something to deliver.
func (s *Store) OpenEndpoints(ctx context.Context) ([]string, error) {
	ids, err := collect(ctx, s.reader, func(r row) (id string, err error) { return id, r.Scan(&id) }, `
		select id from endpoints
		where exists (select 1 from deliveries where endpoint_id = endpoints.id and state in ('pending', 'sending'))`)
	if err != nil {
		return nil, fmt.Errorf("list endpoints with deliveries: %w", err)
	}
	return ids, nil
}

// NextDelivery returns when the next delivery of an endpoint is due; ok is false
// when none is pending. What is under way does not count.
func (s *Store) NextDelivery(ctx context.Context, endpointID string, strict bool) (at time.Time, ok bool, err error) {
	query := `select next from deliveries where endpoint_id = $1 and state = 'pending' order by next limit 1`
	if strict {
		query = `select next from (
			select state, next from deliveries where endpoint_id = $1 and state in ('pending', 'sending') order by id limit 1
		) as oldest where state = 'pending'`
	}
	var next int64
	err = s.reader.QueryRowContext(ctx, query, endpointID).Scan(&next)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("next delivery: %w", err)
	}
	return moment(next), true, nil
}

// Deliveries returns the deliveries of an event, the oldest first.
func (s *Store) Deliveries(ctx context.Context, eventID string) ([]relay.Delivery, error) {
	all, err := collect(ctx, s.reader, scanDelivery, `select `+deliveryColumns+` from deliveries where event_id = $1 order by id`, eventID)
	if err != nil {
		return nil, fmt.Errorf("list deliveries of event %q: %w", eventID, err)
	}
	return all, nil
}

// setEventState gives an event the state of its newest delivery.
func setEventState(tx *sql.Tx, eventID string) error {
	var state relay.DeliveryState
	var reason string
	err := tx.QueryRow(`select state, reason from deliveries where event_id = $1 order by id desc limit 1`, eventID).Scan(&state, &reason)
	if err != nil {
		return kind(err)
	}
	_, err = tx.Exec(`update events set state = $1, reason = $2 where id = $3 and (state <> $1 or reason <> $2)`, string(state.Event()), reason, eventID)
	return err
}

func insertDelivery(tx *sql.Tx, d relay.Delivery) error {
	_, err := tx.Exec(`
		insert into deliveries (`+deliveryColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		d.ID, d.EventID, d.EndpointID, string(d.State), d.Replay, d.Live, d.Try, d.Attempt, d.Lost,
		d.Owner, millis(d.Lease), millis(d.Next), d.Reason, millis(d.Created))
	return kind(err)
}

func queryDeliveries(tx *sql.Tx, query string, args ...any) ([]relay.Delivery, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []relay.Delivery
	for rows.Next() {
		d, err := scanDelivery(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

func scanDelivery(r row) (relay.Delivery, error) {
	var d relay.Delivery
	var lease, next, created int64
	err := r.Scan(&d.ID, &d.EventID, &d.EndpointID, &d.State, &d.Replay, &d.Live, &d.Try, &d.Attempt, &d.Lost,
		&d.Owner, &lease, &next, &d.Reason, &created)
	d.Lease, d.Next, d.Created = moment(lease), moment(next), moment(created)
	return d, kind(err)
}
