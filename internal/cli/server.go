package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
			"On a public machine, with certificates by itself:\n\n" +
			"   relay server --domain relay.example.com --email me@example.com\n\n" +
			"The same, and it answers DNS for its domain too, so that one NS record is all there is to set:\n\n" +
			"   relay server --domain relay.example.com --email me@example.com --dns\n\n" +
			"Behind a proxy that does HTTPS:\n\n" +
			"   relay server --domain relay.example.com --behind-proxy\n\n" +
			"The first start makes a user and prints its token, once.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "domain", EnvVars: []string{"RELAY_DOMAIN"}, Usage: "base domain; tunnels are one label below it"},
			&urfave.BoolFlag{Name: "dev", Usage: "serve localhost on 127.0.0.1:8080, for this machine only"},
			&urfave.StringFlag{Name: "http-addr", EnvVars: []string{"RELAY_HTTP_ADDR"}, Usage: "`ADDRESS` for plain HTTP (default: :80, with --dev or --behind-proxy 127.0.0.1:8080)"},
			&urfave.StringFlag{Name: "https-addr", EnvVars: []string{"RELAY_HTTPS_ADDR"}, Usage: "`ADDRESS` for HTTPS, and for HTTP/3 by UDP (default: :443)"},
			&urfave.BoolFlag{Name: "no-http3", EnvVars: []string{"RELAY_NO_HTTP3"}, Usage: "do not serve HTTP/3"},
			&urfave.StringFlag{Name: "email", EnvVars: []string{"RELAY_EMAIL"}, Usage: "`ADDRESS` that the certificate authority writes to"},
			&urfave.StringFlag{Name: "acme-server", EnvVars: []string{"RELAY_ACME_SERVER"}, Usage: "`URL` of the certificate authority's ACME directory (default: Let's Encrypt)"},
			&urfave.StringFlag{Name: "acme-ca", EnvVars: []string{"RELAY_ACME_CA"}, Usage: "`FILE` with the roots to trust that server by (PEM)"},
			&urfave.StringFlag{Name: "acme-eab-id", EnvVars: []string{"RELAY_ACME_EAB_ID"}, Usage: "`ID` of your account at an authority that wants external account binding"},
			&urfave.StringFlag{Name: "acme-eab-key", EnvVars: []string{"RELAY_ACME_EAB_KEY"}, Usage: "`KEY` of that account"},
			&urfave.StringSliceFlag{Name: "tls-cert", EnvVars: []string{"RELAY_TLS_CERT"}, Usage: "`FILE` with a certificate of your own and its chain (PEM); repeat for more"},
			&urfave.StringSliceFlag{Name: "tls-key", EnvVars: []string{"RELAY_TLS_KEY"}, Usage: "`FILE` with its key (PEM)"},
			&urfave.StringFlag{Name: "dns-provider", EnvVars: []string{"RELAY_DNS_PROVIDER"}, Usage: "`NAME` of who keeps your DNS, for one certificate that covers all names; settings in the environment"},
			&urfave.BoolFlag{Name: "dns", EnvVars: []string{"RELAY_DNS"}, Usage: "answer DNS for the domain; needs an NS record that leads here"},
			&urfave.StringFlag{Name: "dns-addr", EnvVars: []string{"RELAY_DNS_ADDR"}, Usage: "`ADDRESS` for DNS, with --dns (default: :53)"},
			&urfave.StringFlag{Name: "dns-name", EnvVars: []string{"RELAY_DNS_NAME"}, Usage: "`HOST` that the NS record names, with --dns (default: ns.DOMAIN)"},
			&urfave.StringSliceFlag{Name: "public-ip", EnvVars: []string{"RELAY_PUBLIC_IP"}, Usage: "`ADDRESS` of this server in DNS (default: those of the machine); repeat for more"},
			&urfave.BoolFlag{Name: "behind-proxy", EnvVars: []string{"RELAY_BEHIND_PROXY"}, Usage: "serve plain HTTP for a proxy that does HTTPS; without --trusted-proxy it is on this machine"},
			&urfave.BoolFlag{Name: "proxy-protocol", EnvVars: []string{"RELAY_PROXY_PROTOCOL"}, Usage: "the trusted proxies begin each connection with a PROXY header"},
			&urfave.BoolFlag{Name: "hsts", EnvVars: []string{"RELAY_HSTS"}, Usage: "tell browsers to come to all names by HTTPS only"},
			&urfave.StringFlag{Name: "data", EnvVars: []string{"RELAY_DATA"}, Usage: "`FOLDER` for the store (default: relay/server in the XDG state folder)"},
			&urfave.StringFlag{Name: "user", EnvVars: []string{"RELAY_USER"}, Usage: "`NAME` of the first user (default: yours)"},
			&urfave.StringFlag{Name: "first-token-file", EnvVars: []string{"RELAY_FIRST_TOKEN_FILE"}, Usage: "new `FILE`, for you alone, that gets the first user's token, instead of a terminal or a log"},
			&urfave.StringSliceFlag{Name: "trusted-proxy", EnvVars: []string{"RELAY_TRUSTED_PROXY"}, Usage: "`CIDR` of a proxy whose X-Forwarded-For and -Proto are believed; repeat for more"},
			&urfave.StringFlag{Name: "public-url", EnvVars: []string{"RELAY_PUBLIC_URL"}, Usage: "`URL` of the base domain as visitors see it (default: as the server is reached, https behind a proxy)"},
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
		HTTPSAddr: c.String("https-addr"), HTTP3: !c.Bool("no-http3"), HSTS: c.Bool("hsts"), ProxyProtocol: c.Bool("proxy-protocol"),
		Email: c.String("email"), ACMEServer: c.String("acme-server"), ACMECA: c.String("acme-ca"), DNSProvider: c.String("dns-provider"), DNSName: c.String("dns-name"),
		ACMEKeyID: c.String("acme-eab-id"), ACMEKey: c.String("acme-eab-key"),
		CertFiles: split(c.StringSlice("tls-cert")), KeyFiles: split(c.StringSlice("tls-key")),
		Plain: c.Bool("dev") || c.Bool("behind-proxy"),
		Log:   e.logger(c.Bool("verbose")), Version: version(),
	}
	for name, d := range map[string]bool{"hold": cfg.HoldFor < 0, "answer-within": cfg.AnswerWithin < 0, "drain": cfg.DrainFor < 0} {
		if d {
			return usagef("--%s cannot be negative", name)
		}
	}
	for _, one := range split(c.StringSlice("trusted-proxy")) {
		p, err := parsePrefix(one)
		if err != nil {
			return usagef("--trusted-proxy %s: give an address or a range, like 10.0.0.0/8", one)
		}
		cfg.TrustedProxies = append(cfg.TrustedProxies, p)
	}
	for _, one := range split(c.StringSlice("public-ip")) {
		a, err := netip.ParseAddr(one)
		if err != nil || a.Zone() != "" {
			return usagef("--public-ip %s: give an address, like 203.0.113.7", one)
		}
		cfg.PublicIPs = append(cfg.PublicIPs, a.Unmap())
	}
	if c.Bool("dns") {
		if cfg.DNSAddr = c.String("dns-addr"); cfg.DNSAddr == "" {
			cfg.DNSAddr = ":53"
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
	case c.Bool("behind-proxy"):
		if cfg.HTTPAddr == "" {
			cfg.HTTPAddr = "127.0.0.1:8080"
		}
		if len(cfg.TrustedProxies) == 0 {
			cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
		}
	}
	if err := tlsFlags(c); err != nil {
		return err
	}
	if cfg.Domain == "" {
		return usagef("which domain? Say --domain relay.example.com, or --dev to try it on this machine")
	}
	if cfg.DataDir == "" {
		dir, err := defaultData()
		if err != nil {
			return err
		}
		cfg.DataDir = dir
	}
	if cfg.FirstUser == "" {
		cfg.FirstUser = ownName()
	} else if _, err := relay.ParseName(cfg.FirstUser); err != nil {
		return usagef("--user: %v", err)
	}
	if err := cfg.Validate(); err != nil {
		return &usageError{err.Error()}
	}
	cfg.OnReady = func(r server.Ready) { announce(e, c.Bool("json"), c.String("first-token-file"), r) }
	return server.New(cfg).Run(c.Context)
}

