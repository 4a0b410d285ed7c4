package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// migrations has one file for each step of the schema, applied in order, each
// in one transaction. A file that has been released is never changed.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date, or refuses a newer one: the program
// does not know what the newer one means, and writing to it could lose data.
func migrate(ctx context.Context, db *sql.DB, path string) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	steps, err := goose.NewProvider(goose.DialectSQLite3, db, files,
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	var before int64
	for try := 0; ; try++ {
		has, knows, err := steps.GetVersions(ctx)
		switch {
		case err != nil && try > 0:
			return fmt.Errorf("read the schema version: %w", err)
		case err != nil:
			continue // another process has made the table of versions just now
		case has > knows:
			return fmt.Errorf("%s was written by a newer relay (schema %d, this one knows up to %d); start the newer relay, or restore a backup from before the upgrade", path, has, knows)
		}
		_, err = steps.Up(ctx)
		if err == nil {
			return nil
		}
		if try > 0 && has == before { // nobody else gets on either
			return fmt.Errorf("migrate from schema %d: %w", has, err)
		}
		before = has
	}
}
