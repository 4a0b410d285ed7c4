package edge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/relaytunnel/relay/internal/http1"
	"github.com/relaytunnel/relay/internal/pipe"
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
	if vb, ok := body.(*visitorBody); ok {
		defer vb.settle()
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

// body gives the body to send, and whether it can be sent once more after the
// agent was lost with the request in its hands.
func (c *call) body() (body io.ReadCloser, again func() bool, p *problem) {
	r := c.r
	never := func() bool { return false }
	safe := func() bool { return idempotent(r.Method) }
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil, safe, nil
	}
	rc := http.NewResponseController(c.w)
	if r.ContentLength > 0 && r.ContentLength <= bufferedBody && r.Header["Expect"] == nil {
		b := make([]byte, r.ContentLength)
		_ = rc.SetReadDeadline(time.Now().Add(c.edge.o.Progress))
		if _, err := io.ReadFull(r.Body, b); err != nil {
			return nil, never, bodyProblem(err)
		}
		_ = rc.SetReadDeadline(time.Time{})
		return &memoryBody{b: b}, safe, nil
	}
	if r.ProtoMajor == 1 {
		// Else net/http closes the body when the answer begins, and the rest of
		// the exchange with it.
		_ = rc.EnableFullDuplex()
		if r.ContentLength < 0 {
			// A head with both Transfer-Encoding and Content-Length looks the same
			// from here: end the connection, as RFC 9112, 6.1 wants for it.
			c.w.Header()["Connection"] = []string{"close"}
		}
	}
	return &visitorBody{c: c, rc: rc, announced: maps.Clone(r.Trailer)}, never, nil
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// memoryBody is a body that was read before.
type memoryBody struct {
	b  []byte
	r  bytes.Reader
	on bool
}

// Bytes lets http1 take the body as a whole.
func (m *memoryBody) Bytes() []byte { return m.b }

func (m *memoryBody) Read(p []byte) (int, error) {
	if !m.on {
		m.r.Reset(m.b)
		m.on = true
	}
	return m.r.Read(p)
}

// Close makes the body ready to be read again.
func (m *memoryBody) Close() error {
	m.on = false
	return nil
}

// visitorBody is a body that is still arriving.
type visitorBody struct {
	c         *call
	rc        *http.ResponseController
	announced http.Header // trailer fields

	mu       sync.Mutex
	answered bool
	aborted  bool
	complete bool      // all of it was read
	set      time.Time // when the read deadline was last set
}

// Read reads from the visitor, who must get on within Options.Progress. Once the
// answer has begun, silence may be part of the conversation.
func (b *visitorBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if !b.aborted && !b.answered {
		if now := time.Now(); now.Sub(b.set) > b.c.edge.o.Progress/8 {
			b.set = now
			_ = b.rc.SetReadDeadline(now.Add(b.c.edge.o.Progress))
		}
	}
	b.mu.Unlock()
	n, err := b.c.r.Body.Read(p)
	if err == nil {
		return n, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case errors.Is(err, io.EOF):
		b.complete = true
		b.dropUnannounced()
	case errors.Is(err, os.ErrDeadlineExceeded) && !b.aborted:
		b.c.stalled.Store(true)
	}
	return n, err
}

// settle is called when nobody reads the body any more. What was not read of it
// must not be taken for the next request.
func (b *visitorBody) settle() {
	if nc := connOf(b.c.r); nc != nil && b.c.r.ProtoMajor == 1 && !b.complete {
		nc.spoil()
	}
}

// dropUnannounced takes away the trailer fields that the head did not promise:
// what is announced was there to be checked (RFC 9110, 6.5.1).
func (b *visitorBody) dropUnannounced() {
	for k := range b.c.r.Trailer {
		if _, ok := b.announced[k]; !ok {
			delete(b.c.r.Trailer, k)
		}
	}
}

func (b *visitorBody) begun() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered = true
	if !b.aborted {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
}

// Abort makes a Read that waits return; the connection is not used again.
func (b *visitorBody) Abort() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.aborted = true
	_ = b.rc.SetReadDeadline(time.Unix(1, 0))
}

// Close does nothing: net/http closes the visitor's body.
func (b *visitorBody) Close() error { return nil }

// bodyProblem tells why a visitor's body could not be read; nil when there is
// nobody left to tell.
func bodyProblem(err error) *problem {
	var max *http.MaxBytesError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &bodyStalled
	case errors.As(err, &max):
		return &problem{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: "The body of the request is too large.", Close: true}
	}
	return &badBody
}

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
	if vb, ok := res.Request.Body.(*visitorBody); ok {
		vb.begun()
	}
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
	c.edge.log.Debug("request failed", "id", c.id, "host", c.host, "code", p.Code, "err", err)
	c.refuse(p)
}

// switchProtocols hands the visitor's connection over after a 101.
func (c *call) switchProtocols(res *http.Response) {
	up, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		c.refuse(&badAnswer)
		return
	}
	nc, brw, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		_ = up.Close()
		c.refuse(&badAnswer)
		return
	}
	h := http.Header{}
	up101 := res.Header["Upgrade"]
	c.answerHeader(h, res)
	if h["Content-Type"] == nil {
		delete(h, "Content-Type")
	}
	h["Connection"] = []string{"Upgrade"}
	h["Upgrade"] = up101
	head := bytes.NewBufferString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(head)
	head.WriteString("\r\n")
	if _, err := nc.Write(head.Bytes()); err != nil {
		_ = nc.Close()
		_ = up.Close()
		return
	}
	// net/http's context ends with this handler, and would with the server's
	// Shutdown not end at all: the tunnel's end ends the conversation.
	_, _, err = pipe.Join(context.WithoutCancel(c.r.Context()), newHijacked(nc, brw.Reader), up)
	if err != nil {
		c.edge.log.Debug("upgraded connection broke off", "id", c.id, "host", c.host, "err", err)
	}
}

// hijacked is a visitor's connection with what net/http had read ahead.
type hijacked struct {
	net.Conn
	ahead []byte
}

// newHijacked takes what was read ahead. net/http's reader is not used any
// further: at the end of what the visitor sends it would end the request's
// context, and with it the way back.
func newHijacked(c net.Conn, r *bufio.Reader) *hijacked {
	ahead, _ := r.Peek(r.Buffered())
	return &hijacked{Conn: c, ahead: bytes.Clone(ahead)}
}

func (h *hijacked) Read(p []byte) (int, error) {
	if len(h.ahead) == 0 {
		return h.Conn.Read(p)
	}
	n := copy(p, h.ahead)
	h.ahead = h.ahead[n:]
	return n, nil
}

// CloseWrite ends the direction to the visitor.
func (h *hijacked) CloseWrite() error {
	if cw, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return h.Close()
}
