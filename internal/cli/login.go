package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"
)

func loginCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:      "login",
		Usage:     "keep the address of a server and a token for it",
		ArgsUsage: "SERVER",
		Description: "The token is checked against the server and written to the configuration file, which only you can read.\n" +
			"Without --token it is asked for, or read from standard input.\n\n" +
			"   relay login https://relay.example.com\n" +
			"   relay login http://localhost:8080 --token rly_…\n" +
			"   relay login https://relay.example.com < token.txt",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "token", EnvVars: []string{"RELAY_TOKEN"}, Usage: "the `TOKEN`"},
			caFlag(), jsonFlag(),
		},
		Action: func(c *urfave.Context) error { return runLogin(c, e) },
	}
}

func runLogin(c *urfave.Context, e *env) error {
	addr := c.Args().First()
	if addr == "" {
		addr = os.Getenv("RELAY_SERVER")
	}
	if addr == "" || c.Args().Len() > 1 {
		return usagef("login wants the address of one server: relay login https://relay.example.com")
	}
	addr, err := serverAddress(addr)
	if err != nil {
		return err
	}
	token := strings.TrimSpace(c.String("token"))
	if token == "" {
		if token, err = askToken(c.Context, e); err != nil {
			return err
		}
	}
	cred := credential{server: addr, token: token}
	if cred.ca = c.String("ca"); cred.ca != "" {
		if cred.ca, err = filepath.Abs(cred.ca); err != nil {
			return err
		}
	}
	if cred.tls, err = trust(cred.ca); err != nil {
		return err
	}
	who, err := checkToken(c.Context, cred)
	if err != nil {
		return err
	}
	cfg, err := loadConfig()
	if err != nil {
		return err
	}
	cfg.Server, cfg.Token, cfg.CA = addr, token, cred.ca
	path, err := cfg.save()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return json.NewEncoder(e.out).Encode(map[string]string{"event": "login", "server": addr, "user": who.User, "config": path})
	}
	_, err = fmt.Fprintf(e.out, "Logged in to %s as %s. The token is in %s.\n", addr, who.User, path)
	return err
}

// serverAddress completes what a user types to a URL.
func serverAddress(s string) (string, error) {
	if !strings.Contains(s, "://") {
		host, _, _ := strings.Cut(s, ":")
		if host == "localhost" || strings.HasPrefix(s, "127.") || strings.HasPrefix(s, "[") {
			s = "http://" + s
		} else {
			s = "https://" + s
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", usagef("%q is not the address of a server: give one like https://relay.example.com", s)
	}
	return strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/"), nil
}

// askToken asks at a terminal, hidden, and reads a line otherwise.
func askToken(ctx context.Context, e *env) (string, error) {
	if f, ok := e.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		_, _ = fmt.Fprint(e.err, "Token: ")
		line, err := readHidden(ctx, f)
		_, _ = fmt.Fprintln(e.err)
		if err != nil {
			return "", fmt.Errorf("read token: %w", err)
		}
		if t := strings.TrimSpace(line); t != "" {
			return t, nil
		}
		return "", usagef("no token was given")
	}
	line, err := bufio.NewReader(io.LimitReader(e.stdin(ctx), 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read token: %w", err)
	}
	if t := strings.TrimSpace(line); t != "" {
		return t, nil
	}
	return "", usagef("no token: give one with --token, in RELAY_TOKEN or on standard input")
}

type identity struct {
	User   string `json:"user"`
	Domain string `json:"domain"`
	Admin  bool   `json:"admin"`
}

// checkToken asks the server whose token it is.
func checkToken(ctx context.Context, cred credential) (identity, error) {
	var who identity
	if err := call(ctx, cred, http.MethodGet, "/me", nil, &who); err != nil {
		return who, err
	}
	if who.User == "" {
		return who, stranger(cred.server, http.StatusOK)
	}
	return who, nil
}
