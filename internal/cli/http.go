package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/client/forward"
	"github.com/relaytunnel/relay/internal/relay"
)

func httpCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:      "http",
		Usage:     "give a local web app a public URL",
		ArgsUsage: "PORT | HOST:PORT | http://HOST:PORT",
		Description: "   relay http 3000\n" +
			"   relay http 3000 --name api\n" +
			"   relay http localhost:5173 --host-header local\n" +
			"   relay http 50051 --upstream-protocol h2c\n" +
			"   relay http 8080 --inbox fallback --verify github --secret-env GH_SECRET",
		Flags:  slices.Concat(endpointFlags(), connectFlags(), inspectFlags()),
		Action: func(c *urfave.Context) error { return runHTTP(c, e) },
	}
}

// tunnelFlags say what is served, under which name and how.
func tunnelFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "name", Usage: "`NAME` of the tunnel: \"api\" gives api-YOU, unless you hold the name api itself"},
		&urfave.BoolFlag{Name: "takeover", Usage: "replace another of your agents that has the name"},
		&urfave.StringFlag{Name: "host-header", Usage: "`HOST` that the app sees: a host, or \"local\" for the local address (default: the public host)"},
		&urfave.StringFlag{Name: "upstream-protocol", Value: "http1", Usage: "`PROTOCOL` that the app speaks: http1, or h2c for HTTP/2 without TLS"},
		&urfave.BoolFlag{Name: "no-inspect", Usage: "do not look at requests: faster, but none are listed or shown"},
	}
}

// connectFlags are those of every agent: which server, with whose token, and what is
// told.
func connectFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "server", EnvVars: []string{"RELAY_SERVER"}, Usage: "`URL` of the server (default: from relay login)"},
		&urfave.StringFlag{Name: "token", EnvVars: []string{"RELAY_TOKEN"}, Usage: "the `TOKEN` (default: from relay login)"},
		caFlag(), logFlag(), jsonFlag(), verboseFlag(),
	}
}

// logFlag is for those who would rather have lines than a screen.
func logFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "log", Usage: "print a line for each event instead of showing a screen"}
}

// endpointFlags are those that a project file can have for each of its endpoints.
func endpointFlags() []urfave.Flag { return append(tunnelFlags(), settingsFlags()...) }

// tunnel is one public name and what is served under it.
type tunnel struct {
	spec    client.Spec
	forward forward.Options
	inspect bool // requests are listed
}

// tunnelOf reads the flags of one tunnel to a target.
func tunnelOf(c *urfave.Context, target string) (tunnel, error) {
	addr, err := localAddress(target)
	if err != nil {
		return tunnel{}, err
	}
	t := tunnel{forward: forward.Options{Addr: addr}, inspect: !c.Bool("no-inspect")}
	switch p := c.String("upstream-protocol"); p {
	case "http1":
	case "h2c":
		t.forward.H2C = true
	default:
		return tunnel{}, usagef("--upstream-protocol %s: known are http1 and h2c", p)
	}
	hostHeader := c.String("host-header")
	if hostHeader == "local" {
		hostHeader = addr
	}
	if name := c.String("name"); name != "" {
		// The server decides about names; one that cannot be part of any is a slip.
		if _, err := relay.ParseName(strings.ToLower(name)); err != nil && len(name) > 1 {
			return tunnel{}, usagef("--name: %v", err)
		}
	}
	t.spec = client.Spec{Name: c.String("name"), Hint: hintOf(addr), Takeover: c.Bool("takeover"), HostHeader: hostHeader}
	t.spec.Settings, t.spec.Secrets, err = settingsOf(c)
	return t, err
}

func runHTTP(c *urfave.Context, e *env) error {
	if c.Args().Len() != 1 {
		return usagef("http wants one port or address: relay http 3000")
	}
	t, err := tunnelOf(c, c.Args().First())
	if err != nil {
		return err
	}
	cred, err := credentials(c)
	if err != nil {
		return err
	}
	return runAgent(c, e, cred, t.spec, []tunnel{t})
}

// localAddress makes host:port of what a user types.
func localAddress(s string) (string, error) {
	bad := usagef("%q is not a port or address of an app: give one like 3000, localhost:5173 or http://192.168.1.5:8000", s)
	if rest, ok := strings.CutPrefix(s, "http://"); ok {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			return "", bad
		}
		if s = strings.TrimSuffix(rest, "/"); u.Port() == "" {
			s += ":80"
		}
	}
	if strings.Contains(s, "://") {
		return "", usagef("%q: the app must be reached by http://", s)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = "localhost", s
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strings.ContainsAny(host, " /@") {
		return "", bad
	}
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// hintOf says what is served, so that the same command gets the same name.
func hintOf(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	if host == "localhost" || host == "127.0.0.1" || host == "::1" {
		return "http:" + port
	}
	return "http:" + host + ":" + port
}

// credential is which server to call, with whose token.
type credential struct {
	server, token string
	ca            string      // a file with roots, where the system's are not enough
	tls           *tls.Config // made of it; nil is Go's
	socket        string      // of the server on this machine, instead
}

// credentials finds server and token: flag, environment, file.
func credentials(c *urfave.Context) (credential, error) {
	cred := credential{server: c.String("server"), token: strings.TrimSpace(c.String("token")), ca: c.String("ca")}
	var err error
	if cred.server != "" {
		if cred.server, err = serverAddress(cred.server); err != nil {
			return cred, err
		}
	}
	if cred.server == "" || cred.token == "" {
		f, err := loadConfig()
		if err != nil {
			return cred, err
		}
		if cred.server == "" {
			cred.server = f.Server
		}
		// A token goes to the server it is for, and to no other.
		if cred.token == "" && cred.server == f.Server {
			cred.token = f.Token
		}
		if cred.ca == "" && cred.server == f.Server {
			cred.ca = f.CA
		}
	}
	if cred.server == "" {
		return cred, usagef("no server is known: run relay login https://relay.example.com first, or set RELAY_SERVER")
	}
	if cred.token == "" {
		return cred, usagef("no token is known for %s: run relay login %s first, or set RELAY_TOKEN", cred.server, cred.server)
	}
	cred.tls, err = trust(cred.ca)
	return cred, err
}

// caFlag names roots to trust a server by.
func caFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "ca", EnvVars: []string{"RELAY_CA"}, Usage: "`FILE` with roots to trust the server by (PEM), beside the system's"}
}

// trust makes a TLS configuration that trusts the roots in a file as well; nil
// without one.
func trust(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is Go's configuration
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("--ca: %v", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, usagef("--ca: there is no certificate in %s; give roots as PEM", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func software() string {
	return fmt.Sprintf("relay/%s (%s; %s)", version(), runtime.GOOS, runtime.GOARCH)
}
