package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/relaytest"
	"github.com/relaytunnel/relay/server"
)

// secure is a world with HTTPS and an agent whose app tells what it saw.
func secure(t *testing.T, change func(*server.Config)) (*relaytest.World, *relaytest.Authority, *relaytest.Agent) {
	t.Helper()
	authority := relaytest.NewAuthority(t)
	w := relaytest.Start(t, relaytest.Options{TLS: authority, Config: change})
	a := w.Agent(t, client.Options{}, client.Spec{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			w.Header().Set("Trailer", "Sum")
			body, _ := io.ReadAll(r.Body)
			n, _ := w.Write(body)
			w.Header().Set("Sum", fmt.Sprint(n))
		case "/cut":
			_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			_, _ = fmt.Fprintf(w, "%s %s by %s from %s", r.Method, r.Host, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"))
		}
	}))
	a.Online(t, 1)
	return w, authority, a
}

func TestHTTPS(t *testing.T) {
	w, _, a := secure(t, nil)
	_, port, _ := net.SplitHostPort(w.Addr)
	if want := "https://alice.relay.localhost:" + port; a.URL() != want {
		t.Fatalf("the URL is %s, want %s", a.URL(), want)
	}
	for _, proto := range []string{"HTTP/2.0", "HTTP/1.1"} {
		c := w.Client(t)
		c.Transport.(*http.Transport).ForceAttemptHTTP2 = proto == "HTTP/2.0"
		for path, want := range map[string]string{"/": "GET alice.relay.localhost:" + port + " by https from 127.0.0.1", "/.well-known/relay": ""} {
			res, err := c.Get(a.URL() + path)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(body) != want || res.Proto != proto {
				t.Errorf("%s %s: %s %q", proto, path, res.Proto, body)
			}
			if got := res.Header.Get("Alt-Svc"); got != `h3=":`+port+`"; ma=86400` {
				t.Errorf("Alt-Svc %q", got)
			}
			if res.Header.Get("Strict-Transport-Security") != "" {
				t.Error("a tunnel speaks of HSTS though nobody asked for it")
			}
		}
	}
	res, err := w.Client(t).Get(w.URL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.Header.Get("Strict-Transport-Security") == "" {
		t.Error("the control host says nothing of HSTS")
	}
}

// An unknown name gets no certificate, of nobody.
func TestUnknownNamesGetNoCertificate(t *testing.T) {
	w, authority, _ := secure(t, nil)
	for _, name := range []string{"", "example.com", "a.b.relay.localhost"} {
		c, err := tls.Dial("tcp", w.Addr, &tls.Config{ServerName: name, InsecureSkipVerify: true, RootCAs: authority.Roots})
		if err == nil {
			t.Errorf("%q was shown the certificate of %v", name, c.ConnectionState().PeerCertificates[0].DNSNames)
			c.Close()
		}
	}
}

func TestPlainHTTPLeadsToHTTPS(t *testing.T) {
	w, _, _ := secure(t, nil)
	_, port, _ := net.SplitHostPort(w.Addr)
	for _, c := range []struct {
		request, status, location string
	}{
		{"GET /a?b=c HTTP/1.1\r\nHost: alice.relay.localhost:80", "308", "https://alice.relay.localhost:" + port + "/a?b=c"},
		{"POST /hook HTTP/1.1\r\nContent-Length: 3\r\nHost: ALICE.relay.localhost.", "308", "https://alice.relay.localhost:" + port + "/hook"},
		{"GET http://alice.relay.localhost/x HTTP/1.1\r\nHost: other", "308", "https://alice.relay.localhost:" + port + "/x"},
		{"GET //evil.example HTTP/1.1\r\nHost: alice.relay.localhost", "308", "https://alice.relay.localhost:" + port + "//evil.example"},
		{"GET / HTTP/1.1\r\nHost: relay.localhost", "308", "https://relay.localhost:" + port + "/"},
		{"GET / HTTP/1.1\r\nHost: 127.0.0.1", "308", "https://relay.localhost:" + port + "/"},
		{"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1", "200", ""},
		{"GET / HTTP/1.1\r\nHost: evil.example", "404", ""},
		{"GET / HTTP/1.1\r\nHost: nobody.relay.localhost", "404", ""},
		{"GET / HTTP/1.1\r\nHost: a b", "400", ""},
		{"GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: nobody.relay.localhost", "40", ""},
	} {
		conn, err := net.Dial("tcp", w.Plain)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, c.request+"\r\n\r\nabc")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%q: %v", c.request, err)
		}
		if !strings.HasPrefix(res.Status, c.status) || res.Header.Get("Location") != c.location {
			t.Errorf("%q: %s, Location %q; want %s, %q", c.request, res.Status, res.Header.Get("Location"), c.status, c.location)
		}
		conn.Close()
	}
}

// h3 is a visitor by HTTP/3.
func h3(t *testing.T, w *relaytest.World, a *relaytest.Authority) *http.Client {
	t.Helper()
	tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Roots}, Dial: func(ctx context.Context, _ string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
		return quic.DialAddr(ctx, w.Addr, t, q)
	}}
	t.Cleanup(func() { tr.Close() })
	return &http.Client{Transport: tr, Timeout: 15 * time.Second}
}

