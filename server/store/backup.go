package store

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
)

const (
	// backupPages are copied at a time: 4 MiB, so that a backup can be given up soon.
	backupPages = 1024
	// copyPattern names the copies that are made on the way; one that is left behind by
	// a crash is older than copyAge.
	copyPattern = ".backup-*"
	copyAge     = 24 * time.Hour
)

// ErrExists is what Restore returns for a folder that has a database.
var ErrExists = errors.New("there is a database already")

// ErrNoBackup is what Restore returns for no Snapshot has sent, or not to its end.
var ErrNoBackup = errors.New("not a whole backup of relay")

// A Snapshot is a copy of the database as it was at one moment. Close it.
type Snapshot struct {
	f   *os.File
	key []byte // nil if it has none
	at  time.Time
}

// Snapshot copies the database while others read and write it. withKey puts the server
// key in too, without which what Seal has sealed stays shut. The copy takes room on the
// disk until it is closed.
func (s *Store) Snapshot(ctx context.Context, withKey bool) (*Snapshot, error) {
	f, err := os.CreateTemp(s.dir, copyPattern) // mode 0600
	if err != nil {
		return nil, fmt.Errorf("back up: %w", err)
	}
	out := &Snapshot{f: f, at: s.Now()}
	if withKey {
		out.key = s.key
	}
	if err := s.copyTo(ctx, f.Name()); err != nil {
		out.Close()
		return nil, fmt.Errorf("back up: %w", err)
	}
	return out, nil
}

// Close removes the copy.
func (n *Snapshot) Close() {
	_ = n.f.Close()
	_ = os.Remove(n.f.Name())
}

// Send writes a tar.gz with relay.db, and relay.key if it has that, once. What was
// written before an error has no right end, so that nobody takes it for a backup.
func (n *Snapshot) Send(ctx context.Context, w io.Writer) error {
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	t := tar.NewWriter(z)
	info, err := n.f.Stat()
	if err == nil && n.key != nil {
		key := hex.EncodeToString(n.key) + "\n"
		err = addFile(ctx, t, keyName, int64(len(key)), n.at, strings.NewReader(key))
	}
	if err == nil {
		err = addFile(ctx, t, fileName, info.Size(), n.at, n.f)
	}
	if err == nil {
		err = t.Close()
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return fmt.Errorf("send a backup: %w", err)
	}
	return nil
}

// copyTo copies the database with SQLite's own means. The transaction around it holds
// one state fast: without, each write of another begins the copy anew.
func (s *Store) copyTo(ctx context.Context, path string) error {
	conn, err := s.reader.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := tx.QueryRowContext(ctx, `select count(*) from sqlite_schema`).Scan(new(int)); err != nil {
		return err
	}
	return conn.Raw(func(c any) error {
		b, err := c.(interface {
			NewBackup(to string) (*sqlite.Backup, error)
		}).NewBackup(path)
		if err != nil {
			return err
		}
		for more := true; more && err == nil; {
			if err = ctx.Err(); err == nil {
				more, err = b.Step(backupPages)
			}
		}
		return errors.Join(err, b.Finish())
	})
}

func addFile(ctx context.Context, t *tar.Writer, name string, size int64, at time.Time, r io.Reader) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: at, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := io.Copy(t, &until{ctx, r})
	return err
}

// until reads as long as nobody has cancelled.
type until struct {
	ctx context.Context
	r   io.Reader
}

