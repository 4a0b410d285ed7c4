package capture

import (
	"errors"
	"io"
	"math/bits"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
)

// ReplayHeader marks a request that the inspector sends again; its value is "true".
const ReplayHeader = "Relay-Replay"

// A Tap follows one exchange from its beginning to its end. Its methods do not wait
// for anything but each other. A nil *Tap does nothing.
type Tap struct {
	r       *Recorder
	version uint64 // r.version of its latest change; r.mu guards it

	mu     sync.Mutex
	x      Exchange // ID, Seq and what Begin knew do not change
	cost   int64    // what it counts for in r.bytes
	gone   bool     // r has dropped it
	ended  bool
	frames []Frame
}

// Opening is what is known of an exchange at its beginning, beside the request.
type Opening struct {
	RequestID string
	Visitor   string // address of who sent it
	Scheme    string // of the public URL: http or https
	Endpoint  string
	Upstream  string // host:port of the app
	Replay    bool
	ReplayOf  string // id of the exchange that it repeats, "" for none
	Header    http.Header
}

// Begin starts to record a request that the relay has prepared for the app: its header
// tells who sent it. Nobody may change the values of its header afterwards. upstream is
// host:port of the app, replayOf the id of the exchange that it repeats, "" for none.
func (r *Recorder) Begin(req *http.Request, upstream, replayOf string) *Tap {
	if r == nil {
		return nil
	}
	scheme := "http"
	if req.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	visitor, _, _ := strings.Cut(req.Header.Get("X-Forwarded-For"), ",")
	return r.Open(req, Opening{
		RequestID: req.Header.Get("Relay-Request-Id"), Visitor: visitor, Scheme: scheme, Upstream: upstream,
		Replay: replayOf != "" || req.Header.Get(ReplayHeader) == "true", ReplayOf: replayOf, Header: req.Header,
	})
}

// Open starts to record req as o tells of it. Nobody may change the values of o.Header
// afterwards.
func (r *Recorder) Open(req *http.Request, o Opening) *Tap {
	if r == nil {
		return nil
	}
	t := &Tap{r: r, x: Exchange{
		RequestID: o.RequestID, State: Live, Began: r.o.Now(), Visitor: o.Visitor, Upstream: o.Upstream, Endpoint: o.Endpoint,
		Replay: o.Replay, ReplayOf: o.ReplayOf,
		Request: Request{
			Method: req.Method, Target: req.RequestURI, Host: req.Host, Scheme: o.Scheme, Header: Header(o.Header),
			Body: Body{Type: o.Header.Get("Content-Type"), Encoding: o.Header.Get("Content-Encoding")},
		},
	}}
	r.add(t, base+int64(len(req.RequestURI))+weight(o.Header))
	return t
}

// base is about what an exchange costs beside its bytes.
const base = 1 << 10

// weight is about what a header costs.
func weight(h http.Header) int64 {
	n := 0
	for name, values := range h {
		n += len(name) + 48
		for _, v := range values {
			n += len(v) + 16
		}
	}
	return int64(n)
}

// ID is that of the exchange.
func (t *Tap) ID() string {
	if t == nil {
		return ""
	}
	return t.x.ID
}

// RequestBody returns body, so that what is read of it is recorded. trailer is asked
// when it has been read to its end.
func (t *Tap) RequestBody(body io.ReadCloser, length int64, trailer func() http.Header) io.ReadCloser {
	if t == nil || body == nil || body == http.NoBody {
		return body
	}
	return &tee{ReadCloser: body, t: t, of: &t.x.Request.Body, length: length, end: func() {
		t.x.Request.Trailer = Header(trailer())
	}}
}

// Response records the head of the answer, and makes res.Body record what is read of
// it. After a 101, closing the body ends the exchange; else End does.
func (t *Tap) Response(res *http.Response) {
	if t == nil {
		return
	}
	answer := &Response{
		Status: res.StatusCode, Header: Header(res.Header),
		Body: Body{Type: res.Header.Get("Content-Type"), Encoding: res.Header.Get("Content-Encoding")},
	}
	cost := weight(res.Header)
	t.mu.Lock()
	t.x.Response = answer
	t.x.FirstByte = Millis(t.r.o.Now().Sub(t.x.Began))
	t.pay(cost)
	t.mu.Unlock()
	if up, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = t.upgrade(up, answer)
	} else {
		b := &tee{ReadCloser: res.Body, t: t, of: &answer.Body, length: res.ContentLength, end: func() { answer.Trailer = Header(res.Trailer) }}
		if kind, _, _ := mime.ParseMediaType(answer.Body.Type); kind == "text/event-stream" && answer.Body.Encoding == "" {
			b.events = &eventParser{emit: t.frame}
		}
		res.Body = b
	}
	t.r.trim()
	t.r.changed(t)
}

// Answered records an answer that the relay gives itself. Nobody may change the values
// of h afterwards; what is written of the body goes to Body.
func (t *Tap) Answered(status int, h http.Header) {
	if t == nil {
		return
	}
	cost := weight(h)
	t.mu.Lock()
	t.x.Response = &Response{
		Status: status, Header: Header(h), Body: Body{Type: h.Get("Content-Type"), Encoding: h.Get("Content-Encoding")},
	}
	t.x.FirstByte = Millis(t.r.o.Now().Sub(t.x.Began))
	t.pay(cost)
	t.mu.Unlock()
	t.r.trim()
	t.r.changed(t)
}

// Body records a part of the body of an answer that Answered began.
func (t *Tap) Body(p []byte) {
	if t == nil || len(p) == 0 {
		return
	}
	t.keep(&t.x.Response.Body, p, int64(len(p)))
}

