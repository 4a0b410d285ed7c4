// Package link is one authenticated, multiplexed connection between agent and
// server: yamux streams inside binary WebSocket messages, control messages as
// text messages beside them. It is the only room that knows gorilla/websocket
// and hashicorp/yamux.
//
// Between the two sits the carrier, a net.Conn that yamux writes frames to and
// reads frames from. It sees every frame header, and so it does three things
// that yamux cannot:
//
//   - it coalesces: frames queued while a write is under way leave as one
//     message (writer.go);
//   - it owns flow control: yamux is told of a huge window, and the carrier
//     grants the peer what a stream's reader really takes, growing and shrinking
//     within budgets (window.go);
//   - it guards: a peer that breaks the rules loses its link, and its frames
//     never cost more than the budgets (guard.go).
package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/yamux"

	"github.com/relaytunnel/relay/protocol"
)

// ErrClosed is what a link that was closed on purpose ends with.
var ErrClosed = errors.New("link closed")

// Options set a link up. The zero value works.
type Options struct {
	// Control receives the peer's control messages, in order, on the reading
	// goroutine: it must not block.
	Control func(*Link, protocol.Message)
	// Bulk is called when a stream begins to move much; it must not block.
	Bulk func(*Link)
	// Budget bounds the received bytes that wait in memory in all links that
	// share it; nil means that only the link's own bound counts.
	Budget *Budget
	// Log receives what a person may want to know; nil discards it.
	Log *slog.Logger
}

// Link is one connection. Close ends it; Done tells when it has ended.
type Link struct {
	ws     *websocket.Conn
	mux    *yamux.Session
	server bool
	opts   Options
	began  time.Time
	log    *slog.Logger

	// ready is closed when mux is set: yamux starts to read before that.
	ready chan struct{}

	lastRead   atomic.Int64 // Unix ms of the last byte read
	lastWrite  atomic.Int64 // Unix ms of the last completed write
	bulk       atomic.Int32 // streams that move much just now
	turns      atomic.Int32 // streams on which an answer is outstanding
	buffered   atomic.Int64 // received bytes that no reader took yet
	loaned     atomic.Int64 // credit granted beyond each stream's first window
	lost       atomic.Bool  // no stream can go on
	unaccepted atomic.Int32 // streams that the server has opened and Accept has not given out

	read   reader
	w      writer
	echoes echoes

	smu     sync.Mutex
	streams map[uint32]*Stream
	dead    map[uint32]tombstone
	swept   time.Time     // when the dead were last looked through
	resets  []*Stream     // streams that yamux has to be told are over
	opening chan struct{} // a slot for each stream that the peer has not accepted; nil for an agent
	tooMuch atomic.Bool
	// Streams reset for want of memory since the log told so, and when it did.
	tooSlow  int
	toldSlow time.Time
	guard    guard // of the reading goroutine

	ended   atomic.Bool
	closeMu sync.Mutex
	closing bool
	onClose func()

	farewell sync.Once
	endOnce  sync.Once
	endErr   error
}

// bufferSize is the size of the WebSocket write buffers. One message must fit
// with its masking, else gorilla splits it into fragments of a syscall each.
const bufferSize = 104 << 10

var writeBuffers = &sync.Pool{}

