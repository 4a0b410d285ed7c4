package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// keptRejected is how many rejected events an endpoint has at most. Anybody can
// send them; the last ones are there to find out what is wrong.
const keptRejected = 500

// maxCandidates bounds the earlier events that one arrival is compared with.
const maxCandidates = 20

const eventColumns = `events.id, events.endpoint_id, events.state, events.reason, events.provider, events.provider_id,
	events.type, events.again_of, events.verified, events.method, events.target, events.url, events.client,
	events.received, events.size, events.cut`

// NextEventID gives the identifier for an event that arrives now. They sort by
// arrival.
func (s *Store) NextEventID() string { return s.ids.next("evt_", s.now()) }

// AddEvent keeps an event: when it returns nil, it is on disk. It decides in the
// same step whether the event is a repeat, a duplicate to be dropped, or goes
// live; see relay.NewEvent. It returns ErrNotFound when there is no such
// endpoint, and ErrTaken when the id is used.
func (s *Store) AddEvent(ctx context.Context, n relay.NewEvent) (relay.Kept, error) {
	e := n.Event
	if e.ID == "" {
		e.ID = s.NextEventID()
	}
	e.Received = moment(millis(e.Received))
	header := packHeader(e.Header)
	d := relay.Delivery{
		ID: s.ids.next("dlv_", s.now()), EventID: e.ID, EndpointID: e.EndpointID,
		State: relay.DeliveryPending, Created: s.now(),
	}
	kept := relay.Kept{}
	err := s.write(ctx, func(tx *sql.Tx) error {
		kept = relay.Kept{Event: e, Delivery: d}
		if err := findFirst(tx, n, &kept); err != nil {
			return err
		}
		if kept.Event.State == "" {
			kept.Event.State = relay.EventPending
		}
		if err := insertEvent(tx, kept.Event, header); err != nil {
			return err
		}
		switch kept.Event.State {
		case relay.EventRejected:
			kept.Delivery = relay.Delivery{}
			return trimRejected(tx, e.EndpointID)
		case relay.EventDuplicate:
			kept.Delivery = relay.Delivery{}
			return nil
		}
		if err := goLive(tx, n, &kept.Delivery); err != nil {
			return err
		}
		return insertDelivery(tx, kept.Delivery)
	})
	if err != nil {
		return relay.Kept{}, fmt.Errorf("add event: %w", err)
	}
	kept.Event.Header, kept.Event.Body = nil, nil
	return kept, nil
}

// findFirst looks for earlier events with the same id of the provider. Rejected
// ones do not count: anybody could use up an id with them.
func findFirst(tx *sql.Tx, n relay.NewEvent, kept *relay.Kept) error {
	e := &kept.Event
	if e.ProviderID == "" || e.State == relay.EventRejected {
		return nil
	}
	err := tx.QueryRow(`
		select id from events
		where endpoint_id = $1 and provider_id = $2 and provider_id <> '' and state <> 'rejected'
		order by id limit 1`, e.EndpointID, e.ProviderID).Scan(&e.AgainOf)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil || n.DedupeSince.IsZero() {
		return err
	}
	first, attempt, err := answered(tx, e.EndpointID, e.ProviderID, n.DedupeSince)
	if err != nil || first == "" {
		return err
	}
	e.State, e.AgainOf, kept.First = relay.EventDuplicate, first, attempt
	return nil
}

// answered finds an earlier event whose sender was told that it is taken care
// of: the relay owns it, the app took it, or the app said so itself. Where the
// app refused, or nobody has decided yet, the repeat is wanted.
func answered(tx *sql.Tx, endpointID, providerID string, since time.Time) (id string, first *relay.Attempt, err error) {
	all, err := candidates(tx, endpointID, providerID, since)
	if err != nil {
		return "", nil, err
	}
	for _, c := range all {
		switch c.d.State {
		case relay.DeliveryPending, relay.DeliveryDelivered:
			return c.id, nil, nil
		case relay.DeliverySending:
			if !c.d.Live || c.d.Try > 1 {
				return c.id, nil, nil
			}
		case relay.DeliveryClosed:
			a, err := scanAttempt(tx.QueryRow(`select `+attemptColumns+` from attempts where delivery_id = $1 and try = $2`, c.d.ID, c.d.Try))
			if err != nil {
				return "", nil, err
			}
			if (relay.Result{Status: a.Status}).OK() {
				return c.id, &a, nil
			}
		}
	}
	return "", nil, nil
}

// candidate is an earlier event with its first delivery.
type candidate struct {
	id string
	d  relay.Delivery
}