// Event records what an inbox made of the request: the event's id, and what was found
// of its signature, "" when nobody looked.
func (t *Tap) Event(id, verified string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.x.EventID, t.x.Verified = id, verified
	t.mu.Unlock()
	t.r.changed(t)
}

// End records how it ended; nil is well. Only the first End counts.
func (t *Tap) End(err error) {
	if t == nil {
		return
	}
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		return
	}
	t.ended = true
	t.x.Duration = Millis(max(t.r.o.Now().Sub(t.x.Began), time.Microsecond))
	t.x.State = Done
	if err != nil {
		t.x.State, t.x.Error = Failed, err.Error()
	}
	t.mu.Unlock()
	if t.r.o.Ended != nil {
		t.r.o.Ended(t.snapshot())
	}
	t.r.changed(t)
}

// endedBefore tells whether it is over since a time.
func (t *Tap) endedBefore(at time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended && t.x.Began.Add(time.Duration(t.x.Duration)).Before(at)
}

// pay counts bytes that are kept. t.mu is held.
func (t *Tap) pay(n int64) {
	if t.gone {
		return
	}
	t.cost += n
	t.r.count(n)
}

// drop forgets what was kept, and returns what it counted for.
func (t *Tap) drop() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = true
	for _, b := range t.bodies() {
		b.Kept, b.Truncated = nil, b.Size > 0
	}
	t.frames = nil
	return t.cost
}

func (t *Tap) bodies() []*Body {
	if t.x.Response == nil {
		return []*Body{&t.x.Request.Body}
	}
	return []*Body{&t.x.Request.Body, &t.x.Response.Body}
}

// keep adds what has passed to a body. Bytes are only ever appended, so that a
// snapshot may share them.
func (t *Tap) keep(b *Body, p []byte, length int64) {
	t.mu.Lock()
	before := b.Size
	b.Size += int64(len(p))
	// Of a body that goes on for long is told each time that it has doubled.
	tell := before > 0 && bits.Len64(uint64(before)) != bits.Len64(uint64(b.Size))
	grown := 0
	if room := t.r.o.BodyLimit - len(b.Kept); !t.gone && !b.Truncated {
		if room < len(p) {
			p, b.Truncated = p[:room], true
		}
		had := cap(b.Kept)
		if b.Kept == nil && length > 0 {
			b.Kept = make([]byte, 0, min(length, firstPiece, int64(t.r.o.BodyLimit)))
		}
		b.Kept = append(b.Kept, p...)
		grown = cap(b.Kept) - had
		t.pay(int64(grown))
	} else {
		b.Truncated = true
	}
	t.mu.Unlock()
	if grown > 0 {
		t.r.trim()
	}
	if tell {
		t.r.changed(t)
	}
}

// firstPiece bounds what is set aside for a body of which nothing has come.
const firstPiece = 64 << 10

// snapshot is the exchange as it is now.
func (t *Tap) snapshot() *Exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.x
	if x.Response != nil {
		r := *x.Response
		x.Response = &r
	}
	x.Frames = append([]Frame(nil), t.frames...)
	return &x
}

// tee is a body that is recorded as it is read.
type tee struct {
	io.ReadCloser
	t      *Tap
	of     *Body
	length int64
	end    func()
	events *eventParser
}

func (b *tee) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.t.keep(b.of, p[:n], b.length)
		if b.events != nil {
			b.events.write(p[:n])
		}
	}
	if errors.Is(err, io.EOF) {
		b.t.mu.Lock()
		b.end()
		b.t.mu.Unlock()
	}
	return n, err
}

// Abort is that of the body underneath.
func (b *tee) Abort() {
	if a, ok := b.ReadCloser.(interface{ Abort() }); ok {
		a.Abort()
	}
}

// Buffered is that of the body underneath.
func (b *tee) Buffered() int {
	if f, ok := b.ReadCloser.(interface{ Buffered() int }); ok {
		return f.Buffered()
	}
	return 0
}

// upgrade is the connection after a 101, recorded.
func (t *Tap) upgrade(c io.ReadWriteCloser, answer *Response) io.ReadWriteCloser {
	u := &upgraded{ReadWriteCloser: c, t: t, answer: answer}
	if strings.EqualFold(answer.Header.Get("Upgrade"), "websocket") {
		u.app, u.visitor = newFrameParser(FromApp, t), newFrameParser(FromVisitor, t)
	}
	return u
}

type upgraded struct {
	io.ReadWriteCloser
	t            *Tap
	answer       *Response
	app, visitor *frameParser // nil: no WebSocket
}

func (u *upgraded) Read(p []byte) (int, error) {
	n, err := u.ReadWriteCloser.Read(p)
	u.passed(&u.answer.Body, u.app, p[:max(n, 0)])
	return n, err
}

func (u *upgraded) Write(p []byte) (int, error) {
	n, err := u.ReadWriteCloser.Write(p)
	u.passed(&u.t.x.Request.Body, u.visitor, p[:max(n, 0)])
	return n, err
}

func (u *upgraded) passed(b *Body, f *frameParser, p []byte) {
	if len(p) == 0 {
		return
	}
	u.t.mu.Lock()
	b.Size += int64(len(p))
	b.Truncated = true // none of it is kept as a body
	u.t.mu.Unlock()
	if f != nil {
		f.write(p)
	}
}

// CloseWrite is that of the connection underneath.
func (u *upgraded) CloseWrite() error {
	if c, ok := u.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return u.ReadWriteCloser.Close()
}

// Abort is that of the connection underneath.
func (u *upgraded) Abort() {
	if a, ok := u.ReadWriteCloser.(interface{ Abort() }); ok {
		a.Abort()
		return
	}
	_ = u.ReadWriteCloser.Close()
}

func (u *upgraded) Close() error {
	err := u.ReadWriteCloser.Close()
	u.t.End(nil)
	return err
}