func TestHTTP3(t *testing.T) {
	w, authority, a := secure(t, nil)
	c := h3(t, w, authority)
	res, err := c.Get(a.URL() + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	_, port, _ := net.SplitHostPort(w.Addr)
	if want := "GET alice.relay.localhost:" + port + " by https from 127.0.0.1"; string(body) != want || res.Proto != "HTTP/3.0" {
		t.Errorf("%s: %q, want %q", res.Proto, body, want)
	}

	t.Run("bodies and trailers", func(t *testing.T) {
		for _, size := range []int{0, 1, 100, 33_000, 5_000_000} {
			sent := strings.Repeat("0123456789", size/10+1)[:size]
			for _, known := range []bool{true, false} {
				var r io.Reader = strings.NewReader(sent)
				if !known {
					r = io.MultiReader(r)
				}
				res, err := c.Post(a.URL()+"/echo", "text/plain", r)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(got) != sent || res.Trailer.Get("Sum") != fmt.Sprint(size) {
					t.Errorf("%d bytes, length known %v: %d came back, %v, trailer %v", size, known, len(got), err, res.Trailer)
				}
			}
		}
	})
	t.Run("a cut answer is none", func(t *testing.T) {
		res, err := c.Get(a.URL() + "/cut")
		if err != nil {
			return
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err == nil && res.StatusCode == 200 {
			t.Errorf("%d bytes that look whole: %s", len(body), res.Status)
		}
	})
	t.Run("another host", func(t *testing.T) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", a.URL()+"/", nil)
		req.Host = "example.com"
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("answered %s", res.Status)
		}
	})
	t.Run("methods that do not pass", func(t *testing.T) {
		req, _ := http.NewRequestWithContext(t.Context(), "TRACE", a.URL()+"/", nil)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("answered %s", res.Status)
		}
	})
}

func TestHTTP3CanBeTurnedOff(t *testing.T) {
	w, authority, a := secure(t, func(c *server.Config) { c.HTTP3 = false })
	res, err := w.Client(t).Get(a.URL() + "/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header.Get("Alt-Svc"); got != "" {
		t.Errorf("Alt-Svc %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if c, err := quic.DialAddr(ctx, w.Addr, &tls.Config{RootCAs: authority.Roots, ServerName: "relay.localhost", NextProtos: []string{"h3"}}, nil); err == nil {
		_ = c.CloseWithError(0, "")
		t.Error("it speaks QUIC all the same")
	}
}

// A request in flight ends in its own time when the server stops, by TLS too.
func TestStopWaitsForRequestsByTLS(t *testing.T) {
	authority := relaytest.NewAuthority(t)
	w := relaytest.Start(t, relaytest.Options{TLS: authority, Config: func(c *server.Config) { c.DrainFor = 10 * time.Second }})
	asked, goOn := make(chan struct{}, 2), make(chan struct{})
	a := w.Agent(t, client.Options{}, client.Spec{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-goOn
		_, _ = io.WriteString(w, "done")
	}))
	a.Online(t, 1)
	answers := make(chan string, 2)
	for _, c := range []*http.Client{w.Client(t), h3(t, w, authority)} {
		go func() {
			res, err := c.Get(a.URL())
			if err != nil {
				answers <- err.Error()
				return
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			answers <- fmt.Sprint(string(body), err)
		}()
	}
	<-asked
	<-asked
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.Stop(t) }()
	a.Await(t, 1, func(e client.Event) bool { _, ok := e.(client.Draining); return ok })
	close(goOn)
	for range 2 {
		if got := <-answers; got != "done<nil>" {
			t.Errorf("a request in flight got %q", got)
		}
	}
	<-stopped
}

// Behind a proxy that passes TLS through, the visitor's address is the one in the
// PROXY header.
func TestProxyProtocolBeforeTLS(t *testing.T) {
	authority := relaytest.NewAuthority(t)
	w := relaytest.Start(t, relaytest.Options{TLS: authority, Log: slog.New(slog.DiscardHandler), Config: func(o *server.Config) {
		o.ProxyProtocol = true
		o.TrustedProxies = append(o.TrustedProxies, loopback)
	}})
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, w.Addr)
		if err != nil {
			return nil, err
		}
		_, err = io.WriteString(conn, "PROXY TCP4 203.0.113.9 192.0.2.1 5555 443\r\n")
		return conn, err
	}
	a := w.Agent(t, client.Options{DialContext: dial}, client.Spec{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	}))
	a.Online(t, 1)
	tr := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: authority.Roots}}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get(a.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "203.0.113.9" {
		t.Errorf("the app saw %q", body)
	}
	if conn, err := tls.Dial("tcp", w.Addr, &tls.Config{RootCAs: authority.Roots, ServerName: "relay.localhost"}); err == nil {
		conn.Close()
		t.Error("one without a header is let in")
	}
}

func TestCertificateFilesThatDoNotWork(t *testing.T) {
	authority := relaytest.NewAuthority(t)
	cert, key := authority.Issue(t, "relay.localhost")
	_, other := authority.Issue(t, "relay.localhost")
	rubbish := t.TempDir() + "/rubbish.pem"
	if err := os.WriteFile(rubbish, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string][2]string{
		"of another key": {cert, other}, "not there": {cert + ".not", key}, "rubbish": {rubbish, key},
	} {
		c := server.Config{Domain: "relay.localhost", HTTPAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0", DataDir: t.TempDir(), CertFiles: []string{files[0]}, KeyFiles: []string{files[1]}}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		err := server.New(c).Run(t.Context())
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), files[0]) && !strings.Contains(err.Error(), files[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")
