package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"
)

// healthcheckCommand is for containers: an image without a shell has nothing else
// that could ask. It reads the same variable as the server, so that it asks where
// the server of the same container listens.
func healthcheckCommand(_ *env) *urfave.Command {
	return &urfave.Command{
		Name:        "healthcheck",
		Usage:       "ask the server on this machine whether it can serve",
		Description: "For containers: exit code 0 when the server answers that it is ready, else 1.",
		Hidden:      true,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "http-addr", EnvVars: []string{"RELAY_HTTP_ADDR"}, Usage: "`ADDRESS` where the server listens for plain HTTP", Value: ":80"},
		},
		Action: func(c *urfave.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			addr := c.String("http-addr")
			host, port, err := net.SplitHostPort(addr)
			if err != nil || port == "" {
				return usagef("--http-addr %s: give an address like 127.0.0.1:8080 or :80", addr)
			}
			return checkHealth(c.Context, nearAddress(host, port))
		},
	}
}

// nearAddress is how a listener on host and port is reached from its own machine.
func nearAddress(host, port string) string {
	a, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && a.IsUnspecified() && a.Is4():
		host = "127.0.0.1"
	case err == nil && a.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// checkHealth asks the server at addr whether it is ready.
func checkHealth(ctx context.Context, addr string) error {
	// Less than a container's runtime waits, so that there is an answer.
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return usagef("--http-addr %s is no address: give one like 127.0.0.1:8080 or :80", addr)
	}
	tr := &http.Transport{DisableKeepAlives: true} // and no proxy: the server is here
	res, err := tr.RoundTrip(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return fmt.Errorf("no server answers at %s: %w", addr, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		return fmt.Errorf("the server at %s is not ready: %s: %s", addr, res.Status, printable(strings.TrimSpace(string(why))))
	}
	return nil
}
