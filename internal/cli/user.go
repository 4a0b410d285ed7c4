package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/relay"
)

// account is what the API tells of a user.
type account struct {
	Name      string       `json:"name"`
	Role      string       `json:"role"`
	Disabled  bool         `json:"disabled,omitempty"`
	Rights    relay.Rights `json:"rights"`
	Effective relay.Rights `json:"effective"`
	Created   time.Time    `json:"created"`
}

func userCommand(e *env) *urfave.Command {
	one := func(name, usage string, run func(c *urfave.Context, e *env, cred credential, name string) error, more ...urfave.Flag) *urfave.Command {
		return &urfave.Command{
			Name: name, Usage: usage, ArgsUsage: "NAME", Flags: append(more, adminFlags()...),
			Action: func(c *urfave.Context) error {
				if c.Args().Len() != 1 {
					return usagef("user %s wants one name: relay user %s alice", name, name)
				}
				cred, err := adminCredentials(c)
				if err != nil {
					return err
				}
				return run(c, e, cred, c.Args().First())
			},
		}
	}
	remove := one("remove", "remove a user with names, tokens, events and all", removeUser)
	remove.Aliases = []string{"rm"}
	return &urfave.Command{
		Name:  "user",
		Usage: "keep users; for admins",
		Description: "   relay user add alice\n" +
			"   relay user set alice --names 'shop,*-shop' --endpoints 20\n" +
			"   relay token create --user alice --name laptop\n\n" +
			"On the server's own machine no token is needed: the server's socket is asked.",
		Subcommands: []*urfave.Command{
			one("add", "add a user", addUser, rightsFlags()...),
			{
				Name: "list", Usage: "list users", Flags: adminFlags(),
				Action: func(c *urfave.Context) error { return listUsers(c, e) },
			},
			one("show", "show one, with what they may do", showUser),
			one("set", "change what a user may do", setUser, rightsFlags()...),
			one("disable", "let a user do nothing any more; agents are disconnected", func(c *urfave.Context, e *env, cred credential, name string) error {
				return putUser(c, e, cred, http.MethodPatch, "/users/"+url.PathEscape(name), map[string]any{"disabled": true})
			}),
			one("enable", "take that back", func(c *urfave.Context, e *env, cred credential, name string) error {
				return putUser(c, e, cred, http.MethodPatch, "/users/"+url.PathEscape(name), map[string]any{"disabled": false})
			}),
			remove,
		},
	}
}

// rightsFlags say what a user may do.
func rightsFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "role", Usage: "`ROLE`: user or admin"},
		&urfave.StringSliceFlag{Name: "names", Usage: "`PATTERNS` of the names that the user may take, like shop,*-shop (default: their own name, and what ends in - and it)"},
		&urfave.IntFlag{Name: "endpoints", Usage: "how many names they may hold; `N`", DefaultText: "100"},
		&urfave.IntFlag{Name: "domains", Usage: "how many domains of their own; `N`, -1 for none", DefaultText: "20"},
		&urfave.IntFlag{Name: "sessions", Usage: "how many agents may be connected; `N`", DefaultText: "50"},
		&urfave.IntFlag{Name: "concurrent", Usage: "how many requests may be under way at a time; `N`", DefaultText: "1000"},
		&urfave.Float64Flag{Name: "rate", Usage: "how many requests may come in a second; `N`, 0 for no limit"},
	}
}

// rightsOf reads the flags on top of what is there; changed tells whether any was given.
func rightsOf(c *urfave.Context, r relay.Rights) (out relay.Rights, changed bool, err error) {
	for flag, field := range map[string]*int{"endpoints": &r.Endpoints, "domains": &r.Domains, "sessions": &r.Sessions, "concurrent": &r.Concurrent} {
		if c.IsSet(flag) {
			*field, changed = c.Int(flag), true
		}
	}
	if c.IsSet("names") {
		r.Names, changed = split(c.StringSlice("names")), true
	}
	if c.IsSet("rate") {
		r.Rate, changed = c.Float64("rate"), true
	}
	if err := r.Check(); err != nil {
		return r, changed, usagef("%v", err)
	}
	return r, changed, nil
}

