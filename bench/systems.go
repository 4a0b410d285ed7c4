package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

// system is one thing under test: where visitors reach it, by which name, and
// the processes its CPU is charged to.
type system struct {
	name string
	addr string // host:port that visitors connect to
	host string // the Host they ask for
	pids []int
	stop func()
}

func (s *system) cpu() float64 { return cpuSeconds(s.pids) }

func (s *system) dial() (net.Conn, error) { return net.DialTimeout("tcp", s.addr, dialTimeout) }

// missing says why a system cannot be measured here. It is told, and no failure.
type missing string

func (m missing) Error() string { return string(m) }

// road are the flags of the path between the two halves of a system; a nil road
// is plain loopback.
type road []string

// startSystem starts a system by its name.
func (r *rig) startSystem(name string, over road) (*system, error) {
	switch name {
	case "go-1hop":
		return r.startHops(name, over, 1)
	case baseline:
		return r.startHops(name, over, 2)
	case "nginx-2hop":
		return r.startNginx(name)
	case "ssh-R":
		return r.startSSH(name)
	case "relay":
		return r.startRelay(name, over)
	case unkept:
		return r.startRelay(name, over, "--inspect-addr", "off")
	case recorded:
		return r.startRelay(name, over, "--record")
	case "relay-splice":
		return r.startRelay(name, over, "--no-inspect")
	}
	return nil, fmt.Errorf("no system %q", name)
}

// parts collects what a system is made of while it is put together.
type parts []*process

func (p *parts) add(more *process) { *p = append(*p, more) }

// stop ends the parts, the last first.
func (p *parts) stop() {
	for i := len(*p) - 1; i >= 0; i-- {
		(*p)[i].stop()
	}
}

// startHops chains plain reverse proxies in front of the app. The road, if any,
// lies before the last one: where a tunnel has its link.
func (r *rig) startHops(name string, over road, n int) (_ *system, err error) {
	var ps parts
	defer stopOnError(&ps, &err)
	s := &system{name: name, addr: r.app, host: "app.example"}
	for i := range n {
		if i == n-1 && over != nil {
			p, addr, err := r.startChild("path", append([]string{"-to", s.addr}, over...)...)
			if err != nil {
				return nil, err
			}
			ps.add(p)
			s.addr = addr
		}
		p, addr, err := r.startChild("hop", s.addr)
		if err != nil {
			return nil, err
		}
		ps.add(p)
		s.addr, s.pids = addr, append(s.pids, p.pid())
	}
	s.stop = ps.stop
	return s, nil
}

func stopOnError(ps *parts, err *error) {
	if *err != nil {
		ps.stop()
	}
}

// relayServer is a running server of relay with its one user, alice.
type relayServer struct {
	*process
	addr  string // where visitors and agents connect
	token string
	data  string // the folder of its store
}

func (r *rig) startRelayServer() (*relayServer, error) {
	data, err := os.MkdirTemp(r.dir, "data-")
	if err != nil {
		return nil, err
	}
	p, err := r.start("relay-server", nil,
		r.relay, "server", "--dev", "--http-addr", "127.0.0.1:0", "--data", data, "--user", "alice", "--json")
	if err != nil {
		return nil, err
	}
	var ready struct {
		Addr  string `json:"http_addr"`
		Token string `json:"token"`
	}
	if err := p.event("ready", &ready); err != nil {
		p.stop()
		return nil, err
	}
	return &relayServer{p, ready.Addr, ready.Token, data}, nil
}

// startAgent starts an agent in front of the app, which reaches the server at
// the address given. It does not wait for it.
func (r *rig) startAgent(server *relayServer, at string, flags ...string) (*process, error) {
	home, err := os.MkdirTemp(r.dir, "home-")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, fmt.Errorf("address of the server: %w", err)
	}
	env := []string{
		"RELAY_SERVER=http://localhost:" + port, "RELAY_TOKEN=" + server.token,
		"HOME=" + home, "XDG_STATE_HOME=" + home, "XDG_CONFIG_HOME=" + home,
	}
	return r.start("relay-agent", env, append([]string{r.relay, "http", r.app, "--json"}, flags...)...)
}

// startRelay starts a server and an agent, with the road between them.
func (r *rig) startRelay(name string, over road, flags ...string) (_ *system, err error) {
	var ps parts
	defer stopOnError(&ps, &err)
	server, err := r.startRelayServer()
	if err != nil {
		return nil, err
	}
	ps.add(server.process)
	at := server.addr
	if over != nil {
		p, addr, err := r.startChild("path", append([]string{"-to", at}, over...)...)
		if err != nil {
			return nil, err
		}
		ps.add(p)
		at = addr
	}
	agent, err := r.startAgent(server, at, flags...)
	if err != nil {
		return nil, err
	}
	ps.add(agent)
	host, err := agent.online()
	if err != nil {
		return nil, err
	}
	return &system{
		name: name, addr: server.addr, host: host,
		pids: []int{server.pid(), agent.pid()}, stop: ps.stop,
	}, nil
}

// online waits until the agent has its URL and returns the host of it.
func (p *process) online() (string, error) {
	var online struct {
		URL string `json:"url"`
	}
	if err := p.event("online", &online); err != nil {
		return "", err
	}
	u, err := url.Parse(online.URL)
	if err != nil {
		return "", fmt.Errorf("URL of the agent: %w", err)
	}
	return u.Host, nil
}

// event waits for the JSON line of that event and reads it into v.
func (p *process) event(name string, v any) error {
	var head struct {
		Event string `json:"event"`
	}
	line, err := p.await(func(line string) bool {
		return strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &head) == nil && head.Event == name
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(line), v); err != nil {
		return fmt.Errorf("%s: event %s: %w", p.name, name, err)
	}
	return nil
}
