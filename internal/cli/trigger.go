package cli

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/signature"
	"github.com/relaytunnel/relay/internal/trigger"
)

// maxFile is the largest body that is read for --file, in bytes.
const maxFile = 64 << 20

func triggerCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:      "trigger",
		Usage:     "send a sample webhook, signed as its sender signs",
		ArgsUsage: "PROVIDER EVENT | SCHEME --file BODY",
		Description: "   relay trigger github push --to http://localhost:3000/hooks --secret-env GH_SECRET\n" +
			"   relay trigger stripe invoice.paid --endpoint hooks --set data.object.amount_paid=4200\n" +
			"   relay trigger linear --file body.json --to http://localhost:3000 --secret-env KEY\n" +
			"   relay trigger --list",
		Flags: append([]urfave.Flag{
			&urfave.StringFlag{Name: "to", Usage: "`URL` to send it to"},
			&urfave.StringFlag{Name: "endpoint", Usage: "send it to your `NAME` on the server; a path may follow: hooks/github"},
			&urfave.StringFlag{Name: "secret", Usage: "the `SECRET` to sign with; others see it on the command line"},
			&urfave.StringFlag{Name: "secret-env", Usage: "environment `VARIABLE` with the secret"},
			&urfave.StringSliceFlag{Name: "set", Usage: "change the body: `PATH=VALUE`, like data.object.amount=100; of a form a field. Repeat for more"},
			&urfave.StringSliceFlag{Name: "header", Usage: "a `HEADER` like \"Name: value\", in place of the sample's; repeat for more"},
			&urfave.StringFlag{Name: "file", Usage: "send this `FILE` as the body; - is standard input"},
			&urfave.BoolFlag{Name: "bad-signature", Usage: "sign with a secret that nobody has: it should be refused"},
			&urfave.DurationFlag{Name: "stale", Usage: "sign and date it this long ago, like 1h"},
			&urfave.BoolFlag{Name: "duplicate", Usage: "send each event twice, with the same ids"},
			&urfave.IntFlag{Name: "count", Value: 1, Usage: "send `N` events, each with ids of its own"},
			&urfave.StringFlag{Name: "rate", Usage: "how many events to begin in a time: `N/s` or N/m (default: one after the other)"},
			&urfave.BoolFlag{Name: "print", Usage: "show what would be sent, and send nothing"},
			&urfave.BoolFlag{Name: "list", Usage: "list providers and their events"},
		}, serverFlags()...),
		Action: func(c *urfave.Context) error { return runTrigger(c, e) },
	}
}

func runTrigger(c *urfave.Context, e *env) error {
	if c.Bool("list") {
		return listTriggers(c, e)
	}
	fresh, err := eventMaker(c, e)
	if err != nil {
		return err
	}
	every, err := interval(c.String("rate"))
	if err != nil {
		return err
	}
	if n := c.Int("count"); n < 1 {
		return usagef("--count %d: give 1 or more", n)
	}
	if c.Bool("print") && c.Bool("json") {
		return usagef("--print shows a request as it is; it does not go with --json")
	}
	first, err := fresh() // whatever is wrong with it is told before anything is sent
	if err != nil {
		return err
	}
	to, client, err := target(c)
	if err != nil {
		return err
	}
	sign, err := signer(c, e, first)
	if err != nil {
		return err
	}
	s := &shooter{
		to: to, client: client, refused: c.Bool("bad-signature"), count: c.Int("count"), every: every,
		name: strings.Join(c.Args().Slice(), " "), out: e.out, asJSON: c.Bool("json"),
	}
	if c.Bool("duplicate") {
		s.times = 2
	}
	used := false
	s.next = func() (signature.Request, string, error) {
		ev := first
		if used { // each has ids of its own
			var err error
			if ev, err = fresh(); err != nil {
				return signature.Request{}, "", err
			}
		}
		used = true
		r, err := sign(ev, to)
		return r, ev.ID(r), err
	}
	if c.Bool("print") {
		return s.print()
	}
	if isTerminal(e.err) && s.count > 1 && !s.asJSON {
		s.bar, s.quiet = e.err, isTerminal(e.out)
	}
	return s.run(c.Context)
}

