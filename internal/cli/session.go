package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"
)

// connected is what the API tells of an agent that is connected.
type connected struct {
	ID    string    `json:"id"`
	User  string    `json:"user"`
	Where string    `json:"where"`
	Since time.Time `json:"since"`
	Names []string  `json:"names"`
}

func sessionCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:        "session",
		Usage:       "see and disconnect agents",
		Description: "   relay session list\n   relay session kick ses_k7Lt…",
		Subcommands: []*urfave.Command{
			{
				Name: "list", Usage: "list the agents that are connected",
				Flags: append([]urfave.Flag{
					&urfave.StringFlag{Name: "user", Usage: "of this `USER`; for admins"},
					&urfave.BoolFlag{Name: "all", Usage: "of all users; for admins"},
				}, adminFlags()...),
				Action: func(c *urfave.Context) error { return listSessions(c, e) },
			},
			{
				Name: "kick", Usage: "disconnect an agent; it does not come back by itself", ArgsUsage: "ID", Flags: adminFlags(),
				Action: func(c *urfave.Context) error { return kickSession(c, e) },
			},
		},
	}
}

func listSessions(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cred, err := adminCredentials(c)
	if err != nil {
		return err
	}
	q := url.Values{}
	if u := c.String("user"); u != "" {
		q.Set("user", u)
	} else if c.Bool("all") || cred.socket != "" {
		q.Set("user", "*")
	}
	var page struct{ Items []connected }
	if err := call(c.Context, cred, http.MethodGet, "/sessions?"+q.Encode(), nil, &page); err != nil {
		return err
	}
	if c.Bool("json") {
		return eachJSON(e, "session", page.Items)
	}
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "ID\tUSER\tAGENT\tSINCE\tNAMES")
	for _, s := range page.Items {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.ID, s.User, printable(s.Where), s.Since.Local().Format("2006-01-02 15:04:05"), strings.Join(s.Names, " "))
	}
	return t.Flush()
}

func kickSession(c *urfave.Context, e *env) error {
	if c.Args().Len() != 1 {
		return usagef("session kick wants one id: relay session kick ses_k7Lt…, as relay session list has it")
	}
	cred, err := adminCredentials(c)
	if err != nil {
		return err
	}
	id := c.Args().First()
	if err := call(c.Context, cred, http.MethodDelete, "/sessions/"+url.PathEscape(id), nil, nil); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "kicked", map[string]string{"id": id})
	}
	_, err = fmt.Fprintf(e.out, "The agent of session %s is disconnected.\n", id)
	return err
}
