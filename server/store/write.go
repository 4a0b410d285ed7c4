package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The limits of one transaction. A commit is an fsync, which takes from 0.1 ms
// to 20 ms, so that sharing it is what makes many writes cheap; but the first
// in the group must not wait long for the last.
const (
	groupSize = 200
	groupTime = 5 * time.Millisecond
)

// errDisk is returned by writing methods after the disk has failed to sync. What a
// failed fsync has left behind nobody knows, and one that succeeds later says nothing of
// it: systems drop the pages that they could not write. So nothing is believed any
// more until a new process opens the store and looks at what is there.
var errDisk = errors.New("the disk has failed to write what it was given; nothing is kept any more until the server is started anew, on a disk that works")

// errClosed is returned by writing methods after Close.
var errClosed = errors.New("the store is closed")

// A job is one write on its way through writeLoop.
type job struct {
	ctx  context.Context
	do   func(*sql.Tx) error
	done chan error // buffered: the loop does not wait for the caller
}

// write runs do inside a transaction and returns when that is committed, or
// has failed. An error of do undoes what do did and nothing else, and comes
// back as it is. A failure to commit is returned to all who shared the
// transaction.
//
// ctx ends the wait for the turn. Once do has begun, write waits for it, so
// that do may set variables of its caller. do must not use a context of the
// caller: a statement that is interrupted takes the whole transaction with it.
// do must not call methods of the Store: it holds the only writing connection.
func (s *Store) write(ctx context.Context, do func(*sql.Tx) error) error {
	if s.diskFailed.Load() {
		return errDisk
	}
	j := &job{ctx: ctx, do: do, done: make(chan error, 1)}
	select {
	case s.jobs <- j:
		return <-j.done
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return errClosed
	}
}

// writeLoop is the only writer. It ends when quit is closed.
func (s *Store) writeLoop() {
	for {
		select {
		case first := <-s.jobs:
			s.writeGroup(first)
		case <-s.quit:
			return
		}
	}
}

// writeGroup runs first and those that wait behind it in one transaction and
// answers them all. It never waits for more to come: a lone write is committed
// at once.
func (s *Store) writeGroup(first *job) {
	if s.diskFailed.Load() { // while this one waited for its turn
		first.done <- errDisk
		return
	}
	tx, err := s.writer.Begin()
	if err != nil {
		s.noteDisk(err)
		first.done <- fmt.Errorf("begin: %w", err)
		return
	}
	deadline := time.Now().Add(groupTime)
	var kept []*job // done without error, to be answered after the commit
	for j := first; j != nil; j = s.next(len(kept), deadline) {
		own, broken := runJob(tx, j)
		if broken != nil {
			s.noteDisk(broken)
			_ = tx.Rollback() // SQLite may have rolled back already
			answer(append(kept, j), broken)
			return
		}
		if own != nil {
			j.done <- own
			continue
		}
		kept = append(kept, j)
	}
	if len(kept) == 0 {
		_ = tx.Rollback()
		return
	}
	if err := tx.Commit(); err != nil {
		s.noteDisk(err)
		answer(kept, fmt.Errorf("commit: %w", err))
		return
	}
	answer(kept, nil)
}

// noteDisk remembers that the disk has failed, if err is of that.
func (s *Store) noteDisk(err error) {
	var se *sqlite.Error
	if errors.As(err, &se) && (se.Code() == sqlite3.SQLITE_IOERR_FSYNC || se.Code() == sqlite3.SQLITE_IOERR_DIR_FSYNC) {
		s.diskFailed.Store(true)
	}
}

// next returns a job that is waiting now, or nil when the group is complete.
func (s *Store) next(n int, deadline time.Time) *job {
	if n >= groupSize || !time.Now().Before(deadline) {
		return nil
	}
	select {
	case j := <-s.jobs:
		return j
	default:
		return nil
	}
}

// runJob runs one job between savepoints. own is the error of the job, whose
// work is undone; broken means that the whole transaction is lost.
func runJob(tx *sql.Tx, j *job) (own, broken error) {
	if err := j.ctx.Err(); err != nil {
		return err, nil
	}
	if _, err := tx.Exec(`savepoint job`); err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	own = j.do(tx)
	if own != nil {
		// After an error such as a full disk SQLite has rolled back
		// everything, and this fails because there is no such savepoint.
		if _, err := tx.Exec(`rollback to savepoint job`); err != nil {
			return nil, fmt.Errorf("roll back after %w: %w", own, err)
		}
	}
	if _, err := tx.Exec(`release savepoint job`); err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	return own, nil
}

func answer(jobs []*job, err error) {
	for _, j := range jobs {
		j.done <- err
	}
}
