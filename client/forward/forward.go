// Package forward hands the connections of a listener to a local service.
package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/http1"
	"github.com/relaytunnel/relay/internal/pipe"
)

// Options say where requests go and how.
type Options struct {
	// Addr is the local service, host:port.
	Addr string
	// H2C is set when the service speaks HTTP/2 without TLS, as gRPC servers do.
	H2C bool
	// OnExchange is told of each request when it is over; it must not block. When
	// it and Recorder are nil, and the service speaks HTTP/1.1, bytes are spliced and
	// nothing on this side looks at them.
	OnExchange func(Exchange)
	// Recorder keeps copies of what passes; nil keeps none.
	Recorder *capture.Recorder
	Log      *slog.Logger
}

// Exchange is one request and its answer, in short.
type Exchange struct {
	ID       string // the Relay-Request-Id
	Time     time.Time
	Method   string
	Path     string // with the query, as the visitor sent it
	Host     string
	Status   int // 0 when there was no answer
	Duration time.Duration
	Bytes    int64 // of the answer's body
	Visitor  string
	Err      error
}

// HTTP serves the requests on ln's connections from the local service, until ln
// is closed. It waits for the requests in flight, which ctx ends.
func HTTP(ctx context.Context, ln net.Listener, o Options) error {
	f := New(o)
	defer f.Close()
	return f.Serve(ctx, ln)
}

// Serve is HTTP, but leaves f open.
func (f *Forwarder) Serve(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		wg.Go(func() { f.serve(ctx, c) })
	}
}

// A Forwarder carries requests to one local service.
type Forwarder struct {
	o     Options
	log   *slog.Logger
	pool  http1.Pool
	h2c   *http.Transport
	parse http1.Server
}

// New makes a Forwarder. Who made it closes it.
func New(o Options) *Forwarder {
	f := &Forwarder{o: o, log: o.Log}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.pool.Dial = f.dial
	f.parse = http1.Server{Handle: f.handle, Join: join}
	if o.H2C {
		var p http.Protocols
		p.SetUnencryptedHTTP2(true)
		f.h2c = &http.Transport{
			Protocols:          &p,
			DisableCompression: true,
			DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return f.dial(ctx) },
		}
	}
	return f
}

// Addr is host:port of the service.
func (f *Forwarder) Addr() string { return f.o.Addr }

// Close lets go of the connections that are kept. Nothing may be under way any more.
func (f *Forwarder) Close() {
	f.pool.Close()
	if f.h2c != nil {
		f.h2c.CloseIdleConnections()
	}
}

func (f *Forwarder) serve(ctx context.Context, c net.Conn) {
	var err error
	if f.o.OnExchange == nil && f.o.Recorder == nil && !f.o.H2C {
		err = f.splice(ctx, c)
	} else {
		err = f.parse.Serve(ctx, c)
	}
	if err != nil && ctx.Err() == nil {
		f.log.Debug("stream ended", "err", err)
	}
}

// splice joins the stream to a connection of its own.
func (f *Forwarder) splice(ctx context.Context, c net.Conn) error {
	local, err := f.dial(ctx)
	if err != nil {
		return http1.Refuse(c, f.failed(err))
	}
	_, _, err = pipe.Join(ctx, c, local)
	return err
}

func join(ctx context.Context, a, b io.ReadWriteCloser) error {
	_, _, err := pipe.Join(ctx, a, b)
	return err
}

// dialTimeout bounds the connect to a local service.
const dialTimeout = 10 * time.Second

// dial connects to the service. localhost is tried as both of its addresses:
// services listen on either.
func (f *Forwarder) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	host, port, err := net.SplitHostPort(f.o.Addr)
	if err != nil || host != "localhost" {
		return d.DialContext(ctx, "tcp", f.o.Addr)
	}
	c, err := d.DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", port))
	if err == nil {
		return c, nil
	}
	if c, err6 := d.DialContext(ctx, "tcp6", net.JoinHostPort("::1", port)); err6 == nil {
		return c, nil
	}
	return nil, err
}

// handle answers one request.
func (f *Forwarder) handle(req *http.Request) (*http.Response, error) {
	return f.exchange(req, f.o.Recorder.Begin(req, f.o.Addr, ""))
}

