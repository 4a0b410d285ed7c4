package cli

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server"
)

func serverCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:  "server",
		Usage: "run a relay server",
		Description: "On this machine, to try it:\n\n   relay server --dev\n\n" +
			"On a public machine, behind a proxy that does HTTPS:\n\n" +
			"   relay server --domain relay.example.com --http-addr 127.0.0.1:8080 --trusted-proxy 127.0.0.1/32\n\n" +
			"The first start makes a user and prints its token, once.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "domain", EnvVars: []string{"RELAY_DOMAIN"}, Usage: "base domain; tunnels are one label below it"},
			&urfave.BoolFlag{Name: "dev", Usage: "serve localhost on 127.0.0.1:8080, for this machine only"},
			&urfave.StringFlag{Name: "http-addr", EnvVars: []string{"RELAY_HTTP_ADDR"}, Usage: "`ADDRESS` for plain HTTP (default: :80, with --dev 127.0.0.1:8080)"},
			&urfave.StringFlag{Name: "data", EnvVars: []string{"RELAY_DATA"}, Usage: "`FOLDER` for the store (default: relay/server in the XDG state folder)"},
			&urfave.StringFlag{Name: "user", EnvVars: []string{"RELAY_USER"}, Usage: "`NAME` of the first user (default: yours)"},
			&urfave.StringSliceFlag{Name: "trusted-proxy", EnvVars: []string{"RELAY_TRUSTED_PROXY"}, Usage: "`CIDR` of a proxy whose X-Forwarded-For and -Proto are believed; repeat for more"},
			&urfave.StringFlag{Name: "public-url", EnvVars: []string{"RELAY_PUBLIC_URL"}, Usage: "`URL` of the base domain as visitors see it (default: https with --trusted-proxy, else http)"},
			&urfave.DurationFlag{Name: "hold", EnvVars: []string{"RELAY_HOLD"}, Usage: "how long a request waits for an agent that was just here", DefaultText: "5s"},
			&urfave.DurationFlag{Name: "answer-within", EnvVars: []string{"RELAY_ANSWER_WITHIN"}, Usage: "how long an app may take until its answer begins", DefaultText: "10m"},
			&urfave.DurationFlag{Name: "drain", EnvVars: []string{"RELAY_DRAIN"}, Usage: "how long requests in flight may take when the server stops", DefaultText: "30s, with --dev 2s"},
			jsonFlag(), verboseFlag(),
		},
		Action: func(c *urfave.Context) error { return runServer(c, e) },
	}
}

func runServer(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cfg := server.Config{
		Domain: c.String("domain"), HTTPAddr: c.String("http-addr"), DataDir: c.String("data"), FirstUser: c.String("user"),
		PublicURL: c.String("public-url"), HoldFor: c.Duration("hold"), AnswerWithin: c.Duration("answer-within"), DrainFor: c.Duration("drain"),
		Log: e.logger(c.Bool("verbose")),
	}
	for name, d := range map[string]bool{"hold": cfg.HoldFor < 0, "answer-within": cfg.AnswerWithin < 0, "drain": cfg.DrainFor < 0} {
		if d {
			return usagef("--%s cannot be negative", name)
		}
	}
	for _, s := range c.StringSlice("trusted-proxy") {
		for _, one := range strings.Split(s, ",") {
			p, err := parsePrefix(strings.TrimSpace(one))
			if err != nil {
				return usagef("--trusted-proxy %s: give an address or a range, like 10.0.0.0/8", one)
			}
			cfg.TrustedProxies = append(cfg.TrustedProxies, p)
		}
	}
	switch {
	case c.Bool("dev") && cfg.Domain != "":
		return usagef("--dev serves localhost: leave out --domain, or --dev")
	case c.Bool("dev"):
		cfg.Domain = "localhost"
		if cfg.HTTPAddr == "" {
			cfg.HTTPAddr = "127.0.0.1:8080"
		}
		if cfg.DrainFor == 0 {
			cfg.DrainFor = 2 * time.Second // nobody waits for a demo to stop
		}
	case cfg.Domain == "":
		return usagef("which domain? Say --domain relay.example.com, or --dev to try it on this machine")
	}
	if cfg.DataDir == "" {
		dir, err := stateDir()
		if err != nil {
			return err
		}
		cfg.DataDir = filepath.Join(dir, "server")
	}
	if cfg.FirstUser == "" {
		cfg.FirstUser = ownName()
	} else if _, err := relay.ParseName(cfg.FirstUser); err != nil {
		return usagef("--user: %v", err)
	}
	if err := cfg.Validate(); err != nil {
		return &usageError{err.Error()}
	}
	cfg.OnReady = func(r server.Ready) { announce(e, c.Bool("json"), r) }
	return server.New(cfg).Run(c.Context)
}

func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
}

// ownName makes a user name of the name that the person has on this machine.
func ownName() string {
	login := os.Getenv("SUDO_USER")
	if login == "" {
		if u, err := user.Current(); err == nil {
			login = u.Username
		}
	}
	var b strings.Builder
	for _, r := range strings.ToLower(login) {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			b.WriteRune(r)
		}
	}
	name, err := relay.ParseName(b.String())
	if err != nil || relay.Reserved(name) {
		return "me"
	}
	return string(name)
}

// readyEvent is the first line of "relay server --json"; see docs/json.md.
type readyEvent struct {
	Event    string `json:"event"`
	URL      string `json:"url"`
	Domain   string `json:"domain"`
	HTTPAddr string `json:"http_addr"`
	User     string `json:"user,omitempty"`
	Token    string `json:"token,omitempty"`
}

func announce(e *env, asJSON bool, r server.Ready) {
	if asJSON {
		_ = json.NewEncoder(e.out).Encode(readyEvent{Event: "ready", URL: r.URL, Domain: r.Domain, HTTPAddr: r.HTTPAddr, User: r.User, Token: r.Token})
		return
	}
	_, _ = fmt.Fprintf(e.out, "relay server for %s, listening on %s\n", r.URL, r.HTTPAddr)
	if r.Token == "" {
		return
	}
	_, _ = fmt.Fprintf(e.out, `
The user %s was made. This is its token; it is shown only now:

  %s

Connect an agent with it:

  relay login %s --token %s
  relay http 3000

`, r.User, r.Token, r.URL, r.Token)
}
