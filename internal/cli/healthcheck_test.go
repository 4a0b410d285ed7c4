package cli

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// healthcheck runs the command and gives its error and what it wrote.
func healthcheck(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	e := &env{in: strings.NewReader(""), out: &out, err: &out}
	app := newApp(e)
	app.Commands = append(app.Commands[:0:0], healthcheckCommand(e))
	err := app.RunContext(t.Context(), append([]string{"relay", "healthcheck"}, args...))
	return out.String(), err
}

func TestAServerThatIsReadyIsHealthy(t *testing.T) {
	var asked string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.Host + r.URL.Path
		_, _ = fmt.Fprintln(w, "ready")
	}))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	for name, args := range map[string][]string{
		"its address": {"--http-addr", "127.0.0.1:" + port}, "all addresses": {"--http-addr", ":" + port}, "all of IPv4": {"--http-addr", "0.0.0.0:" + port},
	} {
		asked = ""
		if out, err := healthcheck(t, args...); err != nil || out != "" {
			t.Errorf("%s: error %v, wrote %q", name, err, out)
		}
		if asked != "GET 127.0.0.1:"+port+"/readyz" {
			t.Errorf("%s: the server was asked %q", name, asked)
		}
	}
	// As in a container, where server and check have one environment.
	t.Setenv("RELAY_HTTP_ADDR", ":"+port)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	if _, err := healthcheck(t); err != nil {
		t.Errorf("with RELAY_HTTP_ADDR: %v", err)
	}
}

func TestAServerThatIsNotReadyIsNotHealthy(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	_, err := healthcheck(t, "--http-addr", srv.Listener.Addr().String())
	if err == nil || codeOf(err) != exitFailure || !strings.Contains(err.Error(), "503 Service Unavailable: the store does not answer") {
		t.Errorf("not ready: %v", err)
	}

	// Something else that answers, and sends away.
	away := httptest.NewServer(http.RedirectHandler("https://example.com/", http.StatusFound))
	defer away.Close()
	if _, err := healthcheck(t, "--http-addr", away.Listener.Addr().String()); err == nil || !strings.Contains(err.Error(), "302 Found") {
		t.Errorf("sent away: %v", err)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if _, err := healthcheck(t, "--http-addr", ln.Addr().String()); err == nil || codeOf(err) != exitFailure || !strings.Contains(err.Error(), "no server answers") {
		t.Errorf("nobody: %v", err)
	}
}

func TestAHealthcheckOfNoAddressIsAWrongCommand(t *testing.T) {
	for _, args := range [][]string{{"--http-addr", "80"}, {"--http-addr", "127.0.0.1:"}, {"--http-addr", "a b:80"}, {"now"}} {
		_, err := healthcheck(t, args...)
		var u *usageError
		if !errors.As(err, &u) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestAListenerIsReachedFromItsOwnMachine(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"", "80"}: "127.0.0.1:80", {"0.0.0.0", "80"}: "127.0.0.1:80", {"::", "80"}: "[::1]:80", {"10.0.0.1", "80"}: "10.0.0.1:80", {"localhost", "80"}: "localhost:80",
	} {
		if got := nearAddress(in[0], in[1]); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
}