// tlsFlags refuses flags that would do nothing.
func tlsFlags(c *urfave.Context) error {
	if !c.Bool("dns") {
		for _, f := range []string{"dns-addr", "dns-name", "public-ip"} {
			if c.IsSet(f) {
				return usagef("--%s does nothing without --dns", f)
			}
		}
	}
	by := ""
	for _, f := range []string{"dev", "behind-proxy"} {
		if c.Bool(f) {
			by = f
		}
	}
	if by == "" {
		return nil
	}
	for _, f := range []string{"https-addr", "no-http3", "tls-cert", "tls-key", "acme-server", "acme-ca", "acme-eab-id", "acme-eab-key", "dns-provider", "hsts"} {
		if c.IsSet(f) {
			return usagef("--%s does nothing with --%s, which serves plain HTTP: leave one of them out", f, by)
		}
	}
	return nil
}

// split takes lists apart that are separated by commas, as in the environment.
func split(values []string) []string {
	var all []string
	for _, v := range values {
		for _, one := range strings.Split(v, ",") {
			if one = strings.TrimSpace(one); one != "" {
				all = append(all, one)
			}
		}
	}
	return all
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
	HTTPS    string `json:"https_addr,omitempty"`
	DNS      string `json:"dns_addr,omitempty"`
	User     string `json:"user,omitempty"`
	Token    string `json:"token,omitempty"`
	File     string `json:"token_file,omitempty"`
}

