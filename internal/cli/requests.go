package cli

import (
	"slices"

	urfave "github.com/urfave/cli/v2"
)

func requestsCommand(e *env) *urfave.Command {
	reveal := func() urfave.Flag {
		return &urfave.BoolFlag{Name: "reveal", Usage: "show secrets, which are masked otherwise"}
	}
	return &urfave.Command{
		Name:  "requests",
		Usage: "what was recorded: by the agent here, or by the server",
		Description: "   relay requests list status:5xx path:/hooks\n" +
			"   relay requests show req_01K8…\n" +
			"   relay requests tail --remote\n" +
			"   relay requests replay req_01K8…\n" +
			"   relay requests replay --all status:5xx --since 1h --dry-run\n" +
			"   relay requests diff req_01K8… req_01K9…\n" +
			"   relay requests export --output fixture --dir fixtures path:/hooks",
		Subcommands: []*urfave.Command{
			{
				Name: "list", Usage: "list requests, the newest first", ArgsUsage: "[TERM...]",
				Flags: slices.Concat(termFlags(), []urfave.Flag{
					&urfave.IntFlag{Name: "limit", Value: 50, Usage: "at most `N`; 0 for all"},
				}, historyFlags()),
				Action: func(c *urfave.Context) error { return listRequests(c, e) },
			},
			{
				Name: "show", Usage: "show one, with what the app said", ArgsUsage: "ID",
				Flags: slices.Concat([]urfave.Flag{
					&urfave.StringFlag{Name: "body", Usage: "print one body only, byte for byte: of the `SIDE` request or response"},
					reveal(),
				}, historyFlags()),
				Action: func(c *urfave.Context) error { return showRequest(c, e) },
			},
			{
				Name: "tail", Usage: "list requests as they pass", ArgsUsage: "[TERM...]", Flags: slices.Concat(termFlags(), historyFlags()),
				Action: func(c *urfave.Context) error { return tailRequests(c, e) },
			},
			{
				Name: "replay", Usage: "send requests to the app once more", ArgsUsage: "ID... | --all [TERM...]",
				Flags: slices.Concat(termFlags(), []urfave.Flag{
					&urfave.BoolFlag{Name: "all", Usage: "all that the filter chooses, instead of single ids"},
					&urfave.BoolFlag{Name: "dry-run", Usage: "with --all: only count"},
					&urfave.StringFlag{Name: "to", Usage: "another `TARGET` that can get them: an app or an endpoint of yours", DefaultText: "who has had them"},
					&urfave.BoolFlag{Name: "sign", Usage: "sign them anew: a signature with a time in it grows too old"},
				}, historyFlags()),
				Action: func(c *urfave.Context) error { return replayRequests(c, e) },
			},
			{
				Name: "diff", Usage: "show how two differ", ArgsUsage: "ID ID",
				Flags:  slices.Concat([]urfave.Flag{reveal()}, historyFlags()),
				Action: func(c *urfave.Context) error { return diffRequests(c, e) },
			},
			{
				Name: "export", Usage: "write requests in another form", ArgsUsage: "[ID... | TERM...]",
				Flags: slices.Concat(termFlags(), []urfave.Flag{
					&urfave.StringFlag{Name: "output", Value: "json", Usage: "`FORM`: har, curl, httpie, fetch, json, or fixture for relay replay --file"},
					&urfave.StringFlag{Name: "dir", Usage: "a file for each, in this `FOLDER`, instead of all to standard output"},
					reveal(),
				}, historyFlags()),
				Action: func(c *urfave.Context) error { return exportRequests(c, e) },
			},
		},
	}
}
