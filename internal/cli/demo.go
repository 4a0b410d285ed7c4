package cli

import urfave "github.com/urfave/cli/v2"

func demoCommand(*env) *urfave.Command {
	return &urfave.Command{Name: "demo", Hidden: true}
}
