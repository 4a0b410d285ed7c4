package server

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/relaytunnel/relay/server/store"
)

// What Restore refuses, apart from failures of the disk.
var (
	ErrRunning  = errors.New("a server runs on this folder")
	ErrExists   = store.ErrExists
	ErrNoBackup = store.ErrNoBackup
)

// Restored tells what Restore has done.
type Restored = store.Restored

// Restore puts a backup into a data folder, on which no server runs (ErrRunning). All
// of the backup is checked before anything changes (ErrNoBackup). A database that is
// there goes into a folder of its own with force, and is a reason to stop without (ErrExists).
func Restore(ctx context.Context, backup io.Reader, dir string, force bool) (Restored, error) {
	var d net.Dialer
	if conn, err := d.DialContext(ctx, "unix", filepath.Join(dir, SocketName)); err == nil {
		_ = conn.Close()
		return Restored{}, ErrRunning
	}
	return store.Restore(ctx, backup, dir, force, time.Now())
}
