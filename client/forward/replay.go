package forward

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/relaytunnel/relay/internal/capture"
)

// Replay sends a request to the service once more, on the same way as those of
// visitors, and reads the answer to its end, for the recorder. It returns the id of
// the new exchange when that is over. That the service failed is a part of the
// exchange and no error here; that ctx ended is one.
func (f *Forwarder) Replay(ctx context.Context, a capture.Again) (string, error) {
	if f.o.Recorder == nil {
		return "", errors.New("replay: nothing is recorded here")
	}
	u, err := url.ParseRequestURI(a.Target)
	if err != nil {
		u = &url.URL{Path: a.Target}
	}
	req := (&http.Request{
		Method: a.Method, RequestURI: a.Target, URL: u, Host: a.Host, Header: a.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, ContentLength: int64(len(a.Body)),
	}).WithContext(ctx)
	if len(a.Body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(a.Body))
	}
	req.Header.Set("Relay-Request-Id", "rpl_"+rand.Text())
	req.Header.Set(capture.ReplayHeader, "true")
	tap := f.o.Recorder.Begin(req, f.o.Addr, a.Of)
	res, err := f.exchange(req, tap)
	if err != nil {
		return tap.ID(), ctx.Err()
	}
	// A 101 cannot come: a replay asks for no upgrade.
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return tap.ID(), ctx.Err()
}
