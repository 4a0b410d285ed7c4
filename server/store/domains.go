package store

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/relaytunnel/relay/internal/relay"
)

const domainColumns = `host, user_id, name, state, created, since, checked, reason`

// AddDomain adds the host for the user, pending, leading to name. If the user
// has it already, it leads to name from now on and keeps its state. It returns
// ErrTaken when another user holds it, ErrLimit when it would be more than limit
// for this user, and ErrNotFound when there is no such user. It does not look at
// what the host is.
func (s *Store) AddDomain(ctx context.Context, userID, host string, name relay.Name, limit int) (d relay.Domain, err error) {
	now := s.now()
	err = s.write(ctx, func(tx *sql.Tx) error {
		old, err := scanDomain(tx.QueryRow(`select `+domainColumns+` from domains where host = $1 and user_id = $2`, host, userID))
		if err == nil {
			d = old
			d.Name = name
			return changed(tx.Exec(`update domains set name = $1 where host = $2 and user_id = $3`, string(name), host, userID))
		}
		if !errors.Is(err, relay.ErrNotFound) {
			return err
		}
		var held, count int
		if err := tx.QueryRow(`select count(*) from domains where host = $1 and state <> 'pending'`, host).Scan(&held); err != nil {
			return err
		}
		if held > 0 {
			return relay.ErrTaken
		}
		if err := tx.QueryRow(`select count(*) from domains where user_id = $1`, userID).Scan(&count); err != nil {
			return err
		}
		if count >= limit {
			return relay.ErrLimit
		}
		d = relay.Domain{Host: host, UserID: userID, Name: name, State: relay.DomainPending, Created: now, Since: now}
		_, err = tx.Exec(`insert into domains (`+domainColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
			d.Host, d.UserID, string(d.Name), string(d.State), millis(d.Created), millis(d.Since), millis(d.Checked), d.Reason)
		return kind(err)
	})
	if err != nil {
		return relay.Domain{}, fmt.Errorf("add domain %s: %w", host, err)
	}
	return d, nil
}

// SetDomain stores State, Since, Checked and Reason of a domain that is in the
// state was. It returns ErrNotFound when there is no such domain of this user in
// that state, and ErrTaken when another user holds it.
func (s *Store) SetDomain(ctx context.Context, d relay.Domain, was relay.DomainState) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		return changed(tx.Exec(`
			update domains set state = $1, since = $2, checked = $3, reason = $4
			where host = $5 and user_id = $6 and state = $7`,
			string(d.State), millis(d.Since), millis(d.Checked), d.Reason, d.Host, d.UserID, string(was)))
	})
	if err != nil {
		return fmt.Errorf("set domain %s: %w", d.Host, err)
	}
	return nil
}

// RemoveDomain forgets the host of this user (ErrNotFound).
func (s *Store) RemoveDomain(ctx context.Context, userID, host string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		return changed(tx.Exec(`delete from domains where host = $1 and user_id = $2`, host, userID))
	})
	if err != nil {
		return fmt.Errorf("remove domain %s: %w", host, err)
	}
	return nil
}

// Domain returns the host as this user has it (ErrNotFound).
func (s *Store) Domain(ctx context.Context, userID, host string) (relay.Domain, error) {
	d, err := scanDomain(s.reader.QueryRowContext(ctx, `select `+domainColumns+` from domains where host = $1 and user_id = $2`, host, userID))
	if err != nil {
		return relay.Domain{}, fmt.Errorf("domain %s: %w", host, err)
	}
	return d, nil
}

// Domains returns the domains of the user, in the order of their hosts.
func (s *Store) Domains(ctx context.Context, userID string) ([]relay.Domain, error) {
	all, err := collect(ctx, s.reader, scanDomain, `select `+domainColumns+` from domains where user_id = $1 order by host`, userID)
	if err != nil {
		return nil, fmt.Errorf("list domains: %w", err)
	}
	return all, nil
}

// AllDomains returns the domains of all users, in the order of their hosts.
func (s *Store) AllDomains(ctx context.Context) ([]relay.Domain, error) {
	all, err := collect(ctx, s.reader, scanDomain, `select `+domainColumns+` from domains order by host, created, user_id`)
	if err != nil {
		return nil, fmt.Errorf("list all domains: %w", err)
	}
	return all, nil
}

// DomainToken is what the user puts into DNS to prove that the host is theirs.
// It is always the same for this user, host and server key, and nobody can know
// or use that of another user.
func (s *Store) DomainToken(userID, host string) (string, error) {
	key, err := hkdf.Key(sha256.New, s.key, nil, "relay domain proof", keySize)
	if err != nil {
		return "", fmt.Errorf("derive key: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(userID + " " + host)) // neither has a space
	// 160 bits, in letters that no DNS panel changes.
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:20])), nil
}

func scanDomain(r row) (relay.Domain, error) {
	var d relay.Domain
	var created, since, checked int64
	err := r.Scan(&d.Host, &d.UserID, &d.Name, &d.State, &created, &since, &checked, &d.Reason)
	d.Created, d.Since, d.Checked = moment(created), moment(since), moment(checked)
	return d, kind(err)
}
