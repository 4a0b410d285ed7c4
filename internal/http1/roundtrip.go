package http1

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"time"
)

// expectWait is how long a request with Expect: 100-continue waits for a word
// from the other end before its body is sent all the same.
const expectWait = time.Second

// RoundTrip runs one exchange.
//
// As in requests that a server has read, a ContentLength of 0 means no body, and
// -1 one of unknown length. RequestURI, when set, is sent as the target, byte for
// byte. Header is sent as
// it is, except for the fields that frame the message. A "Connection: Upgrade"
// in it asks for an upgrade; the Body of a 101 answer is an io.ReadWriteCloser
// with CloseWrite. Interim answers go to httptrace's Got1xxResponse.
//
// The answer may come while the request body is still being sent. Closing the
// answer's Body ends the exchange: if it was not complete in both directions the
// connection is closed. Close waits until the request body is no longer read,
// so where its Read may block, Body has a method Abort that makes it return.
//
// A Body that has a method Bytes is taken from there, if it is small.
//
// A *DialError says that nothing was sent, a *BodyError that the request body
// was at fault, a *BadAnswerError that the answer was.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	x := &exchange{pool: p, req: req}
	hasBody := req.Body != nil && req.Body != http.NoBody && req.ContentLength != 0
	x.upgrade = req.Header["Upgrade"] != nil && hasToken(req.Header["Connection"], "upgrade")
	expect := hasBody && req.Header["Expect"] != nil && hasToken(req.Header["Expect"], "100-continue")

	out := buffers.Get().(*[]byte)
	defer buffers.Put(out)
	head, err := appendRequestHead((*out)[:0], req, hasBody)
	if err != nil {
		x.closeRequestBody()
		return nil, err
	}
	stream := hasBody
	if hasBody && !expect && req.ContentLength > 0 && req.ContentLength <= smallBody {
		// Small bodies leave with the head, from this goroutine.
		n := len(head)
		if cap(head) < n+int(req.ContentLength) {
			head = append(make([]byte, 0, n+int(req.ContentLength)), head...)
		}
		head = head[:n+int(req.ContentLength)]
		if b, ok := req.Body.(interface{ Bytes() []byte }); ok {
			// What a short one does not fill was another request's.
			if copy(head[n:], b.Bytes()) < len(head)-n {
				err = io.ErrUnexpectedEOF
			}
		} else {
			_, err = io.ReadFull(req.Body, head[n:])
		}
		if err != nil {
			x.closeRequestBody()
			return nil, &BodyError{err}
		}
		stream = false
	}
	*out = head[:0]

	idempotent := isIdempotent(req)
	for try := 0; ; try++ {
		c, err := p.get(req.Context(), !idempotent || stream)
		if err != nil {
			x.closeRequestBody()
			return nil, err
		}
		x.conn = c
		res, err := x.run(head, stream, expect)
		if err == nil {
			return res, nil
		}
		// A kept connection that the other end was just closing: once more, on
		// the same terms, if nothing came back, nothing is lost and doing it
		// twice does no harm (RFC 9110, 9.2.2).
		if try == 0 && c.reused && !x.heard && !stream && (idempotent || x.unsent) && req.Context().Err() == nil {
			*x = exchange{pool: p, req: req, upgrade: x.upgrade}
			continue
		}
		return nil, err
	}
}

// WithInterim returns a context for a request whose interim answers (103, not
// 100) go to f. It must be the request's own context, not a parent of it.
func WithInterim(ctx context.Context, f func(status int, h http.Header) error) context.Context {
	return &interimContext{ctx, f}
}

// Interim gives an interim answer to what WithInterim has put into ctx, if anything.
func Interim(ctx context.Context, status int, h http.Header) error {
	if ic, ok := ctx.(*interimContext); ok {
		return ic.f(status, h)
	}
	return nil
}

type interimContext struct {
	context.Context
	f func(status int, h http.Header) error
}

