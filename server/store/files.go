package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const fileName = "relay.db"

// checkedSize is up to which size, in bytes, the whole database is checked at
// every start. It takes about a tenth of a second; a bigger one would delay
// the start, and SQLite still notices damage when it meets it.
const checkedSize = 32 << 20

// prepareFiles makes the folder and an empty database where there are none,
// closes the files to other users whatever the umask, and returns the path of
// the database. SQLite gives its companions the mode of the database.
func prepareFiles(dir string) (path string, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return "", err
		}
	}
	path = filepath.Join(dir, fileName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if err := os.Chmod(name, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return path, syncDir(dir)
}

// syncDir makes the entries of the folder durable. A file system that cannot
// do it for folders is not a reason to stop.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync()
	return d.Close()
}

// errDamaged is completed by explain.
var errDamaged = errors.New("the file is damaged")

// checkDatabase looks for damage before anything is written.
func checkDatabase(ctx context.Context, db *sql.DB, path string) error {
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > checkedSize {
		return db.QueryRowContext(ctx, `select count(*) from sqlite_schema`).Scan(new(int))
	}
	var verdict string
	if err := db.QueryRowContext(ctx, `pragma quick_check(1)`).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, strings.Join(strings.Fields(verdict), " ")) // it has several lines
	}
	return nil
}

// explain turns what SQLite says of a damaged file into a sentence for the
// operator, with the next step in it.
func explain(err error, path string) error {
	damaged := errors.Is(err, errDamaged)
	var se *sqlite.Error
	if errors.As(err, &se) {
		primary := se.Code() & 0xff
		damaged = damaged || primary == sqlite3.SQLITE_CORRUPT || primary == sqlite3.SQLITE_NOTADB
	}
	if !damaged {
		return err
	}
	return fmt.Errorf("%s is not a whole database; restore it from a backup, or move it away to begin with an empty one (%w)", path, err)
}

// reclaimable brings a database that an older version has made into the form
// whose unused pages can be given back one by one (FreeDisk). That writes the file
// anew, which such a database, without events, takes a moment for. Where it cannot
// be done just now, for want of space or because another process works on it, the
// database is as good as before, and the next start tries again.
func reclaimable(ctx context.Context, db *sql.DB) {
	const incremental = 2
	var mode int
	if err := db.QueryRowContext(ctx, `pragma auto_vacuum`).Scan(&mode); err != nil || mode == incremental {
		return
	}
	_, _ = db.ExecContext(ctx, `pragma auto_vacuum = incremental`)
	_, _ = db.ExecContext(ctx, `vacuum`)
}