func candidates(tx *sql.Tx, endpointID, providerID string, since time.Time) ([]candidate, error) {
	rows, err := tx.Query(`
		select events.id, deliveries.id, deliveries.state, deliveries.live, deliveries.try
		from events join deliveries on deliveries.event_id = events.id and not deliveries.replay
		where events.endpoint_id = $1 and events.provider_id = $2 and events.provider_id <> '' and events.received >= $3
		order by events.id limit $4`, endpointID, providerID, millis(since), maxCandidates)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []candidate
	for rows.Next() {
		var c candidate
		if err := rows.Scan(&c.id, &c.d.ID, &c.d.State, &c.d.Live, &c.d.Try); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// goLive claims the delivery for who forwards it while the sender waits.
func goLive(tx *sql.Tx, n relay.NewEvent, d *relay.Delivery) error {
	if n.Live == nil {
		return nil
	}
	if n.Strict {
		var older bool
		err := tx.QueryRow(`select exists (select 1 from deliveries where endpoint_id = $1 and state in ('pending', 'sending'))`, d.EndpointID).Scan(&older)
		if err != nil || older {
			return err
		}
	}
	d.State, d.Live, d.Try, d.Attempt = relay.DeliverySending, true, 1, 1
	d.Owner, d.Lease = n.Live.Owner, n.Live.Lease
	return nil
}

func insertEvent(tx *sql.Tx, e relay.Event, header []byte) error {
	_, err := tx.Exec(`
		insert into events (id, endpoint_id, state, reason, provider, provider_id, type, again_of, verified, method, target, url,
			client, received, size, cut, bytes)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
		e.ID, e.EndpointID, string(e.State), e.Reason, e.Provider, e.ProviderID, e.Type, e.AgainOf, e.Verified, e.Method, e.Target, e.URL,
		e.Client, millis(e.Received), e.Size, e.Cut, len(header)+len(e.Body))
	if err != nil {
		return kind(err)
	}
	if e.Body == nil {
		e.Body = []byte{} // not null
	}
	if header == nil {
		header = []byte{}
	}
	_, err = tx.Exec(`insert into contents (event_id, header, body) values ($1, $2, $3)`, e.ID, header, e.Body)
	return kind(err)
}

// trimRejected removes the oldest of too many rejected events.
func trimRejected(tx *sql.Tx, endpointID string) error {
	_, err := tx.Exec(`
		delete from events where id in (
			select id from events where endpoint_id = $1 and state = 'rejected' order by id desc limit 100 offset $2)`,
		endpointID, keptRejected)
	return err
}

// Event returns an event with its header and body (ErrNotFound).
func (s *Store) Event(ctx context.Context, id string) (relay.Event, error) {
	var header, body []byte
	e, err := scanEvent(s.reader.QueryRowContext(ctx, `
		select `+eventColumns+`, contents.header, contents.body
		from events join contents on contents.event_id = events.id where events.id = $1`, id), &header, &body)
	if err == nil {
		e.Body = body
		e.Header, err = unpackHeader(header)
	}
	if err != nil {
		return relay.Event{}, fmt.Errorf("event %q: %w", id, err)
	}
	return e, nil
}

// EventBytes tells how much memory Event takes for an event (ErrNotFound).
func (s *Store) EventBytes(ctx context.Context, id string) (int64, error) {
	var n int64
	if err := s.reader.QueryRowContext(ctx, `select bytes from events where id = $1`, id).Scan(&n); err != nil {
		return 0, fmt.Errorf("event %q: %w", id, kind(err))
	}
	return n, nil
}

// Events lists events without header and body.
func (s *Store) Events(ctx context.Context, f relay.Filter) ([]relay.Event, error) {
	where, args := conditions(f)
	query := `select ` + eventColumns + ` from events where ` + where + ` order by events.id`
	if f.Newest {
		query += ` desc`
	}
	if f.Limit > 0 {
		query += ` limit ` + strconv.Itoa(f.Limit)
	}
	all, err := collect(ctx, s.reader, func(r row) (relay.Event, error) { return scanEvent(r) }, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return all, nil
}

// CountEvents tells how many events a filter chooses, whatever its Limit.
func (s *Store) CountEvents(ctx context.Context, f relay.Filter) (int, error) {
	where, args := conditions(f)
	var n int
	if err := s.reader.QueryRowContext(ctx, `select count(*) from events where `+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count events: %w", err)
	}
	return n, nil
}

// conditions makes a condition of a filter. It is made of fixed texts; what the
// caller chose is in args.
func conditions(f relay.Filter) (where string, args []any) {
	all := []string{`1 = 1`}
	add := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		all = append(all, condition)
	}
	equal := func(column, value string) {
		if value != "" {
			add(column+` = ?`, value)
		}
	}
	if f.UserID != "" {
		add(`events.endpoint_id in (select id from endpoints where user_id = ?)`, f.UserID)
	}
	equal(`events.endpoint_id`, f.EndpointID)
	equal(`events.provider`, f.Provider)
	equal(`events.provider_id`, f.ProviderID)
	equal(`events.type`, f.Type)
	if len(f.IDs) > 0 {
		add(`events.id in (`+marks(len(f.IDs))+`)`, anys(f.IDs)...)
	}
	if len(f.EndpointIDs) > 0 {
		add(`events.endpoint_id in (`+marks(len(f.EndpointIDs))+`)`, anys(f.EndpointIDs)...)
	}
	if len(f.States) > 0 {
		add(`events.state in (`+marks(len(f.States))+`)`, anys(f.States)...)
	}
	if f.Path != "" {
		add(`substr(events.target, 1, ?) = ?`, len([]rune(f.Path)), f.Path)
	}
	if f.Grep != "" {
		add(`exists (select 1 from contents where contents.event_id = events.id and (instr(contents.body, ?) > 0 or instr(contents.header, ?) > 0))`,
			[]byte(f.Grep), []byte(f.Grep))
	}
	if !f.Since.IsZero() {
		add(`events.received >= ?`, millis(f.Since))
	}
	if !f.Until.IsZero() {
		add(`events.received < ?`, millis(f.Until))
	}
	switch {
	case f.After != "" && f.Newest:
		add(`events.id < ?`, f.After)
	case f.After != "":
		add(`events.id > ?`, f.After)
	}
	return strings.Join(all, ` and `), args
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func anys[T ~string](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}

func scanEvent(r row, more ...any) (relay.Event, error) {
	var e relay.Event
	var received int64
	err := r.Scan(append([]any{
		&e.ID, &e.EndpointID, &e.State, &e.Reason, &e.Provider, &e.ProviderID,
		&e.Type, &e.AgainOf, &e.Verified, &e.Method, &e.Target, &e.URL, &e.Client, &received, &e.Size, &e.Cut,
	}, more...)...)
	e.Received = moment(received)
	return e, kind(err)
}
