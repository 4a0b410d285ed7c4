package cli

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/server"
)

// adminFlags are those of commands that work with a token, and without one on the
// server's own machine.
func adminFlags() []urfave.Flag {
	return append([]urfave.Flag{
		&urfave.StringFlag{Name: "socket", EnvVars: []string{"RELAY_SOCKET"}, Usage: "ask the server on this machine by its socket, which needs no token; `FILE` (default: where relay server keeps its data)"},
	}, serverFlags()...)
}

// adminCredentials finds the way to the server: its socket if that is asked for, or
// server and token, or the socket of this machine where no server is known.
func adminCredentials(c *urfave.Context) (credential, error) {
	if path := c.String("socket"); path != "" {
		return bySocket(path), nil
	}
	cred, err := credentials(c)
	var usage *usageError
	if err == nil || !errors.As(err, &usage) || c.String("server") != "" || c.String("token") != "" {
		return cred, err
	}
	dir, derr := defaultData()
	if derr != nil {
		return cred, err
	}
	path := filepath.Join(dir, server.SocketName)
	if info, serr := os.Stat(path); serr != nil || info.Mode()&os.ModeSocket == 0 {
		return cred, err
	}
	return bySocket(path), nil
}

func bySocket(path string) credential {
	return credential{server: "http://relay.socket", token: "socket", socket: path}
}

// dialer dials the server's socket, or what dial would.
func (cred credential) dialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if cred.socket == "" {
		return dial
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", cred.socket)
	}
}

// proxy is how proxies are found: none stands before a socket.
func (cred credential) proxy() func(*http.Request) (*url.URL, error) {
	if cred.socket != "" {
		return nil
	}
	return http.ProxyFromEnvironment
}
