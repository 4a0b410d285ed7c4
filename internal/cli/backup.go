package cli

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/server"
)

func backupCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:      "backup",
		Usage:     "save all that a running server keeps; for admins",
		ArgsUsage: "FILE",
		Description: "   relay backup relay-$(date +%F).tar.gz\n   relay backup --with-key relay.tar.gz\n   relay backup - | age -r … > relay.age\n\n" +
			"FILE must not exist; - writes to standard output. Without --with-key a backup gives no secret away, and keep\n" +
			"relay.key from the data folder elsewhere: without it certificates are ordered anew, and the secrets of webhook\n" +
			"senders must be given again.",
		Flags: append([]urfave.Flag{
			&urfave.BoolFlag{Name: "with-key", Usage: "with the server key, so that whoever has the file can read all in it"},
		}, adminFlags()...),
		Action: func(c *urfave.Context) error { return backup(c, e) },
	}
}

// oneFile is the one argument of a command.
func oneFile(c *urfave.Context) (string, error) {
	if c.NArg() != 1 || c.Args().First() == "" {
		return "", usagef("give one file: relay %s relay.tar.gz", c.Command.Name)
	}
	return c.Args().First(), nil
}

// backedUp is what is told of a backup.
type backedUp struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	Key   bool   `json:"key"`
}

func backup(c *urfave.Context, e *env) error {
	path, err := oneFile(c)
	if err != nil {
		return err
	}
	if path == "-" && c.Bool("json") {
		return usagef("the backup itself goes to standard output: leave out --json, or name a file")
	}
	cred, err := adminCredentials(c)
	if err != nil {
		return err
	}
	if path == "-" {
		_, err = fetchBackup(c.Context, cred, c.Bool("with-key"), e.out)
		return err
	}
	var n int64
	err = writeNew(path, func(w io.Writer) (err error) {
		n, err = fetchBackup(c.Context, cred, c.Bool("with-key"), w)
		return err
	})
	var file *fs.PathError
	switch {
	case errors.Is(err, fs.ErrExist):
		return usagef("%s is there already; name a new file", path)
	case errors.As(err, &file):
		return fmt.Errorf("the backup cannot be written: %w", err)
	case err != nil:
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "backup", backedUp{path, n, c.Bool("with-key")})
	}
	_, _ = fmt.Fprintf(e.out, "%s: %s\n", path, size(n))
	if !c.Bool("with-key") {
		_, _ = fmt.Fprintln(e.err, "relay: it has no server key; keep relay.key from the server's data folder elsewhere, or use --with-key")
	}
	return nil
}

// fetchBackup writes a backup to w and sees that it came whole.
func fetchBackup(ctx context.Context, cred credential, key bool, w io.Writer) (int64, error) {
	res, err := do(ctx, cred, http.MethodPost, "/backup", map[string]bool{"key": key})
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	counted := &counter{w: w}
	body := io.TeeReader(res.Body, counted)
	z, err := gzip.NewReader(body)
	if err == nil {
		_, err = io.Copy(io.Discard, z) //nolint:gosec // it is not kept
	}
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	switch {
	case counted.err != nil:
		return 0, counted.err
	case err != nil:
		return 0, &client.UnreachableError{Server: cred.server, Err: fmt.Errorf("the backup was cut short: %w", client.Plainly(err))}
	}
	return counted.n, nil
}

// counter counts what is written through it, and remembers what went wrong.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}

func restoreCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:      "restore",
		Usage:     "put a backup in place, on the server's machine while no server runs",
		ArgsUsage: "FILE",
		Description: "   systemctl stop relay && sudo -u relay relay restore relay.tar.gz --data /var/lib/relay\n\n" +
			"All of the backup is checked before anything changes. Where a database is there already, --force puts it into a\n" +
			"folder of its own. FILE can be - for standard input.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "data", EnvVars: []string{"RELAY_DATA"}, Usage: "`FOLDER` of the server's store (default: as for relay server)"},
			&urfave.BoolFlag{Name: "force", Usage: "also where a database is there already, which goes into a folder of its own"},
			jsonFlag(),
		},
		Action: func(c *urfave.Context) error { return restore(c, e) },
	}
}

// restored is what is told of a restore.
type restored struct {
	Data  string `json:"data"`
	Key   string `json:"key"` // backup, folder or none
	Moved string `json:"moved,omitempty"`
}

func restore(c *urfave.Context, e *env) error {
	path, err := oneFile(c)
	if err != nil {
		return err
	}
	dir := c.String("data")
	if dir == "" {
		if dir, err = defaultData(); err != nil {
			return err
		}
	}
	in := e.stdin(c.Context)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("the backup cannot be read: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	done, err := server.Restore(c.Context, in, dir, c.Bool("force"))
	switch {
	case errors.Is(err, server.ErrRunning):
		return conflictf("a server runs on %s; stop it first", dir)
	case errors.Is(err, server.ErrExists):
		return conflictf("%s has a database already; --force puts that into a folder of its own, and the backup in its place", dir)
	case errors.Is(err, server.ErrNoBackup):
		return fmt.Errorf("%s cannot be restored, and nothing has changed: %w", path, err)
	case err != nil:
		return err
	}
	out := restored{Data: dir, Key: "none", Moved: done.Moved}
	switch {
	case done.Key:
		out.Key = "backup"
	case done.Kept:
		out.Key = "folder"
	}
	if c.Bool("json") {
		return printJSON(e, "restored", out)
	}
	_, _ = fmt.Fprintf(e.out, "Restored to %s. Start the server now.\n", dir)
	if done.Moved != "" {
		_, _ = fmt.Fprintf(e.out, "What was there is in %s.\n", done.Moved)
	}
	switch out.Key {
	case "folder":
		_, _ = fmt.Fprintln(e.err, "relay: the backup has no server key; the relay.key of the folder stays, which is right if it is of the same server")
	case "none":
		_, _ = fmt.Fprintln(e.err, "relay: the backup has no server key. Put the server's relay.key into the folder before the start; without it\n"+
			"certificates are ordered anew, and the secrets of webhook senders must be given again")
	}
	return nil
}