func isIdempotent(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// exchange is the state of one request and its answer.
type exchange struct {
	pool    *Pool
	req     *http.Request
	conn    *conn
	upgrade bool
	heard   bool // something of the answer came
	unsent  bool // the request could not be written

	stop func() bool // ends the watch on the context

	// Set when the request body is sent by a goroutine of its own.
	sender   chan error
	sendErr  error
	sendDone bool
	goOn     chan bool // the verdict on Expect: send the body or not
}

// run sends the request and reads the head of the answer. On error the
// connection is closed.
func (x *exchange) run(head []byte, stream, expect bool) (*http.Response, error) {
	ctx := x.req.Context()
	c := x.conn
	if ctx.Done() != nil {
		x.stop = context.AfterFunc(ctx, func() { abort(c.Conn) })
	}
	if _, err := c.Write(head); err != nil {
		x.unsent = true
		// The other end may have answered and closed without reading: look.
		if c.reused || !answered(c) {
			return nil, x.fail(err)
		}
	}
	if stream {
		x.send(expect)
	}
	res, err := x.readAnswer(expect)
	if err != nil {
		return nil, x.fail(err)
	}
	return res, nil
}

// answered waits a moment for an answer that came in spite of a failed write.
func answered(c *conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, err := c.br.Peek(1)
	_ = c.SetReadDeadline(time.Time{})
	return err == nil
}

// send starts the goroutine that sends the request body.
func (x *exchange) send(expect bool) {
	x.sender = make(chan error, 1)
	if expect {
		x.goOn = make(chan bool, 1)
	}
	goOn, sender, c, req := x.goOn, x.sender, x.conn, x.req
	go func() {
		if goOn != nil {
			t := time.NewTimer(expectWait)
			defer t.Stop()
			select {
			case ok := <-goOn:
				if !ok {
					sender <- errNotSent
					return
				}
			case <-t.C:
			}
		}
		err := writeBody(c, req.Body, req.ContentLength, func() http.Header { return req.Trailer })
		sender <- err // first: who is woken by the abort asks why
		var be *BodyError
		if errors.As(err, &be) {
			// The answer would be waited for in vain.
			abort(c.Conn)
		}
	}()
}

var errNotSent = errors.New("the request body was not sent")

// readAnswer reads interim answers and the head of the final one.
func (x *exchange) readAnswer(expect bool) (*http.Response, error) {
	c, req := x.conn, x.req
	interim, interimBytes := 0, 0
	for {
		if _, err := c.br.Peek(1); err != nil {
			return nil, err
		}
		x.heard = true
		head, err := readHead(c.br, MaxHead)
		if err != nil {
			return nil, err
		}
		line, fields, _ := strings.Cut(head, "\n")
		status, minor, reason, err := parseStatus(line)
		if err != nil {
			return nil, err
		}
		h, err := parseFields(fields)
		if err != nil {
			return nil, err
		}
		if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
			interim++
			if interimBytes += len(head); interim > max1xx || interimBytes > max1xxBytes {
				return nil, badAnswer("more than %d interim answers", max1xx)
			}
			if _, err := parseFraming(h); err != nil {
				return nil, err
			}
			if status == http.StatusContinue {
				if expect {
					x.proceed(true)
				}
				continue
			}
			if ic, ok := req.Context().(*interimContext); ok {
				if err := ic.f(status, h); err != nil {
					return nil, err
				}
			} else if t := httptrace.ContextClientTrace(req.Context()); t != nil && t.Got1xxResponse != nil {
				if err := t.Got1xxResponse(status, textproto.MIMEHeader(h)); err != nil {
					return nil, err
				}
			}
			continue
		}
		x.proceed(false)
		return x.answer(status, minor, reason, h)
	}
}

func (x *exchange) proceed(ok bool) {
	if x.goOn != nil {
		select {
		case x.goOn <- ok:
		default:
		}
	}
}

