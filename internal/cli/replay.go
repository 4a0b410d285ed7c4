package cli

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/compare"
	"github.com/relaytunnel/relay/internal/signature"
)

func replayCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name: "replay", Usage: "send recorded requests to an app from here, and compare its answers", ArgsUsage: "[ID... | TERM...]",
		Description: "   relay replay --since 1h --status 5xx --to http://localhost:3000\n" +
			"   relay replay path:/hooks --to http://localhost:3000 --compare\n" +
			"   relay replay --file fixtures --to http://localhost:3000 --compare --ignore .id",
		Flags: slices.Concat([]urfave.Flag{
			&urfave.StringFlag{Name: "to", Usage: "`URL` of the app; what was asked for follows it"},
			&urfave.BoolFlag{Name: "compare", Usage: "compare the answers with those that were recorded: exit code 1 when one has changed"},
			&urfave.StringSliceFlag{Name: "file", Usage: "take the requests from this `FILE` or folder: fixtures, JSON, HAR; - is standard input. Repeat it for more"},
			&urfave.StringSliceFlag{Name: "ignore-header", Usage: "with --compare: this `HEADER` of answers does not matter; repeat for more"},
			&urfave.StringSliceFlag{Name: "ignore", Usage: "with --compare: this `PATH` in JSON answers does not matter, like .id or .items[*].at; repeat for more"},
			&urfave.StringSliceFlag{Name: "header", Usage: "send this `HEADER`, like \"Authorization: Bearer x\", in place of what was recorded; repeat for more"},
			&urfave.StringFlag{Name: "sign", Usage: "sign anew, as this `SENDER` does, like stripe"},
			&urfave.StringFlag{Name: "secret-env", Usage: "with --sign: the environment `VARIABLE` with the secret"},
			&urfave.DurationFlag{Name: "timeout", Value: 30 * time.Second, Usage: "how long an answer may take"},
			&urfave.IntFlag{Name: "concurrency", Value: 1, Usage: "how many may be under way; `N`=1 keeps their order"},
			&urfave.IntFlag{Name: "limit", Usage: "at most the newest `N`", DefaultText: "all"},
		}, termFlags(), historyFlags()),
		Action: func(c *urfave.Context) error { return runReplay(c, e) },
	}
}

func runReplay(c *urfave.Context, e *env) error {
	var ids, words []string
	for _, word := range c.Args().Slice() {
		if isID(word) {
			ids = append(ids, word)
		} else {
			words = append(words, word)
		}
	}
	text, filter, err := termsOf(c, words, time.Now())
	if err != nil {
		return err
	}
	rp, err := replayerOf(c, e)
	if err != nil {
		return err
	}
	defer rp.client.CloseIdleConnections()
	var list []recorded
	switch {
	case len(ids) > 0 && text != "":
		return usagef("replay: give ids or a filter, not both")
	case len(ids) > 0 && c.IsSet("file"):
		return usagef("replay: what is in files has no ids; choose by a filter")
	case c.IsSet("file"):
		list, err = recordedInFiles(c.StringSlice("file"), e.stdin(c.Context), filter, c.Int("limit"))
	default:
		if len(ids) == 0 { // what was itself a replay has its original
			text = strings.TrimSpace(text + " -is:replay")
		}
		list, err = recordedBy(c, ids, text, c.Int("limit"))
	}
	if err != nil {
		return err
	}
	return rp.run(c.Context, list)
}

// replayerOf reads the flags that say how requests are sent and answers compared.
func replayerOf(c *urfave.Context, e *env) (*replayer, error) {
	to, err := replayTo(c.String("to"))
	if err != nil {
		return nil, err
	}
	rp := &replayer{to: to, compare: c.Bool("compare"), concurrency: c.Int("concurrency"), asJSON: c.Bool("json"), env: e, now: time.Now}
	switch {
	case rp.concurrency < 1 || rp.concurrency > maxConcurrency:
		return nil, usagef("--concurrency %d: give a number from 1 to %d", rp.concurrency, maxConcurrency)
	case c.Duration("timeout") <= 0:
		return nil, usagef("--timeout %s: give a time like 5s or 2m", c.Duration("timeout"))
	case c.Int("limit") < 0:
		return nil, usagef("--limit cannot be negative")
	case !rp.compare && (c.IsSet("ignore") || c.IsSet("ignore-header")):
		return nil, usagef("--ignore and --ignore-header go with --compare")
	}
	if rp.rules, err = compare.NewRules(c.StringSlice("ignore-header"), c.StringSlice("ignore")); err != nil {
		return nil, usagef("--ignore: %v", err)
	}
	if rp.header, err = headersOf(c.StringSlice("header")); err != nil {
		return nil, err
	}
	if err := rp.signs(c.String("sign"), c.String("secret-env")); err != nil {
		return nil, err
	}
	roots, err := trust(c.String("ca"))
	if err != nil {
		return nil, err
	}
	rp.client = sender(roots)
	rp.client.Timeout = c.Duration("timeout")
	return rp, nil
}

// maxConcurrency bounds how many requests are under way: more is a load test.
const maxConcurrency = 64

// replayTo reads the address of the app.
func replayTo(s string) (*url.URL, error) {
	if s == "" {
		return nil, usagef("replay wants --to URL: the app that is to get the requests, like --to http://localhost:3000")
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, usagef("--to %s: give a URL like http://localhost:3000", s)
	}
	return u, nil
}

// signs reads how requests are signed anew, if they are.
func (rp *replayer) signs(name, variable string) error {
	switch {
	case name == "" && variable == "":
		return nil
	case name == "":
		return usagef("--secret-env goes with --sign SENDER")
	case variable == "":
		return usagef("--sign %s wants --secret-env VARIABLE: the environment variable that has the secret", name)
	}
	scheme, ok := signature.Lookup(name)
	if !ok {
		msg := fmt.Sprintf("--sign %s: no sender of this name is known", name)
		if near := nearest(name, signature.Names()); near != "" {
			msg += fmt.Sprintf("; did you mean %s?", near)
		}
		return usagef("%s", msg)
	}
	secret := os.Getenv(variable)
	if secret == "" {
		return usagef("--secret-env %s: this environment variable is empty", variable)
	}
	rp.sign = func(r signature.Request, now time.Time) (signature.Request, error) {
		return signature.Sign(scheme, secret, r, now)
	}
	return nil
}
