package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	urfave "github.com/urfave/cli/v2"
)

// Version is set by the linker from git describe.
var Version = ""

func version() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

func versionCommand(e *env) *urfave.Command {
	return &urfave.Command{
		Name:  "version",
		Usage: "print the version",
		Flags: []urfave.Flag{jsonFlag()},
		Action: func(c *urfave.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if !c.Bool("json") {
				_, err := fmt.Fprintf(e.out, "relay %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return err
			}
			v := map[string]string{"version": version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					switch s.Key {
					case "vcs.revision":
						v["commit"] = s.Value
					case "vcs.time":
						v["date"] = s.Value
					}
				}
			}
			return json.NewEncoder(e.out).Encode(v)
		},
	}
}

func jsonFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "json", Usage: "print one JSON object per line instead of text"}
}

func verboseFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log what is of interest when something does not work"}
}
