package edge_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/server/edge"
)

// secureSite is an edge behind TLS, with a certificate that nobody checks here.
func secureSite(t *testing.T, o edge.Options) *httptest.Server {
	t.Helper()
	if o.Resolve == nil {
		tun := &tunnel{app: func(req *http.Request) (*http.Response, error) {
			return respond(200, fmt.Sprint(req.Host, " by ", req.Header.Get("X-Forwarded-Proto"), " ", req.Header.Get("Upgrade"))), nil
		}}
		o.Resolve = func(string) edge.Target { return edge.Target{Tunnel: tun, Known: true} }
	}
	e := edge.New(o)
	srv := httptest.NewUnstartedServer(e)
	srv.Listener = e.Listener(srv.Listener, 10)
	srv.EnableHTTP2 = true
	srv.Config.ConnContext = edge.ConnContext
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// ask sends a request for host over a connection that was made for another.
func ask(t *testing.T, srv *httptest.Server, sni, host string, h2 bool) (*http.Response, string) {
	t.Helper()
	tr := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: sni},
		ForceAttemptHTTP2: h2,
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestHostMustFitTheConnection(t *testing.T) {
	srv := secureSite(t, edge.Options{Covers: func(shown, host string) bool {
		return strings.HasSuffix(shown, ".relay.test") && strings.HasSuffix(host, ".relay.test")
	}})
	for _, c := range []struct {
		sni, host string
		status    int
	}{
		{"alice.relay.test", "alice.relay.test", 200},
		{"ALICE.relay.test", "alice.relay.test.:443", 200},
		{"alice.relay.test", "bob.relay.test", 200}, // one certificate for both: HTTP/2 visitors do that
		{"alice.relay.test", "hooks.example.com", 421},
		{"hooks.example.com", "alice.relay.test", 421},
		{"", "alice.relay.test", 421},
	} {
		for _, h2 := range []bool{false, true} {
			res, body := ask(t, srv, c.sni, c.host, h2)
			if res.StatusCode != c.status || (res.ProtoMajor == 2) != h2 {
				t.Errorf("%s over a connection for %q: %s %s %s", c.host, c.sni, res.Proto, res.Status, body)
			}
			if c.status == 421 && res.Header.Get("Relay-Error") != "misdirected" {
				t.Errorf("%s over a connection for %q: code %q", c.host, c.sni, res.Header.Get("Relay-Error"))
			}
			if c.status == 200 && !strings.Contains(body, " by https") {
				t.Errorf("the app saw %q", body)
			}
		}
	}
}

func TestAnswersByTLSCarryWhatTheServerAdds(t *testing.T) {
	srv := secureSite(t, edge.Options{Secure: func(h http.Header, host string) { h.Set("Alt-Svc", "for "+host) }})
	for _, host := range []string{"alice.relay.test", "relay.test"} {
		if res, _ := ask(t, srv, host, host, true); res.Header.Get("Alt-Svc") != "for "+host {
			t.Errorf("%s: Alt-Svc %q", host, res.Header.Get("Alt-Svc"))
		}
	}
	w := newSite(t, edge.Options{Secure: func(http.Header, string) { t.Error("added to a plain answer") }}, func(*http.Request) (*http.Response, error) {
		return respond(200, "plain"), nil
	})
	w.do("GET / HTTP/1.1\r\nHost: alice.relay.test\r\n\r\n")
}

// The door for TLS shares its places with the others, and says nothing in plain text.
func TestOneTooManyIsClosedWithoutAWord(t *testing.T) {
	e := edge.New(edge.Options{Resolve: func(string) edge.Target { return edge.Target{} }})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := e.Listener(inner, 1)
	defer ln.Close()
	first, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	kept, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn)
	go func() {
		c, _ := ln.Accept()
		accepted <- c
	}()
	second, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if n, err := second.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("one too many was told something (%v)", err)
	}
	kept.Close() // now there is room
	third, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	c := <-accepted
	if c == nil {
		t.Fatal("nobody is let in any more")
	}
	c.Close()
}

func TestProbeIsAnsweredByTheServer(t *testing.T) {
	gone := &tunnel{app: func(*http.Request) (*http.Response, error) {
		t.Error("the app was asked")
		return respond(200, ""), nil
	}}
	gone.gone.Store(true)
	live := &tunnel{app: gone.app}
	w := newSite(t, edge.Options{Resolve: func(host string) edge.Target {
		switch host {
		case "live.relay.test":
			return edge.Target{Tunnel: live, Known: true}
		case "gone.relay.test":
			return edge.Target{Tunnel: gone, Known: true}
		case "away.relay.test":
			return edge.Target{Known: true}
		}
		return edge.Target{}
	}}, nil)
	for host, want := range map[string]string{"live": "204 live", "gone": "204 away", "away": "204 away", "unknown": "404 "} {
		res, _ := w.do("GET /.well-known/relay HTTP/1.1\r\nHost: " + host + ".relay.test\r\n\r\n")
		if got := fmt.Sprint(res.StatusCode, " ", res.Header.Get("Relay-Tunnel")); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}
