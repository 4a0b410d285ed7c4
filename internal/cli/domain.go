package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"
)

// domain is what the API tells of one.
type domain struct {
	Host    string    `json:"host"`
	Name    string    `json:"name"`
	URL     string    `json:"url"`
	State   string    `json:"state"`
	Reason  string    `json:"reason,omitempty"`
	Dropped time.Time `json:"dropped,omitzero"`
	CNAME   []record  `json:"cname,omitempty"`
	TXT     []record  `json:"txt,omitempty"`
}

type record struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

func domainCommand(e *env) *urfave.Command {
	one := func(name, usage, description string, run func(c *urfave.Context, e *env, cred credential, host string) error, more ...urfave.Flag) *urfave.Command {
		return &urfave.Command{
			Name: name, Usage: usage, ArgsUsage: "HOST", Description: description,
			Flags: append(more, serverFlags()...),
			Action: func(c *urfave.Context) error {
				if c.Args().Len() != 1 {
					return usagef("domain %s wants one host: relay domain %s hooks.acme.com", name, name)
				}
				cred, err := credentials(c)
				if err != nil {
					return err
				}
				return run(c, e, cred, c.Args().First())
			},
		}
	}
	remove := one("remove", "forget a host", "", removeDomain)
	remove.Aliases = []string{"rm"}
	return &urfave.Command{
		Name:  "domain",
		Usage: "serve hosts of your own",
		Description: "   relay domain add hooks.acme.com --name api\n" +
			"   relay domain verify hooks.acme.com\n" +
			"   relay domain list\n" +
			"   relay domain remove hooks.acme.com",
		Subcommands: []*urfave.Command{
			one("add", "add a host, and see which DNS record to set", "", addDomain,
				&urfave.StringFlag{Name: "name", Usage: "`NAME` that it leads to (default: your own)"}),
			one("verify", "look whether its record is there", "", verifyDomain),
			{
				Name: "list", Usage: "list your hosts", Flags: serverFlags(),
				Action: func(c *urfave.Context) error { return listDomains(c, e) },
			},
			remove,
		},
	}
}

// serverFlags are those of commands that call the server's API.
func serverFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "server", EnvVars: []string{"RELAY_SERVER"}, Usage: "`URL` of the server (default: from relay login)"},
		&urfave.StringFlag{Name: "token", EnvVars: []string{"RELAY_TOKEN"}, Usage: "the `TOKEN` (default: from relay login)"},
		caFlag(), jsonFlag(),
	}
}

func addDomain(c *urfave.Context, e *env, cred credential, host string) error {
	var d domain
	in := map[string]string{"host": host, "name": c.String("name")}
	if err := call(c.Context, cred, http.MethodPost, "/domains", in, &d); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "domain", d)
	}
	if d.State == "active" {
		_, err := fmt.Fprintf(e.out, "%s leads to %s.\n", d.URL, d.Name)
		return err
	}
	showSetup(e.out, d)
	_, err := fmt.Fprintf(e.out, "\nThen: relay domain verify %s\n", d.Host)
	return err
}

// showSetup says which records to set.
func showSetup(w io.Writer, d domain) {
	if len(d.CNAME) > 0 {
		_, _ = fmt.Fprintf(w, "Set this record in the DNS of %s:\n\n", d.Host)
		showRecords(w, d.CNAME)
		if len(d.TXT) > 0 {
			_, _ = fmt.Fprint(w, "\nor, where a CNAME cannot be, these:\n\n")
		}
	} else {
		_, _ = fmt.Fprintf(w, "Set these records in the DNS of %s:\n\n", d.Host)
	}
	showRecords(w, d.TXT)
}

func showRecords(w io.Writer, records []record) {
	for _, r := range records {
		_, _ = fmt.Fprintf(w, "  %s  %s  %s\n", r.Name, r.Type, r.Value)
	}
}

func verifyDomain(c *urfave.Context, e *env, cred credential, host string) error {
	var d domain
	if err := call(c.Context, cred, http.MethodPost, "/domains/"+url.PathEscape(host)+"/verify", nil, &d); err != nil {
		return err
	}
	if c.Bool("json") {
		if err := printJSON(e, "domain", d); err != nil {
			return err
		}
	} else if d.State == "active" {
		_, err := fmt.Fprintf(e.out, "%s leads to %s. Its certificate is ordered if it has none.\n", d.URL, d.Name)
		return err
	} else {
		_, _ = fmt.Fprintf(e.out, "%s does not lead here yet: %s\n\n", d.Host, printable(d.Reason))
		showSetup(e.out, d)
	}
	if d.State != "active" {
		return errSilent
	}
	return nil
}

func listDomains(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cred, err := credentials(c)
	if err != nil {
		return err
	}
	var list struct{ Items []domain }
	if err := call(c.Context, cred, http.MethodGet, "/domains", nil, &list); err != nil {
		return err
	}
	if c.Bool("json") {
		for _, d := range list.Items {
			if err := printJSON(e, "domain", d); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list.Items) == 0 {
		_, err := fmt.Fprintln(e.out, "You have none. Add one: relay domain add hooks.acme.com")
		return err
	}
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "HOST\tNAME\tSTATE\t")
	for _, d := range list.Items {
		note := printable(d.Reason)
		if !d.Dropped.IsZero() {
			note += "; dropped on " + d.Dropped.Local().Format("2006-01-02 15:04") + " unless that is put right"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", d.Host, d.Name, d.State, note)
	}
	return t.Flush()
}

func removeDomain(c *urfave.Context, e *env, cred credential, host string) error {
	if err := call(c.Context, cred, http.MethodDelete, "/domains/"+url.PathEscape(host), nil, nil); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "removed", map[string]string{"host": host})
	}
	_, err := fmt.Fprintf(e.out, "%s is forgotten.\n", host)
	return err
}

// printJSON prints one line: v with its event.
func printJSON(e *env, event string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	head := `{"event":"` + event + `"`
	if len(text) > 2 {
		head += ","
	}
	_, err = fmt.Fprintf(e.out, "%s%s\n", head, text[1:])
	return err
}