// start begins the life of a link. yamux owns two goroutines, which end with
// the link; Close waits for them.
func start(ws *websocket.Conn, server bool, o Options) (*Link, error) {
	l := &Link{
		ws:      ws,
		server:  server,
		opts:    o,
		began:   time.Now(),
		log:     o.Log,
		streams: map[uint32]*Stream{},
		ready:   make(chan struct{}),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.w.init(l)
	if server {
		l.opening = make(chan struct{}, serverBacklog)
	}
	now := time.Now().UnixMilli()
	l.lastRead.Store(now)
	l.lastWrite.Store(now)
	boundUnsent(ws.NetConn())
	ws.SetReadLimit(maxWSMessage)
	ws.SetPingHandler(l.onPing)
	ws.SetPongHandler(l.onPong)
	ws.SetCloseHandler(func(int, string) error { return nil })

	var mux *yamux.Session
	var err error
	if server {
		mux, err = yamux.Server((*carrier)(l), serverConfig)
	} else {
		mux, err = yamux.Client((*carrier)(l), agentConfig)
	}
	if err != nil {
		_ = ws.Close()
		return nil, fmt.Errorf("start yamux: %w", err)
	}
	l.mux = mux
	close(l.ready)
	if o.Budget != nil {
		o.Budget.add(l)
	}
	return l, nil
}

const (
	// serverBacklog bounds the streams that the server opened and the agent has
	// not accepted yet. yamux allocates it per link: 1 KiB.
	serverBacklog = 128
	// agentBacklog is larger, so that a burst is not answered by resets.
	agentBacklog = 1024
)

// The configurations of yamux, one for all links of a side.
var (
	serverConfig = muxConfig(serverBacklog)
	agentConfig  = muxConfig(agentBacklog)
)

func muxConfig(backlog int) *yamux.Config {
	c := yamux.DefaultConfig()
	c.AcceptBacklog = backlog
	c.EnableKeepAlive = false                   // pings are WebSocket pings, sent by agents
	c.StreamOpenTimeout = 0                     // a goroutine per stream, and it would end the whole session
	c.StreamCloseTimeout = 0                    // a half-closed stream lives until it is closed; see nextReset
	c.ConnectionWriteTimeout = 10 * time.Minute // slow links make progress; liveness is decided by silence
	c.LogOutput = nil
	c.Logger = discardLog
	return c
}

var discardLog = log.New(io.Discard, "", 0)

// Open opens a stream to the agent; only the server may. It waits while the agent
// has too many to accept. The preface leaves with the first write, or before the
// first read.
func (l *Link) Open(ctx context.Context, p protocol.Preface) (*Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// yamux would wait too, but not for ctx.
	select {
	case l.opening <- struct{}{}:
	default:
		select {
		case l.opening <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.Done():
			return nil, l.explain(net.ErrClosed)
		}
	}
	// yamux assigns the id inside OpenStream and sends the SYN from there, which
	// the carrier sees before OpenStream returns: the stream is registered then.
	ys, err := l.mux.OpenStream()
	if err != nil {
		l.freeSlot()
		return nil, l.explain(err)
	}
	l.smu.Lock()
	s := l.streams[ys.StreamID()]
	l.smu.Unlock()
	if s == nil {
		_ = ys.Close()
		return nil, l.explain(net.ErrClosed)
	}
	s.ys.Store(ys)
	s.mu.Lock()
	s.prefix = p.Append(make([]byte, 0, 32))
	s.mu.Unlock()
	return s, nil
}

// Accept waits for the next stream that the server opens; only the agent calls
// it. It returns an error when the link has ended.
func (l *Link) Accept() (*Stream, error) {
	for {
		ys, err := l.mux.AcceptStream()
		if err != nil {
			return nil, l.explain(err)
		}
		l.unaccepted.Add(-1)
		l.smu.Lock()
		s := l.streams[ys.StreamID()]
		l.smu.Unlock()
		if s == nil {
			// Reset before it was accepted, so yamux keeps silent about it; the server
			// counts the streams that were not accepted.
			l.w.frame(typeWindow, flagACK, ys.StreamID(), 0)
			_ = ys.Close()
			continue
		}
		s.ys.Store(ys)
		s.mu.Lock()
		over := s.over
		s.mu.Unlock()
		if over { // for want of memory; whoever did it could not tell yamux
			_ = ys.Close()
			continue
		}
		return s, nil
	}
}

// leaveSlot lets another stream be opened: the peer has accepted s, or yamux
// knows that it is over; smu is held.
func (l *Link) leaveSlot(s *Stream) {
	if s.slot {
		s.slot = false
		l.freeSlot()
	}
}

func (l *Link) freeSlot() {
	select {
	case <-l.opening:
	default:
	}
}

// Control sends a control message. It does not wait for it to leave.
func (l *Link) Control(m protocol.Message) error {
	b, err := protocol.Marshal(m)
	if err != nil {
		return err
	}
	return l.w.control(b)
}

// Done is closed when the link has ended, whatever the reason.
func (l *Link) Done() <-chan struct{} { return l.mux.CloseChan() }

// Err tells why the link ended; nil while it lives.
func (l *Link) Err() error {
	if !l.mux.IsClosed() {
		return nil
	}
	l.endOnce.Do(func() { l.endErr = errors.New("connection lost") })
	return l.endErr
}

// Close ends the link and all its streams, and waits for its goroutines.
func (l *Link) Close() error { return l.CloseWith(ErrClosed) }

// CloseWith ends the link; Err then tells reason.
func (l *Link) CloseWith(reason error) error {
	_ = l.closeLater(reason)
	l.farewell.Do(func() {
		if !l.w.flushLast() {
			return
		}
		// Closed at once, TCP would take back what the peer has not read yet.
		t := time.NewTimer(lastAnswer)
		defer t.Stop()
		select {
		case <-l.Done():
		case <-t.C:
		}
	})
	_ = l.mux.Close()
	return nil
}

// Abandon ends a link whose peer is not there any more: without a goodbye.
func (l *Link) Abandon(reason error) {
	_ = l.closeLater(reason)
	_ = l.mux.Close()
}

// closeLater ends the link from a place that yamux waits for.
func (l *Link) closeLater(reason error) error {
	l.endOnce.Do(func() { l.endErr = reason })
	l.ended.Store(true)
	return reason
}

// Ended tells whether the link has begun to end: from then on every failure on
// it may be the link's. It is true before any stream fails.
func (l *Link) Ended() bool { return l.ended.Load() || l.mux.IsClosed() }

// Silent is the time since the peer was last heard.
func (l *Link) Silent(now time.Time) time.Duration {
	return now.Sub(time.UnixMilli(l.lastRead.Load()))
}

// Quiet is the time since something was last sent.
func (l *Link) Quiet(now time.Time) time.Duration {
	return now.Sub(time.UnixMilli(l.lastWrite.Load()))
}

// Bulk is the number of streams that move much data just now; new exchanges
// belong on the link with the fewest.
func (l *Link) Bulk() int { return int(l.bulk.Load()) }

// Age is how long the link has lived.
func (l *Link) Age() time.Duration { return time.Since(l.began) }

// Streams is the number of streams that are not over.
func (l *Link) Streams() int {
	l.smu.Lock()
	defer l.smu.Unlock()
	return len(l.streams)
}

// Buffered is the number of received bytes that wait for their readers.
func (l *Link) Buffered() int64 { return l.buffered.Load() }

// RemoteAddr is the peer's address.
func (l *Link) RemoteAddr() net.Addr { return l.ws.RemoteAddr() }

// lose lets everybody who waits on a stream know that the link has ended.
func (l *Link) lose() {
	l.lost.Store(true)
	l.smu.Lock()
	defer l.smu.Unlock()
	for _, s := range l.streams {
		s.mu.Lock()
		s.cut = s.in.size > 0
		s.settle()
		s.wake()
		s.mu.Unlock()
	}
}

func (l *Link) lostError() error {
	l.endOnce.Do(func() { l.endErr = errors.New("connection lost") })
	return fmt.Errorf("link ended: %w", l.endErr)
}

// explain prefers the link's own reason over yamux's.
func (l *Link) explain(err error) error {
	if l.mux.IsClosed() {
		return fmt.Errorf("link ended: %w", l.Err())
	}
	return err
}

// OnClose has f called once when the link has begun to end. f must not block and
// must not close the link itself.
func (l *Link) OnClose(f func()) {
	l.closeMu.Lock()
	ended := l.closing
	if !ended {
		l.onClose = f
	}
	l.closeMu.Unlock()
	if ended {
		f()
	}
}

func (l *Link) ending() {
	l.closeMu.Lock()
	l.closing = true
	f := l.onClose
	l.onClose = nil
	l.closeMu.Unlock()
	if f != nil {
		f()
	}
}
