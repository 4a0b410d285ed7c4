package conformance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// An appProcess is an app in another language. It writes JSON lines, the first of them
// with its port.
type appProcess struct {
	addr  string
	lines chan []byte
}

func startApp(t *testing.T, env []string, program ...string) *appProcess {
	t.Helper()
	cmd := exec.Command(program[0], program[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &appProcess{lines: make(chan []byte, 4096)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(a.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			a.lines <- []byte(in.Text())
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	var first struct{ Port int }
	a.next(t, &first)
	a.addr = fmt.Sprintf("127.0.0.1:%d", first.Port)
	return a
}

// next reads the next line of the app into v.
func (a *appProcess) next(t *testing.T, v any) {
	t.Helper()
	select {
	case line, ok := <-a.lines:
		if !ok {
			t.Fatal("the app has ended")
		}
		if err := json.Unmarshal(line, v); err != nil {
			t.Fatalf("the app wrote %q: %v", line, err)
		}
	case <-time.After(patience):
		t.Fatal("the app has got nothing")
	}
}

// quiet fails the test if the app has got more than was read.
func (a *appProcess) quiet(t *testing.T) {
	t.Helper()
	select {
	case line := <-a.lines:
		t.Errorf("the app got what it should not: %s", line)
	default:
	}
}

// endpoint makes an endpoint of alice's and returns its public host.
func (r *road) endpoint(t *testing.T, name, secret string, args ...string) (host string) {
	t.Helper()
	args = append([]string{"endpoint", "create", name, "--json"}, args...)
	if secret != "" {
		args = append(args, "--secret-env", "SECRET")
	}
	cmd := exec.CommandContext(t.Context(), relayBin, args...)
	cmd.Env = append(r.env("agent"), "SECRET="+secret)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("relay %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	var made struct{ URL string }
	if err := json.Unmarshal(out, &made); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	u, err := url.Parse(made.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// post sends a webhook to a public host of this road.
func (l *lane) post(t *testing.T, host, target string, header map[string]string, body []byte) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+host+target, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp := l.do(t, req)
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp
}
