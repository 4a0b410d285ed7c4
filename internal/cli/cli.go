// Package cli is the command line: it turns words into calls and errors into
// sentences and exit codes. Each command is a file.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/lmittmann/tint"
	urfave "github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
	"golang.org/x/term"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/protocol"
)

// The exit codes. They stand in docs/cli.md.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitAuth        = 4
	exitConflict    = 5
	exitInterrupt   = 130
)

// Interrupted is why a context ended when a signal came.
type Interrupted struct{ Signal os.Signal }

// Error makes Interrupted an error.
func (i Interrupted) Error() string { return "interrupted by " + i.Signal.String() }

// usageError is a mistake in the command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// conflictError is that something is there already, or in use.
type conflictError struct{ msg string }

func (e *conflictError) Error() string { return e.msg }

func conflictf(format string, args ...any) error { return &conflictError{fmt.Sprintf(format, args...)} }

// env is what a command may use of the process.
type env struct {
	in       io.Reader
	out, err io.Writer
}

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	e := &env{in: in, out: out, err: errOut}
	app := newApp(e)
	err := app.RunContext(ctx, reorder(app, args))
	var i Interrupted
	// A screen takes Ctrl-C as a key, and its command returns what a signal would have been.
	interrupted := errors.As(context.Cause(ctx), &i) || errors.As(err, &i)
	if err == nil || interrupted && (errors.Is(err, context.Canceled) || errors.As(err, &Interrupted{})) {
		if interrupted && i.Signal == os.Interrupt {
			return exitInterrupt
		}
		return exitOK
	}
	code := codeOf(err)
	if msg := err.Error(); msg != "" && !errors.Is(err, errSilent) {
		_, _ = fmt.Fprintf(errOut, "relay: %s\n", msg)
		if code == exitUsage {
			_, _ = fmt.Fprintln(errOut, `Run "relay help" to see the commands and flags.`)
		}
	}
	return code
}

// errSilent is a failure that has been told already.
var errSilent = errors.New("failed")

// codeOf is the table from errors to exit codes.
func codeOf(err error) int {
	var (
		usage       *usageError
		unreachable *client.UnreachableError
		refused     *protocol.Error
		problem     *problemError
		none        *nobody
		conflict    *conflictError
	)
	switch {
	case errors.As(err, &problem):
		return problem.exitCode()
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &conflict):
		return exitConflict
	case errors.As(err, &unreachable), errors.As(err, &none):
		return exitUnreachable
	case errors.As(err, &refused):
		switch refused.Code {
		case protocol.CodeAuth, protocol.CodeDenied, protocol.CodeRevoked:
			return exitAuth
		case protocol.CodeTaken, protocol.CodeReplaced:
			return exitConflict
		case protocol.CodeLimit, protocol.CodeInternal:
			return exitUnreachable
		case protocol.CodeBadRequest, protocol.CodeVersion, protocol.CodeProtocol:
			return exitFailure
		}
	}
	return exitFailure
}

func newApp(e *env) *urfave.App {
	app := urfave.NewApp()
	app.Name = "relay"
	app.Usage = "a self-hosted tunnel and webhook relay"
	app.Description = "Server:  relay server --domain relay.example.com\n" +
		"Agent:   relay login https://relay.example.com && relay http 8080\n" +
		"Try it:  relay demo"
	app.Version = version()
	app.Reader, app.Writer, app.ErrWriter = e.in, e.out, e.err
	app.DisableSliceFlagSeparator = true
	app.HideHelpCommand = true                 // ours answers unknown commands with exit code 2
	app.Flags = []urfave.Flag{urfave.HelpFlag} // not added by itself beside a help command
	app.Suggest = true
	app.ExitErrHandler = func(*urfave.Context, error) {} // Main decides
	app.OnUsageError = onUsageError
	app.CommandNotFound = nil
	app.Action = func(c *urfave.Context) error {
		if c.Args().Present() {
			return unknownCommand(c.App.Commands, "", c.Args().First())
		}
		return urfave.ShowAppHelp(c)
	}
	app.Commands = []*urfave.Command{
		httpCommand(e), upCommand(e), checkCommand(e), loginCommand(e), serverCommand(e), endpointCommand(e), eventsCommand(e), triggerCommand(e), requestsCommand(e), replayCommand(e), domainCommand(e), userCommand(e), tokenCommand(e), sessionCommand(e), auditCommand(e), backupCommand(e), restoreCommand(e), doctorCommand(e), demoCommand(e), versionCommand(e), helpCommand(),
	}
	for _, c := range app.Commands {
		finish(c)
	}
	return app
}

