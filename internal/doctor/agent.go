package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/protocol"
)

// AgentOptions say which way to try.
type AgentOptions struct {
	// Server and Token are those of the agent.
	Server, Token string
	// Me asks the server whose token it is; it gives the base domain.
	Me func(ctx context.Context) (user, domain string, err error)
	// Certificates asks the server for the state of its certificates, which it tells
	// an admin only; nil where the user is none.
	Certificates func(ctx context.Context) ([]Certificate, []Quota, error)
	// TLS is the configuration for an https address; nil is Go's.
	TLS *tls.Config
	// App is the host:port of a local app to try; empty for none.
	App      string
	Resolver Resolver
	Software string
	Now      func() time.Time
}

// Agent tries the way from this machine to the server.
func Agent(ctx context.Context, o AgentOptions) []Check {
	if o.Now == nil {
		o.Now = time.Now
	}
	var checks []Check
	u, err := url.Parse(o.Server)
	if err != nil || u.Host == "" {
		return append(checks, fail("server", fmt.Sprintf("%q is not the address of a server", o.Server), "run relay login https://relay.example.com"))
	}
	proxy := proxyOf(u)
	if proxy != nil {
		checks = append(checks, ok("proxy", "connections go through %s", proxy.Redacted()))
	}
	domain := u.Hostname()
	if _, err := netip.ParseAddr(domain); err != nil && domain != "localhost" && proxy == nil {
		_, dns := names(ctx, o.Resolver, domain)
		checks = append(checks, dns...)
	}
	reached, way := reach(ctx, u, o)
	checks = append(checks, way...)
	if reached {
		t := token(ctx, o)
		checks = append(checks, t, link(ctx, o))
		if t.Verdict == OK && o.Certificates != nil {
			checks = append(checks, certificates(ctx, o)...)
		}
	}
	if o.App != "" {
		checks = append(checks, app(ctx, o.App))
	}
	return append(checks, files())
}

func proxyOf(u *url.URL) *url.URL {
	proxy, _ := http.ProxyFromEnvironment(&http.Request{URL: u})
	return proxy
}

// reach makes a request that needs no token: connection, TLS, clock.
func reach(ctx context.Context, u *url.URL, o AgentOptions) (bool, []Check) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tr := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: client.DialContext, TLSClientConfig: o.TLS.Clone(), DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	began := time.Now()
	res, err := get(ctx, tr, u.JoinPath("/healthz"))
	if err != nil {
		var expired *tls.CertificateVerificationError
		if errors.As(err, &expired) {
			return false, []Check{fail("certificate", err.Error(), "look at the certificate on the server with relay doctor server; if it is of an authority of your own, name its roots with --ca")}
		}
		return false, []Check{fail("server", fmt.Sprintf("cannot reach %s: %v", u, client.Plainly(err)), "is the server running, the address right, and the port open in its firewall?")}
	}
	_ = res.Body.Close()
	took := time.Since(began).Round(time.Millisecond)
	if res.StatusCode != http.StatusOK || res.Header.Get("Relay-Request-Id") == "" {
		return false, []Check{fail("server", fmt.Sprintf("%s answers %s, but it does not look like a relay server", u, res.Status), "check the address")}
	}
	checks := []Check{ok("server", "%s answers after %v", u, took)}
	if res.TLS != nil && len(res.TLS.PeerCertificates) > 0 {
		checks = append(checks, validity("certificate", u.Hostname(), res.TLS.PeerCertificates[0].NotAfter, o.Now()))
	} else if !isLocal(u.Hostname()) {
		checks = append(checks, warn("certificate", "the connection is not encrypted", "use an https address: the token travels over it"))
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		checks = append(checks, clock(o.Now(), date, "the server"))
	}
	return true, checks
}

func get(ctx context.Context, tr *http.Transport, u *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	return tr.RoundTrip(req)
}

func isLocal(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func token(ctx context.Context, o AgentOptions) Check {
	user, _, err := o.Me(ctx)
	if err != nil {
		return fail("token", err.Error(), fmt.Sprintf("run relay login %s with a token that is good", o.Server))
	}
	return ok("token", "it is %s's", user)
}

// link opens the connection that an agent would, without asking for a name.
func link(ctx context.Context, o AgentOptions) Check {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c := client.New(client.Options{Server: o.Server, Token: o.Token, TLS: o.TLS, Software: o.Software})
	took, err := c.Try(ctx)
	var refused *protocol.Error
	switch {
	case errors.As(err, &refused) && refused.Code == protocol.CodeProtocol:
		return fail("websocket", "the server answers, but a WebSocket does not get through", "a proxy between here and the server must pass WebSocket upgrades on")
	case errors.As(err, &refused):
		return fail("websocket", refused.Message, "see what the server says; its log has more")
	case err != nil:
		return fail("websocket", err.Error(), "a proxy or firewall may cut WebSockets off")
	}
	return ok("websocket", "an agent gets through in %v", took.Round(time.Millisecond))
}

func app(ctx context.Context, addr string) Check {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fail("app", fmt.Sprintf("nothing answers at %s: %v", addr, client.Plainly(err)), "start the app, or name the port that it listens on")
	}
	_ = c.Close()
	host, port, _ := net.SplitHostPort(addr)
	return ok("app", "something listens at %s", net.JoinHostPort(host, port))
}
