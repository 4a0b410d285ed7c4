package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a store in the folder and closes it with the test.
func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func addUser(t *testing.T, s *store.Store, name string) relay.User {
	t.Helper()
	u, err := s.AddUser(t.Context(), name, false)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v; want kind %v", what, err, kind)
	}
}

func TestUsers(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())

	if n, err := s.CountUsers(ctx); n != 0 || err != nil {
		t.Fatalf("an empty store has %d users, %v", n, err)
	}
	bob, err := s.AddUser(ctx, "bob", true)
	if err != nil {
		t.Fatal(err)
	}
	ann := addUser(t, s, "ann")
	if !strings.HasPrefix(bob.ID, "usr_") || !bob.Admin || ann.Admin || time.Since(bob.Created) > time.Minute {
		t.Errorf("bob is %+v, ann is %+v", bob, ann)
	}
	if got, err := s.UserByName(ctx, "bob"); err != nil || !cmp.Equal(got, bob) {
		t.Errorf("UserByName = %+v, %v; want %+v", got, err, bob)
	}
	if got, err := s.UserByID(ctx, ann.ID); err != nil || !cmp.Equal(got, ann) {
		t.Errorf("UserByID = %+v, %v; want %+v", got, err, ann)
	}
	users, err := s.Users(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]relay.User{ann, bob}, users); diff != "" {
		t.Error(diff)
	}
	if n, err := s.CountUsers(ctx); n != 2 || err != nil {
		t.Errorf("CountUsers = %d, %v", n, err)
	}

	_, err = s.AddUser(ctx, "bob", false)
	wantKind(t, "same name", err, relay.ErrTaken)
	_, err = s.AddUser(ctx, "Bob!", false)
	wantKind(t, "bad name", err, relay.ErrInvalid)
	_, err = s.UserByName(ctx, "eve")
	wantKind(t, "unknown name", err, relay.ErrNotFound)
	_, err = s.UserByID(ctx, "usr_x")
	wantKind(t, "unknown id", err, relay.ErrNotFound)
}

