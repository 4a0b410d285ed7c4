package store_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/relaytunnel/relay/server/store"
)

// kept is what a store of each schema has, in the words of that schema: the statements
// of all schemas up to it.
var kept = map[int64][]string{
	1: {
		`insert into users (id, name, admin, created) values ('usr_1', 'alice', true, 1700000000000)`,
		`insert into tokens (id, user_id, name, hash, prefix, created, expires, last_used, last_addr) values ('tok_1', 'usr_1', 'laptop', '` + hashOf("rly_old") + `', 'rly_o', 1700000000000, 0, 0, '')`,
		`insert into names (name, user_id, created) values ('alice', 'usr_1', 1700000000000)`,
		`insert into default_names (user_id, hint, name) values ('usr_1', 'http', 'alice')`,
	},
	2: {
		`insert into certs (ca, key, data, updated) values ('ca', 'alice.example', x'00', 1700000000000)`,
		`insert into cert_tries (ca, host, failures, next, error) values ('ca', 'b.example', 3, 1700000000000, 'refused')`,
	},
	3: {`insert into domains (host, user_id, name, state, created, since, checked, reason) values ('shop.example', 'usr_1', 'alice', 'active', 1700000000000, 0, 0, '')`},
	4: {
		`insert into endpoints (id, user_id, name, settings, secrets, created) values ('end_1', 'usr_1', 'alice', '{"inbox":"always"}', x'00', 1700000000000)`,
		`insert into events (id, endpoint_id, state, reason, provider, provider_id, type, again_of, verified, method, target, url, client, received, size, cut, bytes)
			values ('evt_1', 'end_1', 'pending', '', '', '', '', '', '', 'POST', '/hooks', 'http://alice.example/hooks', '192.0.2.1', 1700000000000, 4, false, 20)`,
		`insert into contents (event_id, header, body) values ('evt_1', 'X-A:b' || char(10), 'body')`,
		`insert into deliveries (id, event_id, endpoint_id, state, replay, live, try, attempt, lost, owner, lease, next, reason, created)
			values ('dlv_1', 'evt_1', 'end_1', 'pending', false, false, 0, 0, 0, '', 0, 0, '', 1700000000000)`,
	},
	5: {`insert into traffic (user_id, at, requests, errors) values ('usr_1', 1700000000000, 7, 1)`},
	6: {`insert into audit (id, at, user_id, actor, token, address, action, target, result, detail) values ('aud_1', 1700000000000, 'usr_1', 'alice', '', 'socket', 'user.create', 'alice', 'ok', '')`},
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// A store that any older version has written opens, and has all that it had.
func TestMigrateFromEachSchema(t *testing.T) {
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) != len(kept) {
		t.Fatalf("%d schemas, %d tried here: %v", len(files), len(kept), err)
	}
	for version := int64(1); version <= int64(len(files)); version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			dir := t.TempDir()
			writeOld(t, filepath.Join(dir, "relay.db"), version)
			s := open(t, dir)
			u, key, err := s.UserByToken(t.Context(), hashBytes("rly_old"))
			if err != nil || u.Name != "alice" || !u.Admin || u.Disabled || key.Name != "laptop" {
				t.Errorf("%+v, %+v, %v", u, key, err)
			}
			if names, err := s.Names(t.Context(), "usr_1"); err != nil || len(names) != 1 || names[0] != "alice" {
				t.Errorf("names %v: %v", names, err)
			}
			if version >= 3 {
				if d, err := s.Domain(t.Context(), "usr_1", "shop.example"); err != nil || d.Name != "alice" {
					t.Errorf("domain %+v: %v", d, err)
				}
			}
			if version >= 4 {
				e, err := s.EndpointByName(t.Context(), "alice")
				if err != nil || e.Settings.Inbox != "always" {
					t.Errorf("endpoint %+v: %v", e, err)
				}
				if ev, err := s.Event(t.Context(), "evt_1"); err != nil || string(ev.Body) != "body" || ev.Header.Get("X-A") != "b" {
					t.Errorf("event %+v: %v", ev, err)
				}
			}
			// And it takes what is new.
			if _, err := s.AddUser(t.Context(), "bob", false); err != nil {
				t.Error(err)
			}
		})
	}
}

func hashBytes(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// writeOld makes a database as that schema had it.
func writeOld(t *testing.T, path string, version int64) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	steps, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := steps.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	for v := int64(1); v <= version; v++ {
		for _, statement := range kept[v] {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
}

// A step that fails leaves the store as it was, so that the older program still opens
// it; here a table of the sixth schema is in the way.
func TestMigrateIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.db")
	writeOld(t, path, 5)
	exec := func(statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(`create table audit (x text)`)
	if s, err := store.Open(t.Context(), dir); err == nil {
		_ = s.Close()
		t.Fatal("it opened")
	}
	exec(`drop table audit`)
	exec(`insert into users (id, name, admin, created) values ('usr_2', 'bob', false, 1700000000000)`) // it has no columns of the sixth
	if users, err := open(t, dir).Users(t.Context()); err != nil || len(users) != 2 {
		t.Errorf("%v: %v", users, err)
	}
}
