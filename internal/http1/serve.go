package http1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Handler answers one request. The answer's body is closed by Serve. An error
// becomes an answer with StatusFailed: give a *Failed to name code and sentence.
type Handler func(*http.Request) (*http.Response, error)

// Server answers requests on connections.
type Server struct {
	Handle Handler
	// Join carries bytes both ways after a 101, and closes both sides.
	Join func(ctx context.Context, a, b io.ReadWriteCloser) error
}

// Serve answers the requests that come on c, one after another, until the other
// end closes or an exchange was not complete. It closes c. ctx is the parent of
// the requests' contexts; each ends when the other end breaks the stream off.
//
// A request has RequestURI, Method, Host, Header, Body, ContentLength and Trailer
// set, and a URL where the target can be parsed.
func (srv *Server) Serve(ctx context.Context, c net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s, ok := c.(interface{ OnReset(func()) }); ok {
		s.OnReset(cancel)
	}
	s := &serving{Server: srv, conn: c, br: bufio.NewReaderSize(c, readSize)}
	for {
		more, err := s.exchange(ctx)
		if err != nil {
			abort(c)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if !more {
			return linger(c)
		}
		if r, ok := c.(interface{ Rest() }); ok {
			r.Rest()
		}
	}
}

// lingerFor is how long the other end may take to see the end of an answer.
const lingerFor = 10 * time.Second

// linger closes a connection so that what was written last is still read: a
// close that the other end has not answered would break it off.
func linger(c net.Conn) error {
	if err := closeWrite(c); err != nil {
		return c.Close()
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerFor))
	_, _ = io.Copy(io.Discard, c)
	return c.Close()
}

// Refuse answers whatever request comes on c with f, without reading it, and
// closes c.
func Refuse(c net.Conn, f *Failed) error {
	s := &serving{conn: c}
	if err := s.writeFailed(f); err != nil {
		return c.Close()
	}
	return linger(c)
}

// serving is one connection that is served.
type serving struct {
	*Server
	conn net.Conn
	br   *bufio.Reader
}

// exchange reads a request and writes its answer. more is true when the
// connection is clean for another. After an error nothing more can be said on it.
func (s *serving) exchange(ctx context.Context) (more bool, err error) {
	req, body, err := s.readRequest(ctx)
	if err != nil {
		return false, err
	}
	res, err := s.Handle(req)
	body.begun()
	if err != nil {
		return false, s.writeFailed(err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return false, s.switchProtocols(ctx, res)
	}
	complete, err := s.writeAnswer(req, res)
	if err != nil {
		_ = res.Body.Close()
		return false, err
	}
	// Close first: it waits until nobody reads the request body any more.
	_ = res.Body.Close()
	return complete && body.finished() && !res.Close, nil
}

// requestBody is the body of a request; it sends 100 Continue at the first read
// where that was asked for.
type requestBody struct {
	s *serving
	r *bodyReader

	mu      sync.Mutex
	expect  bool // 100 Continue is to be sent
	aborted bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	if err := b.goOn(); err != nil {
		return 0, err
	}
	return b.r.Read(p)
}

func (b *requestBody) goOn() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.expect {
		return nil
	}
	b.expect = false
	_, err := io.WriteString(b.s.conn, "HTTP/1.1 100 Continue\r\n\r\n")
	return err
}

// begun is called before the answer is written: from then on a 100 would be taken
// for a part of it.
func (b *requestBody) begun() {
	b.mu.Lock()
	b.expect = false
	b.mu.Unlock()
}

// Abort makes a Read that waits return.
func (b *requestBody) Abort() {
	b.mu.Lock()
	b.aborted = true
	b.mu.Unlock()
	_ = b.s.conn.SetReadDeadline(time.Unix(1, 0))
}

// Close does nothing: Serve knows from finished whether to go on.
func (b *requestBody) Close() error { return nil }

// finished tells whether the body was read to its end. Nobody reads it any more.
func (b *requestBody) finished() bool {
	if !b.r.done || b.r.err != nil {
		return false
	}
	if b.aborted { // too late to matter
		_ = b.s.conn.SetReadDeadline(time.Time{})
	}
	return true
}

// readRequest reads a head. io.EOF means that there is no further request.
func (s *serving) readRequest(ctx context.Context) (*http.Request, *requestBody, error) {
	head, err := readHead(s.br, MaxHead)
	if err != nil {
		return nil, nil, err
	}
	line, fields, _ := strings.Cut(head, "\n")
	method, target, minor, err := parseRequestLine(line)
	if err != nil {
		return nil, nil, err
	}
	if minor != 1 { // nobody asks that way here, and it would be answered otherwise
		return nil, nil, badAnswer("HTTP/1.%d", minor)
	}
	h, err := parseFields(fields)
	if err != nil {
		return nil, nil, err
	}
	hosts := h["Host"]
	if len(hosts) != 1 {
		return nil, nil, badAnswer("%d Host fields", len(hosts))
	}
	f, err := parseFraming(h)
	if err != nil {
		return nil, nil, err
	}
	if !f.chunked && f.length < 0 {
		f.length = 0
	}
	u, err := url.ParseRequestURI(target)
	if err != nil { // not every byte of a target fits a URL; RequestURI has them all
		u = &url.URL{Path: target}
	}
	delete(h, "Host")
	// Interim answers of the service go straight on.
	req := (&http.Request{
		Method: method, RequestURI: target, URL: u, Host: hosts[0], Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: minor,
		ContentLength: f.length, RemoteAddr: s.conn.RemoteAddr().String(),
	}).WithContext(WithInterim(ctx, s.write1xx))
	body := &requestBody{s: s, expect: hasToken(h["Expect"], "100-continue")}
	body.r = newBody(s.br, f, &req.Trailer)
	if f.chunked {
		req.TransferEncoding = []string{"chunked"}
		req.ContentLength = -1
		req.Trailer = trailerNames(h)
	}
	if body.r.done {
		req.Body = http.NoBody
	} else {
		req.Body = body
	}
	return req, body, nil
}