// eventMaker reads the arguments and returns what makes each event.
func eventMaker(c *urfave.Context, e *env) (func() (trigger.Event, error), error) {
	header, err := headersOf(c.StringSlice("header"))
	if err != nil {
		return nil, err
	}
	var fresh func() (trigger.Event, error)
	switch args := c.Args(); {
	case c.String("file") != "":
		if args.Len() != 1 {
			return nil, usagef("with --file, trigger wants the name of the sender alone: relay trigger github --file body.json")
		}
		s, ok := signature.Lookup(args.First())
		if !ok {
			return nil, unknownProvider(args.First())
		}
		body, err := readBody(c.String("file"), e.stdin(c.Context))
		if err != nil {
			return nil, err
		}
		fresh = func() (trigger.Event, error) {
			h := http.Header{"User-Agent": {software()}, "Content-Type": {mediaType(c.String("file"), body)}}
			override(h, header)
			return trigger.Custom(s, h, body, rand.Reader)
		}
	case args.Len() == 2 || args.Len() == 1 && slices.Contains(trigger.Providers(), strings.ToLower(args.First())):
		provider, event := args.Get(0), args.Get(1)
		fresh = func() (trigger.Event, error) {
			ev, err := trigger.Sample(provider, event, time.Now().Add(-c.Duration("stale")), rand.Reader)
			if errors.Is(err, trigger.ErrUnknown) {
				return ev, unknownEvent(provider, event)
			}
			override(ev.Header, header)
			return ev, err
		}
	case args.Len() == 1:
		return nil, unknownEvent(args.First(), "")
	default:
		return nil, usagef("trigger wants a provider and an event: relay trigger github push --to http://localhost:3000; relay trigger --list shows all")
	}
	return func() (trigger.Event, error) {
		ev, err := fresh()
		if err != nil {
			return ev, err
		}
		for _, set := range c.StringSlice("set") {
			path, value, ok := strings.Cut(set, "=")
			if !ok {
				return ev, usagef("--set %s: give a path and a value, like data.object.amount=100", set)
			}
			if err := ev.Set(path, value); err != nil {
				return ev, usagef("--%v", err)
			}
		}
		return ev, nil
	}, nil
}

// signer returns what signs each event; the flags are held against the first.
func signer(c *urfave.Context, e *env, first trigger.Event) (func(ev trigger.Event, to string) (signature.Request, error), error) {
	secret := c.String("secret")
	if name := c.String("secret-env"); name != "" {
		if c.IsSet("secret") {
			return nil, usagef("--secret and --secret-env: give one of them")
		}
		if secret = os.Getenv(name); secret == "" {
			return nil, usagef("--secret-env %s: this environment variable is empty", name)
		}
	}
	bad, stale, title := c.Bool("bad-signature"), c.Duration("stale"), first.Scheme.Title
	switch {
	case (bad || secret != "") && first.Scheme.Algorithm == signature.RSA:
		return nil, usagef("--secret, --bad-signature: %s signs with a certificate of its own, which nobody else has: send it without a signature", title)
	case bad && !first.Signs():
		return nil, usagef("--bad-signature: %s does not sign what it sends", title)
	case secret != "" && !first.Signs():
		return nil, usagef("--secret: %s does not sign what it sends", title)
	case stale < 0:
		return nil, usagef("--stale %v: give a time like 1h", stale)
	case stale > 0 && secret == "" && !bad:
		return nil, usagef("--stale is about the time in the signature: give --secret-env NAME too")
	case stale > 0 && !first.Timed(secret):
		_, _ = fmt.Fprintf(e.err, "relay: a signature of %s has no time in it, so the app cannot see that it is stale.\n", title)
	case secret == "" && !bad && first.Signs():
		_, _ = fmt.Fprintln(e.err, "relay: without --secret or --secret-env it is not signed.")
	}
	return func(ev trigger.Event, to string) (signature.Request, error) {
		switch at := time.Now().Add(-stale); {
		case bad:
			return ev.Forge(to, at, rand.Reader)
		case secret != "":
			return ev.Sign(to, secret, at)
		}
		return ev.Request(to), nil
	}, nil
}

