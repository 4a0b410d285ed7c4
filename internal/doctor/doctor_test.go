package doctor

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// zone is a resolver of a few names; *.domain answers for all below a domain.
type zone map[string]string

func (z zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	text, ok := z[host]
	if _, parent, below := strings.Cut(host, "."); !ok && below {
		text, ok = z["*."+parent]
	}
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{netip.MustParseAddr(text)}, nil
}

// verdicts are the checks in short: "dns ok, clock warn".
func verdicts(checks []Check) string {
	var words []string
	for _, c := range checks {
		words = append(words, c.Name+" "+string(c.Verdict))
		if (c.Verdict == OK) != (c.Next == "") || c.Detail == "" {
			words = append(words, "with a next step that does not fit: "+c.Next)
		}
	}
	return strings.Join(words, ", ")
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		zone zone
		want string
	}{
		{zone{"relay.test": "192.0.2.1", "*.relay.test": "192.0.2.1"}, "dns ok, wildcard dns ok"},
		{zone{"relay.test": "192.0.2.1", "*.relay.test": "192.0.2.2"}, "dns ok, wildcard dns warn"},
		{zone{"relay.test": "192.0.2.1"}, "dns ok, wildcard dns fail"},
		{zone{}, "dns fail"},
	} {
		if _, checks := names(t.Context(), c.zone, "relay.test"); verdicts(checks) != c.want {
			t.Errorf("%v: %s, want %s", c.zone, verdicts(checks), c.want)
		}
	}
}

func TestClockAndValidity(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for skew, want := range map[time.Duration]Verdict{0: OK, -4 * time.Second: OK, 30 * time.Second: Warn, -time.Hour: Fail} {
		if c := clock(now.Add(skew), now, "the server"); c.Verdict != want {
			t.Errorf("clock off by %v: %+v", skew, c)
		}
	}
	for left, want := range map[time.Duration]Verdict{60 * 24 * time.Hour: OK, 6 * 24 * time.Hour: Warn, -time.Hour: Fail} {
		if c := validity("certificate", "relay.test", now.Add(left), now); c.Verdict != want {
			t.Errorf("%v left: %+v", left, c)
		}
	}
}

// serverLike answers like a relay server.
func serverLike(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Relay-Request-Id", "req_1")
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestServerBehindAProxy(t *testing.T) {
	dir := t.TempDir()
	o := ServerOptions{
		Domain: "relay.test", DataDir: dir, PublicIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Resolver: zone{"relay.test": "192.0.2.1", "*.relay.test": "192.0.2.1"},
	}
	o.HTTPAddr = serverLike(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ready")) })
	if got := verdicts(Server(t.Context(), o)); !strings.HasPrefix(got, "dns ok, wildcard dns ok, address ok, server ok, data ") {
		t.Error(got)
	}
	o.PublicIPs = nil // 192.0.2.1 is nobody's
	o.HTTPAddr = serverLike(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	if got := verdicts(Server(t.Context(), o)); !strings.HasPrefix(got, "dns ok, wildcard dns ok, address warn, server fail, ") {
		t.Error(got)
	}
}

func TestCertificatesOfTheServer(t *testing.T) {
	asked := func(err error, quota int, all ...Certificate) AgentOptions {
		return AgentOptions{Certificates: func(context.Context) ([]Certificate, []Quota, error) {
			return all, []Quota{{Zone: "relay.test", Used: quota, Limit: 50}}, err
		}}
	}
	later := time.Now().Add(time.Hour)
	for _, c := range []struct {
		o    AgentOptions
		want string
	}{
		{asked(nil, 3, Certificate{Host: "a", State: "valid"}, Certificate{Host: "b", State: "ordering"}), "certificates ok"},
		{asked(nil, 45, Certificate{Host: "a", State: "valid"}), "certificates ok, quota warn"},
		{asked(nil, 0, Certificate{Host: "a", State: "failed", Error: "no such name", NextTry: later}, Certificate{Host: "b", State: "valid", Error: "the authority is down"}), "certificates fail, certificates warn"},
		{asked(nil, 0, Certificate{Host: "a", State: "expired"}), "certificates fail"},
		{asked(ErrNoAdmin, 0), ""},
		{asked(errors.New("broken"), 0), "certificates warn"},
	} {
		if got := verdicts(certificates(t.Context(), c.o)); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestAgentAgainstAStranger(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	o := AgentOptions{Server: web.URL, Token: "x", Me: func(context.Context) (string, string, error) { return "", "", errors.New("no") }}
	if got := verdicts(Agent(t.Context(), o)); !strings.HasPrefix(got, "server fail, files ") {
		t.Error(got)
	}
	o.Server = "http://" + serverLike(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(404)
		}
	})
	o.App = "127.0.0.1:1"
	if got := verdicts(Agent(t.Context(), o)); !strings.HasPrefix(got, "server ok, clock ok, token fail, websocket fail, app fail, files ") {
		t.Error(got)
	}
}
