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

// token is what the API tells of one.
type token struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Prefix      string     `json:"prefix"`
	Token       string     `json:"token,omitempty"` // the secret, of one that was just made
	Scopes      []string   `json:"scopes,omitempty"`
	Endpoints   []string   `json:"endpoints,omitempty"`
	Created     time.Time  `json:"created"`
	LastUsed    *time.Time `json:"last_used,omitempty"`
	LastAddress string     `json:"last_address,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Current     bool       `json:"current,omitempty"`
}

func tokenCommand(e *env) *urfave.Command {
	user := &urfave.StringFlag{Name: "user", Usage: "of this `USER` instead of your own; for admins"}
	return &urfave.Command{
		Name:  "token",
		Usage: "make and revoke tokens",
		Description: "   relay token create --name laptop\n" +
			"   relay token create --name ci --endpoints 'pr-*' --scope tunnel --expires 30d\n" +
			"   relay token list\n" +
			"   relay token revoke tok_01K8…\n\n" +
			"A token is shown once, when it is made. It is never good for more than the one that\n" +
			"makes it. Scopes: tunnel, events:read, events:write, endpoints, tokens, admin.",
		Subcommands: []*urfave.Command{
			{
				Name: "create", Usage: "make a token",
				Flags: append([]urfave.Flag{
					user,
					&urfave.StringFlag{Name: "name", Usage: "what you call it; `NAME`", DefaultText: "token"},
					&urfave.StringSliceFlag{Name: "scope", Usage: "what it is good for; `SCOPE`, repeat for more (default: all that you may)"},
					&urfave.StringSliceFlag{Name: "endpoints", Usage: "`PATTERNS` of the names that it is good for, like pr-* (default: all of yours)"},
					&urfave.StringFlag{Name: "expires", Usage: "how long it lasts; a `TIME` like 12h or 30d (default: for ever)"},
				}, adminFlags()...),
				Action: func(c *urfave.Context) error { return createToken(c, e) },
			},
			{
				Name: "list", Usage: "list tokens, without their secrets", Flags: append([]urfave.Flag{user}, adminFlags()...),
				Action: func(c *urfave.Context) error { return listTokens(c, e) },
			},
			{
				Name: "revoke", Usage: "make a token worthless; agents that use it are disconnected", ArgsUsage: "ID", Flags: append([]urfave.Flag{user}, adminFlags()...),
				Action: func(c *urfave.Context) error { return revokeToken(c, e) },
			},
		},
	}
}

// tokensOf is where the API has the tokens that a command is about.
func tokensOf(c *urfave.Context, cred credential) (string, error) {
	if u := c.String("user"); u != "" {
		return "/users/" + url.PathEscape(u) + "/tokens", nil
	}
	if cred.socket != "" {
		return "", usagef("whose token? By the server's socket nobody is signed in: give --user")
	}
	return "/tokens", nil
}

func createToken(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	in := map[string]any{"name": "token"}
	if c.IsSet("name") {
		in["name"] = c.String("name")
	}
	if all := split(c.StringSlice("scope")); len(all) > 0 {
		in["scopes"] = all
	}
	if all := split(c.StringSlice("endpoints")); len(all) > 0 {
		in["endpoints"] = all
	}
	if s := c.String("expires"); s != "" {
		now := time.Now()
		before, err := moment(s, now) // as long as that is ago
		if err != nil || !before.Before(now) {
			return usagef("--expires %s: give a time like 12h or 30d", s)
		}
		in["expires_in"] = now.Sub(before).String()
	}
	cred, err := adminCredentials(c)
	if err != nil {
		return err
	}
	path, err := tokensOf(c, cred)
	if err != nil {
		return err
	}
	var t token
	if err := call(c.Context, cred, http.MethodPost, path, in, &t); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "token", t)
	}
	_, err = fmt.Fprintf(e.out, "%s\n", t.Token)
	_, _ = fmt.Fprintf(e.err, "This is the token %s (%s). It is shown only now.\n", t.Name, t.ID)
	return err
}

func listTokens(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cred, err := adminCredentials(c)
	if err != nil {
		return err
	}
	path, err := tokensOf(c, cred)
	if err != nil {
		return err
	}
	var page struct{ Items []token }
	if err := call(c.Context, cred, http.MethodGet, path, nil, &page); err != nil {
		return err
	}
	if c.Bool("json") {
		return eachJSON(e, "token", page.Items)
	}
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "ID\tNAME\tBEGINS\tGOOD FOR\tENDPOINTS\tLAST USED\tEXPIRES")
	for _, one := range page.Items {
		used := "never"
		if one.LastUsed != nil {
			used = one.LastUsed.Local().Format("2006-01-02 15:04") + " from " + one.LastAddress
		}
		name := printable(one.Name)
		if one.Current {
			name += " (this one)"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s…\t%s\t%s\t%s\t%s\n", one.ID, name, one.Prefix, allOr(one.Scopes), allOr(one.Endpoints), used, momentOr(one.Expires, "never"))
	}
	return t.Flush()
}

func allOr(some []string) string {
	if len(some) == 0 {
		return "all"
	}
	return strings.Join(some, ",")
}

func momentOr(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return t.Local().Format("2006-01-02 15:04")
}

func revokeToken(c *urfave.Context, e *env) error {
	if c.Args().Len() != 1 {
		return usagef("token revoke wants one id: relay token revoke tok_01K8…, as relay token list has it")
	}
	cred, err := adminCredentials(c)
	if err != nil {
		return err
	}
	path, err := tokensOf(c, cred)
	if err != nil {
		return err
	}
	id := c.Args().First()
	if err := call(c.Context, cred, http.MethodDelete, path+"/"+url.PathEscape(id), nil, nil); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "revoked", map[string]string{"id": id})
	}
	_, err = fmt.Fprintf(e.out, "The token %s is worth nothing any more.\n", id)
	return err
}
