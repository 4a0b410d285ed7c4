package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"
)

// audited is what the API tells of something that somebody did.
type audited struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	User    string    `json:"user,omitempty"`
	Token   string    `json:"token,omitempty"`
	Address string    `json:"address"`
	Action  string    `json:"action"`
	Target  string    `json:"target,omitempty"`
	Result  string    `json:"result"`
}

func auditCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:        "audit",
		Usage:       "who did what on the server; for admins",
		Description: "   relay audit --since 1d\n   relay audit --action token --json > audit.jsonl",
		Flags: append([]urfave.Flag{
			&urfave.StringFlag{Name: "user", Usage: "of this `USER`"},
			&urfave.StringFlag{Name: "action", Usage: "of this `KIND`: token.create, or token for all about tokens"},
			&urfave.StringFlag{Name: "since", Usage: "since: a `TIME` ago like 1h or 2d, or a date like 2026-01-31"},
			&urfave.IntFlag{Name: "limit", Value: 100, Usage: "at most `N`; 0 for all"},
		}, adminFlags()...),
		Action: func(c *urfave.Context) error { return showAudit(c, e) },
	}
}

func showAudit(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	q := url.Values{}
	for _, flag := range []string{"user", "action"} {
		if v := c.String(flag); v != "" {
			q.Set(flag, v)
		}
	}
	if v := c.String("since"); v != "" {
		at, err := moment(v, time.Now())
		if err != nil {
			return usagef("--since %s: %v", v, err)
		}
		q.Set("since", at.UTC().Format(time.RFC3339Nano))
	}
	limit := c.Int("limit")
	if limit < 0 {
		return usagef("--limit cannot be negative")
	}
	cred, err := adminCredentials(c)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	if !c.Bool("json") {
		_, _ = fmt.Fprintln(t, "TIME\tUSER\tFROM\tACTION\tTARGET\tRESULT")
	}
	for got := 0; ; {
		n := 1000
		if limit > 0 {
			n = min(n, limit-got)
		}
		q.Set("limit", strconv.Itoa(n))
		var page struct {
			Items []audited
			Next  string
		}
		if err := call(c.Context, cred, http.MethodGet, "/audit?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		if c.Bool("json") {
			if err := eachJSON(e, "audit", page.Items); err != nil {
				return err
			}
		}
		for _, a := range page.Items {
			if c.Bool("json") {
				continue
			}
			who := a.User
			if a.Token != "" {
				who += " (" + printable(a.Token) + ")"
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", a.At.Local().Format("2006-01-02 15:04:05"), who, a.Address, a.Action, printable(a.Target), a.Result)
		}
		if got += len(page.Items); page.Next == "" || limit > 0 && got >= limit {
			return t.Flush()
		}
		q.Set("before", page.Next)
	}
}
