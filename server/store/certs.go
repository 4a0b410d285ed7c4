package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// The outcomes of an order for a certificate.
const (
	CertNew     = "new"     // the first one for these hosts
	CertRenewed = "renewed" // in place of one that was there
	CertRefused = "refused" // the authority found that the host is not ours
)

// A CertOrder is what has been asked of a certificate authority.
type CertOrder struct {
	CA      string // directory of the authority
	Host    string
	Zone    string // the registered domain that the host belongs to
	Outcome string // CertNew, CertRenewed or CertRefused
	At      time.Time
}

// A CertTry says when a host whose order failed may be ordered again.
type CertTry struct {
	CA, Host string
	Failures int
	Next     time.Time
	Error    string // why the last one failed
}

// PutCert keeps data under the key, in place of what was there. It is encrypted
// with the server key.
func (s *Store) PutCert(ctx context.Context, ca, key string, data []byte) error {
	sealed, err := s.Seal(certPurpose(ca, key), data)
	if err != nil {
		return fmt.Errorf("put certificate %q: %w", key, err)
	}
	now := s.now()
	err = s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`
			insert into certs (ca, key, data, updated) values ($1, $2, $3, $4)
			on conflict (ca, key) do update set data = excluded.data, updated = excluded.updated`,
			ca, key, sealed, millis(now))
		return err
	})
	if err != nil {
		return fmt.Errorf("put certificate %q: %w", key, err)
	}
	return nil
}

// Cert returns what PutCert kept (ErrNotFound; ErrSealed when the server key is
// another one now).
func (s *Store) Cert(ctx context.Context, ca, key string) ([]byte, error) {
	var sealed []byte
	err := s.reader.QueryRowContext(ctx, `select data from certs where ca = $1 and key = $2`, ca, key).Scan(&sealed)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", key, kind(err))
	}
	data, err := s.Unseal(certPurpose(ca, key), sealed)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", key, err)
	}
	return data, nil
}

// certPurpose binds what is sealed to its place: a row that was moved to
// another host cannot be read.
func certPurpose(ca, key string) string { return "certificate " + ca + " " + key }

// CertKeys returns the keys under which something is kept, in their order.
func (s *Store) CertKeys(ctx context.Context, ca string) ([]string, error) {
	keys, err := collect(ctx, s.reader, func(r row) (key string, err error) {
		err = r.Scan(&key)
		return key, err
	}, `select key from certs where ca = $1 order by key`, ca)
	if err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	return keys, nil
}

// DeleteCert forgets what is kept under the key, if there is anything.
func (s *Store) DeleteCert(ctx context.Context, ca, key string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`delete from certs where ca = $1 and key = $2`, ca, key)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete certificate %q: %w", key, err)
	}
	return nil
}

// AddCertOrder writes down an order, and forgets those of before the time old.
func (s *Store) AddCertOrder(ctx context.Context, o CertOrder, old time.Time) error {
	id := s.ids.next("ord_", s.now())
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`insert into cert_orders (id, ca, host, zone, outcome, at) values ($1, $2, $3, $4, $5, $6)`,
			id, o.CA, o.Host, o.Zone, o.Outcome, millis(o.At))
		if err != nil {
			return kind(err)
		}
		_, err = tx.Exec(`delete from cert_orders where at < $1`, millis(old))
		return err
	})
	if err != nil {
		return fmt.Errorf("add order of %q: %w", o.Host, err)
	}
	return nil
}

// CertOrders returns what was ordered from the authority since then, the oldest
// first.
func (s *Store) CertOrders(ctx context.Context, ca string, since time.Time) ([]CertOrder, error) {
	orders, err := collect(ctx, s.reader, func(r row) (CertOrder, error) {
		o := CertOrder{CA: ca}
		var at int64
		err := r.Scan(&o.Host, &o.Zone, &o.Outcome, &at)
		o.At = moment(at)
		return o, err
	}, `select host, zone, outcome, at from cert_orders where ca = $1 and at >= $2 order by at, id`, ca, millis(since))
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	return orders, nil
}

// SetCertTry keeps t in place of what was kept for the same host.
func (s *Store) SetCertTry(ctx context.Context, t CertTry) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`
			insert into cert_tries (ca, host, failures, next, error) values ($1, $2, $3, $4, $5)
			on conflict (ca, host) do update set
				failures = excluded.failures, next = excluded.next, error = excluded.error`,
			t.CA, t.Host, t.Failures, millis(t.Next), t.Error)
		return err
	})
	if err != nil {
		return fmt.Errorf("set try of %q: %w", t.Host, err)
	}
	return nil
}

// CertTry returns what SetCertTry kept; for a host that has not failed, that is
// no failure and no time.
func (s *Store) CertTry(ctx context.Context, ca, host string) (CertTry, error) {
	t := CertTry{CA: ca, Host: host}
	var next int64
	err := kind(s.reader.QueryRowContext(ctx, `select failures, next, error from cert_tries where ca = $1 and host = $2`, ca, host).
		Scan(&t.Failures, &next, &t.Error))
	if err != nil && !errors.Is(err, relay.ErrNotFound) {
		return t, fmt.Errorf("try of %q: %w", host, err)
	}
	t.Next = moment(next)
	return t, nil
}

// DeleteCertTry forgets that the host has failed.
func (s *Store) DeleteCertTry(ctx context.Context, ca, host string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`delete from cert_tries where ca = $1 and host = $2`, ca, host)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete try of %q: %w", host, err)
	}
	return nil
}
