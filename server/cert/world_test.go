package cert_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/server/cert"
	"github.com/relaytunnel/relay/server/store"
)

const domain = "relay.test"

func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"PEBBLE_VA_NOSLEEP":      "1",
		"PEBBLE_WFE_NONCEREJECT": "15", // percent of good nonces
		"PEBBLE_AUTHZREUSE":      "0",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// A world is a certificate authority, the DNS it asks, and a machine with two
// ports that it looks at.
type world struct {
	directory string
	roots     *x509.CertPool // of the directory's own certificate
	issuer    *x509.CertPool
	orders    atomic.Int64
	mu        sync.Mutex
	byHost    map[string]int64 // orders
	// refuse answers requests to the authority by itself, when it is set.
	refuse atomic.Pointer[http.HandlerFunc]
	https  net.Listener // the port for tls-alpn-01
	http   net.Listener // the port for http-01
	dns    *zone
}

// newWorld starts the authority; its certificates are valid for so long.
func newWorld(t *testing.T, validity time.Duration) *world {
	t.Helper()
	return newWorldFor(t, validity, false)
}

// The account at an authority that wants one.
const bindingID, bindingKey = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"

// newWorldFor starts an authority that may want an external account binding.
func newWorldFor(t *testing.T, validity time.Duration, binding bool) *world {
	t.Helper()
	w := &world{byHost: make(map[string]int64), https: listen(t), http: listen(t), dns: newZone(t)}
	quiet := log.New(io.Discard, "", 0)
	memory := db.NewMemoryStore()
	if err := memory.AddExternalAccountKeyByID(bindingID, bindingKey); err != nil {
		t.Fatal(err)
	}
	authority := ca.New(quiet, memory, "", "ecdsa", 0, 1, map[string]ca.Profile{
		"default": {ValidityPeriod: uint64(validity / time.Second)},
	})
	checks := va.New(quiet, port(w.http), port(w.https), false, w.dns.addr, memory)
	front := wfe.New(quiet, memory, checks, authority, []string{"pebble.test"}, false, binding, 1, 1)
	handler := front.Handler()
	// This authority shares an account between requests without a lock, when two
	// of them register it at once.
	var one sync.Mutex
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if refuse := w.refuse.Load(); refuse != nil {
			(*refuse)(rw, r)
			return
		}
		if r.Method == http.MethodPost && r.URL.Path == "/order-plz" {
			rw = w.count(rw, r)
		}
		one.Lock()
		defer one.Unlock()
		handler.ServeHTTP(rw, r)
	}))
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	w.directory = server.URL + "/dir"
	w.roots = x509.NewCertPool()
	w.roots.AddCert(server.Certificate())
	root := authority.GetRootCert(0).Cert
	w.issuer = x509.NewCertPool()
	w.issuer.AddCert(root)
	return w
}

// count looks into an order, which is signed and not secret, and counts it when
// it is taken: some are refused for their nonce, and come again.
func (w *world) count(rw http.ResponseWriter, r *http.Request) http.ResponseWriter {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return rw
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var signed struct{ Payload string }
	var order struct{ Identifiers []struct{ Value string } }
	if json.Unmarshal(body, &signed) != nil {
		return rw
	}
	payload, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err != nil || json.Unmarshal(payload, &order) != nil || len(order.Identifiers) == 0 {
		return rw
	}
	return &taken{rw, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.byHost[order.Identifiers[0].Value]++
		w.orders.Add(1)
	}}
}

// taken calls add when an order is answered with 201.
type taken struct {
	http.ResponseWriter
	add func()
}

func (t *taken) WriteHeader(status int) {
	if status == http.StatusCreated {
		t.add()
	}
	t.ResponseWriter.WriteHeader(status)
}

// ordersOf is how often a host was ordered.
func (w *world) ordersOf(host string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byHost[host]
}

// options are those of a server in this world that has the hosts.
func (w *world) options(t *testing.T, dir string, hosts ...string) cert.Options {
	t.Helper()
	return cert.Options{
		Store:     open(t, dir),
		Domain:    domain,
		Held:      func(host string) bool { return slices.Contains(hosts, host) },
		Directory: w.directory,
		Roots:     w.roots,
		Log:       slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newKeeper(t *testing.T, o cert.Options) *cert.Keeper {
	t.Helper()
	k, err := cert.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// run runs the keeper until the test ends, or stop is called.
func run(t *testing.T, k *cert.Keeper) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// serveTLS serves on the port that tls-alpn-01 looks at.
func (w *world) serveTLS(t *testing.T, k *cert.Keeper) {
	serve(t, tls.NewListener(w.https, k.TLSConfig()), http.NotFoundHandler())
}

// serveHTTP serves on the port that http-01 looks at.
func (w *world) serveHTTP(t *testing.T, k *cert.Keeper) {
	serve(t, w.http, k.HTTPHandler(http.NotFoundHandler()))
}

func serve(t *testing.T, l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-ended })
}

// leaf is the certificate that a visitor of the host sees, verified.
func (w *world) leaf(t *testing.T, host string) (*x509.Certificate, error) {
	t.Helper()
	c, err := tls.Dial("tcp", w.https.Addr().String(), &tls.Config{ServerName: host, RootCAs: w.issuer, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

func prepare(t *testing.T, k *cert.Keeper, host string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return k.Prepare(ctx, host)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func dataDir(t *testing.T) string { return filepath.Join(t.TempDir(), "data") }
