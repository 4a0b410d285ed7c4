package capture_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/capture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that stands until it is moved.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time { return c.now }

func (c *clock) add(d time.Duration) { c.now = c.now.Add(d) }

// request is one as a server parses it.
func request(method, target string, body string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func response(status int, body string, header ...string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	for i := 0; i+1 < len(header); i += 2 {
		res.Header.Add(header[i], header[i+1])
	}
	return res
}

// record lets an exchange pass to its end.
func record(t *testing.T, r *capture.Recorder, req *http.Request, res *http.Response) string {
	t.Helper()
	tap := r.Begin(req, "localhost:3000", "")
	body := tap.RequestBody(req.Body, req.ContentLength, func() http.Header { return req.Trailer })
	pass(t, body)
	tap.Response(res)
	pass(t, res.Body)
	tap.End(nil)
	return tap.ID()
}

func pass(t *testing.T, body io.ReadCloser) []byte {
	t.Helper()
	b, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func get(t *testing.T, r *capture.Recorder, id string) *capture.Exchange {
	t.Helper()
	x, found, err := r.Get(context.Background(), id)
	if err != nil || !found {
		t.Fatalf("get %q: found %v, %v", id, found, err)
	}
	return x
}

func list(t *testing.T, r *capture.Recorder, q capture.Query) []string {
	t.Helper()
	xs, _, err := r.List(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, x := range xs {
		targets = append(targets, x.Request.Target)
	}
	return targets
}

// conn is the connection of an upgrade, from the side of the agent.
type conn struct {
	read, wrote      bytes.Buffer
	halfClosed, gone bool
	aborted          bool
}

func (c *conn) Read(p []byte) (int, error)  { return c.read.Read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.wrote.Write(p) }
func (c *conn) Close() error                { c.gone = true; return nil }
func (c *conn) CloseWrite() error           { c.halfClosed = true; return nil }
func (c *conn) Abort()                      { c.aborted = true }
