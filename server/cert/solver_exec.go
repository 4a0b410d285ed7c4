package cert

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// execTime bounds one run of the operator's program, with the time that it waits
// for the record to be seen.
const execTime = 3 * time.Minute

// maxSaid is how much of what the program says is repeated in an error.
const maxSaid = 500

// execSolver runs a program of the operator: "program present _acme-challenge.example.com. value"
// and "program cleanup ..." with the same words, as lego does. It exits with 0
// when the record can be seen by the world.
type execSolver struct{ program string }

func newExec(env settings) (DNSSolver, error) {
	program, err := env.need("the path of your program", "EXEC_PATH")
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("EXEC_PATH: %w; give the path of a program that can be run", err)
	}
	return &execSolver{path}, nil
}

func (s *execSolver) Present(ctx context.Context, fqdn, value string) error {
	return s.run(ctx, "present", fqdn, value)
}

func (s *execSolver) CleanUp(ctx context.Context, fqdn, value string) error {
	return s.run(ctx, "cleanup", fqdn, value)
}

func (s *execSolver) run(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, execTime)
	defer cancel()
	said := &tail{}
	c := exec.CommandContext(ctx, s.program, args...)
	c.Stdout, c.Stderr = said, said
	c.WaitDelay = time.Second // children that it leaves may hold the pipe
	err := c.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s was stopped: it took too long", s.program, args[0])
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w, and it says %q", s.program, args[0], err, said.String())
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct{ last []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	if over := len(t.last) - maxSaid; over > 0 {
		t.last = bytes.Clone(t.last[over:])
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.last)) }