// exchange carries one request, and lets tap, if there is one, see what passes.
func (f *Forwarder) exchange(req *http.Request, tap *capture.Tap) (*http.Response, error) {
	began := time.Now()
	req.Body = tap.RequestBody(req.Body, req.ContentLength, func() http.Header { return req.Trailer })
	x := Exchange{
		ID: req.Header.Get("Relay-Request-Id"), Time: began, Method: req.Method, Path: req.RequestURI, Host: req.Host,
		Visitor: req.Header.Get("X-Forwarded-For"),
	}
	res, err := f.roundTrip(req)
	if err != nil {
		x.Duration = time.Since(began)
		if req.Context().Err() != nil {
			x.Err = errLeft
			tap.End(x.Err)
			f.tell(x)
			return nil, req.Context().Err()
		}
		failed := f.failed(err)
		x.Err = failed
		tap.End(failed)
		f.tell(x)
		return nil, failed
	}
	x.Status = res.StatusCode
	if f.o.OnExchange == nil && tap == nil {
		return res, nil
	}
	tap.Response(res)
	if res.StatusCode == http.StatusSwitchingProtocols {
		x.Duration = time.Since(began)
		f.tell(x)
		return res, nil
	}
	whole := res.ContentLength == 0 || req.Method == http.MethodHead ||
		res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	res.Body = &countedBody{ReadCloser: res.Body, whole: whole, done: func(n int64, whole bool, err error) {
		if !whole && n != res.ContentLength && (err == nil || req.Context().Err() != nil) {
			err = errLeft // nobody took the rest
		}
		x.Bytes, x.Err, x.Duration = n, err, time.Since(began)
		tap.End(err)
		f.tell(x)
	}}
	return res, nil
}

// errLeft is told of an exchange that its visitor did not wait for.
var errLeft = errors.New("the visitor left")

func (f *Forwarder) tell(x Exchange) {
	if f.o.OnExchange != nil {
		f.o.OnExchange(x)
	}
}

func (f *Forwarder) roundTrip(req *http.Request) (*http.Response, error) {
	if f.h2c == nil {
		return f.pool.RoundTrip(req)
	}
	return f.roundTripH2C(req)
}

// failed puts a failure into the words that the visitor and the user get.
func (f *Forwarder) failed(err error) *http1.Failed {
	var (
		dial *http1.DialError
		bad  *http1.BadAnswerError
	)
	if errors.As(err, &bad) {
		return &http1.Failed{Code: "upstream_invalid", Message: fmt.Sprintf("The app on %s did not answer with valid HTTP: %s.", f.o.Addr, bad.Reason)}
	}
	cause := err
	var op *net.OpError
	isDial := errors.As(err, &dial) || errors.As(err, &op) && op.Op == "dial"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &http1.Failed{Code: "upstream_refused", Message: fmt.Sprintf("Nothing listens on %s: start the app, or check the port.", f.o.Addr)}
	case isDial && errors.Is(err, os.ErrDeadlineExceeded):
		return &http1.Failed{Code: "upstream_unreachable", Message: fmt.Sprintf("%s did not accept a connection within %v.", f.o.Addr, dialTimeout)}
	case isDial:
		return &http1.Failed{Code: "upstream_unreachable", Message: fmt.Sprintf("%s cannot be reached: %v.", f.o.Addr, cause)}
	}
	return &http1.Failed{Code: "upstream_failed", Message: fmt.Sprintf("The app on %s closed the connection without a complete answer.", f.o.Addr)}
}

// countedBody tells how much was read when it is closed.
type countedBody struct {
	io.ReadCloser
	n     int64
	err   error
	whole bool // read to its end, or has none
	done  func(n int64, whole bool, err error)
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		b.whole = true
	case err != nil:
		b.err = err
	}
	return n, err
}

// Buffered is that of the body underneath.
func (b *countedBody) Buffered() int {
	if f, ok := b.ReadCloser.(interface{ Buffered() int }); ok {
		return f.Buffered()
	}
	return 0
}

func (b *countedBody) Close() error {
	err := b.ReadCloser.Close()
	if b.done != nil {
		b.done(b.n, b.whole, b.err)
		b.done = nil
	}
	return err
}
