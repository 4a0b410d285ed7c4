package edge

import (
	"errors"
	"maps"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

// Record says where the exchanges of a name are recorded.
type Record struct {
	Recorder *capture.Recorder
	Endpoint string
}

// Traffic counts the requests to somebody's names, and those of them that ended badly:
// without an answer, or with one from 500 on.
// It also bounds them.
type Traffic struct {
	Requests, Errors atomic.Int64
	// Limited counts the requests that were refused for their number.
	Limited atomic.Int64
	// Concurrent is how many may be under way at a time; 0 is no limit.
	Concurrent atomic.Int64
	// Rate tells whether one more may come now, and else when to try again; nil lets all.
	Rate atomic.Pointer[func(now time.Time) (wait time.Duration)]

	under atomic.Int64 // under way
}

// enter counts a request that begins, or says why it may not.
func (c *call) enter(t *Traffic) *problem {
	if t == nil {
		return nil
	}
	c.traffic = t
	n := t.under.Add(1)
	if most := t.Concurrent.Load(); most > 0 && n > most {
		t.Limited.Add(1)
		return &tooManyAtOnce
	}
	if rate := t.Rate.Load(); rate != nil {
		if wait := (*rate)(time.Now()); wait > 0 {
			t.Limited.Add(1)
			p := tooManyInTime
			p.RetryAfter = int(math.Ceil(wait.Seconds()))
			return &p
		}
	}
	return nil
}

// record begins to record the request, as far as anybody wants that.
func (c *call) record(t Target) {
	if t.Record == nil {
		return
	}
	r := c.r
	c.identify()
	h := maps.Clone(r.Header) // those that go on change the map, and no list in it
	dropForged(h)
	c.tap = t.Record.Recorder.Open(&http.Request{Method: r.Method, RequestURI: c.target, Host: c.hostport}, capture.Opening{
		RequestID: c.id, Visitor: c.client.String(), Scheme: c.proto, Endpoint: t.Record.Endpoint, Header: h,
	})
	if r.ContentLength != 0 {
		r.Body = c.tap.RequestBody(r.Body, r.ContentLength, func() http.Header { return r.Trailer })
	}
}

// answered records that the app answers.
func (c *call) answered(res *http.Response) {
	c.status = res.StatusCode
	if c.tap == nil {
		return
	}
	h := res.Header
	res.Header = maps.Clone(h) // h loses fields on the way to the visitor
	c.tap.Response(res)
	res.Header = h
}

var (
	errVisitorLeft = errors.New("the visitor left")
	errPanicked    = errors.New("the relay failed")
	errBrokeOff    = errors.New("the app's answer broke off")
)

// over is called when the request is over; p is the panic that ended it, if one did.
func (c *call) over(p any) {
	if c.traffic != nil {
		c.traffic.under.Add(-1)
		c.traffic.Requests.Add(1)
		if p != nil || c.status == 0 || c.status >= 500 {
			c.traffic.Errors.Add(1)
		}
		c.traffic = nil
	}
	if c.tap == nil {
		return
	}
	if p != nil && c.why == nil {
		c.why = errPanicked
		if p == http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http does
			c.why = errVisitorLeft
		}
	}
	c.tap.End(c.why)
	c.tap = nil
}

// seenWriter is what an inbox answers on: what it says is recorded and counted.
type seenWriter struct {
	http.ResponseWriter
	c *call
}

// WriteHeader is that of http.ResponseWriter.
func (w *seenWriter) WriteHeader(status int) {
	if w.c.status == 0 && status >= 200 {
		w.c.status = status
		w.c.tap.Answered(status, w.Header().Clone())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write is that of http.ResponseWriter.
func (w *seenWriter) Write(p []byte) (int, error) {
	if w.c.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.c.tap.Body(p[:max(n, 0)])
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *seenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
