package cli

import (
	"context"
	"io"
	"os"

	"golang.org/x/term"
)

// stdin is what comes from outside, read until ctx ends: a read of a terminal or a pipe
// does not end by itself when somebody presses Ctrl-C.
func (e *env) stdin(ctx context.Context) io.Reader { return &interruptible{ctx, e.in} }

type interruptible struct {
	ctx context.Context
	r   io.Reader
}

// Read is that of the reader. One that is interrupted goes on behind, into a buffer that
// nobody looks at, until the process ends.
func (i *interruptible) Read(p []byte) (int, error) {
	buf := make([]byte, len(p))
	n, err := interrupted(i.ctx, func() (int, error) { return i.r.Read(buf) })
	return copy(p, buf[:n]), err
}

// readHidden reads a line of a terminal that does not show it.
func readHidden(ctx context.Context, f *os.File) (string, error) {
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	line, err := interrupted(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	if ctx.Err() != nil {
		_ = term.Restore(fd, before)
	}
	return string(line), err
}

// interrupted does f, and does not wait for it any longer when ctx ends.
func interrupted[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
