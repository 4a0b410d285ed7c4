package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
)

// settingsFlags say how a name works on the server; "relay http" has them and so have
// "relay endpoint create" and "set".
func settingsFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "inbox", Usage: "`MODE`: off, fallback (the app answers, or the relay keeps and delivers later) or always (keep, answer, deliver)"},
		&urfave.StringFlag{Name: "inbox-path", Usage: "only what is below this `PATH` is for the inbox"},
		&urfave.DurationFlag{Name: "answer-within", Usage: "with fallback: how long the app may take to answer", DefaultText: "2s"},
		&urfave.IntFlag{Name: "answer-status", Usage: "with always: the `STATUS` that senders get", DefaultText: "202"},
		&urfave.StringSliceFlag{Name: "answer-header", Usage: "with always: a `HEADER` of that answer, like \"Content-Type: text/plain\"; repeat for more"},
		&urfave.StringFlag{Name: "answer-body", Usage: "with always: its `BODY`"},
		&urfave.Int64Flag{Name: "max-body", Usage: "largest body that may come, in `BYTES`", DefaultText: "25 MiB with an inbox"},
		&urfave.IntFlag{Name: "in-flight", Usage: "how many deliveries may be under way; `N`=1 keeps their order strictly", DefaultText: "8"},
		&urfave.DurationFlag{Name: "try-timeout", Usage: "how long one delivery may take", DefaultText: "30s"},
		&urfave.StringFlag{Name: "schedule", Usage: "the longest `WAITS` before each try, like 0s,5s,1m", DefaultText: "ten tries in 32h"},
		&urfave.DurationFlag{Name: "dedupe", Usage: "do not deliver repeats of the sender's id within this time"},
		&urfave.StringFlag{Name: "verify", Usage: "check signatures of this `SENDER`, like github or stripe (all: relay trigger --list)"},
		&urfave.StringSliceFlag{Name: "scheme", Usage: "how a sender signs that has no name here, `PART`=VALUE like header=X-Acme-Signature; repeat for more (see docs/webhooks.md)"},
		&urfave.StringFlag{Name: "verify-mode", Usage: "`MODE`: enforce (wrong ones get 401) or observe (they are only marked)"},
		&urfave.StringSliceFlag{Name: "secret-env", Usage: "environment `VARIABLE` with the sender's secret; repeat it while secrets change, the newest first"},
		&urfave.StringFlag{Name: "handshake-secret-env", Usage: "environment `VARIABLE` with the token for the sender's handshake, where that has its own"},
		&urfave.BoolFlag{Name: "await-secret", Usage: "take the secret that the sender tells in its handshake, once"},
		&urfave.BoolFlag{Name: "no-handshake", Usage: "let the sender's handshake through to the app"},
		&urfave.StringFlag{Name: "local-url", Usage: "`URL` by which the app knows itself, for senders that sign the URL"},
		&urfave.StringSliceFlag{Name: "allow-ip", Usage: "only these `ADDRESSES` and ranges may come; repeat for more"},
		&urfave.StringSliceFlag{Name: "deny-ip", Usage: "these `ADDRESSES` and ranges may not come"},
		&urfave.StringSliceFlag{Name: "allow-provider-ips", Usage: "the addresses that this `SENDER` publishes may come: github, stripe or linear"},
		&urfave.StringSliceFlag{Name: "require-token", Usage: "a `TOKEN` is needed: header:NAME=TOKEN, query:NAME=TOKEN or bearer:TOKEN"},
		&urfave.BoolFlag{Name: "strip-token", Usage: "take the token out before the app sees the request"},
		&urfave.StringFlag{Name: "rate", Usage: "how many requests may come, like 10/s or 600/m; `RATE`"},
		&urfave.IntFlag{Name: "burst", Usage: "how many of them at once; `N`", DefaultText: "a second's worth"},
		&urfave.BoolFlag{Name: "record", Usage: "the server keeps requests and answers to be looked at; on with an inbox, --record=false turns it off"},
		&urfave.DurationFlag{Name: "keep-for", Usage: "how long events are kept", DefaultText: "168h"},
		&urfave.IntFlag{Name: "keep-events", Usage: "how many events are kept", DefaultText: "10000"},
		&urfave.Int64Flag{Name: "keep-bytes", Usage: "how many `BYTES` of events are kept", DefaultText: "1 GiB"},
	}
}

