package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// settle is how long a process is left alone before its memory is read.
const settle = 2 * time.Second

// measureStart times agents from the start of the process to the first answer
// that a visitor gets, and reads the memory of one that has nothing to do.
func (b *bench) measureStart(ctx context.Context) error {
	for _, name := range b.systems {
		if !isRelay(name) {
			continue
		}
		server, err := b.rig.startRelayServer()
		if err != nil {
			return err
		}
		_, port, err := net.SplitHostPort(server.addr)
		if err != nil {
			return err
		}
		s := &system{name: name, addr: server.addr, host: "alice.localhost:" + port}
		for range b.starts {
			if ctx.Err() == nil {
				b.oneStart(ctx, s, server)
			}
		}
		server.stop()
	}
	return nil
}

func (b *bench) oneStart(ctx context.Context, s *system, server *relayServer) {
	const workload = "start"
	var flags []string
	if s.name == "relay-splice" {
		flags = append(flags, "--no-inspect")
	}
	from := time.Now()
	agent, err := b.rig.startAgent(server, server.addr, flags...)
	if err != nil {
		b.sheet.fail(workload, s.name, err)
		return
	}
	defer agent.stop()
	go func() { _, _ = agent.online() }() // it may print; nobody waits for it
	request := s.request("GET", "/json", nil)
	for {
		// A visitor of his own each time: an answer that no agent is there may close
		// the connection or not.
		v := s.visitor()
		err := v.expect(request, document)
		v.close()
		if err == nil {
			break
		}
		if time.Since(from) > startTimeout {
			b.sheet.fail(workload, s.name, fmt.Errorf("no answer %s after the start: %w%s", startTimeout, err, agent.lastWords()))
			return
		}
		time.Sleep(time.Millisecond)
	}
	b.sheet.add(workload, s.name, "first 200 ms", ms(time.Since(from)))
	sleep(ctx, settle)
	b.sheet.add(workload, s.name, "agent MiB", rssKiB(agent.pid())/1024)
}

// measureIdle connects many agents that do nothing and charges the growth of the
// server to them.
func (b *bench) measureIdle(context.Context) error {
	fmt.Fprintln(b.progress, "idle agents are not measured yet")
	return nil
}
