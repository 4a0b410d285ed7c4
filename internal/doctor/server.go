package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/relaytunnel/relay/client"
)

// ServerOptions say how a server is set up; they are those of relay server.
type ServerOptions struct {
	Domain    string
	DataDir   string
	HTTPAddr  string // where plain HTTP is served
	HTTPSAddr string // where HTTPS is; empty where a proxy does it
	// ACMEServer is the directory of the certificate authority; empty where no
	// certificates are ordered.
	ACMEServer string
	// PublicIPs are the addresses that DNS should give; none means those of the
	// machine.
	PublicIPs []netip.Addr
	Resolver  Resolver
	// CA opens connections to the certificate authority; nil is http.Transport's way.
	CA  http.RoundTripper
	Now func() time.Time
}

// Server tries the machine of a server, and what the world sees of it.
func Server(ctx context.Context, o ServerOptions) []Check {
	if o.Now == nil {
		o.Now = time.Now
	}
	base, checks := names(ctx, o.Resolver, o.Domain)
	if len(base) > 0 {
		checks = append(checks, here(base, o.PublicIPs))
	}
	checks = append(checks, serves(ctx, o))
	if o.HTTPSAddr != "" {
		checks = append(checks, handshake(ctx, o))
	}
	if o.ACMEServer != "" {
		checks = append(checks, authority(ctx, o)...)
	}
	checks = append(checks, folder(o.DataDir), disk(o.DataDir))
	return append(checks, files())
}

// here tells whether the domain leads to this machine.
func here(base, public []netip.Addr) Check {
	whose := "the public addresses that were named"
	if len(public) == 0 {
		whose = "an address of this machine"
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return warn("address", "the machine's addresses cannot be read: "+err.Error(), "compare them with the DNS record yourself")
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				public = append(public, p.Addr().Unmap().WithZone(""))
			}
		}
	}
	for _, a := range base {
		if !slices.Contains(public, a) {
			return warn("address", fmt.Sprintf("%s is not %s", a, whose),
				"that is right behind a load balancer or NAT; otherwise correct the A and AAAA records")
		}
	}
	return ok("address", "%s is %s", list(base), whose)
}

// serves asks the server on this machine whether it is ready.
func serves(ctx context.Context, o ServerOptions) Check {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tr := &http.Transport{DisableKeepAlives: true}
	addr := near(o.HTTPAddr)
	res, err := get(ctx, tr, &url.URL{Scheme: "http", Host: addr, Path: "/readyz"})
	if err != nil {
		return fail("server", fmt.Sprintf("no server answers at %s: %v", addr, client.Plainly(err)), "start relay server, or name the address it listens on with --http-addr")
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("Relay-Request-Id") == "" {
		return fail("server", fmt.Sprintf("what answers at %s says %s", addr, res.Status), "another program may have the port; or the server's log says why it is not ready")
	}
	return ok("server", "it is ready at %s", addr)
}

// near is how a listener's address is reached from its own machine.
func near(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
		if err == nil && a.Is6() && a.IsUnspecified() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}

// handshake looks at the certificate of the base domain, whatever authority it is of.
func handshake(ctx context.Context, o ServerOptions) Check {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{
		ServerName: o.Domain, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // it is looked at below, and nothing is sent
	}}
	addr := near(o.HTTPSAddr)
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		var alert tls.AlertError
		if errors.As(err, &alert) {
			return fail("certificate", fmt.Sprintf("there is no certificate for %s yet", o.Domain), "the server's log says how its order goes; the domain must lead here, and ports 80 and 443 must be open")
		}
		return fail("certificate", fmt.Sprintf("no TLS at %s: %v", addr, client.Plainly(err)), "is HTTPS served there? Name the address with --https-addr")
	}
	defer func() { _ = c.Close() }()
	state := c.(*tls.Conn).ConnectionState()
	leaf := state.PeerCertificates[0]
	if err := leaf.VerifyHostname(o.Domain); err != nil {
		return fail("certificate", err.Error(), "give --tls-cert a certificate for the domain, or leave it out and let the server order one")
	}
	return validity("certificate", o.Domain, leaf.NotAfter, o.Now())
}

// authority tries the certificate authority, and takes the time from it.
func authority(ctx context.Context, o ServerOptions) []Check {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	rt := o.CA
	if rt == nil {
		rt = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.ACMEServer, nil)
	if err != nil {
		return []Check{fail("authority", err.Error(), "correct --acme-server")}
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return []Check{fail("authority", fmt.Sprintf("the certificate authority cannot be reached at %s: %v", o.ACMEServer, client.Plainly(err)), "certificates can be neither ordered nor renewed: let this machine connect to it")}
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return []Check{warn("authority", fmt.Sprintf("the certificate authority at %s answers %s", o.ACMEServer, res.Status), "try again later, and look at its status page")}
	}
	checks := []Check{ok("authority", "%s answers", o.ACMEServer)}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		checks = append(checks, clock(o.Now(), date, "the certificate authority"))
	}
	return checks
}

// folder looks at who may read the data.
func folder(dir string) Check {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return warn("data", dir+" does not exist", "the first start makes it; or name another with --data")
	case err != nil:
		return fail("data", err.Error(), "run this as the user that the server runs as, or name the folder with --data")
	case info.Mode().Perm()&0o077 != 0:
		return warn("data", fmt.Sprintf("others may look into %s (mode %04o)", dir, info.Mode().Perm()), "chmod 700 "+dir)
	}
	return ok("data", "%s is closed to others", dir)
}

const (
	lowDisk  = 1 << 30   // bytes
	fullDisk = 100 << 20 // bytes: webhooks are refused before long
	fewFiles = 4096      // each visitor and each agent is an open file
)

func disk(dir string) Check {
	free, known := freeDisk(dir)
	switch {
	case !known:
		return ok("disk", "the free space is not known on this system")
	case free < fullDisk:
		return fail("disk", fmt.Sprintf("%d MB are free for %s", free>>20, dir), "free some: without space nothing can be stored")
	case free < lowDisk:
		return warn("disk", fmt.Sprintf("%d MB are free for %s", free>>20, dir), "free some before it is full")
	}
	return ok("disk", "%d GB are free for %s", free>>30, dir)
}

func files() Check {
	n, known := openFiles()
	switch {
	case !known:
		return ok("files", "the limit of open files is not known on this system")
	case n < fewFiles:
		return warn("files", fmt.Sprintf("%d files may be open at a time, and each connection is one", n), "raise it: ulimit -n, or LimitNOFILE= of the unit")
	}
	return ok("files", "%d may be open at a time", n)
}
