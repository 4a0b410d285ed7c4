package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/relaytunnel/relay/internal/relay"
)

// secretsPurpose is what secrets of endpoints are sealed for.
const secretsPurpose = "endpoint secrets"

const endpointColumns = `id, user_id, name, settings, secrets, created`

// AddEndpoint makes the endpoint of a name. It returns ErrTaken when the name
// has one, ErrNotFound when there is no such user, and ErrInvalid for settings
// that can never be right. Who holds the name is not looked at.
func (s *Store) AddEndpoint(ctx context.Context, userID string, name relay.Name, settings relay.Settings, secrets relay.Secrets) (relay.Endpoint, error) {
	now := s.now()
	e := relay.Endpoint{ID: s.ids.next("end_", now), UserID: userID, Name: name, Settings: settings, Secrets: secrets, Created: now}
	text, sealed, err := s.pack(e)
	if err == nil {
		err = s.write(ctx, func(tx *sql.Tx) error {
			_, err := tx.Exec(`insert into endpoints (id, user_id, name, settings, secrets, created) values ($1, $2, $3, $4, $5, $6)`,
				e.ID, e.UserID, string(e.Name), text, sealed, millis(e.Created))
			return kind(err)
		})
	}
	if err != nil {
		return relay.Endpoint{}, fmt.Errorf("add endpoint %q: %w", name, err)
	}
	return e, nil
}

// SetEndpoint keeps the settings and secrets of e (ErrNotFound, ErrInvalid).
func (s *Store) SetEndpoint(ctx context.Context, e relay.Endpoint) error {
	text, sealed, err := s.pack(e)
	if err == nil {
		err = s.write(ctx, func(tx *sql.Tx) error {
			return changed(tx.Exec(`update endpoints set settings = $1, secrets = $2 where id = $3`, text, sealed, e.ID))
		})
	}
	if err != nil {
		return fmt.Errorf("set endpoint %q: %w", e.Name, err)
	}
	return nil
}

// LearnSecret keeps a secret that the sender has told, if the endpoint has none
// and still waits for one (ErrTaken otherwise), and returns the endpoint.
func (s *Store) LearnSecret(ctx context.Context, endpointID, secret string) (relay.Endpoint, error) {
	var e relay.Endpoint
	err := s.write(ctx, func(tx *sql.Tx) (err error) {
		e, err = s.scanEndpoint(tx.QueryRow(`select `+endpointColumns+` from endpoints where id = $1`, endpointID))
		if err != nil {
			return err
		}
		if len(e.Secrets.Signing) > 0 || !e.Settings.AwaitSecret || e.Secrets.Lost {
			return relay.ErrTaken
		}
		e.Secrets.Signing, e.Settings.AwaitSecret = []string{secret}, false
		text, sealed, err := s.pack(e)
		if err != nil {
			return err
		}
		return changed(tx.Exec(`update endpoints set settings = $1, secrets = $2 where id = $3`, text, sealed, e.ID))
	})
	if err != nil {
		return relay.Endpoint{}, fmt.Errorf("learn secret of endpoint %q: %w", endpointID, err)
	}
	return e, nil
}

// DeleteEndpoint removes an endpoint with all its events (ErrNotFound). Of one
// with many of these, Purge what it has before: this is one transaction.
func (s *Store) DeleteEndpoint(ctx context.Context, id string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		return changed(tx.Exec(`delete from endpoints where id = $1`, id))
	})
	if err != nil {
		return fmt.Errorf("delete endpoint %q: %w", id, err)
	}
	return nil
}

// EndpointByName returns the endpoint of a name (ErrNotFound).
func (s *Store) EndpointByName(ctx context.Context, name relay.Name) (relay.Endpoint, error) {
	e, err := s.scanEndpoint(s.reader.QueryRowContext(ctx, `select `+endpointColumns+` from endpoints where name = $1`, string(name)))
	if err != nil {
		return relay.Endpoint{}, fmt.Errorf("endpoint %q: %w", name, err)
	}
	return e, nil
}

// Endpoints returns all endpoints in the order of their names.
func (s *Store) Endpoints(ctx context.Context) ([]relay.Endpoint, error) {
	all, err := collect(ctx, s.reader, s.scanEndpoint, `select `+endpointColumns+` from endpoints order by name`)
	if err != nil {
		return nil, fmt.Errorf("list endpoints: %w", err)
	}
	return all, nil
}

// noSecrets is what an endpoint without secrets has sealed.
const noSecrets = "{}"

// pack makes what is kept of settings and secrets.
func (s *Store) pack(e relay.Endpoint) (settings string, sealed []byte, err error) {
	if err := e.Settings.Check(); err != nil {
		return "", nil, err
	}
	text, err := json.Marshal(e.Settings)
	if err != nil {
		return "", nil, fmt.Errorf("%w settings: %w", relay.ErrInvalid, err)
	}
	plain, err := json.Marshal(e.Secrets)
	if err != nil {
		return "", nil, err
	}
	sealed, err = s.Seal(secretsPurpose, plain)
	return string(text), sealed, err
}

func (s *Store) scanEndpoint(r row) (relay.Endpoint, error) {
	var (
		e       relay.Endpoint
		text    string
		sealed  []byte
		created int64
	)
	if err := r.Scan(&e.ID, &e.UserID, &e.Name, &text, &sealed, &created); err != nil {
		return e, kind(err)
	}
	e.Created = moment(created)
	if err := json.Unmarshal([]byte(text), &e.Settings); err != nil {
		return e, fmt.Errorf("settings of %q: %w", e.Name, err)
	}
	plain, err := s.Unseal(secretsPurpose, sealed)
	if errors.Is(err, ErrSealed) {
		e.Secrets.Lost = len(sealed) != sealedLen(noSecrets)
		return e, nil
	}
	if err != nil {
		return e, fmt.Errorf("secrets of %q: %w", e.Name, err)
	}
	if err := json.Unmarshal(plain, &e.Secrets); err != nil {
		return e, fmt.Errorf("secrets of %q: %w", e.Name, err)
	}
	return e, nil
}