// target is where to send, and what sends it.
func target(c *urfave.Context) (string, *http.Client, error) {
	to, name := c.String("to"), c.String("endpoint")
	switch {
	case to != "" && name != "":
		return "", nil, usagef("--to and --endpoint: give one of them")
	case to == "" && name == "" && c.Bool("print"):
		to = "http://localhost/"
	case to == "" && name == "":
		return "", nil, usagef("where to? Give --to http://localhost:3000/path, or --endpoint NAME")
	case name != "":
		cred, err := credentials(c)
		if err != nil {
			return "", nil, err
		}
		name, path, _ := strings.Cut(name, "/")
		var p endpoint
		if err := call(c.Context, cred, http.MethodGet, "/endpoints/"+url.PathEscape(name), nil, &p); err != nil {
			return "", nil, err
		}
		return strings.TrimSuffix(p.URL, "/") + "/" + path, sender(cred.tls), nil
	}
	u, err := url.Parse(to)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", nil, usagef("--to %s: give a URL like http://localhost:3000/path", to)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	u.Fragment = ""
	roots, err := trust(c.String("ca"))
	return u.String(), sender(roots), err
}

// interval is the time between two events at a rate like 10/s; 0 for none.
func interval(rate string) (time.Duration, error) {
	if rate == "" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(rate, "/")
	per, ok := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !ok || !(n > 0 && n <= 1e5) {
		return 0, usagef("--rate %s: give a number of events in a time, like 10/s or 90/m", rate)
	}
	return time.Duration(float64(per) / n), nil
}

func headersOf(lines []string) (http.Header, error) {
	h := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name+value, "\r\n") || strings.ContainsAny(name, " \t") {
			return nil, usagef("--header %s: give a name and a value, like \"X-Token: abc\"", line)
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h, nil
}

func override(h, with http.Header) {
	for name, values := range with {
		h[name] = slices.Clone(values)
	}
}

func readBody(file string, in io.Reader) ([]byte, error) {
	from := in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usagef("--file: %v", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	body, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	switch {
	case err != nil:
		return nil, usagef("--file: %v", err)
	case len(body) > maxFile:
		return nil, usagef("--file %s: it is larger than 64 MiB", file)
	}
	return body, nil
}

// mediaType guesses what a file is.
func mediaType(file string, body []byte) string {
	switch {
	case filepath.Ext(file) == ".form":
		return "application/x-www-form-urlencoded"
	case filepath.Ext(file) == ".json" || json.Valid(body):
		return "application/json"
	}
	return "application/octet-stream"
}

// unknownProvider and unknownEvent say what was most likely meant.
func unknownProvider(given string) error {
	msg := fmt.Sprintf("there is no provider %q", given)
	if near := nearest(strings.ToLower(given), signature.Names()); near != "" {
		msg += fmt.Sprintf("; did you mean %s?", near)
	} else {
		msg += "; relay trigger --list shows all"
	}
	return usagef("%s", msg)
}

func unknownEvent(provider, given string) error {
	s, ok := signature.Lookup(provider)
	if !ok {
		return unknownProvider(provider)
	}
	events := trigger.Events(s.Name)
	if len(events) == 0 {
		return usagef("there are no samples of %s: give a body with --file body.json", s.Title)
	}
	if slices.Contains(events, trigger.Any) {
		return usagef("which event of %s? Any name is good: relay trigger %s invoice.paid", s.Title, s.Name)
	}
	msg := fmt.Sprintf("there is no sample %q of %s", given, s.Title)
	if given == "" {
		msg = "which event of " + s.Title
	}
	if near := nearest(given, events); near != "" {
		msg += fmt.Sprintf("; did you mean %s", near)
	}
	return usagef("%s? There are: %s", msg, strings.Join(events, ", "))
}

// listTriggers lists what can be sent: samples, and senders for --file.
func listTriggers(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	providers := trigger.Providers()
	if c.Bool("json") {
		for _, name := range signature.Names() {
			s, _ := signature.Lookup(name)
			samples := trigger.Events(name)
			if samples == nil {
				samples = []string{}
			}
			if err := printJSON(e, "provider", struct {
				Name    string   `json:"name"`
				Title   string   `json:"title"`
				Secret  string   `json:"secret"`
				Samples []string `json:"samples"`
			}{name, s.Title, s.Secret(), samples}); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "PROVIDER\tEVENTS")
	for _, name := range providers {
		events := strings.Join(trigger.Events(name), ", ")
		if events == trigger.Any {
			events = "any name, like invoice.paid"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, events)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprint(e.out, "\nWith --file and a body of your own, also:\n\n")
	t = tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	for _, name := range signature.Names() {
		if s, _ := signature.Lookup(name); !slices.Contains(providers, name) {
			_, _ = fmt.Fprintf(t, "%s\t%s\n", name, s.Title)
		}
	}
	return t.Flush()
}