// settingsOf makes a change of an endpoint of the flags that were given: two JSON
// objects, empty for no change.
func settingsOf(c *urfave.Context) (settings, secrets json.RawMessage, err error) {
	set := map[string]any{}
	for flag, field := range map[string]string{"inbox-path": "path", "verify-mode": "verify", "local-url": "local_url"} {
		if c.IsSet(flag) {
			set[field] = c.String(flag)
		}
	}
	for flag, field := range map[string]string{"answer-within": "answer_within", "try-timeout": "timeout", "dedupe": "dedupe"} {
		if c.IsSet(flag) {
			set[field] = relay.Duration(c.Duration(flag))
		}
	}
	for flag, field := range map[string]string{"await-secret": "await_secret", "no-handshake": "no_handshake", "record": "record"} {
		if c.IsSet(flag) {
			set[field] = c.Bool(flag)
		}
	}
	if c.IsSet("in-flight") {
		set["in_flight"] = c.Int("in-flight")
	}
	door := map[string]any{}
	if c.IsSet("max-body") {
		set["max_body"] = c.Int64("max-body")
		door["max_body"] = c.Int64("max-body")
	}
	for flag, field := range map[string]string{"allow-ip": "allow_ip", "deny-ip": "deny_ip", "allow-provider-ips": "allow_provider_ips"} {
		if c.IsSet(flag) {
			door[field] = split(c.StringSlice(flag))
		}
	}
	tokens, err := doorTokens(c)
	if err != nil {
		return nil, nil, err
	}
	if len(tokens) > 0 {
		door["require_token"] = slices.Sorted(maps.Keys(tokens))
	}
	if c.IsSet("strip-token") {
		door["strip"] = c.Bool("strip-token")
	}
	if c.IsSet("rate") {
		door["rate"] = c.String("rate")
	}
	if c.IsSet("burst") {
		door["burst"] = c.Int("burst")
	}
	if len(door) > 0 {
		set["door"] = door
	}
	if err := inboxSettings(c, set); err != nil {
		return nil, nil, err
	}
	keep := map[string]any{}
	if c.IsSet("keep-for") {
		keep["age"] = relay.Duration(c.Duration("keep-for"))
	}
	if c.IsSet("keep-events") {
		keep["count"] = c.Int("keep-events")
	}
	if c.IsSet("keep-bytes") {
		keep["bytes"] = c.Int64("keep-bytes")
	}
	if len(keep) > 0 {
		set["keep"] = keep
	}
	if len(set) > 0 {
		if settings, err = json.Marshal(set); err != nil {
			return nil, nil, err
		}
		var check relay.Settings
		if err := json.Unmarshal(settings, &check); err != nil {
			return nil, nil, err
		}
		if err := check.Check(); err != nil {
			return nil, nil, usagef("%s", strings.TrimPrefix(err.Error(), relay.ErrInvalid.Error()+" settings: "))
		}
	}
	secrets, err = secretsOf(c, tokens)
	return settings, secrets, err
}

// doorTokens are the tokens of the door by their places.
func doorTokens(c *urfave.Context) (relay.DoorTokens, error) {
	tokens := relay.DoorTokens{}
	for _, s := range c.StringSlice("require-token") {
		place, token, err := relay.ParseDoorToken(s)
		if err != nil {
			return nil, usagef("--require-token: %s", strings.TrimPrefix(err.Error(), relay.ErrInvalid.Error()+" "))
		}
		tokens[place] = append(tokens[place], token)
	}
	return tokens, nil
}