func trailerNames(h http.Header) http.Header {
	var t http.Header
	for _, v := range h["Trailer"] {
		for _, name := range strings.Split(v, ",") {
			if key, ok := canonical(strings.Trim(name, " \t")); ok && trailerAllowed(key) {
				if t == nil {
					t = http.Header{}
				}
				t[key] = nil
			}
		}
	}
	return t
}

func (s *serving) write1xx(code int, h http.Header) error {
	b := append([]byte(nil), "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(code)...)
	b = append(b, "\r\n"...)
	b, err := appendFields(b, h)
	if err != nil {
		return err
	}
	_, err = s.conn.Write(append(b, "\r\n"...))
	return err
}

// writeFailed tells the server that the local service gave no answer.
func (s *serving) writeFailed(err error) error {
	f := &Failed{Code: "upstream_failed", Message: err.Error()}
	errors.As(err, &f)
	b := append([]byte(nil), "HTTP/1.1 900 Relay\r\nConnection: close\r\n"...)
	b = append(b, FailedHeader+": "...)
	b = append(b, f.Code...)
	b = append(b, "\r\n"...)
	b = appendLength(b, int64(len(f.Message)))
	b = append(b, "\r\n"...)
	b = append(b, f.Message...)
	_, werr := s.conn.Write(b)
	return werr
}

// writeAnswer writes res. complete is false when the other end must learn by the
// end of the connection that nothing follows.
func (s *serving) writeAnswer(req *http.Request, res *http.Response) (complete bool, err error) {
	out := buffers.Get().(*[]byte)
	defer buffers.Put(out)
	b := (*out)[:0]
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(res.StatusCode), 10)
	b = append(b, ' ')
	b = append(b, reasonOf(res)...)
	b = append(b, "\r\n"...)
	b, err = appendFields(b, res.Header)
	if err != nil {
		return false, err
	}
	none := bodyless(req.Method, res.StatusCode)
	chunked := false
	switch {
	case none:
		// What the service said about the body it does not send.
		for _, v := range res.Header["Content-Length"] {
			b = append(b, "Content-Length: "...)
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	case res.ContentLength >= 0:
		b = appendLength(b, res.ContentLength)
	default:
		chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		b = appendTrailerNames(b, res.Trailer)
	}
	b = append(b, "\r\n"...)
	if none || res.ContentLength == 0 {
		_, err = s.conn.Write(b)
		*out = b[:0]
		return true, err
	}
	// What is there of a body of known length leaves with the head.
	left := res.ContentLength
	if bf, ok := res.Body.(interface{ Buffered() int }); ok && !chunked && bf.Buffered() > 0 {
		room := b[len(b):cap(b)]
		n, rerr := res.Body.Read(room[:min(int64(len(room)), left)])
		b = b[:len(b)+n]
		left -= int64(n)
		if rerr != nil && !errors.Is(rerr, io.EOF) {
			return false, rerr
		}
	}
	_, err = s.conn.Write(b)
	*out = b[:0]
	if err != nil {
		return false, err
	}
	switch {
	case chunked:
		err = writeBody(s.conn, res.Body, -1, func() http.Header { return res.Trailer })
	case left > 0:
		err = writeBody(s.conn, res.Body, left, nil)
	}
	return err == nil, err
}

func reasonOf(res *http.Response) string {
	reason := strings.TrimPrefix(res.Status, strconv.Itoa(res.StatusCode)+" ")
	if reason == "" || !safe(reason) {
		return http.StatusText(res.StatusCode)
	}
	return reason
}

// switchProtocols sends the 101 and joins the two connections.
func (s *serving) switchProtocols(ctx context.Context, res *http.Response) error {
	up, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		_ = res.Body.Close()
		return badAnswer("101 without a connection")
	}
	b := append([]byte(nil), "HTTP/1.1 101 Switching Protocols\r\n"...)
	b, err := appendFields(b, res.Header)
	if err == nil {
		_, err = s.conn.Write(append(b, "\r\n"...))
	}
	if err != nil {
		_ = up.Close()
		return err
	}
	return s.Join(ctx, upgradedServer{s}, up)
}

// upgradedServer is a served connection after a 101.
type upgradedServer struct{ s *serving }

func (u upgradedServer) Read(p []byte) (int, error)  { return u.s.br.Read(p) }
func (u upgradedServer) Write(p []byte) (int, error) { return u.s.conn.Write(p) }
func (u upgradedServer) CloseWrite() error           { return closeWrite(u.s.conn) }
func (u upgradedServer) Abort()                      { abort(u.s.conn) }
func (u upgradedServer) Close() error                { return u.s.conn.Close() }