// announce says that the server serves, and once the first user's token: to file where
// one is named. What cannot be written there is said, for it is not known a second time.
func announce(e *env, asJSON bool, file string, r server.Ready) {
	if r.Token == "" {
		file = ""
	}
	if file != "" {
		if err := writeNew(file, func(w io.Writer) error { _, err := io.WriteString(w, r.Token+"\n"); return err }); err != nil {
			_, _ = fmt.Fprintf(e.err, "relay: the token of the first user cannot be kept in a file (%v), so it is shown\n", err)
			file = ""
		} else {
			r.Token = ""
		}
	}
	if asJSON {
		_ = json.NewEncoder(e.out).Encode(readyEvent{Event: "ready", URL: r.URL, Domain: r.Domain, HTTPAddr: r.HTTPAddr, HTTPS: r.HTTPSAddr, DNS: r.DNSAddr, User: r.User, Token: r.Token, File: file})
		return
	}
	where := r.HTTPAddr
	if r.HTTPSAddr != "" {
		where = r.HTTPSAddr + ", " + where
	}
	if r.DNSAddr != "" {
		where += ", DNS on " + r.DNSAddr
	}
	_, _ = fmt.Fprintf(e.out, "relay server for %s, listening on %s\n", r.URL, where)
	switch {
	case file != "":
		_, _ = fmt.Fprintf(e.out, "\nThe user %s was made. Its token is in %s. Connect an agent with it, and remove the file:\n\n  relay login %s < %s\n\n", r.User, file, r.URL, file)
	case r.Token != "":
		_, _ = fmt.Fprintf(e.out, `
The user %s was made. This is its token; it is shown only now:

  %s

Connect an agent with it:

  relay login %s --token %s
  relay http 3000

`, r.User, r.Token, r.URL, r.Token)
	}
}

// writeNew writes a file that was not there (fs.ErrExist), for its owner alone, whole or
// not at all.
func writeNew(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(name)
	}
	return err
}

// defaultData is where a server keeps its data unless told otherwise.
func defaultData() (string, error) {
	dir, err := stateDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "server"), nil
}
