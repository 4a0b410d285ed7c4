// Command relay is a self-hosted tunnel and webhook relay: server and agent in
// one program. See README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/relaytunnel/relay/internal/cli"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		sig := <-signals
		signal.Stop(signals) // a second one ends the process at once
		cancel(cli.Interrupted{Signal: sig})
	}()
	os.Exit(cli.Main(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}
