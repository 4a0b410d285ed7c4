package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/http1"
	"github.com/relaytunnel/relay/internal/relay"
)

// forward carries the request to the target's tunnel, waiting a bounded moment
// for an agent that was just here.
func (c *call) forward(t Target) {
	e := c.edge
	if t.Tunnel == nil {
		if !t.Known {
			c.refuse(&unknownName)
			return
		}
		if !t.Wait {
			c.refuse(&agentAway)
			return
		}
	}
	body, again, p := c.body()
	if p != nil {
		c.refuse(p)
		return
	}
	if c.upload, _ = body.(*visitorBody); c.upload != nil {
		defer c.upload.settle()
	}
	ctx, cancel := context.WithCancelCause(c.r.Context())
	defer cancel(nil)
	late := time.AfterFunc(e.o.AnswerWithin, func() { cancel(errLate) })
	defer late.Stop()

	var lost Tunnel // the one that failed for want of its agent
	var holdUntil time.Time
	for tries := 0; ; tries++ {
		if t.Tunnel == nil || t.Tunnel == lost && (!lost.Live() || tries > 2) {
			if holdUntil.IsZero() {
				holdUntil = time.Now().Add(e.o.HoldFor)
			}
			next, ok := c.hold(ctx, lost, holdUntil)
			if !ok {
				c.fail(ctx, relay.ErrOffline)
				return
			}
			t, tries = next, 0
		}
		res, err := t.Tunnel.RoundTrip(c.outgoing(ctx, t, body)) //nolint:bodyclose // answer closes it
		if err == nil {
			late.Stop()
			c.answer(res)
			return
		}
		var unsent *http1.DialError
		if !errors.Is(err, relay.ErrOffline) || ctx.Err() != nil || !again() && !errors.As(err, &unsent) {
			c.fail(ctx, err)
			return
		}
		lost = t.Tunnel
	}
}

var errLate = errors.New("the app took too long to answer")

// hold waits for an agent until a point in time.
func (c *call) hold(ctx context.Context, not Tunnel, until time.Time) (Target, bool) {
	e := c.edge
	if e.o.Await == nil || !time.Now().Before(until) {
		return Target{}, false
	}
	if e.held.Add(1) > int64(e.o.MaxHeld) {
		e.held.Add(-1)
		return Target{}, false
	}
	defer e.held.Add(-1)
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	t, err := e.o.Await(ctx, c.host, not)
	return t, err == nil && t.Tunnel != nil
}

// outgoing makes the request that goes into the tunnel.
func (c *call) outgoing(ctx context.Context, t Target, body io.ReadCloser) *http.Request {
	r := c.r
	host := c.hostport
	if t.HostHeader != "" {
		host = t.HostHeader
	}
	out := http.Request{
		Method: r.Method, RequestURI: c.target, URL: r.URL, Host: host, Header: r.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: r.ContentLength, Trailer: r.Trailer,
	}
	if body != nil {
		out.Body = body
	}
	return out.WithContext(withInterim(ctx, c.interim))
}

// interim passes a 103 on.
func (c *call) interim(status int, h http.Header) error {
	if c.w == nil || c.r.ProtoMajor == 1 && c.r.ProtoMinor == 0 {
		return nil // nobody to tell, or HTTP/1.0, which knows no interim answers
	}
	dst := c.w.Header()
	old := dst.Clone()
	clear(dst)
	c.answerHeader(dst, &http.Response{StatusCode: status, Header: h})
	if dst["Content-Type"] == nil {
		delete(dst, "Content-Type")
	}
	c.w.WriteHeader(status)
	clear(dst)
	for k, v := range old {
		dst[k] = v
	}
	return nil
}

