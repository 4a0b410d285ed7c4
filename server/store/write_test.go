package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

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

// together runs the functions so that they share one transaction: the first
// holds it until all others wait behind it.
func together(t *testing.T, s *Store, do ...func(*sql.Tx) error) []error {
	t.Helper()
	began, goOn := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		err := s.write(t.Context(), func(*sql.Tx) error {
			close(began)
			<-goOn
			return nil
		})
		_ = err // shares the fate of the commit
	})
	<-began
	errs := make([]error, len(do))
	var waiting sync.WaitGroup
	for i, f := range do {
		waiting.Add(1)
		all.Go(func() {
			waiting.Done()
			errs[i] = s.write(t.Context(), f)
		})
	}
	waiting.Wait()
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
}

func TestAFailedCommitFailsAllWhoSharedIt(t *testing.T) {
	s := openTest(t)
	// A foreign key that is checked at the commit only.
	dangling := func(tx *sql.Tx) error {
		if _, err := tx.Exec(`pragma defer_foreign_keys = on`); err != nil {
			return err
		}
		_, err := tx.Exec(`insert into names (name, user_id, created) values ('x', 'nobody', 0)`)
		return err
	}
	// Whether the others share the transaction is for the scheduler to say;
	// in one function it is certain.
	err := s.write(t.Context(), func(tx *sql.Tx) error {
		return errors.Join(insert("ann")(tx), dangling(tx))
	})
	if err == nil {
		t.Error("the commit did not fail")
	}
	for range 20 {
		errs := together(t, s, insert("bob"), dangling)
		if errs[1] == nil {
			t.Error("the commit did not fail")
		}
		kept := names(t, s)
		if (errs[0] == nil) != (kept == "bob ") {
			t.Fatalf("bob was told %v, and kept are %q", errs[0], kept)
		}
		if errs[0] == nil {
			if err := s.write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(`delete from users`); return err }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.write(t.Context(), insert("eve")); err != nil {
		t.Errorf("the next write: %v", err)
	}
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
	s := openTest(t)
	const n = 400
	var all sync.WaitGroup
	var mu sync.Mutex
	transactions := map[*sql.Tx]int{}
	for i := range n {
		all.Go(func() {
			err := s.write(t.Context(), func(tx *sql.Tx) error {
				mu.Lock()
				transactions[tx]++ // kept alive by the map: no address twice
				mu.Unlock()
				return insert(fmt.Sprintf("user%d", i))(tx)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := s.CountUsers(t.Context()); got != n || err != nil {
		t.Errorf("%d users, %v", got, err)
	}
	t.Logf("%d writes in %d transactions", n, len(transactions))
	if len(transactions) > n/2 {
		t.Errorf("%d writes took %d transactions", n, len(transactions))
	}
	for _, k := range transactions {
		if k > groupSize {
			t.Errorf("a transaction has %d writes", k)
		}
	}
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
