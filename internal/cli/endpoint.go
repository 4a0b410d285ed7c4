package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/relay"
)

// endpoint is what the API tells of one.
type endpoint struct {
	Name      string          `json:"name"`
	URL       string          `json:"url"`
	Agent     string          `json:"agent,omitempty"`
	Settings  json.RawMessage `json:"settings"`
	Effective relay.Settings  `json:"effective"`
	Secrets   int             `json:"secrets"`
	Lost      bool            `json:"secrets_lost,omitempty"`
	Verify    string          `json:"verify,omitempty"`
	Kept      struct {
		Events  int   `json:"events"`
		Pending int   `json:"pending"`
		Bytes   int64 `json:"bytes"`
	} `json:"kept"`
}

func endpointCommand(e *env) *urfave.Command {
	one := func(name, usage string, run func(c *urfave.Context, e *env, cred credential, name string) error, more ...urfave.Flag) *urfave.Command {
		return &urfave.Command{
			Name: name, Usage: usage, ArgsUsage: "NAME", Flags: append(more, serverFlags()...),
			Action: func(c *urfave.Context) error {
				if c.Args().Len() != 1 {
					return usagef("endpoint %s wants one name: relay endpoint %s hooks", name, name)
				}
				cred, err := credentials(c)
				if err != nil {
					return err
				}
				return run(c, e, cred, c.Args().First())
			},
		}
	}
	return &urfave.Command{
		Name:  "endpoint",
		Usage: "keep names, with an inbox or without",
		Description: "   relay endpoint create hooks --inbox always\n" +
			"   relay endpoint set hooks --verify github --secret-env GH_SECRET\n" +
			"   relay endpoint list\n\n" +
			"An endpoint with an inbox collects from now on, whether an agent is there or not.\n" +
			"relay http 8080 --name hooks attaches an app later, which gets what has come.",
		Subcommands: []*urfave.Command{
			one("create", "reserve a name, and say how it works", createEndpoint, settingsFlags()...),
			{
				Name: "list", Usage: "list your names", Flags: serverFlags(),
				Action: func(c *urfave.Context) error { return listEndpoints(c, e) },
			},
			one("show", "show one", showEndpoint),
			one("set", "change how it works", setEndpoint, settingsFlags()...),
			one("release", "give a name back, with all that it has kept", releaseEndpoint),
		},
	}
}

func createEndpoint(c *urfave.Context, e *env, cred credential, name string) error {
	return putEndpoint(c, e, cred, http.MethodPost, "/endpoints", name)
}

func setEndpoint(c *urfave.Context, e *env, cred credential, name string) error {
	return putEndpoint(c, e, cred, http.MethodPatch, "/endpoints/"+url.PathEscape(name), "")
}

func putEndpoint(c *urfave.Context, e *env, cred credential, method, path, name string) error {
	settings, secrets, err := settingsOf(c)
	if err != nil {
		return err
	}
	in := map[string]any{}
	if name != "" {
		in["name"] = name
	}
	if settings != nil {
		in["settings"] = settings
	}
	if secrets != nil {
		in["secrets"] = secrets
	}
	if method == http.MethodPatch && len(in) == 0 {
		return usagef("endpoint set: what is to change? Give a flag, like --inbox always")
	}
	var p endpoint
	if err := call(c.Context, cred, method, path, in, &p); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "endpoint", p)
	}
	return describeEndpoint(e, p)
}

func showEndpoint(c *urfave.Context, e *env, cred credential, name string) error {
	var p endpoint
	if err := call(c.Context, cred, http.MethodGet, "/endpoints/"+url.PathEscape(name), nil, &p); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "endpoint", p)
	}
	return describeEndpoint(e, p)
}

func describeEndpoint(e *env, p endpoint) error {
	s := p.Effective
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "%s\t"+format+"\n", append([]any{what}, args...)...)
	}
	line("name", "%s", p.Name)
	line("url", "%s", p.URL)
	if p.Agent != "" {
		line("agent", "%s", printable(p.Agent))
	} else {
		line("agent", "not connected")
	}
	line("inbox", "%s", s.Inbox)
	if s.Inbox != relay.InboxOff {
		if s.Path != "" {
			line("path", "%s", s.Path)
		}
		sender := s.Provider
		if len(s.Scheme) > 0 { // it comes before the provider
			sender = "a scheme of its own"
		}
		if sender != "" {
			mode := p.Verify
			if mode == "" {
				mode = "not checked: no secret"
			}
			line("verify", "%s (%s, secrets: %d)", sender, mode, p.Secrets)
		}
		if p.Lost {
			line("secrets", "lost with the server key: give them anew with relay endpoint set %s", p.Name)
		}
		line("kept", "%d events, %d not delivered, %s", p.Kept.Events, p.Kept.Pending, bytesOf(p.Kept.Bytes))
		line("keeps", "%v, %d events, %s", timeOf(s.Keep.Age), s.Keep.Count, bytesOf(s.Keep.Bytes))
	}
	return t.Flush()
}

// timeOf writes a length of time for people.
func timeOf(d relay.Duration) string {
	const day = 24 * time.Hour
	if t := time.Duration(d); t >= 2*day && t%day == 0 {
		return fmt.Sprintf("%d days", t/day)
	}
	return time.Duration(d).String()
}

func listEndpoints(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cred, err := credentials(c)
	if err != nil {
		return err
	}
	var list struct{ Items []endpoint }
	if err := call(c.Context, cred, http.MethodGet, "/endpoints", nil, &list); err != nil {
		return err
	}
	if c.Bool("json") {
		for _, p := range list.Items {
			if err := printJSON(e, "endpoint", p); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NAME\tURL\tAGENT\tINBOX\tKEPT\tWAITING")
	for _, p := range list.Items {
		agent := "-"
		if p.Agent != "" {
			agent = printable(p.Agent)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\n", p.Name, p.URL, agent, p.Effective.Inbox, p.Kept.Events, p.Kept.Pending)
	}
	return t.Flush()
}

func releaseEndpoint(c *urfave.Context, e *env, cred credential, name string) error {
	if err := call(c.Context, cred, http.MethodDelete, "/endpoints/"+url.PathEscape(name), nil, nil); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "released", map[string]string{"name": name})
	}
	_, err := fmt.Fprintf(e.out, "%s is free again.\n", name)
	return err
}
