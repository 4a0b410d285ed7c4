// Package store keeps what must survive a restart: users, tokens, names and
// the secrets by which agents resume. It is one SQLite database, relay.db, in
// the data folder of the server.
//
// Reads go to a small pool of connections that cannot write. All writes go
// through one goroutine that gathers those that wait into one transaction, so
// that many callers share one fsync; when a writing method returns nil, the
// change is on disk. See write.go.
//
// Errors wrap the kinds of internal/relay where one fits. An error of no kind
// is a failure of the disk or the database.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/relaytunnel/relay/internal/relay"
)

// readers is the number of connections that read at the same time. Reads take
// microseconds; more connections than cores only cost memory.
const readers = 4

// openWait is how long Open waits for other processes that open the database too.
const openWait = 5 * time.Second

// busy tells whether another process was in the way.
func busy(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && se.Code()&0xff == sqlite3.SQLITE_BUSY
}

// synchronous is SQLite's pragma: with full, a commit returns when it is on disk. It
// is a variable for one test alone, which builds the program with another value to see
// that it would notice: go build -ldflags '-X …/server/store.synchronous=normal'.
var synchronous = "full"

// A Store is the open database. Its methods are safe for concurrent use, also
// while Close runs. Make one with Open.
type Store struct {
	// Now tells the time. Open sets it to time.Now; a test may replace it
	// before the first call of a method.
	Now func() time.Time

	writer *sql.DB // one connection
	reader *sql.DB // query_only
	ids    ids
	dir    string
	key    []byte // see Seal

	diskFailed atomic.Bool // see errDisk

	jobs    chan *job
	quit    chan struct{} // closed by Close
	close   sync.Once
	running sync.WaitGroup // the goroutine of writeLoop
	failed  error          // of closing, set inside close
}

// Open opens the database in the folder dir, creates both when they do not
// exist, and brings the schema up to date. A folder that it creates has mode
// 0700; one that exists keeps its mode. The files have mode 0600.
//
// It refuses a database that is damaged or that a newer version of this
// program has written. ctx limits the opening only. The caller must Close the
// store; Open has started a goroutine that ends then.
func Open(ctx context.Context, dir string) (*Store, error) {
	path, err := prepareFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	key, err := loadKey(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		Now:  time.Now,
		dir:  filepath.Dir(path),
		key:  key,
		jobs: make(chan *job),
		quit: make(chan struct{}),
	}
	// auto_vacuum comes first: it counts only while the file is empty, and the
	// journal mode writes to it. See reclaimable. The log is cut back to 16 MiB
	// after a burst.
	if s.writer, err = openPool(path, 1, "auto_vacuum(incremental)", "journal_mode(wal)", "synchronous("+synchronous+")", "secure_delete(on)",
		"journal_size_limit(16777216)"); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.reader, err = openPool(path, readers, "query_only(on)"); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.writer.Close())
	}
	err = s.prepare(ctx, path)
	// The switch to the write-ahead log does not wait for others, whatever
	// busy_timeout says.
	for late := time.Now().Add(openWait); busy(err) && time.Now().Before(late) && ctx.Err() == nil; {
		time.Sleep(openWait / 200)
		err = s.prepare(ctx, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.closePools())
	}
	removeCopies(s.dir, time.Now())
	s.running.Go(s.writeLoop)
	return s, nil
}

// prepare checks the database and migrates it, before anyone else uses it.
func (s *Store) prepare(ctx context.Context, path string) error {
	if err := checkDatabase(ctx, s.writer, path); err != nil {
		return explain(err, path)
	}
	reclaimable(ctx, s.writer)
	if err := migrate(ctx, s.writer, path); err != nil {
		return explain(err, path)
	}
	if err := s.reader.PingContext(ctx); err != nil {
		return explain(err, path)
	}
	return nil
}

// Close waits for the transaction that is being written, refuses what comes
// after it, and closes the files. It may be called more than once.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.quit)
		s.running.Wait()
		if err := s.closePools(); err != nil {
			s.failed = fmt.Errorf("close store: %w", err)
		}
	})
	return s.failed
}

// closePools closes the writing connection last: the last one to go puts the
// write-ahead log back into relay.db, and a reader may not.
func (s *Store) closePools() error {
	return errors.Join(s.reader.Close(), s.writer.Close())
}

// Check returns nil when the store can be read and a transaction can begin
// and end, for a readiness probe. It changes nothing on disk.
func (s *Store) Check(ctx context.Context) error {
	var one int
	if err := s.reader.QueryRowContext(ctx, `select 1 from users limit 1`).Scan(&one); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read the store: %w", err)
	}
	if err := s.write(ctx, func(*sql.Tx) error { return nil }); err != nil {
		return fmt.Errorf("write to the store: %w", err)
	}
	return nil
}

// openPool makes a pool of n connections on the file. Nothing is opened yet.
func openPool(path string, n int, pragmas ...string) (*sql.DB, error) {
	options := url.Values{
		// A transaction that will write takes the lock at its beginning,
		// where waiting for it is possible.
		"_txlock": {"immediate"},
		// The wait, in ms, when another process (a backup, sqlite3) holds it.
		"_pragma": append([]string{"busy_timeout(5000)", "foreign_keys(on)"}, pragmas...),
	}
	slashed := filepath.ToSlash(path)
	if slashed[0] != '/' {
		slashed = "/" + slashed // C:/data becomes /C:/data in a URI
	}
	name := url.URL{Scheme: "file", Path: slashed, RawQuery: options.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// kind adds the kind of internal/relay to an error of the database: no row,
// a key that exists, a row that refers to nothing. Others stay as they are.
func kind(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return relay.ErrNotFound
	}
	var se *sqlite.Error
	if errors.As(err, &se) {
		switch se.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return relay.ErrTaken
		case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
			return relay.ErrNotFound
		}
	}
	return err
}

// millis is how a time is stored; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment is the inverse of millis, in UTC.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
