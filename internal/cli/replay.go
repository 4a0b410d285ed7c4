package cli

import urfave "github.com/urfave/cli/v2"

func replayCommand(e *env) *urfave.Command { return &urfave.Command{Name: "replay"} }
