package edge

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"sync"
	"time"
)

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

// begun is called before the head of the answer is written. b may be nil.
func (b *visitorBody) begun() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered = true
	if b.c.r.ProtoMajor == 1 && !b.complete {
		// settle may end the connection. A visitor who was not told could send the
		// next request on it already, and lose that.
		b.c.w.Header()["Connection"] = []string{"close"}
	}
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
