package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/doctor"
	"github.com/relaytunnel/relay/server"
)

func doctorCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:      "doctor",
		Usage:     "find out what does not work",
		ArgsUsage: "[PORT | server]",
		Description: "Where an agent runs: the way to its server, and to a local app if its port is given.\n\n" +
			"   relay doctor\n" +
			"   relay doctor 3000\n\n" +
			"On the machine of a server, with the flags and environment of relay server:\n\n" +
			"   relay doctor server --domain relay.example.com\n\n" +
			"Exit code 1 when something fails; warnings are no failures.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "server", EnvVars: []string{"RELAY_SERVER"}, Usage: "`URL` of the server (default: from relay login)"},
			&urfave.StringFlag{Name: "token", EnvVars: []string{"RELAY_TOKEN"}, Usage: "the `TOKEN` (default: from relay login)"},
			&urfave.StringFlag{Name: "domain", EnvVars: []string{"RELAY_DOMAIN"}, Usage: "base domain of the server on this machine"},
			&urfave.StringFlag{Name: "data", EnvVars: []string{"RELAY_DATA"}, Usage: "`FOLDER` of its store"},
			&urfave.StringFlag{Name: "http-addr", EnvVars: []string{"RELAY_HTTP_ADDR"}, Usage: "`ADDRESS` where it listens for plain HTTP (default: :80, behind a proxy 127.0.0.1:8080)"},
			&urfave.StringFlag{Name: "https-addr", EnvVars: []string{"RELAY_HTTPS_ADDR"}, Usage: "`ADDRESS` where it listens for HTTPS (default: :443)"},
			&urfave.StringFlag{Name: "acme-server", EnvVars: []string{"RELAY_ACME_SERVER"}, Usage: "`URL` of the ACME directory (default: Let's Encrypt)"},
			&urfave.StringSliceFlag{Name: "tls-cert", EnvVars: []string{"RELAY_TLS_CERT"}, Usage: "`FILE` with its own certificate: then no authority is asked"},
			&urfave.StringSliceFlag{Name: "public-ip", EnvVars: []string{"RELAY_PUBLIC_IP"}, Usage: "`ADDRESS` that DNS should give (default: those of the machine)"},
			&urfave.BoolFlag{Name: "behind-proxy", EnvVars: []string{"RELAY_BEHIND_PROXY"}, Usage: "a proxy does HTTPS for it"},
			caFlag(), jsonFlag(),
		},
		Action: func(c *urfave.Context) error { return runDoctor(c, e) },
	}
}

func runDoctor(c *urfave.Context, e *env) error {
	if c.Args().Len() > 1 {
		return usagef("doctor wants nothing, the port of an app, or the word server")
	}
	var checks []doctor.Check
	var err error
	if c.Args().First() == "server" {
		checks, err = doctorServer(c)
	} else {
		checks, err = doctorAgent(c)
	}
	if err != nil {
		return err
	}
	failed := 0
	for _, k := range checks {
		if k.Verdict == doctor.Fail {
			failed++
		}
		if c.Bool("json") {
			_ = json.NewEncoder(e.out).Encode(checkEvent{"check", k.Name, string(k.Verdict), k.Detail, k.Next})
			continue
		}
		_, _ = fmt.Fprintf(e.out, "%-4s  %-12s  %s\n", k.Verdict, k.Name, printable(k.Detail))
		if k.Next != "" {
			_, _ = fmt.Fprintf(e.out, "%20s-> %s\n", "", printable(k.Next))
		}
	}
	if failed > 0 {
		return errSilent
	}
	return nil
}

// checkEvent is a line of "relay doctor --json"; see docs/json.md.
type checkEvent struct {
	Event   string `json:"event"`
	Name    string `json:"name"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
	Next    string `json:"next,omitempty"`
}

func doctorAgent(c *urfave.Context) ([]doctor.Check, error) {
	cred, err := credentials(c)
	if err != nil {
		return nil, err
	}
	o := doctor.AgentOptions{Server: cred.server, Token: cred.token, TLS: cred.tls, Software: software()}
	o.Me = func(ctx context.Context) (string, string, error) {
		who, err := checkToken(ctx, cred)
		return who.User, who.Domain, err
	}
	o.Certificates = func(ctx context.Context) ([]doctor.Certificate, []doctor.Quota, error) {
		var status struct {
			Certificates []doctor.Certificate
			Quota        []doctor.Quota
		}
		err := call(ctx, cred, http.MethodGet, "/status", nil, &status)
		if p := (*problemError)(nil); errors.As(err, &p) && p.Code == "denied" {
			err = doctor.ErrNoAdmin
		}
		return status.Certificates, status.Quota, err
	}
	if app := c.Args().First(); app != "" {
		if o.App, err = localAddress(app); err != nil {
			return nil, err
		}
	}
	return doctor.Agent(c.Context, o), nil
}

func doctorServer(c *urfave.Context) ([]doctor.Check, error) {
	cfg := server.Config{
		Domain: c.String("domain"), DataDir: c.String("data"), HTTPAddr: c.String("http-addr"), HTTPSAddr: c.String("https-addr"),
		Plain: c.Bool("behind-proxy"),
	}
	if cfg.Domain == "" {
		return nil, usagef("which domain? Say --domain relay.example.com, as for relay server")
	}
	if cfg.DataDir == "" {
		dir, err := stateDir()
		if err != nil {
			return nil, err
		}
		cfg.DataDir = filepath.Join(dir, "server")
	}
	if cfg.Plain && cfg.HTTPAddr == "" {
		cfg.HTTPAddr = "127.0.0.1:8080"
	}
	if err := cfg.Validate(); err != nil {
		return nil, &usageError{err.Error()}
	}
	o := doctor.ServerOptions{Domain: cfg.Domain, DataDir: cfg.DataDir, HTTPAddr: cfg.HTTPAddr}
	if !cfg.Plain {
		o.HTTPSAddr = cfg.HTTPSAddr
		if len(c.StringSlice("tls-cert")) == 0 {
			if o.ACMEServer = c.String("acme-server"); o.ACMEServer == "" {
				o.ACMEServer = server.LetsEncrypt
			}
		}
	}
	for _, one := range split(c.StringSlice("public-ip")) {
		a, err := netip.ParseAddr(one)
		if err != nil {
			return nil, usagef("--public-ip %s: give an address, like 203.0.113.7", one)
		}
		o.PublicIPs = append(o.PublicIPs, a.Unmap())
	}
	return doctor.Server(c.Context, o), nil
}
