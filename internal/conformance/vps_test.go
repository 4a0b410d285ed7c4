//go:build linux

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/relaytest"
)

// Two machines, made of network namespaces: a VPS with a public address, where a
// certificate authority lives as well, and a laptop, whose only name server is the
// VPS. On them are run the three commands of docs/operating.md.
const (
	vpsAddr    = "198.51.100.1"
	laptopAddr = "198.51.100.2"
)

// machine is a network namespace.
type machine struct {
	name string
	home string
	env  []string
}

// command is a command on the machine.
func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", m.name}, args...)...)
	cmd.Env = append(append(os.Environ(), "HOME="+m.home, "XDG_STATE_HOME="+m.home+"/state", "XDG_CONFIG_HOME="+m.home+"/config"), m.env...)
	return cmd
}

// run runs a command on the machine and returns what it printed.
func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := m.command(ctx, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("on the %s: %s: %v\n%s", m.name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// background is a command that goes on until the test ends, and its output.
type background struct {
	cmd  *exec.Cmd
	out  lockedBuffer
	done chan struct{}
}

func (m *machine) start(t *testing.T, args ...string) *background {
	t.Helper()
	b := &background{cmd: m.command(context.Background(), args...), done: make(chan struct{})}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(b.done); _ = b.cmd.Wait() }()
	t.Cleanup(func() {
		_ = b.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-b.done:
		case <-time.After(patience):
			_ = b.cmd.Process.Kill()
			<-b.done
			t.Errorf("%s does not stop", args[0])
		}
		if t.Failed() {
			t.Logf("on the %s: %s:\n%s", m.name, filepath.Base(args[0]), b.out.String())
		}
	})
	return b
}

// event waits for a JSON line with that event.
func (b *background) event(t *testing.T, name string) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, line := range strings.Split(b.out.String(), "\n") {
			var e map[string]any
			if json.Unmarshal([]byte(line), &e) == nil && e["event"] == name {
				return e
			}
		}
		select {
		case <-b.done:
			t.Fatalf("it ended before %s", name)
		default:
		}
	}
	t.Fatalf("there was no event %s", name)
	return nil
}

// machines makes the two and the cable between them.
func machines(t *testing.T) (vps, laptop *machine) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces are made by root only")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip, of the package iproute2")
	}
	id := fmt.Sprint(os.Getpid())
	vps = &machine{name: "vps" + id, home: t.TempDir()}
	laptop = &machine{name: "laptop" + id, home: t.TempDir()}
	ip := func(words string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
			if strings.HasPrefix(words, "netns add "+vps.name) {
				t.Skipf("this machine makes no network namespaces: %s", out)
			}
			t.Fatalf("ip %s: %v: %s", words, err, out)
		}
	}
	for _, m := range []*machine{vps, laptop} {
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", m.name).Run() })
		ip("netns add " + m.name)
		ip("-n " + m.name + " link set lo up")
	}
	v, l := "v"+id, "l"+id
	ip("link add " + v + " netns " + vps.name + " type veth peer name " + l + " netns " + laptop.name)
	ip("-n " + vps.name + " addr add " + vpsAddr + "/24 dev " + v)
	ip("-n " + laptop.name + " addr add " + laptopAddr + "/24 dev " + l)
	ip("-n " + vps.name + " link set " + v + " up")
	ip("-n " + laptop.name + " link set " + l + " up")
	// What "ip netns exec" shows as /etc/resolv.conf there.
	for _, m := range []*machine{vps, laptop} {
		dir := filepath.Join("/etc/netns", m.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver "+vpsAddr+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return vps, laptop
}

// authority runs Pebble on the VPS, and returns the address of its directory, a file
// with the roots of that address, and one with the root of what it issues. It asks
// one name server only.
func authority(t *testing.T, vps *machine, dns string) (directory, roots, issued string) {
	t.Helper()
	dir := t.TempDir()
	pebble := filepath.Join(dir, "pebble")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", pebble, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build pebble: %v\n%s", err, out)
	}
	own := relaytest.NewAuthority(t)
	cert, key := own.Issue(t, vpsAddr)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": vpsAddr + ":14000", "managementListenAddress": vpsAddr + ":15000",
		"certificate": cert, "privateKey": key, "httpPort": 80, "tlsPort": 443, "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 7776000}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	vps.env = append(vps.env, "PEBBLE_VA_NOSLEEP=1") // it refuses some good nonces, as by default
	vps.start(t, pebble, "-config", file, "-dnsserver", dns)
	issued = filepath.Join(dir, "issued.pem")
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, err := vps.command(t.Context(), "curl", "-s", "--cacert", own.File, "https://"+vpsAddr+":15000/roots/0").Output()
		if err == nil && bytes.Contains(out, []byte("BEGIN CERTIFICATE")) {
			if err := os.WriteFile(issued, out, 0o600); err != nil {
				t.Fatal(err)
			}
			return "https://" + vpsAddr + ":14000/dir", own.File, issued
		}
		if time.Now().After(deadline) {
			t.Fatalf("pebble does not answer: %v %s", err, out)
		}
	}
}

