package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// startTimeout bounds how long a process may take until it says it is ready.
const startTimeout = time.Minute

// rig is where processes of a run are started: programs, and a folder for what
// they write.
type rig struct {
	self  string // this program
	relay string // the relay binary
	dir   string
	app   string // address of the app behind every system

	mu    sync.Mutex
	count int
}

// process is one running part of a system. Its errors go to a file of the rig.
type process struct {
	name   string
	cmd    *exec.Cmd
	errs   string // the file with its standard error
	out    chan string
	enough chan struct{}
	ended  chan struct{}
	ending sync.Once
	said   sync.Once
}

func (r *rig) start(name string, env []string, argv ...string) (*process, error) {
	r.mu.Lock()
	r.count++
	log := filepath.Join(r.dir, fmt.Sprintf("%03d-%s.log", r.count, name))
	r.mu.Unlock()
	stderr, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	p := &process{
		name: name, errs: log,
		out: make(chan string), enough: make(chan struct{}), ended: make(chan struct{}),
	}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Dir = r.dir
	p.cmd.Stderr = stderr
	if _, err = p.cmd.StdinPipe(); err != nil { // closed by Wait; children watch it
		return nil, err
	}
	// A pipe of ours and not StdoutPipe: Wait must not close it under the reader.
	stdout, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout = w
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		stdout.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer stdout.Close()
		lines(stdout, p.out, p.enough)
	}()
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// await returns the first line the process prints that is the awaited one. The
// lines after it are dropped.
func (p *process) await(wanted func(line string) bool) (string, error) {
	defer p.said.Do(func() { close(p.enough) })
	late := time.NewTimer(startTimeout)
	defer late.Stop()
	for {
		select {
		case line, ok := <-p.out:
			if !ok {
				<-p.ended
				return "", fmt.Errorf("%s ended early (%s)%s", p.name, p.cmd.ProcessState, p.lastWords())
			}
			if wanted(line) {
				return line, nil
			}
		case <-late.C:
			return "", fmt.Errorf("%s was not ready after %s%s", p.name, startTimeout, p.lastWords())
		}
	}
}

// lastWords is the end of what the process wrote to its standard error.
func (p *process) lastWords() string {
	b, err := os.ReadFile(p.errs)
	b = bytes.TrimSpace(b)
	if err != nil || len(b) == 0 {
		return ""
	}
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return ":\n" + string(b)
}

// stop ends the process politely, then firmly, and waits for it.
func (p *process) stop() {
	p.ending.Do(func() {
		p.said.Do(func() { close(p.enough) })
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	})
}

// buildRelay compiles the relay command of this module as a release is built.
func (r *rig) buildRelay(progress io.Writer) error {
	fmt.Fprintln(progress, "building relay")
	r.relay = filepath.Join(r.dir, "relay")
	cmd := exec.Command("go", "build", "-trimpath", "-o", r.relay, "github.com/relaytunnel/relay")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build relay: %w\n%s", err, out)
	}
	return nil
}
