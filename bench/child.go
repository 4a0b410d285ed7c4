package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
)

// child is this program run again as one part of a system under test, so that
// every part has a process of its own whose CPU can be read.
func child(role string, args []string) error {
	go func() {
		// The parent holds the other end: when it ends, however it ends, so do we.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	switch role {
	case "app":
		return appMain()
	case "hop":
		return hopMain(args)
	case "path":
		return pathMain(args)
	case "agents":
		return agentsMain(args)
	}
	return fmt.Errorf("no child role %q", role)
}

// listen opens a free port and tells the parent which.
func listen() (net.Listener, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	fmt.Println(ln.Addr())
	return ln, nil
}

// startChild starts a role of this program and returns the address it listens on.
func (r *rig) startChild(role string, args ...string) (*process, string, error) {
	p, err := r.start(role, nil, append([]string{r.self, "child", role}, args...)...)
	if err != nil {
		return nil, "", err
	}
	line, err := p.await(func(string) bool { return true })
	if err != nil {
		p.stop()
		return nil, "", err
	}
	return p, line, nil
}

// lines feeds the lines of out to the channel until there are no more takers,
// then keeps the pipe empty, so that a process which prints one line for each
// request never waits for us.
func lines(out io.Reader, to chan<- string, enough <-chan struct{}) {
	defer close(to)
	br := bufio.NewReaderSize(out, 64<<10)
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		select {
		case to <- line[:len(line)-1]:
		case <-enough:
			_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, br, make([]byte, 64<<10))
			return
		}
	}
}