// The three commands, with one NS record (here: the laptop asks the server at once).
func TestThreeCommandsOnAVPS(t *testing.T) {
	needsBinary(t)
	if testing.Short() {
		t.Skip("builds a certificate authority")
	}
	vps, laptop := machines(t)
	directory, roots, issued := authority(t, vps, vpsAddr+":53")

	server := vps.start(t, relayBin, "server", "--domain", "relay.test", "--email", "me@relay.test", "--dns", "--public-ip", vpsAddr,
		"--acme-server", directory, "--acme-ca", roots, "--user", "alice", "--json")
	token, _ := server.event(t, "ready")["token"].(string)

	laptop.serve(t, "hello from the laptop\n")
	laptop.login(t, token, issued)
	agent := laptop.start(t, relayBin, "http", "3000", "--json")
	online := agent.event(t, "online")
	if online["url"] != "https://alice.relay.test" || online["warning"] != nil {
		t.Fatalf("online: %v", online)
	}
	if got := laptop.run(t, "curl", "-sS", "--cacert", issued, "https://alice.relay.test/"); got != "hello from the laptop\n" {
		t.Errorf("curl got %q", got)
	}
	// One certificate for all names, so none more is ordered for this one.
	shown := laptop.run(t, "sh", "-c", "openssl s_client -connect "+vpsAddr+":443 -servername alice.relay.test </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName")
	if !strings.Contains(shown, "DNS:*.relay.test") {
		t.Errorf("the certificate is for %s", shown)
	}
	if got := laptop.run(t, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "http://alice.relay.test/x?y"); got != "308 https://alice.relay.test/x?y" {
		t.Errorf("plain HTTP: %s", got)
	}
	// Pebble shows one root and signs by an intermediate: relay doctor must like it.
	doctor := laptop.run(t, relayBin, "doctor", "3000")
	for _, line := range strings.Split(strings.TrimSpace(doctor), "\n") {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("doctor on the laptop: %s", line)
		}
	}
	// On the VPS itself the data folder is where the server has put it.
	doctor = vps.run(t, "env", "SSL_CERT_FILE="+roots, relayBin, "doctor", "server", "--domain", "relay.test", "--acme-server", directory)
	for _, line := range strings.Split(strings.TrimSpace(doctor), "\n") {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("doctor on the VPS: %s", line)
		}
	}
}

// resolver runs a name server beside the VPS, for a world in which others keep the DNS.
func resolver(t *testing.T, vps *machine, records ...string) (addr string) {
	t.Helper()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		t.Skip("needs dnsmasq, of the package dnsmasq-base")
	}
	addr = "198.51.100.3"
	vps.run(t, "ip", "addr", "add", addr+"/24", "dev", "v"+strings.TrimPrefix(vps.name, "vps"))
	vps.start(t, append([]string{
		"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--local=/test/", "--user=root", "--pid-file=",
		"--bind-interfaces", "--except-interface=lo", "--listen-address=" + addr,
	}, records...)...)
	return addr
}

