package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

const userColumns = `users.id, users.name, users.admin, users.disabled, users.rights, users.created`

// AddUser makes a user. The name follows the rules of relay.ParseName
// (ErrInvalid) and is not used by another user (ErrTaken).
func (s *Store) AddUser(ctx context.Context, name string, admin bool) (relay.User, error) {
	return s.AddUserWith(ctx, name, admin, relay.Rights{})
}

// AddUserWith makes a user with rights of their own.
func (s *Store) AddUserWith(ctx context.Context, name string, admin bool, rights relay.Rights) (relay.User, error) {
	u, err := s.newUser(name, admin)
	if err != nil {
		return relay.User{}, fmt.Errorf("add user: %w", err)
	}
	u.Rights = rights
	err = s.write(ctx, func(tx *sql.Tx) error { return insertUser(tx, u) })
	if err != nil {
		return relay.User{}, fmt.Errorf("add user %s: %w", name, err)
	}
	return u, nil
}

// AddFirstUser makes an admin user and a token of the given hash and prefix
// that does not expire, both or neither, and only when the store has no users.
// Otherwise created is false and nothing changes.
func (s *Store) AddFirstUser(ctx context.Context, name, tokenName string, hash []byte, prefix string) (u relay.User, t relay.Token, created bool, err error) {
	u, err = s.newUser(name, true)
	if err != nil {
		return relay.User{}, relay.Token{}, false, fmt.Errorf("add first user: %w", err)
	}
	t = s.newToken(u.ID, tokenName, prefix, time.Time{})
	errExists := errors.New("there are users") // undoes nothing, stops here
	err = s.write(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRow(`select count(*) from users`).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return errExists
		}
		if err := insertUser(tx, u); err != nil {
			return err
		}
		return insertToken(tx, t, hash)
	})
	switch {
	case errors.Is(err, errExists):
		return relay.User{}, relay.Token{}, false, nil
	case err != nil:
		return relay.User{}, relay.Token{}, false, fmt.Errorf("add first user %s: %w", name, err)
	}
	return u, t, true, nil
}

// UserByName returns the user of that name (ErrNotFound).
func (s *Store) UserByName(ctx context.Context, name string) (relay.User, error) {
	u, err := scanUser(s.reader.QueryRowContext(ctx, `select `+userColumns+` from users where name = $1`, name))
	if err != nil {
		return relay.User{}, fmt.Errorf("user %q: %w", name, err)
	}
	return u, nil
}

// UserByID returns the user of that id (ErrNotFound).
func (s *Store) UserByID(ctx context.Context, id string) (relay.User, error) {
	u, err := scanUser(s.reader.QueryRowContext(ctx, `select `+userColumns+` from users where id = $1`, id))
	if err != nil {
		return relay.User{}, fmt.Errorf("user %q: %w", id, err)
	}
	return u, nil
}

// CountUsers returns the number of users.
func (s *Store) CountUsers(ctx context.Context) (int, error) {
	var n int
	if err := s.reader.QueryRowContext(ctx, `select count(*) from users`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count users: %w", err)
	}
	return n, nil
}

// Users returns all users in the order of their names.
func (s *Store) Users(ctx context.Context) ([]relay.User, error) {
	users, err := collect(ctx, s.reader, scanUser, `select `+userColumns+` from users order by name`)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return users, nil
}

func (s *Store) newUser(name string, admin bool) (relay.User, error) {
	if _, err := relay.ParseName(name); err != nil {
		return relay.User{}, err
	}
	now := s.now()
	return relay.User{ID: s.ids.next("usr_", now), Name: name, Admin: admin, Created: now}, nil
}

// SetUser changes whether a user is an admin, is disabled, and their rights (ErrNotFound).
// The last admin who is not disabled stays one (ErrDenied).
func (s *Store) SetUser(ctx context.Context, u relay.User) error {
	rights, err := json.Marshal(u.Rights)
	if err != nil {
		return fmt.Errorf("set user %s: %w", u.Name, err)
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		err := changed(tx.Exec(`update users set admin = $1, disabled = $2, rights = $3 where id = $4`, u.Admin, u.Disabled, string(rights), u.ID))
		if err != nil {
			return err
		}
		return someAdmin(tx)
	})
	if err != nil {
		return fmt.Errorf("set user %s: %w", u.Name, err)
	}
	return nil
}

// DeleteUser removes a user with all that is theirs: tokens, names, endpoints, events
// (ErrNotFound). The last admin stays (ErrDenied).
func (s *Store) DeleteUser(ctx context.Context, id string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		if err := changed(tx.Exec(`delete from users where id = $1`, id)); err != nil {
			return err
		}
		return someAdmin(tx)
	})
	if err != nil {
		return fmt.Errorf("delete user %q: %w", id, err)
	}
	return nil
}

// someAdmin fails when nobody could change anything any more.
func someAdmin(tx *sql.Tx) error {
	var some bool
	err := tx.QueryRow(`select exists (select 1 from users where admin and not disabled)`).Scan(&some)
	if err == nil && !some {
		err = fmt.Errorf("%w: this is the last admin; make another one first", relay.ErrDenied)
	}
	return err
}

func insertUser(tx *sql.Tx, u relay.User) error {
	rights, err := json.Marshal(u.Rights)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`insert into users (id, name, admin, created, disabled, rights) values ($1, $2, $3, $4, $5, $6)`,
		u.ID, u.Name, u.Admin, millis(u.Created), u.Disabled, string(rights))
	return kind(err)
}

func scanUser(r row) (relay.User, error) {
	var u userRow
	err := r.Scan(u.into()...)
	if err != nil {
		return relay.User{}, kind(err)
	}
	return u.user()
}

// userRow is userColumns on their way into a User.
type userRow struct {
	u       relay.User
	rights  string
	created int64
}

func (r *userRow) into() []any {
	return []any{&r.u.ID, &r.u.Name, &r.u.Admin, &r.u.Disabled, &r.rights, &r.created}
}

func (r *userRow) user() (relay.User, error) {
	r.u.Created = moment(r.created)
	if err := json.Unmarshal([]byte(r.rights), &r.u.Rights); err != nil {
		return relay.User{}, fmt.Errorf("rights of user %s: %w", r.u.Name, err)
	}
	return r.u, nil
}

// now is the time as the database keeps it, so that what a method returns
// equals what a later one reads.
func (s *Store) now() time.Time { return moment(millis(s.Now())) }

// row is what *sql.Row and *sql.Rows share.
type row interface{ Scan(dest ...any) error }

// collect runs a query and scans each of its rows.
func collect[T any](ctx context.Context, db *sql.DB, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// changed turns "no row was changed" into ErrNotFound.
func changed(r sql.Result, err error) error {
	if err != nil {
		return kind(err)
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		return relay.ErrNotFound
	}
	return err
}

// hexHash is how a hash is stored.
func hexHash(hash []byte) string { return hex.EncodeToString(hash) }