// answer makes the response of a final head.
func (x *exchange) answer(status, minor int, reason string, h http.Header) (*http.Response, error) {
	c, req := x.conn, x.req
	res := &http.Response{
		Status: reason, StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: minor,
		Header: h, Request: req,
	}
	if status == http.StatusSwitchingProtocols {
		if !x.upgrade || !sameUpgrade(req.Header, h) {
			return nil, badAnswer("101 Switching Protocols that was not asked for")
		}
		res.ContentLength = -1
		res.Body = &upgraded{x: x, conn: c}
		return res, nil
	}
	f, err := parseFraming(h)
	if err != nil {
		return nil, err
	}
	if x.pool.Agent && status == StatusFailed {
		return nil, x.failed(h, f)
	}
	if status > 599 {
		return nil, badAnswer("status %d", status)
	}
	keep := minor == 1 && !hasToken(h["Connection"], "close") || minor == 0 && hasToken(h["Connection"], "keep-alive")
	if minor == 0 && f.chunked {
		return nil, badAnswer("Transfer-Encoding in HTTP/1.0")
	}
	b := &body{x: x, keep: keep}
	res.Body = b
	switch {
	case bodyless(req.Method, status):
		res.ContentLength = f.length
		if status == http.StatusNoContent && (f.chunked || f.length > 0) {
			b.keep = false // it says that a body follows: what does is nobody's
		}
		b.r = newBody(c.br, framing{}, nil)
	case !f.chunked && f.length < 0:
		b.keep = false
		res.ContentLength = -1
		b.r = newBody(c.br, f, nil)
	default:
		res.ContentLength = f.length
		b.r = newBody(c.br, f, &res.Trailer)
	}
	if f.chunked {
		res.TransferEncoding = []string{"chunked"}
		declareTrailers(res, h)
	}
	if b.r.done {
		b.finish()
	}
	return res, nil
}

// declareTrailers lists the announced trailer fields, as net/http does.
func declareTrailers(res *http.Response, h http.Header) {
	for _, v := range h["Trailer"] {
		for _, name := range strings.Split(v, ",") {
			key, ok := canonical(strings.Trim(name, " \t"))
			if !ok || !trailerAllowed(key) {
				continue
			}
			if res.Trailer == nil {
				res.Trailer = http.Header{}
			}
			res.Trailer[key] = nil
		}
	}
}

func sameUpgrade(asked, given http.Header) bool {
	want, got := asked.Get("Upgrade"), given.Get("Upgrade")
	return want != "" && strings.EqualFold(want, got) && hasToken(given["Connection"], "upgrade")
}

// failed reads an answer that the agent made.
func (x *exchange) failed(h http.Header, f framing) error {
	msg, _ := io.ReadAll(io.LimitReader(newBody(x.conn.br, f, nil), 4<<10))
	return &Failed{Code: h.Get(FailedHeader), Message: string(msg)}
}

// fail closes everything and says what was to blame.
func (x *exchange) fail(err error) error {
	x.unwatch()
	_ = x.conn.Close()
	x.closeRequestBody()
	if x.sendErr != nil {
		var be *BodyError
		if errors.As(x.sendErr, &be) {
			return x.sendErr
		}
	}
	if cerr := x.req.Context().Err(); cerr != nil {
		return cerr
	}
	if errors.Is(err, io.EOF) {
		if x.heard {
			return errTruncated
		}
		return errNoAnswer
	}
	return err
}

var errNoAnswer = errors.New("the connection was closed without an answer")

func (x *exchange) unwatch() {
	if x.stop != nil {
		x.stop()
		x.stop = nil
	}
}

// closeRequestBody ends the sending goroutine, if there is one, and closes the
// request body.
func (x *exchange) closeRequestBody() {
	if x.sender != nil && !x.sendDone {
		x.proceed(false)
		select {
		case x.sendErr = <-x.sender:
		default:
			if a, ok := x.req.Body.(interface{ Abort() }); ok {
				a.Abort()
			}
			<-x.sender //nolint:errcheck // whatever it says: it was told to stop
			x.sendErr = errNotSent
		}
		x.sendDone = true
	}
	if x.req.Body != nil {
		_ = x.req.Body.Close()
	}
}

// sent tells whether the whole request has left.
func (x *exchange) sent() bool {
	if x.sender == nil {
		return !x.unsent
	}
	if !x.sendDone {
		select {
		case x.sendErr = <-x.sender:
			x.sendDone = true
		default:
			return false
		}
	}
	return x.sendErr == nil
}