// Without --dns, each name gets a certificate of its own, and so does a host of the
// user's own.
func TestCustomDomainOnAVPS(t *testing.T) {
	needsBinary(t)
	if testing.Short() {
		t.Skip("builds a certificate authority")
	}
	vps, laptop := machines(t)
	addr := resolver(t, vps, "--host-record=relay.test,"+vpsAddr, "--host-record=alice.relay.test,"+vpsAddr, "--host-record=8080-alice.relay.test,"+vpsAddr,
		"--cname=hooks.acme.test,alice.relay.test", "--host-record=shop.acme.test,192.0.2.7")
	for _, m := range []*machine{vps, laptop} {
		if err := os.WriteFile(filepath.Join("/etc/netns", m.name, "resolv.conf"), []byte("nameserver "+addr+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	directory, roots, issued := authority(t, vps, addr+":53")
	server := vps.start(t, relayBin, "server", "--domain", "relay.test", "--email", "me@relay.test",
		"--acme-server", directory, "--acme-ca", roots, "--user", "alice", "--json")
	token, _ := server.event(t, "ready")["token"].(string)
	laptop.serve(t, "hello from the laptop\n")
	laptop.login(t, token, issued)
	agent := laptop.start(t, relayBin, "http", "3000", "--json")
	if online := agent.event(t, "online"); online["url"] != "https://alice.relay.test" || online["warning"] != nil {
		t.Fatalf("online: %v", online)
	}

	added := laptop.run(t, relayBin, "domain", "add", "hooks.acme.test")
	if !strings.Contains(added, "CNAME  alice.relay.test") {
		t.Errorf("domain add says: %s", added)
	}
	if out := laptop.run(t, relayBin, "domain", "verify", "hooks.acme.test"); !strings.Contains(out, "https://hooks.acme.test leads to alice") {
		t.Errorf("domain verify says: %s", out)
	}
	got := laptop.run(t, "curl", "-s", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", "--cacert", issued, "https://hooks.acme.test/")
	if got != "hello from the laptop\n" {
		t.Errorf("curl got %q", got)
	}
	laptop.run(t, relayBin, "domain", "add", "shop.acme.test")
	out, err := laptop.command(t.Context(), relayBin, "domain", "verify", "shop.acme.test").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "does not lead here yet") {
		t.Errorf("a domain that leads elsewhere: %v, %s", err, out)
	}
	if out := laptop.run(t, relayBin, "domain", "list"); !strings.Contains(out, "active") || !strings.Contains(out, "pending") {
		t.Errorf("domain list says: %s", out)
	}
	if out, err := laptop.command(t.Context(), "curl", "-sS", "--cacert", issued, "--resolve", "shop.acme.test:443:"+vpsAddr, "https://shop.acme.test/").CombinedOutput(); err == nil {
		t.Errorf("a domain that was not proved is served: %s", out)
	}
	laptop.run(t, relayBin, "domain", "remove", "hooks.acme.test")
	if out, err := laptop.command(t.Context(), "curl", "-sS", "--cacert", issued, "https://hooks.acme.test/").CombinedOutput(); err == nil {
		t.Errorf("a domain that was removed is served: %s", out)
	}
}

// serve serves a page on port 3000.
func (m *machine) serve(t *testing.T, page string) {
	t.Helper()
	app := filepath.Join(m.home, "app")
	if err := os.MkdirAll(app, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(app, "index.html"), []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	m.start(t, "python3", "-m", "http.server", "3000", "--directory", app)
	m.run(t, "curl", "-s", "-o", "/dev/null", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "http://127.0.0.1:3000/")
}

// login logs in as soon as the server has its own certificate.
func (m *machine) login(t *testing.T, token, issued string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, err := m.command(t.Context(), relayBin, "login", "https://relay.test", "--token", token, "--ca", issued).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("login: %v\n%s", err, out)
		}
	}
}

// lockedBuffer is a buffer that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
