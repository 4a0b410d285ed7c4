package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// Peers from Debian's packages. They take a fixed port and tell nobody when they
// are ready, so a free port is looked for first and asked until it answers.

const nginxConf = `daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	client_max_body_size 0;
	keepalive_requests 1000000;
	upstream behind { server %[3]s; keepalive 1024; keepalive_requests 1000000; }
	server {
		listen %[2]s;
		location / {
			proxy_pass http://behind;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
			proxy_request_buffering off;
		}
	}
}
`

// startNginx chains two nginx processes in front of the app.
func (r *rig) startNginx(name string) (_ *system, err error) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		return nil, missing("nginx is not installed (Debian package nginx-light)")
	}
	var ps parts
	defer stopOnError(&ps, &err)
	s := &system{name: name, addr: r.app, host: "app.example"}
	for range 2 {
		dir, err := os.MkdirTemp(r.dir, "nginx-")
		if err != nil {
			return nil, err
		}
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		conf := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, addr, s.addr), 0o600); err != nil {
			return nil, err
		}
		p, err := r.start("nginx", nil, nginx, "-e", "stderr", "-p", dir, "-c", conf)
		if err != nil {
			return nil, err
		}
		ps.add(p)
		if err := p.listening(addr); err != nil {
			return nil, err
		}
		s.addr, s.pids = addr, append(s.pids, p.pid())
	}
	s.stop = ps.stop
	return s, nil
}

// startSSH starts an SSH server with keys of its own, and a client that has it
// listen for the app.
func (r *rig) startSSH(name string) (_ *system, err error) {
	sshd, ssh, err := sshPrograms()
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.dir, "ssh-")
	if err != nil {
		return nil, err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, key := range []string{"host", "user"} {
		gen := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file(key))
		if out, err := gen.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	login, err := freeAddr()
	if err != nil {
		return nil, err
	}
	public, err := freeAddr()
	if err != nil {
		return nil, err
	}
	var ps parts
	defer stopOnError(&ps, &err)
	_, port, _ := net.SplitHostPort(login)
	server, err := r.start("sshd", nil, sshd, "-D", "-e", "-f", os.DevNull, "-p", port,
		"-o", "ListenAddress=127.0.0.1", "-o", "HostKey="+file("host"), "-o", "PidFile=none",
		"-o", "AuthorizedKeysFile="+file("user.pub"), "-o", "StrictModes=no", "-o", "PermitRootLogin=yes", "-o", "UsePAM=no")
	if err != nil {
		return nil, err
	}
	ps.add(server)
	if err := server.listening(login); err != nil {
		return nil, err
	}
	client, err := r.start("ssh", nil, ssh, "-N", "-F", "none", "-p", port, "-i", file("user"),
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile="+os.DevNull, "-o", "IdentitiesOnly=yes",
		"-o", "ExitOnForwardFailure=yes", "-R", public+":"+r.app, me.Username+"@127.0.0.1")
	if err != nil {
		return nil, err
	}
	ps.add(client)
	if err := client.listening(public); err != nil {
		return nil, err
	}
	return &system{
		name: name, addr: public, host: "app.example",
		pids: append(family(server.pid()), client.pid()), stop: ps.stop,
	}, nil
}

func sshPrograms() (sshd, ssh string, err error) {
	if ssh, err = exec.LookPath("ssh"); err != nil {
		return "", "", missing("ssh is not installed (Debian package openssh-client)")
	}
	if sshd, err = exec.LookPath("sshd"); err != nil {
		if sshd, err = exec.LookPath("/usr/sbin/sshd"); err != nil {
			return "", "", missing("sshd is not installed (Debian package openssh-server)")
		}
	}
	// sshd separates its privileges in this folder, which its package's service makes.
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return "", "", err
		}
	}
	return sshd, ssh, nil
}

// freeAddr is an address on loopback that was free a moment ago.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// listening waits until something answers at addr.
func (p *process) listening(addr string) error {
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended early (%s)%s", p.name, p.cmd.ProcessState, p.lastWords())
		default:
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return nil
		}
	}
	return fmt.Errorf("%s does not listen on %s%s", p.name, addr, strings.TrimRight(p.lastWords(), "\n"))
}