func TestTokens(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	now := time.UnixMilli(1_800_000_000_000).UTC()
	s.Now = func() time.Time { return now }
	ann := addUser(t, s, "ann")

	laptop, err := s.AddToken(ctx, ann.ID, "laptop", []byte("hash1"), "rly_12345678", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	ci, err := s.AddToken(ctx, ann.ID, "ci", []byte("hash2"), "rly_abcdefgh", now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	want := relay.Token{ID: laptop.ID, UserID: ann.ID, Name: "laptop", Prefix: "rly_12345678", Created: now}
	if diff := cmp.Diff(want, laptop); diff != "" || !strings.HasPrefix(laptop.ID, "tok_") {
		t.Error(laptop.ID, diff)
	}

	user, token, err := s.UserByToken(ctx, []byte("hash1"))
	if err != nil || !cmp.Equal(user, ann) || !cmp.Equal(token, laptop) {
		t.Errorf("UserByToken = %+v, %+v, %v", user, token, err)
	}
	_, _, err = s.UserByToken(ctx, []byte("hash3"))
	wantKind(t, "unknown hash", err, relay.ErrNotFound)
	_, err = s.AddToken(ctx, ann.ID, "again", []byte("hash1"), "", time.Time{})
	wantKind(t, "same hash", err, relay.ErrTaken)
	_, err = s.AddToken(ctx, "usr_x", "x", []byte("hash4"), "", time.Time{})
	wantKind(t, "unknown user", err, relay.ErrNotFound)

	// Of two touches the later one counts, in whatever order they come.
	for _, d := range []time.Duration{2 * time.Minute, time.Minute} {
		if err := s.TouchToken(ctx, laptop.ID, now.Add(d), "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	laptop.LastUsed, laptop.LastAddr = now.Add(2*time.Minute), "192.0.2.1"
	if _, token, err = s.UserByToken(ctx, []byte("hash1")); err != nil || !cmp.Equal(token, laptop) {
		t.Errorf("after the touch: %+v, %v", token, err)
	}

	now = now.Add(time.Hour - time.Millisecond)
	if _, token, err := s.UserByToken(ctx, []byte("hash2")); err != nil || !cmp.Equal(token, ci) {
		t.Errorf("just before the end: %+v, %v", token, err)
	}
	now = now.Add(time.Millisecond)
	_, _, err = s.UserByToken(ctx, []byte("hash2"))
	wantKind(t, "expired", err, relay.ErrDenied)

	tokens, err := s.Tokens(ctx, ann.ID)
	if diff := cmp.Diff([]relay.Token{laptop, ci}, tokens); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if err := s.DeleteToken(ctx, laptop.ID); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.UserByToken(ctx, []byte("hash1"))
	wantKind(t, "deleted", err, relay.ErrNotFound)
	wantKind(t, "deleted twice", s.DeleteToken(ctx, laptop.ID), relay.ErrNotFound)
}

func TestFirstUserIsMadeOnce(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	var made atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			u, tok, created, err := s.AddFirstUser(ctx, fmt.Sprintf("user%d", i), "first", []byte{byte(i)}, "rly_x")
			if err != nil {
				t.Errorf("add first user: %v", err)
			}
			if !created {
				if u.ID != "" || tok.ID != "" {
					t.Errorf("not created, yet %+v, %+v", u, tok)
				}
				return
			}
			made.Add(1)
			owner, got, err := s.UserByToken(ctx, []byte{byte(i)})
			if err != nil || owner.ID != u.ID || got.ID != tok.ID || !u.Admin {
				t.Errorf("the first token is of %+v, %+v, %v", owner, got, err)
			}
		})
	}
	all.Wait()
	if n, err := s.CountUsers(ctx); made.Load() != 1 || n != 1 || err != nil {
		t.Errorf("%d made, %d users, %v", made.Load(), n, err)
	}
}

func TestNames(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	ann, bob := addUser(t, s, "ann"), addUser(t, s, "bob")

	for range 2 { // reserving again is nothing new
		for _, n := range []relay.Name{"shop", "api-ann"} {
			if err := s.Reserve(ctx, ann.ID, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantKind(t, "held by ann", s.Reserve(ctx, bob.ID, "shop"), relay.ErrTaken)
	wantKind(t, "unknown user", s.Reserve(ctx, "usr_x", "new"), relay.ErrNotFound)
	if err := s.Reserve(ctx, bob.ID, "bob"); err != nil {
		t.Fatal(err)
	}

	if owner, err := s.Owner(ctx, "shop"); owner != ann.ID || err != nil {
		t.Errorf("Owner = %q, %v", owner, err)
	}
	_, err := s.Owner(ctx, "free")
	wantKind(t, "owner of a free name", err, relay.ErrNotFound)
	if names, err := s.Names(ctx, ann.ID); err != nil || !slices.Equal(names, []relay.Name{"api-ann", "shop"}) {
		t.Errorf("Names = %q, %v", names, err)
	}
	all, err := s.AllNames(ctx)
	if diff := cmp.Diff(map[relay.Name]string{"shop": ann.ID, "api-ann": ann.ID, "bob": bob.ID}, all); diff != "" || err != nil {
		t.Error(err, diff)
	}

	wantKind(t, "release by another", s.Release(ctx, bob.ID, "shop"), relay.ErrNotFound)
	if err := s.Release(ctx, ann.ID, "shop"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "release twice", s.Release(ctx, ann.ID, "shop"), relay.ErrNotFound)
	if err := s.Reserve(ctx, bob.ID, "shop"); err != nil {
		t.Errorf("a released name is not free: %v", err)
	}
}

func TestDefaultNames(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	ann, bob := addUser(t, s, "ann"), addUser(t, s, "bob")

	_, err := s.DefaultName(ctx, ann.ID, "http:8080")
	wantKind(t, "no default yet", err, relay.ErrNotFound)
	for _, n := range []relay.Name{"one", "two", "two"} {
		if err := s.SetDefaultName(ctx, ann.ID, "http:8080", n); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.DefaultName(ctx, ann.ID, "http:8080"); n != "two" || err != nil {
		t.Errorf("DefaultName = %q, %v", n, err)
	}
	_, err = s.DefaultName(ctx, ann.ID, "http:9090")
	wantKind(t, "another command", err, relay.ErrNotFound)
	_, err = s.DefaultName(ctx, bob.ID, "http:8080")
	wantKind(t, "another user", err, relay.ErrNotFound)
	wantKind(t, "unknown user", s.SetDefaultName(ctx, "usr_x", "http:1", "one"), relay.ErrNotFound)

	// A name that was given back is no longer proposed.
	if err := s.Reserve(ctx, ann.ID, "two"); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(ctx, ann.ID, "two"); err != nil {
		t.Fatal(err)
	}
	_, err = s.DefaultName(ctx, ann.ID, "http:8080")
	wantKind(t, "after release", err, relay.ErrNotFound)
}

func TestResumes(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	now := time.UnixMilli(1_800_000_000_000).UTC()
	ann := addUser(t, s, "ann")
	save := func(hash, session string, expires time.Time) store.Resume {
		t.Helper()
		r := store.Resume{Hash: []byte(hash), UserID: ann.ID, AgentID: "agent", SessionID: session, Expires: expires}
		if err := s.SaveResume(ctx, r); err != nil {
			t.Fatal(err)
		}
		return r
	}

	save("h1", "s1", now.Add(time.Minute))
	second := save("h2", "s1", now.Add(time.Hour)) // replaces h1
	save("h3", "s3", now)
	save("h4", "s4", now.Add(time.Millisecond))

	_, err := s.TakeResume(ctx, []byte("h1"), now)
	wantKind(t, "replaced", err, relay.ErrNotFound)
	got, err := s.TakeResume(ctx, []byte("h2"), now)
	if diff := cmp.Diff(second, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	_, err = s.TakeResume(ctx, []byte("h2"), now)
	wantKind(t, "second use", err, relay.ErrNotFound)
	got, err = s.TakeResume(ctx, []byte("h3"), now)
	wantKind(t, "expired", err, relay.ErrNotFound)
	if !cmp.Equal(got, store.Resume{}) {
		t.Errorf("an expired resume is told: %+v", got)
	}

	save("h5", "s5", now)
	if err := s.PurgeResumes(ctx, now); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TakeResume(ctx, []byte("h4"), now); err != nil {
		t.Errorf("purged too early: %v", err)
	}
	_, err = s.TakeResume(ctx, []byte("h5"), now.Add(-time.Hour))
	wantKind(t, "purged", err, relay.ErrNotFound)

	err = s.SaveResume(ctx, store.Resume{Hash: []byte("h"), UserID: "usr_x", SessionID: "s"})
	wantKind(t, "unknown user", err, relay.ErrNotFound)
}

func TestResumeIsTakenByOne(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	ann := addUser(t, s, "ann")
	now := time.Now()
	if err := s.SaveResume(ctx, store.Resume{Hash: []byte("h"), UserID: ann.ID, SessionID: "s", Expires: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	var got atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			switch _, err := s.TakeResume(ctx, []byte("h"), now); {
			case err == nil:
				got.Add(1)
			case !errors.Is(err, relay.ErrNotFound):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got.Load() != 1 {
		t.Errorf("%d took it", got.Load())
	}
}

func TestNameHasOneWinner(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 10 {
		u := addUser(t, s, fmt.Sprintf("user%d", i))
		all.Go(func() {
			switch err := s.Reserve(ctx, u.ID, "shop"); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, relay.ErrTaken):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d won", won.Load())
	}
}

func TestIDsSortByTime(t *testing.T) {
	ctx, s := t.Context(), open(t, t.TempDir())
	ann := addUser(t, s, "ann")
	now := time.Now()
	var ids []string
	for i := range 60 {
		// The clock stands still, and is set back in the middle.
		s.Now = func() time.Time { return now.Add(-time.Duration(i/30) * time.Hour) }
		tok, err := s.AddToken(ctx, ann.ID, "t", []byte{byte(i)}, "", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, tok.ID)
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 60 {
		t.Errorf("ids are not in order or not unique: %q", ids)
	}
}

func TestEverythingSurvivesARestart(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s, err := store.Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	ann := addUser(t, s, "ann")
	if err := s.Reserve(ctx, ann.ID, "shop"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // closing twice is no error
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddUser(ctx, "late", false); err == nil {
		t.Error("a closed store takes a user")
	}
	if s.Check(ctx) == nil {
		t.Error("a closed store is ready")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*-wal")); len(left) > 0 {
		t.Errorf("the log was not put back: %v", left)
	}

	s = open(t, dir)
	if owner, err := s.Owner(ctx, "shop"); owner != ann.ID || err != nil {
		t.Errorf("Owner = %q, %v", owner, err)
	}
	if err := s.Check(ctx); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestPathMayHaveAnyCharacter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c=d&mode=memory#e%20f")
	open(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "relay.db")); err != nil {
		t.Error(err)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	db, err := sql.Open("sqlite", filepath.Join(dir, "relay.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`insert into goose_db_version (version_id, is_applied) values (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	db.Close()

	_, err = store.Open(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "newer relay") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open = %v", err)
	}
}

func TestDamagedDatabaseIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		damage func(whole []byte) []byte
	}{
		{"not a database", func([]byte) []byte { return []byte(strings.Repeat("this is my diary\n", 500)) }},
		{"truncated", func(b []byte) []byte { return b[:len(b)/2] }},
		{"overwritten", func(b []byte) []byte { clear(b[4096 : 3*4096]); return b }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := store.Open(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			addUser(t, s, "ann")
			s.Close()
			path := filepath.Join(dir, "relay.db")
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.damage(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = store.Open(t.Context(), dir)
			if err == nil || !strings.Contains(err.Error(), "restore it from a backup") || strings.Contains(err.Error(), "\n") {
				t.Errorf("Open = %v", err)
			}
		})
	}
}

func TestContextEndsTheWait(t *testing.T) {
	s := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.AddUser(ctx, "ann", false); !errors.Is(err, context.Canceled) {
		t.Errorf("AddUser = %v", err)
	}
	if n, _ := s.CountUsers(t.Context()); n != 0 {
		t.Error("the user was added")
	}
}

func TestUsersChange(t *testing.T) {
	ctx := t.Context()
	s := open(t, t.TempDir())
	root, err := s.AddUser(ctx, "root", true)
	if err != nil {
		t.Fatal(err)
	}
	rights := relay.Rights{Names: []string{"pr-*"}, Endpoints: 3, Rate: 2.5}
	ann, err := s.AddUserWith(ctx, "ann", false, rights)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.UserByName(ctx, "ann"); err != nil || !cmp.Equal(got, ann) || !cmp.Equal(got.Rights, rights) {
		t.Error(err, cmp.Diff(ann, got))
	}
	tok, err := s.AddTokenWith(ctx, relay.Token{
		UserID: ann.ID, Name: "ci", Scopes: []relay.Scope{relay.ScopeTunnel, relay.ScopeEventsRead}, Endpoints: []string{"pr-*", "x"}, Parent: "tok_1",
	}, []byte("hash"))
	if err != nil {
		t.Fatal(err)
	}
	if u, got, err := s.UserByToken(ctx, []byte("hash")); err != nil || !cmp.Equal(got, tok) || !cmp.Equal(u, ann) {
		t.Error(err, cmp.Diff(tok, got))
	}
	ann.Disabled, ann.Rights.Endpoints = true, 9
	if err := s.SetUser(ctx, ann); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.UserByToken(ctx, []byte("hash"))
	wantKind(t, "a disabled user's token", err, relay.ErrDenied)
	if !strings.Contains(err.Error(), "disabled") {
		t.Error(err)
	}
	if got, _ := s.UserByID(ctx, ann.ID); !cmp.Equal(got, ann) {
		t.Error(cmp.Diff(ann, got))
	}

	// Somebody stays who can change things.
	for what, do := range map[string]func() error{
		"no admin": func() error { u := root; u.Admin = false; return s.SetUser(ctx, u) },
		"disabled": func() error { u := root; u.Disabled = true; return s.SetUser(ctx, u) },
		"removed":  func() error { return s.DeleteUser(ctx, root.ID) },
	} {
		wantKind(t, "the last admin: "+what, do(), relay.ErrDenied)
	}
	if got, err := s.UserByID(ctx, root.ID); err != nil || !got.Admin || got.Disabled {
		t.Errorf("the last admin is %+v, %v", got, err)
	}
	if err := s.DeleteUser(ctx, ann.ID); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "gone", s.SetUser(ctx, ann), relay.ErrNotFound)
	wantKind(t, "gone", s.DeleteUser(ctx, ann.ID), relay.ErrNotFound)
}

func TestAudit(t *testing.T) {
	ctx := t.Context()
	s := open(t, t.TempDir())
	at := time.UnixMilli(1_700_000_000_000).UTC()
	s.Now = func() time.Time { return at }
	for _, action := range []string{"token.create", "token.revoke", "user.add"} {
		at = at.Add(time.Second)
		err := s.AddAudit(ctx, relay.Audit{At: at, UserID: "u", Actor: "ann", Token: "t", Address: "a", Action: action, Target: "x", Result: "ok", Detail: "d"})
		if err != nil {
			t.Fatal(err)
		}
	}
	actions := func(q relay.AuditQuery) string {
		t.Helper()
		q.Limit = 10
		all, err := s.Audit(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, a := range all {
			out = append(out, a.Action)
		}
		return strings.Join(out, " ")
	}
	all, _ := s.Audit(ctx, relay.AuditQuery{Limit: 1})
	want := relay.Audit{ID: all[0].ID, At: at, UserID: "u", Actor: "ann", Token: "t", Address: "a", Action: "user.add", Target: "x", Result: "ok", Detail: "d"}
	if all[0] != want || !strings.HasPrefix(want.ID, "aud_") {
		t.Errorf("%+v", all[0])
	}
	for _, c := range []struct {
		q    relay.AuditQuery
		want string
	}{
		{relay.AuditQuery{}, "user.add token.revoke token.create"},
		{relay.AuditQuery{Action: "token"}, "token.revoke token.create"},
		{relay.AuditQuery{Action: "token.create"}, "token.create"},
		{relay.AuditQuery{Action: "tok"}, ""},
		{relay.AuditQuery{Actor: "bob"}, ""},
		{relay.AuditQuery{Since: at}, "user.add"},
		{relay.AuditQuery{Before: all[0].ID}, "token.revoke token.create"},
	} {
		if got := actions(c.q); got != c.want {
			t.Errorf("%+v: %s", c.q, got)
		}
	}
	if err := s.PurgeAudit(ctx, at); err != nil {
		t.Fatal(err)
	}
	if got := actions(relay.AuditQuery{}); got != "user.add" {
		t.Errorf("after the purge: %s", got)
	}
}