// answer passes the app's answer on.
func (c *call) answer(res *http.Response) {
	c.upload.begun()
	c.answered(res)
	if res.StatusCode == http.StatusSwitchingProtocols {
		c.switchProtocols(res)
		return
	}
	defer func() { _ = res.Body.Close() }()
	h := c.w.Header()
	c.answerHeader(h, res)
	if res.ContentLength < 0 {
		delete(h, "Content-Length")
	}
	if err := c.copyBody(res); err != nil {
		if c.r.Context().Err() == nil {
			c.why = errBrokeOff
		}
		// Whatever has left is not a whole answer, and must not look like one.
		panic(http.ErrAbortHandler)
	}
	for k, vs := range res.Trailer {
		if vs == nil {
			continue
		}
		if declared(h, k) {
			h[k] = vs
		} else {
			h[http.TrailerPrefix+k] = vs
		}
	}
}

func declared(h http.Header, key string) bool {
	for _, v := range h["Trailer"] {
		for v != "" {
			var name string
			name, v, _ = cut(v)
			if http.CanonicalHeaderKey(name) == key {
				return true
			}
		}
	}
	return false
}

const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// copyBody writes the head and copies the body. What has arrived is sent on at
// once, and what has arrived together leaves together.
func (c *call) copyBody(res *http.Response) error {
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	rc := http.NewResponseController(c.w)
	ready := func() bool {
		b, ok := res.Body.(interface{ Buffered() int })
		return ok && b.Buffered() > 0
	}
	cork := func() {}
	if nc := connOf(c.r); nc != nil && c.r.ProtoMajor == 1 && ready() {
		// net/http's buffer is smaller than many answers: one write, not two.
		nc.Cork()
		defer func() { _ = nc.Uncork() }()
		cork = nc.Cork
	}
	stall := c.stall(rc)
	defer stall.last()
	push := func() error {
		stall.begin()
		defer stall.end()
		if err := rc.Flush(); err != nil {
			return err
		}
		if nc := connOf(c.r); nc != nil {
			return nc.Uncork()
		}
		return nil
	}
	c.w.WriteHeader(res.StatusCode)
	if res.ContentLength == 0 || c.r.Method == http.MethodHead {
		return nil
	}
	if !ready() {
		if err := push(); err != nil { // the head does not wait for the body
			return err
		}
	}
	for {
		n, err := res.Body.Read(buf[:])
		if n > 0 {
			stall.begin()
			_, werr := c.w.Write(buf[:n])
			stall.end()
			if werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			if res.ContentLength > 0 {
				return push()
			}
			return nil
		}
		if err != nil {
			return err
		}
		if !ready() {
			if ferr := push(); ferr != nil {
				return ferr
			}
			if n == copySize {
				cork()
			}
		}
	}
}

// stall ends an answer by HTTP/2 or 3 of which the visitor takes nothing: its connection
// may be alive and well. With HTTP/1 conn does that.
type stall struct {
	rc    *http.ResponseController
	after time.Duration
	t     *time.Timer

	mu sync.Mutex
	on bool
}

// stall is nil, and does nothing, for HTTP/1.
func (c *call) stall(rc *http.ResponseController) *stall {
	if c.r.ProtoMajor < 2 {
		return nil
	}
	return &stall{rc: rc, after: c.edge.o.Progress}
}

// begin and end stand around what may block.
func (s *stall) begin() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = true
	if s.t == nil {
		s.t = time.AfterFunc(s.after, s.reset)
	} else {
		s.t.Reset(s.after)
	}
}

func (s *stall) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = false
	s.t.Stop()
}

// reset holds mu, so that the answer is not over while it works on it.
func (s *stall) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on {
		_ = s.rc.SetWriteDeadline(time.Unix(1, 0))
	}
}

// last bounds what net/http still has to write.
func (s *stall) last() {
	if s != nil {
		_ = s.rc.SetWriteDeadline(time.Now().Add(s.after))
	}
}

// fail says why there is no answer.
func (c *call) fail(ctx context.Context, err error) {
	p := &bodyStalled // net/http takes such a visitor for gone
	if !c.stalled.Load() {
		if c.r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // the visitor has gone
		}
		p = problemOf(ctx, err)
	}
	c.upload.begun()
	c.edge.log.Debug("request failed", "id", c.id, "host", c.host, "code", p.Code, "err", err)
	c.refuse(p)
}