// finish sets what all commands have in common, also those below one.
func finish(c *urfave.Command) {
	for _, f := range c.Flags {
		if b, ok := f.(*urfave.BoolFlag); ok {
			b.DisableDefaultText = true
		}
	}
	c.OnUsageError = onUsageError
	c.HideHelpCommand = true
	for _, sub := range c.Subcommands {
		finish(sub)
	}
	if len(c.Subcommands) == 0 || c.Action != nil {
		return
	}
	c.Action = func(ctx *urfave.Context) error {
		if ctx.Args().Present() {
			return unknownCommand(c.Subcommands, c.Name+" ", ctx.Args().First())
		}
		return urfave.ShowSubcommandHelp(ctx)
	}
}

var (
	badValue = regexp.MustCompile(`^invalid value "(.*)" for flag -([\w-]+): `)
	noValue  = regexp.MustCompile(`^flag needs an argument: -([\w-]+)`)
)

func onUsageError(c *urfave.Context, err error, _ bool) error {
	msg := err.Error()
	if flag, ok := strings.CutPrefix(msg, "flag provided but not defined: -"); ok {
		flag = strings.TrimLeft(flag, "-")
		msg = "there is no flag --" + flag
		if c.Command != nil {
			if s := nearest(flag, flagNames(c.Command.Flags)); s != "" {
				msg += fmt.Sprintf("; did you mean --%s?", s)
			}
		}
	}
	if m := badValue.FindStringSubmatch(msg); m != nil {
		msg = fmt.Sprintf("--%s %s: give %s", m[2], m[1], syntaxOf(c, m[2]))
	}
	if m := noValue.FindStringSubmatch(msg); m != nil {
		msg = fmt.Sprintf("--%s wants a value", m[1])
	}
	return &usageError{msg}
}

// syntaxOf says what the value of a flag looks like: a number or a time.
func syntaxOf(c *urfave.Context, flag string) string {
	if c.Command != nil {
		for _, f := range c.Command.Flags {
			switch f.(type) {
			case *urfave.IntFlag, *urfave.Int64Flag:
				if slices.Contains(f.Names(), flag) {
					return "a number"
				}
			}
		}
	}
	return "a time like 5s or 2m"
}

func flagNames(flags []urfave.Flag) []string {
	var names []string
	for _, f := range flags {
		for _, n := range f.Names() {
			if len(n) > 1 {
				names = append(names, n)
			}
		}
	}
	return names
}

// nearest finds what was most likely meant; empty when nothing is near.
func nearest(given string, known []string) string {
	best, score := "", 0.75
	for _, k := range known {
		if d := smetrics.JaroWinkler(given, k, 0.7, 4); d > score {
			best, score = k, d
		}
	}
	return best
}

// unknownCommand is the error of a word that is no command; before is what stands
// before it.
func unknownCommand(commands []*urfave.Command, before, given string) error {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	msg := fmt.Sprintf("there is no command %q", before+given)
	if s := nearest(given, names); s != "" {
		msg += fmt.Sprintf("; did you mean %q?", before+s)
	}
	return &usageError{msg}
}

func helpCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "help",
		Usage:     "show the commands, or the flags of one",
		ArgsUsage: "[COMMAND]",
		Action: func(c *urfave.Context) error {
			name := c.Args().First()
			if name == "" {
				return urfave.ShowAppHelp(c)
			}
			if c.App.Command(name) == nil {
				return unknownCommand(c.App.Commands, "", name)
			}
			return urfave.ShowCommandHelp(c, name)
		},
	}
}

// noArguments refuses arguments for commands that take none.
func noArguments(c *urfave.Context) error {
	if c.Args().Present() {
		return usagef("%s takes no arguments, but got %q", c.Command.Name, c.Args().First())
	}
	return nil
}

// isTerminal tells whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// logger logs to standard error: text for people, JSON for programs.
func (e *env) logger(verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	if isTerminal(e.err) {
		return slog.New(tint.NewTextHandler(e.err, &tint.Options{Level: level, TimeFormat: "15:04:05", NoColor: noColor()}))
	}
	return slog.New(slog.NewJSONHandler(e.err, &slog.HandlerOptions{Level: level}))
}

func noColor() bool {
	return os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"
}