func addUser(c *urfave.Context, e *env, cred credential, name string) error {
	rights, _, err := rightsOf(c, relay.Rights{})
	if err != nil {
		return err
	}
	in := map[string]any{"name": name, "rights": rights}
	if role := c.String("role"); role != "" {
		in["role"] = role
	}
	return putUser(c, e, cred, http.MethodPost, "/users", in)
}

func setUser(c *urfave.Context, e *env, cred credential, name string) error {
	path := "/users/" + url.PathEscape(name)
	var now account
	if err := call(c.Context, cred, http.MethodGet, path, nil, &now); err != nil {
		return err
	}
	rights, changed, err := rightsOf(c, now.Rights)
	if err != nil {
		return err
	}
	in := map[string]any{}
	if changed {
		in["rights"] = rights
	}
	if role := c.String("role"); role != "" {
		in["role"] = role
	}
	if len(in) == 0 {
		return usagef("user set: what is to change? Give a flag, like --endpoints 20")
	}
	return putUser(c, e, cred, http.MethodPatch, path, in)
}

func putUser(c *urfave.Context, e *env, cred credential, method, path string, in map[string]any) error {
	var u account
	if err := call(c.Context, cred, method, path, in, &u); err != nil {
		return err
	}
	return tellUser(c, e, u)
}

func showUser(c *urfave.Context, e *env, cred credential, name string) error {
	var u account
	if err := call(c.Context, cred, http.MethodGet, "/users/"+url.PathEscape(name), nil, &u); err != nil {
		return err
	}
	return tellUser(c, e, u)
}

func tellUser(c *urfave.Context, e *env, u account) error {
	if c.Bool("json") {
		return printJSON(e, "user", u)
	}
	state := u.Role
	if u.Disabled {
		state += ", disabled"
	}
	r := u.Effective
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(t, "user\t%s (%s)\nsince\t%s\nnames\t%s, %d at most\n", u.Name, state, u.Created.Local().Format("2006-01-02 15:04"), strings.Join(r.Names, " "), r.Endpoints)
	domains := fmt.Sprintf("%d at most", r.Domains)
	if r.Domains < 0 {
		domains = "none"
	}
	rate := "no limit"
	if r.Rate > 0 {
		rate = fmt.Sprintf("%g in a second", r.Rate)
	}
	_, _ = fmt.Fprintf(t, "domains\t%s\nagents\t%d at most\nrequests\t%d at a time, %s\n", domains, r.Sessions, r.Concurrent, rate)
	return t.Flush()
}

func listUsers(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cred, err := adminCredentials(c)
	if err != nil {
		return err
	}
	var page struct{ Items []account }
	if err := call(c.Context, cred, http.MethodGet, "/users", nil, &page); err != nil {
		return err
	}
	if c.Bool("json") {
		return eachJSON(e, "user", page.Items)
	}
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NAME\tROLE\tSTATE\tNAMES\tSINCE")
	for _, u := range page.Items {
		state := "active"
		if u.Disabled {
			state = "disabled"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", u.Name, u.Role, state, strings.Join(u.Effective.Names, " "), u.Created.Local().Format("2006-01-02"))
	}
	return t.Flush()
}

func removeUser(c *urfave.Context, e *env, cred credential, name string) error {
	if err := call(c.Context, cred, http.MethodDelete, "/users/"+url.PathEscape(name), nil, nil); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "removed", map[string]string{"user": name})
	}
	_, err := fmt.Fprintf(e.out, "The user %s is removed, with names, tokens and events.\n", name)
	return err
}

// eachJSON prints one object on each line.
func eachJSON[T any](e *env, event string, all []T) error {
	var failed error
	for _, one := range all {
		failed = errors.Join(failed, printJSON(e, event, one))
	}
	return failed
}
