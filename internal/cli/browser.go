package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
)

// openBrowser shows a URL in the user's browser. What the browser writes is lost: it
// would spoil the terminal.
func openBrowser(ctx context.Context, url string) error {
	var command []string
	switch runtime.GOOS {
	case "darwin":
		command = []string{"open", url}
	case "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", url}
	default:
		command = []string{"xdg-open", url}
	}
	err := exec.CommandContext(ctx, command[0], command[1:]...).Run()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("there is no %s here", command[0])
	}
	if err != nil {
		return fmt.Errorf("%s: %w", command[0], err)
	}
	return nil
}
