package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/relaytunnel/relay/internal/relay"
)

const attemptColumns = `attempts.delivery_id, attempts.try, attempts.began, attempts.ended, attempts.status, attempts.reason,
	attempts.header, attempts.body, attempts.cut`

// Attempts returns the attempts of all deliveries of an event, in their order.
func (s *Store) Attempts(ctx context.Context, eventID string) ([]relay.Attempt, error) {
	all, err := collect(ctx, s.reader, scanAttempt, `
		select `+attemptColumns+`
		from attempts join deliveries on deliveries.id = attempts.delivery_id
		where deliveries.event_id = $1 order by attempts.delivery_id, attempts.try`, eventID)
	if err != nil {
		return nil, fmt.Errorf("list attempts of event %q: %w", eventID, err)
	}
	return all, nil
}

func insertAttempt(tx *sql.Tx, a relay.Attempt) error {
	header, body := packHeader(a.Header), a.Body
	if header == nil {
		header = []byte{}
	}
	if body == nil {
		body = []byte{}
	}
	_, err := tx.Exec(`
		insert into attempts (delivery_id, try, began, ended, status, reason, header, body, cut)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		a.DeliveryID, a.Try, millis(a.Began), millis(a.Ended), a.Status, a.Reason, header, body, a.Cut)
	return kind(err)
}

func scanAttempt(r row) (relay.Attempt, error) {
	var (
		a            relay.Attempt
		began, ended int64
		header       []byte
	)
	if err := r.Scan(&a.DeliveryID, &a.Try, &began, &ended, &a.Status, &a.Reason, &header, &a.Body, &a.Cut); err != nil {
		return a, kind(err)
	}
	a.Began, a.Ended = moment(began), moment(ended)
	var err error
	a.Header, err = unpackHeader(header)
	return a, err
}
