package forward

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/relaytunnel/relay/internal/capture"
)

// Replay sends a request to the service once more, on the same way as those of
// visitors, and reads the answer to its end, for the recorder. req is as RoundTrip of
// http1 wants it. It returns the id of the new exchange when that is over. An error
// of the service is a part of the exchange, as it is of the visitors'; that of ctx is
// returned.
func (f *Forwarder) Replay(ctx context.Context, req *http.Request, of string) (string, error) {
	if f.o.Recorder == nil {
		return "", errors.New("replay: nothing is recorded here")
	}
	req = req.WithContext(ctx)
	req.Header.Set(capture.ReplayHeader, "true")
	tap := f.o.Recorder.Begin(req, of)
	res, err := f.exchange(req, tap)
	if err != nil {
		return tap.ID(), ctx.Err()
	}
	// A 101 cannot come: a replay asks for no upgrade.
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return tap.ID(), ctx.Err()
}
