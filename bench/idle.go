package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
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

// idleSettle is longer than settle: the runtime gives memory back to the kernel
// at its leisure, and what connecting needed for a moment is not what idling costs.
const idleSettle = 10 * time.Second

// measureIdle connects many agents that do nothing and charges the growth of the
// server to them. Inspecting is the agent's affair, so one server stands for both.
func (b *bench) measureIdle(ctx context.Context) error {
	const workload, system = "idle", "relay"
	if !slices.ContainsFunc(b.systems, isRelay) {
		return nil
	}
	server, err := b.rig.startRelayServer()
	if err != nil {
		return err
	}
	defer server.stop()
	sleep(ctx, settle)
	before, from := rssKiB(server.pid()), time.Now()
	agents, _, err := b.rig.startChild("agents", "-server", server.addr, "-token", server.token, "-n", strconv.Itoa(b.agents))
	if err != nil {
		b.sheet.fail(workload, system, err)
		return nil
	}
	defer agents.stop()
	b.sheet.add(workload, system, "agents", float64(b.agents))
	b.sheet.add(workload, system, "connected in s", time.Since(from).Seconds())
	sleep(ctx, idleSettle)
	cpu, from := server.cpu(), time.Now()
	sleep(ctx, idleSettle)
	b.sheet.add(workload, system, "KiB per agent", (rssKiB(server.pid())-before)/float64(b.agents))
	b.sheet.add(workload, system, "% of a core", 100*(server.cpu()-cpu)/time.Since(from).Seconds())
	select {
	case <-agents.ended:
		b.sheet.fail(workload, system, fmt.Errorf("the idle agents ended%s", agents.lastWords()))
	default:
	}
	return nil
}

func (p *process) cpu() float64 { return cpuSeconds([]int{p.pid()}) }