// inboxSettings are those that go together.
func inboxSettings(c *urfave.Context, set map[string]any) error {
	if c.IsSet("inbox") {
		set["inbox"] = c.String("inbox")
	}
	if name := c.String("verify"); name != "" {
		scheme, ok := signature.Lookup(name)
		if !ok {
			msg := fmt.Sprintf("--verify %s: no sender of this name is known", name)
			if near := nearest(name, signature.Names()); near != "" {
				msg += fmt.Sprintf("; did you mean %s?", near)
			}
			return usagef("%s", msg)
		}
		set["provider"] = scheme.Name
		if c.String("inbox") == string(relay.InboxOff) {
			return usagef("--verify needs an inbox: leave out --inbox off, or say --inbox fallback")
		}
	}
	if parts := c.StringSlice("scheme"); len(parts) > 0 {
		scheme, err := schemeOf(parts)
		switch {
		case err != nil:
			return err
		case c.String("verify") != "":
			return usagef("--verify and --scheme: give one of them")
		case c.String("inbox") == string(relay.InboxOff):
			return usagef("--scheme needs an inbox: leave out --inbox off, or say --inbox fallback")
		}
		set["scheme"] = scheme
	}
	if c.IsSet("schedule") {
		var waits []relay.Duration
		for _, one := range strings.Split(c.String("schedule"), ",") {
			d, err := time.ParseDuration(strings.TrimSpace(one))
			if err != nil {
				return usagef("--schedule %s: give times like 0s,5s,1m", one)
			}
			waits = append(waits, relay.Duration(d))
		}
		set["schedule"] = waits
	}
	if c.IsSet("answer-status") || c.IsSet("answer-body") || c.IsSet("answer-header") {
		a := relay.Answer{Status: c.Int("answer-status"), Body: c.String("answer-body")}
		for _, line := range c.StringSlice("answer-header") {
			name, value, ok := strings.Cut(line, ":")
			if !ok || strings.TrimSpace(name) == "" {
				return usagef("--answer-header %s: give a name and a value, like \"Content-Type: text/plain\"", line)
			}
			if a.Header == nil {
				a.Header = http.Header{}
			}
			a.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
		set["answer"] = a
	}
	return nil
}

// schemeOf makes a scheme of its parts. Of some parts there may be several.
func schemeOf(parts []string) (map[string]any, error) {
	scheme := map[string]any{}
	for _, part := range parts {
		name, value, ok := strings.Cut(part, "=")
		name = strings.ReplaceAll(name, "-", "_")
		if !ok || name == "" {
			return nil, usagef("--scheme %s: give a part and its value, like header=X-Acme-Signature", part)
		}
		switch old, given := scheme[name]; {
		case slices.Contains([]string{"header", "content", "id", "type"}, name):
			list, _ := old.([]string)
			scheme[name] = append(list, value)
		case given:
			return nil, usagef("--scheme %s: %s is given twice", part, name)
		default:
			scheme[name] = value
		}
	}
	text, err := json.Marshal(scheme)
	if err != nil {
		return nil, err
	}
	if _, err := signature.ParseScheme(text); err != nil {
		return nil, usagef("--scheme: %s", strings.TrimPrefix(err.Error(), "read the scheme: json: "))
	}
	return scheme, nil
}

// secretsOf takes secrets from the environment: what stands on a command line is seen
// by others and stays in the shell's history.
func secretsOf(c *urfave.Context, door relay.DoorTokens) (json.RawMessage, error) {
	set := map[string]any{}
	if len(door) > 0 {
		set["door"] = map[string][]string(door)
	}
	read := func(flag, name string) (string, error) {
		v := os.Getenv(name)
		if v == "" {
			return "", usagef("--%s %s: this environment variable is empty", flag, name)
		}
		return v, nil
	}
	var signing []string
	for _, name := range c.StringSlice("secret-env") {
		v, err := read("secret-env", name)
		if err != nil {
			return nil, err
		}
		signing = append(signing, v)
	}
	if signing != nil {
		set["signing"] = signing
	}
	if name := c.String("handshake-secret-env"); name != "" {
		v, err := read("handshake-secret-env", name)
		if err != nil {
			return nil, err
		}
		set["handshake"] = v
	}
	if len(set) == 0 {
		return nil, nil
	}
	return json.Marshal(set)
}

// bytesOf writes a number of bytes for people.
func bytesOf(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + "B"
	}
	return size(n)
}
