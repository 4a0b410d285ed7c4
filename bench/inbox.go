package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"time"
)

// inboxSizes are the bodies of events: a usual one and a large one.
var inboxSizes = []int{1 << 10, 100 << 10}

// fsyncTime is how long the disk alone is measured, before each load.
const fsyncTime = 500 * time.Millisecond

// measureInbox loads an endpoint that keeps every event before it answers, and one of
// the same server that keeps nothing and asks the app. Beside them stands what the disk
// does: how often a second something can be made durable in the folder of the store,
// one after another. At one connection an inbox cannot be faster than that; with more,
// events share.
func (b *bench) measureInbox(ctx context.Context) error {
	if b.rig.relay == "" {
		return nil
	}
	for _, size := range inboxSizes {
		for _, conns := range []int{1, 32} {
			if !slices.Contains(b.conns, conns) {
				continue
			}
			if err := b.oneInbox(ctx, size, conns); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) oneInbox(ctx context.Context, size, conns int) (err error) {
	workload := fmt.Sprintf("inbox %d KiB c=%d", size>>10, conns)
	var ps parts
	defer ps.stop()
	server, err := b.rig.startRelayServer()
	if err != nil {
		return err
	}
	ps.add(server.process)
	_, port, err := net.SplitHostPort(server.addr)
	if err != nil {
		return err
	}
	agent, err := b.rig.startAgent(server, server.addr, "--name", "off", "--no-inspect")
	if err != nil {
		return err
	}
	ps.add(agent)
	if _, err := agent.online(); err != nil {
		return err
	}
	const kept = "kept"
	if _, err := b.rig.command(server, "endpoint", "create", "always", "--inbox", "always", "--answer-status", "200", "--answer-body", kept,
		"--keep-events", "1000000000", "--keep-bytes", "1000000000000"); err != nil {
		return err
	}

	rate, err := syncRate(server.data, fsyncTime)
	if err != nil {
		return fmt.Errorf("measure the disk: %w", err)
	}
	b.sheet.add(workload, "fdatasync of 4 KiB", "per s", rate)
	body := pattern[:min(size, len(pattern))]
	for len(body) < size {
		body = append(bytes.Clone(body), pattern[:min(size-len(body), len(pattern))]...)
	}
	for _, mode := range []struct{ name, answer string }{{"off", fmt.Sprintf("got %d", size)}, {"always", kept}} {
		s := &system{name: mode.name, addr: server.addr, host: mode.name + "-alice.localhost:" + port, pids: []int{server.pid(), agent.pid()}}
		before := s.cpu()
		l := requestLoad(ctx, s, s.request("POST", "/sink", body), []byte(mode.answer), conns, 0, time.Duration(b.secs)*time.Second)
		used := s.cpu() - before
		if l.failed > 0 {
			b.sheet.fail(workload, s.name, fmt.Errorf("%d of %d events were not taken: %w", l.failed, l.failed+l.requests, l.first))
		}
		if l.requests == 0 || ctx.Err() != nil {
			return nil
		}
		perSecond := float64(l.requests) / l.took.Seconds()
		b.sheet.add(workload, s.name, "per s", perSecond)
		b.sheet.add(workload, s.name, "to fdatasync", perSecond/rate)
		b.sheet.add(workload, s.name, "CPU s/10k", used/float64(l.requests)*10_000)
		b.sheet.add(workload, s.name, "p50 ms", ms(l.p50))
		b.sheet.add(workload, s.name, "p99 ms", ms(l.p99))
		if mode.name == "always" && l.failed == 0 {
			b.countKept(workload, server, l.requests)
		}
	}
	return nil
}

// countKept compares what the senders were told with what is there.
func (b *bench) countKept(workload string, server *relayServer, accepted int) {
	out, err := b.rig.command(server, "endpoint", "show", "always", "--json")
	var shown struct {
		Kept struct{ Events, Pending int }
	}
	if err == nil {
		err = json.Unmarshal(out, &shown)
	}
	if err == nil && (shown.Kept.Events != accepted || shown.Kept.Pending != accepted) {
		err = fmt.Errorf("%d events were accepted, %d are kept and %d wait", accepted, shown.Kept.Events, shown.Kept.Pending)
	}
	if err != nil {
		b.sheet.fail(workload, "always", err)
	}
}

// command runs a command of the server's user and returns what it printed.
func (r *rig) command(server *relayServer, args ...string) ([]byte, error) {
	_, port, err := net.SplitHostPort(server.addr)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(r.relay, args...)
	cmd.Env = append(os.Environ(), "RELAY_SERVER=http://localhost:"+port, "RELAY_TOKEN="+server.token, "HOME="+r.dir, "XDG_CONFIG_HOME="+r.dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("relay %s: %w\n%s", args[0], err, said.Bytes())
	}
	return out, nil
}

// syncRate is how often in a second 4 KiB can be written and made durable, one after
// another, in the folder.
func syncRate(dir string, d time.Duration) (float64, error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const block, blocks = 4096, 1024 // a file of 4 MiB, as a write-ahead log is
	if _, err := f.Write(make([]byte, block*blocks)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	from, n := time.Now(), 0
	for time.Since(from) < d {
		if _, err := f.WriteAt(pattern[:block], int64(n%blocks)*block); err != nil {
			return 0, err
		}
		if err := syncData(f); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(from).Seconds(), nil
}
