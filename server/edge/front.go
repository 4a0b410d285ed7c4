package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/relaytunnel/relay/internal/http1"
)

// Front stands before net/http and answers the requests that have nothing
// special about them from one goroutine: HTTP/1.1, plainly framed, with a small
// body or none, for a host with a live tunnel. That is most of the traffic, and
// it costs about two thirds of what net/http takes. Everything else is handed
// to net/http, connection and all, before a byte of the request was taken: what
// is doubtful meets the checks there. Both ways go through Edge.ServeHTTP.
//
// Front is the net.Listener that http.Server serves.
type Front struct {
	edge *Edge
	ln   *listener
	over chan net.Conn // to net/http

	closed    chan struct{} // nobody takes from over any more
	closeOnce sync.Once

	// ctx is the parent of all requests. It ends after the last of them.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	conns   map[*frontConn]struct{}
	closing bool
}

// NewFront wraps a listener. At most limit connections are open at a time, those
// of other listeners of the edge counted in. Run makes it live.
func NewFront(e *Edge, ln net.Listener, limit int) *Front {
	f := &Front{edge: e, ln: e.listener(ln, limit), over: make(chan net.Conn), closed: make(chan struct{}), conns: map[*frontConn]struct{}{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// Run accepts visitors until the listener is closed, and waits for them.
func (f *Front) Run() error {
	defer f.cancel()
	defer f.wg.Wait()
	for {
		c, err := f.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				continue
			}
			f.edge.log.Error("accept", "err", err)
			time.Sleep(50 * time.Millisecond) // out of files, most likely: net/http does the same
			continue
		}
		fc := &frontConn{conn: c.(*conn), front: f}
		f.mu.Lock()
		if f.closing {
			f.mu.Unlock()
			_ = c.Close()
			continue
		}
		f.conns[fc] = struct{}{}
		f.mu.Unlock()
		f.wg.Go(fc.serve)
	}
}

// Accept gives net/http the next connection that is its to serve.
func (f *Front) Accept() (net.Conn, error) {
	select {
	case c := <-f.over:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Addr is the listener's.
func (f *Front) Addr() net.Addr { return f.ln.Addr() }

// Close ends accepting; connections stay until Shutdown or their own end.
func (f *Front) Close() error {
	f.closeOnce.Do(func() { close(f.closed) })
	return f.ln.Close()
}

// Shutdown closes idle connections and waits for the others until ctx ends; then
// it closes them too.
func (f *Front) Shutdown(ctx context.Context) {
	_ = f.Close()
	f.mu.Lock()
	f.closing = true
	for c := range f.conns {
		if c.idle.Load() {
			_ = c.conn.Close()
		}
	}
	f.mu.Unlock()
	done := make(chan struct{})
	go func() {
		f.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	f.mu.Lock()
	for c := range f.conns {
		_ = c.conn.Close()
	}
	f.mu.Unlock()
	<-done
}

// frontConn is one visitor's connection.
type frontConn struct {
	*conn
	front *Front
	idle  atomic.Bool
	watch *time.Timer
	// looking tells that the watch is on.
	looking bool
	quick   quickWriter
}

const (
	// frontBuffer holds a head with a small body. A head that does not arrive at
	// once, or does not fit, is net/http's.
	frontBuffer = 8 << 10
	// watchAfter is how long a request may take before its visitor is looked
	// after: one who leaves must not keep the app working.
	watchAfter = 50 * time.Millisecond
)

var frontBuffers = sync.Pool{New: func() any { return new([frontBuffer]byte) }}

// serve answers simple requests and hands the connection over at the first that
// is not.
func (c *frontConn) serve() {
	buf := frontBuffers.Get().(*[frontBuffer]byte)
	defer frontBuffers.Put(buf)
	defer func() {
		c.front.mu.Lock()
		delete(c.front.conns, c)
		c.front.mu.Unlock()
	}()
	ctx, cancel := context.WithCancel(context.WithValue(c.front.ctx, connKey{}, c.conn))
	defer cancel()
	n := 0
	var deadline time.Time
	for first := true; ; first = false {
		if n == 0 {
			if now := time.Now(); first || c.quick.deadlined || now.Add(IdleTimeout-10*time.Second).After(deadline) {
				c.quick.deadlined = false
				wait := IdleTimeout
				if first {
					wait = HeaderTimeout
				}
				deadline = now.Add(wait)
				_ = c.SetReadDeadline(deadline)
			}
			c.idle.Store(true)
			m, err := c.Read(buf[:])
			c.idle.Store(false)
			if err != nil {
				_ = c.conn.Close()
				return
			}
			n = m
		}
		head, used, ok := http1.ParseSimple(buf[:n])
		if !ok || head.Length > bufferedBody || !c.front.edge.carries(head.Host) || c.front.isClosing() {
			_ = c.SetReadDeadline(time.Time{})
			c.hand(buf[:n])
			return
		}
		n = copy(buf[:], buf[used:n])
		keep, rest := c.answer(ctx, cancel, head, buf[:n])
		n = copy(buf[:], rest)
		if !keep {
			c.conn.spoil()
			_ = c.conn.Close()
			return
		}
	}
}

func (f *Front) isClosing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closing
}

// hand gives the connection to net/http, with what was read of it.
func (c *frontConn) hand(ahead []byte) {
	c.conn.ahead = append([]byte(nil), ahead...)
	select {
	case c.front.over <- c.conn:
	case <-c.front.closed:
		_ = c.conn.Close()
	}
}

// carries tells whether a host has a live tunnel, with nothing before it.
func (e *Edge) carries(host string) bool {
	canonical, err := canonicalHost(host)
	if err != nil {
		return false
	}
	t := e.o.Resolve(canonical)
	return t.Tunnel != nil && t.Inbox == nil
}

// answer runs one request. keep tells whether the connection may serve another;
// rest is what was read beyond this one.
func (c *frontConn) answer(ctx context.Context, cancel context.CancelFunc, head http1.Simple, read []byte) (keep bool, rest []byte) {
	u, err := url.ParseRequestURI(head.Target)
	if err != nil {
		u = &url.URL{Path: head.Target}
	}
	body := &frontBody{c: c.conn, left: head.Length, done: func() { c.look(cancel) }}
	body.ahead = read[:min(int64(len(read)), head.Length)]
	rest = read[len(body.ahead):]
	req := (&http.Request{
		Method: head.Method, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: head.Header,
		Body: http.NoBody, ContentLength: head.Length, Host: head.Host, RequestURI: head.Target, RemoteAddr: c.remote(),
	}).WithContext(ctx)
	if head.Length > 0 {
		req.Body = body
	}
	w := &c.quick
	w.reset(c.conn, head.Method)
	if head.Length == 0 {
		c.look(cancel)
	}
	defer c.lookAway()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		keep = false
		if p != http.ErrAbortHandler { //nolint:errorlint // a panic value, compared as net/http does
			c.front.edge.log.Error("panic", "value", p, "stack", string(debug.Stack()))
		}
		w.drop()
	}()
	c.front.edge.ServeHTTP(w, req)
	return w.finish() && body.left == 0 && !c.front.isClosing(), rest
}

// remote is the visitor's address, rendered once.
func (c *frontConn) remote() string {
	if c.addr == "" {
		c.addr = c.conn.RemoteAddr().String()
	}
	return c.addr
}

// look watches the visitor if the request takes long: when the connection ends,
// so does the request. It begins when the request was read: nobody reads the
// connection from then on.
func (c *frontConn) look(cancel context.CancelFunc) {
	c.looking = true
	if c.watch == nil {
		c.watch = time.AfterFunc(watchAfter, func() {
			if c.Conn.Gone() {
				cancel()
			}
		})
		return
	}
	c.watch.Reset(watchAfter)
}

// lookAway ends the watch. A watcher at work is sent away by the deadline, and
// waited for.
func (c *frontConn) lookAway() {
	if !c.looking {
		return
	}
	c.looking = false
	if c.watch.Stop() {
		return
	}
	c.Conn.StopWatch()
	c.quick.deadlined = true
}

// frontBody is the body of a simple request.
type frontBody struct {
	c     *conn
	ahead []byte
	left  int64
	done  func() // called when all was read
}

func (b *frontBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	var n int
	var err error
	if len(b.ahead) > 0 {
		n = copy(p, b.ahead)
		b.ahead = b.ahead[n:]
	} else {
		n, err = b.c.Read(p)
	}
	if b.left -= int64(n); b.left == 0 {
		b.done()
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close does nothing: what was not read ends the connection.
func (b *frontBody) Close() error { return nil }