func (u *until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

// Restored tells what Restore has done.
type Restored struct {
	Key   bool   // the server key came with the backup
	Kept  bool   // it did not, and that of the folder stays
	Moved string // the folder with what was there before, which a server could run on; "" if nothing was
}

// Restore puts a backup, read from r, into the folder dir, which it makes where there is
// none. It looks at the whole backup before it changes anything: ErrNoBackup if it is
// none, or damaged; a schema that this program does not know is refused too. A database
// in dir is a reason to stop (ErrExists), unless force is given: then its files go
// into a folder of their own in dir, in whose name now stands. No server may run on dir.
func Restore(ctx context.Context, r io.Reader, dir string, force bool, now time.Time) (Restored, error) {
	out, err := restore(ctx, r, dir, force, now)
	if err != nil {
		return out, fmt.Errorf("restore: %w", err)
	}
	return out, nil
}

func restore(ctx context.Context, r io.Reader, dir string, force bool, now time.Time) (Restored, error) {
	var out Restored
	dir, err := filepath.Abs(dir)
	if err != nil {
		return out, err
	}
	path := filepath.Join(dir, fileName)
	if _, err := os.Stat(path); err == nil && !force {
		return out, fmt.Errorf("%w: %s", ErrExists, path)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, err
	}
	work, err := os.MkdirTemp(dir, ".restore-*")
	if err != nil {
		return out, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if out.Key, err = unpack(ctx, r, work); err != nil {
		return out, err
	}
	if err := checkBackup(ctx, work, out.Key); err != nil {
		return out, err
	}
	names := []string{fileName + "-wal", fileName + "-shm", fileName}
	if out.Key {
		names = append(names, keyName)
	} else if _, err := readKey(filepath.Join(dir, keyName)); err == nil {
		out.Kept = true
	}
	// SQLite finds the log of a server that was killed beside its database alone.
	before := filepath.Join(dir, "before-"+now.UTC().Format("20060102T150405"))
	if err := os.Mkdir(before, 0o700); err != nil {
		return out, err
	}
	for _, name := range names {
		switch err := os.Rename(filepath.Join(dir, name), filepath.Join(before, name)); {
		case err == nil:
			out.Moved = before
		case !errors.Is(err, fs.ErrNotExist):
			return out, err
		}
	}
	if out.Moved == "" {
		_ = os.Remove(before)
	}
	if out.Key {
		if err := os.Rename(filepath.Join(work, keyName), filepath.Join(dir, keyName)); err != nil {
			return out, err
		}
	}
	if err := os.Rename(filepath.Join(work, fileName), path); err != nil { // the last: with it the store is there
		return out, err
	}
	return out, syncDir(dir)
}

// unpack writes the files of a backup into a folder, and nothing else that may be in it.
func unpack(ctx context.Context, r io.Reader, dir string) (key bool, err error) {
	z, err := gzip.NewReader(&until{ctx, r})
	if err != nil {
		return false, notWhole(ctx, err)
	}
	t := tar.NewReader(z)
	db := false
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, notWhole(ctx, err)
		}
		name := fileName
		switch {
		case h.Name == fileName && h.Typeflag == tar.TypeReg && !db:
			db = true
		case h.Name == keyName && h.Typeflag == tar.TypeReg && !key && h.Size < 1024:
			name, key = keyName, true
		default:
			return false, fmt.Errorf("%w: it has a file %q", ErrNoBackup, h.Name)
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return false, err
		}
		_, err = io.Copy(f, t) //nolint:gosec // as long as the operator's own file says
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) {
			err = notWhole(ctx, err)
		}
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return false, err
		}
	}
	if _, err := io.Copy(io.Discard, z); err != nil { //nolint:gosec // up to the checksum; it is not kept
		return false, notWhole(ctx, err)
	}
	if !db {
		return false, fmt.Errorf("%w: it has no %s", ErrNoBackup, fileName)
	}
	return key, nil
}

func notWhole(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w (%w)", ErrNoBackup, err)
}

// checkBackup opens what was unpacked as a start of the server would: that looks for
// damage and migrates it, so that a restored server starts.
func checkBackup(ctx context.Context, dir string, key bool) error {
	if key {
		if _, err := readKey(filepath.Join(dir, keyName)); err != nil {
			return fmt.Errorf("%w: its %s is no server key", ErrNoBackup, keyName)
		}
	}
	db, err := openPool(filepath.Join(dir, fileName), 1)
	if err != nil {
		return err
	}
	var verdict string
	var known int
	err = db.QueryRowContext(ctx, `pragma integrity_check(1)`).Scan(&verdict)
	if err == nil {
		err = db.QueryRowContext(ctx, `select count(*) from sqlite_schema where name = 'goose_db_version'`).Scan(&known)
	}
	switch err = errors.Join(err, db.Close()); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil || verdict != "ok" || known == 0:
		return fmt.Errorf("%w: its %s is not a whole database of relay", ErrNoBackup, fileName)
	}
	s, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	if !key { // Open has made one
		return os.Remove(filepath.Join(dir, keyName))
	}
	return nil
}

// removeCopies removes what a backup that was cut by a crash has left.
func removeCopies(dir string, now time.Time) {
	left, _ := filepath.Glob(filepath.Join(dir, copyPattern))
	for _, path := range left {
		if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) > copyAge {
			_ = os.Remove(path)
		}
	}
}
