package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/relaytunnel/relay/internal/relay"
)

// changeSize is how many events one transaction of a change to many concerns:
// others have to get in between.
const changeSize = 200

// Replay asks for one more delivery of each event that the filter chooses, and
// returns how many. Events that are pending are left out, they are delivered
// anyway; rejected ones are never delivered. With dry it only counts.
func (s *Store) Replay(ctx context.Context, f relay.Filter, dry bool) (int, error) {
	f.States = without(f.States, relay.EventPending, relay.EventRejected)
	return s.changeEvents(ctx, "replay", f, dry, func(tx *sql.Tx, e relay.Event) (bool, error) {
		d := relay.Delivery{
			ID: s.ids.next("dlv_", s.now()), EventID: e.ID, EndpointID: e.EndpointID,
			State: relay.DeliveryPending, Replay: true, Created: s.now(),
		}
		if err := insertDelivery(tx, d); err != nil {
			return false, err
		}
		return true, setEventState(tx, e.ID)
	})
}

// Retry begins again with the deliveries of the events that the filter chooses,
// where they are dead or cancelled, and makes those due at once that wait for a
// point in time. It returns how many; with dry it only counts.
func (s *Store) Retry(ctx context.Context, f relay.Filter, dry bool) (int, error) {
	f.States = only(f.States, relay.EventDead, relay.EventCancelled, relay.EventPending)
	return s.changeEvents(ctx, "retry", f, dry, func(tx *sql.Tx, e relay.Event) (bool, error) {
		return newest(tx, e.ID, `
			update deliveries set
				attempt = case when state = 'pending' then attempt else 0 end,
				lost = 0, state = 'pending', next = 0
			where (state in ('dead', 'cancelled') or state = 'pending' and next > 0)`)
	})
}

// Cancel gives up the pending deliveries of the events that the filter chooses,
// but for those that are under way. It returns how many; with dry it counts what
// is pending.
func (s *Store) Cancel(ctx context.Context, f relay.Filter, dry bool) (int, error) {
	f.States = only(f.States, relay.EventPending)
	return s.changeEvents(ctx, "cancel", f, dry, func(tx *sql.Tx, e relay.Event) (bool, error) {
		return newest(tx, e.ID, `update deliveries set state = 'cancelled', next = 0, reason = 'cancelled' where state = 'pending'`)
	})
}

// newest runs an update on the newest delivery of an event and tells whether it
// changed anything.
func newest(tx *sql.Tx, eventID, update string) (bool, error) {
	r, err := tx.Exec(update+` and id = (select max(id) from deliveries where event_id = $1)`, eventID)
	if err != nil {
		return false, kind(err)
	}
	n, err := r.RowsAffected()
	if err != nil || n == 0 {
		return false, err
	}
	return true, setEventState(tx, eventID)
}

// changeEvents runs change for the events that the filter chooses, a group in
// one transaction, and returns for how many it was true.
func (s *Store) changeEvents(ctx context.Context, what string, f relay.Filter, dry bool, change func(*sql.Tx, relay.Event) (bool, error)) (int, error) {
	if len(f.States) == 0 { // none of those that were asked for
		return 0, nil
	}
	if dry {
		n, err := s.CountEvents(ctx, f)
		if f.Limit > 0 {
			n = min(n, f.Limit)
		}
		return n, err
	}
	events, err := s.Events(ctx, f)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	done := 0
	for group := range slices.Chunk(events, changeSize) {
		n := 0
		err := s.write(ctx, func(tx *sql.Tx) error {
			n = 0
			for _, e := range group {
				changed, err := change(tx, e)
				if err != nil {
					return err
				}
				if changed {
					n++
				}
			}
			return nil
		})
		if err != nil {
			return done, fmt.Errorf("%s: %w", what, err)
		}
		done += n
	}
	return done, nil
}

// allStates are the states of events, for filters.
func allStates() []relay.EventState {
	return []relay.EventState{
		relay.EventPending, relay.EventDelivered, relay.EventClosed, relay.EventDead,
		relay.EventCancelled, relay.EventRejected, relay.EventDuplicate,
	}
}

// only leaves those of the states, all if there are none, that may be.
func only(states []relay.EventState, may ...relay.EventState) []relay.EventState {
	if len(states) == 0 {
		return may
	}
	return slices.DeleteFunc(slices.Clone(states), func(s relay.EventState) bool { return !slices.Contains(may, s) })
}

// without leaves the states, all if there are none, but for some.
func without(states []relay.EventState, not ...relay.EventState) []relay.EventState {
	return only(states, slices.DeleteFunc(allStates(), func(s relay.EventState) bool { return slices.Contains(not, s) })...)
}
