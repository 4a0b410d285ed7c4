package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/relaytunnel/relay/internal/relay"
)

func openTest(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func insert(name string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		return insertUser(tx, relay.User{ID: "usr_" + name, Name: name})
	}
}

// together runs the functions in one transaction, if they fit: another one
// holds it until all wait behind it. It must run in a synctest bubble, where
// that can be known and where no time passes.
func together(t *testing.T, s *Store, do ...func(*sql.Tx) error) []error {
	t.Helper()
	goOn := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		// Its own result is that of the commit.
		_ = s.write(t.Context(), func(*sql.Tx) error { <-goOn; return nil })
	})
	synctest.Wait()
	errs := make([]error, len(do))
	for i, f := range do {
		all.Go(func() { errs[i] = s.write(t.Context(), f) })
		synctest.Wait() // in this order
	}
	close(goOn)
	all.Wait()
	return errs
}

func names(t *testing.T, s *Store) string {
	t.Helper()
	users, err := s.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, u := range users {
		all += u.Name + " "
	}
	return all
}

func TestAFailingWriteIsUndoneAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t)
		errOwn := errors.New("changed my mind")
		errs := together(t, s,
			insert("ann"),
			func(tx *sql.Tx) error { return errors.Join(insert("bob")(tx), errOwn) },
			func(tx *sql.Tx) error {
				if err := insert("cid")(tx); err != nil {
					return err
				}
				return insert("cid")(tx)
			},
			insert("dan"),
		)
		if errs[0] != nil || !errors.Is(errs[1], errOwn) || !errors.Is(errs[2], relay.ErrTaken) || errs[3] != nil {
			t.Errorf("errors are %v", errs)
		}
		if got := names(t, s); got != "ann dan " {
			t.Errorf("kept %q", got)
		}
	})
}

func TestAFailedCommitFailsAllWhoSharedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t)
		errOwn := errors.New("changed my mind")
		errs := together(t, s,
			insert("ann"),
			func(*sql.Tx) error { return errOwn },
			func(tx *sql.Tx) error { // a foreign key that is checked at the commit only
				if _, err := tx.Exec(`pragma defer_foreign_keys = on`); err != nil {
					return err
				}
				_, err := tx.Exec(`insert into names (name, user_id, created) values ('x', 'nobody', 0)`)
				return err
			},
		)
		if errs[0] == nil || errs[1] != errOwn || errs[2] == nil {
			t.Errorf("errors are %v", errs)
		}
		if got := names(t, s); got != "" {
			t.Errorf("kept %q", got)
		}
		if err := s.write(t.Context(), insert("bob")); err != nil {
			t.Errorf("the next write: %v", err)
		}
	})
}

func TestALostTransactionFailsAllAndTheNextWorks(t *testing.T) {
	s := openTest(t)
	err := s.write(t.Context(), func(tx *sql.Tx) error {
		if err := insert("ann")(tx); err != nil {
			return err
		}
		_, _ = tx.Exec(`rollback`) // as SQLite does by itself on a full disk
		return errors.New("disk full")
	})
	if err == nil {
		t.Error("no error")
	}
	if err := s.write(t.Context(), insert("bob")); err != nil {
		t.Errorf("the next write: %v", err)
	}
	if got := names(t, s); got != "bob " {
		t.Errorf("kept %q", got)
	}
}

func TestManyWritersShareCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t)
		sizes := map[*sql.Tx]int{} // used by the writer only
		do := make([]func(*sql.Tx) error, 450)
		for i := range do {
			do[i] = func(tx *sql.Tx) error {
				sizes[tx]++
				return insert(fmt.Sprintf("user%d", i))(tx)
			}
		}
		if err := errors.Join(together(t, s, do...)...); err != nil {
			t.Error(err)
		}
		if n, err := s.CountUsers(t.Context()); n != len(do) || err != nil {
			t.Errorf("%d users, %v", n, err)
		}
		// The one that held the first transaction counts in it.
		got := slices.Sorted(maps.Values(sizes))
		if want := []int{51, groupSize - 1, groupSize}; !slices.Equal(got, want) {
			t.Errorf("transactions of %d writes, want %d", got, want)
		}
	})
}

func TestCloseWaitsForTheWriteAndRefusesLater(t *testing.T) {
	s := openTest(t)
	began, goOn := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- s.write(context.Background(), func(tx *sql.Tx) error {
			close(began)
			<-goOn
			return insert("ann")(tx)
		})
	}()
	<-began
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-s.quit
	if err := s.write(t.Context(), insert("bob")); !errors.Is(err, errClosed) {
		t.Errorf("write after close: %v", err)
	}
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Errorf("the write that was on its way: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestReadersCannotWrite(t *testing.T) {
	s := openTest(t)
	if _, err := s.reader.Exec(`delete from users`); err == nil {
		t.Error("a reader deletes")
	}
}

func TestSettingsOfConnections(t *testing.T) {
	s := openTest(t)
	want := map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000", "secure_delete": "1"}
	for pragma, value := range want {
		var got string
		if err := s.writer.QueryRow(`pragma ` + pragma).Scan(&got); err != nil || got != value {
			t.Errorf("%s of the writer is %q, %v; want %q", pragma, got, err, value)
		}
	}
	var path string
	if err := s.writer.QueryRow(`select file from pragma_database_list`).Scan(&path); err != nil || filepath.Base(path) != "relay.db" {
		t.Errorf("the file is %q, %v", path, err)
	}
}

func BenchmarkWriteAlone(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := 0; b.Loop(); i++ {
		if err := s.write(b.Context(), insert(fmt.Sprintf("user%d", i))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteTogether(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var next atomic.Int64
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.write(b.Context(), insert(fmt.Sprintf("user%d", next.Add(1)))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// What each arrival and each try ask must not take longer the more is kept.
func TestTheInboxAsksIndexes(t *testing.T) {
	s := openTest(t)
	for _, query := range []string{
		`select id from events where endpoint_id = 'a' and provider_id = 'b' and provider_id <> '' and state <> 'rejected' order by id limit 1`,
		`select exists (select 1 from deliveries where endpoint_id = 'a' and state in ('pending', 'sending'))`,
		`select id from endpoints where exists (select 1 from deliveries where endpoint_id = endpoints.id and state in ('pending', 'sending'))`,
		`select next from deliveries where endpoint_id = 'a' and state = 'pending' order by next limit 1`,
		`select id from deliveries where endpoint_id = 'a' and state = 'pending' and next > 0 and next <= 4 order by next, id limit 5`,
		usageQuery,
	} {
		var args []any
		if strings.Contains(query, "$1") {
			args = append(args, "a")
		}
		plans, err := collect(t.Context(), s.reader, func(r row) (plan string, err error) {
			var id, parent, unused int
			err = r.Scan(&id, &parent, &unused, &plan)
			return plan, err
		}, `explain query plan `+query, args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, plan := range plans {
			if strings.HasPrefix(plan, "SCAN events") || strings.HasPrefix(plan, "SCAN deliveries") || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("%s: %s", query, plan)
			}
		}
	}
}
