package link

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relaytunnel/relay/protocol"
)

// sum reads r to its end in pieces of all sizes and returns the length and hash.
func sum(r io.Reader, rnd *rand.Rand) (n int64, hash [32]byte, err error) {
	h := sha256.New()
	buf := make([]byte, 64<<10)
	for {
		m, err := r.Read(buf[:1+rnd.IntN(len(buf))])
		h.Write(buf[:m])
		n += int64(m)
		if err == io.EOF {
			return n, [32]byte(h.Sum(nil)), nil
		}
		if err != nil {
			return n, hash, err
		}
	}
}

// pour writes n bytes of a pattern in pieces of all sizes and ends the direction.
func pour(s *Stream, seed uint64, n int64, rnd *rand.Rand) error {
	src := pattern(seed, n)
	buf := make([]byte, 100<<10)
	for {
		m, err := io.ReadFull(src, buf[:1+rnd.IntN(len(buf))])
		if m > 0 {
			if k, err := s.Write(buf[:m]); err != nil || k != m {
				return fmt.Errorf("wrote %d of %d: %w", k, m, err)
			}
		}
		if err != nil {
			return s.CloseWrite()
		}
	}
}

// size is mostly small, sometimes larger than a window.
func size(rnd *rand.Rand) int64 {
	switch rnd.IntN(6) {
	case 0:
		return 0
	case 1:
		return 1 + rnd.Int64N(20)
	case 2, 3:
		return rnd.Int64N(8 << 10)
	case 4:
		return rnd.Int64N(300 << 10)
	}
	return rnd.Int64N(2 << 20)
}

func TestManyStreamsAtOnceCarryEveryByteBothWays(t *testing.T) {
	server, agent := newPair(t, ends{})
	const streams, rounds = 40, 3
	seed := func(id uint32, up bool) uint64 {
		if up {
			return uint64(id)*2 + 1
		}
		return uint64(id) * 2
	}
	var wg sync.WaitGroup
	both := func(s *Stream, id uint32, outSeed, inSeed uint64, out, in int64) error {
		failed := make(chan error, 1)
		go func() { failed <- pour(s, outSeed, out, rand.New(rand.NewPCG(outSeed, 1))) }()
		n, got, err := sum(s, rand.New(rand.NewPCG(inSeed, 2)))
		if werr := <-failed; werr != nil {
			return fmt.Errorf("stream %d: write: %w", id, werr)
		}
		if err != nil {
			return fmt.Errorf("stream %d: read: %w", id, err)
		}
		h := sha256.New()
		_, _ = io.Copy(h, pattern(inSeed, in))
		if n != in || got != [32]byte(h.Sum(nil)) {
			return fmt.Errorf("stream %d: %d bytes of %d came, or others", id, n, in)
		}
		return s.Close()
	}
	sizes := func(id uint32) (down, up int64) {
		rnd := rand.New(rand.NewPCG(uint64(id), 7))
		return size(rnd), size(rnd)
	}
	wg.Go(func() {
		for range streams * rounds {
			a, err := agent.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			wg.Go(func() {
				p, err := protocol.ReadPreface(a)
				if err != nil {
					t.Error(err)
					return
				}
				down, up := sizes(p.Tunnel)
				if err := both(a, p.Tunnel, seed(p.Tunnel, true), seed(p.Tunnel, false), up, down); err != nil {
					t.Error("agent:", err)
				}
			})
		}
	})
	for i := range streams {
		wg.Go(func() {
			for r := range rounds {
				id := uint32(i*rounds + r)
				s, err := server.Open(t.Context(), protocol.Preface{Tunnel: id})
				if err != nil {
					t.Error(err)
					return
				}
				down, up := sizes(id)
				if err := both(s, id, seed(id, false), seed(id, true), down, up); err != nil {
					t.Error("server:", err)
				}
			}
		})
	}
	wg.Wait()
	for _, l := range []*Link{server, agent} {
		eventually(t, "all streams are over", func() bool { return l.Streams() == 0 })
		if l.Buffered() != 0 || l.loaned.Load() != 0 || l.Bulk() != 0 || l.turns.Load() != 0 {
			t.Errorf("after all streams: %d bytes buffered, %d loaned, %d bulk, %d turns", l.Buffered(), l.loaned.Load(), l.Bulk(), l.turns.Load())
		}
	}
}

func TestHalfCloseLeavesTheOtherDirectionOpen(t *testing.T) {
	for _, who := range []string{"server first", "agent first"} {
		t.Run(who, func(t *testing.T) {
			server, agent := newPair(t, ends{})
			first, second := open(t, server, agent)
			if who == "agent first" {
				first, second = second, first
			}
			if _, err := first.Write([]byte("question")); err != nil {
				t.Fatal(err)
			}
			if err := first.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := first.CloseWrite(); err != nil {
				t.Errorf("a second CloseWrite: %v", err)
			}
			if _, err := first.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a write after CloseWrite: %v", err)
			}
			if b, err := io.ReadAll(second); string(b) != "question" || err != nil {
				t.Fatalf("read %q, %v", b, err)
			}
			if _, err := second.Write([]byte("answer")); err != nil {
				t.Fatal(err)
			}
			if err := second.Close(); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(first); string(b) != "answer" || err != nil {
				t.Fatalf("read %q, %v", b, err)
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the stream is over at both ends", func() bool { return server.Streams()+agent.Streams() == 0 })
		})
	}
}

// yamux breaks a stream off when the other end takes its time to finish. Here an
// app may answer for an hour after the visitor has finished.
func TestHalfClosedStreamMayLiveAsLongAsItLikes(t *testing.T) {
	if serverConfig.StreamCloseTimeout != 0 || agentConfig.StreamCloseTimeout != 0 {
		t.Errorf("yamux resets half-closed streams after %v", serverConfig.StreamCloseTimeout)
	}
	server, agent := newPair(t, ends{})
	s, a := open(t, server, agent)
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(a); err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		t.Skip("waits for yamux's timer")
	}
	time.Sleep(tombstoneLife + 500*time.Millisecond)
	if _, err := a.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(s); string(b) != "late" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestCloseWithUnreadDataIsAResetForThePeer(t *testing.T) {
	for _, finished := range []bool{false, true} {
		t.Run(fmt.Sprintf("peer finished %v", finished), func(t *testing.T) {
			server, agent := newPair(t, ends{})
			s, a := open(t, server, agent)
			if _, err := a.Write([]byte("nobody reads this")); err != nil {
				t.Fatal(err)
			}
			if finished {
				if err := a.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the data is there", func() bool { return server.Buffered() > 0 })
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			within(t, "the read", func() {
				if _, err := a.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
					t.Errorf("the peer reads %v, want a reset", err)
				}
			})
			if server.Buffered() != 0 {
				t.Errorf("%d bytes are still counted", server.Buffered())
			}
			_ = a.Close()
			eventually(t, "the stream is over", func() bool { return server.Streams()+agent.Streams() == 0 })
		})
	}
}

func TestCloseBeforeThePeerHasFinishedIsAReset(t *testing.T) {
	server, agent := newPair(t, ends{})
	s, a := open(t, server, agent)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
		t.Errorf("the peer reads %v", err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, ErrReset) {
		t.Errorf("the peer writes %v", err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read after Close: %v", err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
}

func TestResetWakesWhoeverWaits(t *testing.T) {
	for _, who := range []string{"here", "there"} {
		t.Run(who, func(t *testing.T) {
			server, agent := newPair(t, ends{})
			s, a := open(t, server, agent)
			read, wrote := make(chan error, 1), make(chan error, 1)
			go func() { _, err := s.Read(make([]byte, 1)); read <- err }()
			go func() { _, err := s.Write(make([]byte, 8<<20)); wrote <- err }()
			eventually(t, "the window is used up", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.sent == s.credit
			})
			if who == "here" {
				s.Reset()
			} else {
				a.Reset()
			}
			within(t, "the waiting", func() {
				for _, c := range []chan error{read, wrote} {
					if err := <-c; !errors.Is(err, ErrReset) {
						t.Errorf("it ended with %v", err)
					}
				}
			})
		})
	}
}

// A reset stream is broken off for both ends even when one has finished before.
func TestResetAfterHalfCloseReachesThePeer(t *testing.T) {
	server, agent := newPair(t, ends{})
	s, a := open(t, server, agent)
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(a); err != nil {
		t.Fatal(err)
	}
	s.Reset()
	eventually(t, "the agent's writes fail", func() bool { _, err := a.Write([]byte("x")); return errors.Is(err, ErrReset) })
}

func TestOnResetIsCalledOnceAndOnlyForAReset(t *testing.T) {
	server, agent := newPair(t, ends{})
	for name, end := range map[string]func(*Stream){
		"reset": (*Stream).Reset, "closed": func(s *Stream) { _ = s.Close() }, "finished": func(s *Stream) { _ = s.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			s, a := open(t, server, agent)
			var calls atomic.Int32
			called := make(chan struct{}, 8)
			s.OnReset(func() { calls.Add(1); called <- struct{}{} })
			end(a)
			_, err := s.Read(make([]byte, 1))
			if name == "finished" {
				if err != io.EOF || calls.Load() != 0 {
					t.Errorf("a finished stream: %v, %d calls", err, calls.Load())
				}
				_ = s.Close()
				return
			}
			within(t, "the call", func() { <-called })
			if calls.Load() != 1 {
				t.Errorf("called %d times", calls.Load())
			}
			late := make(chan struct{}, 8)
			s.OnReset(func() { late <- struct{}{} })
			if len(late) != 1 {
				t.Error("one who asks after the reset is not told")
			}
		})
	}
	t.Run("the link ends", func(t *testing.T) {
		s, _ := open(t, server, agent)
		var calls atomic.Int32
		s.OnReset(func() { calls.Add(1) })
		_ = agent.Close()
		ended(t, server)
		if calls.Load() != 0 {
			t.Error("the end of the link was called a reset")
		}
	})
}

// Asking and being reset may coincide: still one call.
func TestOnResetIsCalledOnceInARace(t *testing.T) {
	server, agent := newPair(t, ends{})
	for range 300 {
		s, a := open(t, server, agent)
		var calls atomic.Int32
		go a.Reset()
		s.OnReset(func() { calls.Add(1) })
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
			t.Fatal(err)
		}
		eventually(t, "the call", func() bool { return calls.Load() > 0 })
		if n := calls.Load(); n != 1 {
			t.Fatalf("called %d times", n)
		}
	}
}

func TestDeadlines(t *testing.T) {
	server, agent := newPair(t, ends{})
	s, a := open(t, server, agent)
	buf := make([]byte, 8)

	_ = s.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := s.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past: %v", err)
	}
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	within(t, "a read with a deadline", func() {
		if _, err := s.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("soon: %v", err)
		}
	})
	failed := make(chan error, 1)
	_ = s.SetReadDeadline(time.Time{})
	go func() { _, err := s.Read(buf); failed <- err }()
	_ = s.SetDeadline(time.Now())
	within(t, "a read whose deadline is moved", func() {
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("moved: %v", err)
		}
	})

	// What has come is read in spite of the deadline, and a new one heals.
	if _, err := a.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "data", func() bool { return server.Buffered() == 2 })
	if n, err := s.Read(buf[:1]); n != 1 || err != nil {
		t.Errorf("data past the deadline: %d, %v", n, err)
	}
	_ = s.SetDeadline(time.Time{})
	if n, err := s.Read(buf); n != 1 || err != nil {
		t.Errorf("after the deadline was taken away: %d, %v", n, err)
	}

	_ = s.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	within(t, "a write with a deadline", func() {
		n, err := s.Write(make([]byte, 32<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n >= 32<<20 {
			t.Errorf("a write nobody reads: %d, %v", n, err)
		}
	})
	_ = s.SetWriteDeadline(time.Time{})
	go func() { _, _ = io.Copy(io.Discard, a) }()
	if _, err := s.Write([]byte("x")); err != nil {
		t.Errorf("after the deadline was taken away: %v", err)
	}
}

// choked is a connection whose writes wait until it is closed, from a moment on.
type choked struct {
	net.Conn
	choke, closed chan struct{}
	once          sync.Once
}

func newChoked(c net.Conn) *choked {
	return &choked{Conn: c, choke: make(chan struct{}), closed: make(chan struct{})}
}

func (c *choked) Write(p []byte) (int, error) {
	select {
	case <-c.choke:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return c.Conn.Write(p)
	}
}

func (c *choked) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A link that takes nothing more makes writers wait. They still have deadlines,
// and can be told to give up.
func TestWritersBehindAStuckLinkCanGiveUp(t *testing.T) {
	var way *choked
	server, agent := newPair(t, ends{dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		way = newChoked(c)
		return way, err
	}})
	var as []*Stream
	for range 4 {
		_, a := open(t, server, agent)
		as = append(as, a)
	}
	close(way.choke)
	// The first is in the system call and stays there; those behind it wait for
	// room in the queue.
	go func() { _, _ = as[0].Write(make([]byte, 32<<10)) }()
	eventually(t, "the first write has begun", func() bool {
		agent.w.mu.Lock()
		defer agent.w.mu.Unlock()
		return agent.w.sending
	})
	ends := []chan error{make(chan error, 1), make(chan error, 1), make(chan error, 1)}
	for i, a := range as[1:] {
		go func() { _, err := a.Write(make([]byte, 1<<20)); ends[i] <- err }()
	}
	eventually(t, "the queue is full", func() bool {
		agent.w.mu.Lock()
		defer agent.w.mu.Unlock()
		return agent.w.out != nil && len(*agent.w.out) >= 2*maxQueue
	})
	_ = as[1].SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	as[2].Reset()
	_ = as[3].Close()
	for i, want := range []error{os.ErrDeadlineExceeded, ErrReset, net.ErrClosed} {
		within(t, fmt.Sprintf("writer %d", i), func() {
			if err := <-ends[i]; !errors.Is(err, want) {
				t.Errorf("writer %d ended with %v, want %v", i, err, want)
			}
		})
	}
}

// A write that gave up tells how much it wrote, and what follows fits to it.
func TestStreamGoesOnAfterAWriteDeadline(t *testing.T) {
	server, agent := newPair(t, ends{})
	s, a := open(t, server, agent)
	rnd := rand.New(rand.NewPCG(1, 2))
	const total = 6 << 20
	src := pattern(5, total)
	go func() {
		defer func() { _ = s.CloseWrite() }()
		buf := make([]byte, 512<<10)
		have := 0
		for {
			n, rerr := src.Read(buf[have:])
			have += n
			_ = s.SetWriteDeadline(time.Now().Add(time.Duration(rnd.IntN(2000)) * time.Microsecond))
			k, err := s.Write(buf[:have])
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
				return
			}
			copy(buf, buf[k:have])
			if have -= k; have == 0 && rerr == io.EOF {
				return
			}
		}
	}()
	n, got, err := sum(a, rand.New(rand.NewPCG(3, 4)))
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	_, _ = io.Copy(h, pattern(5, total))
	if n != total || got != [32]byte(h.Sum(nil)) {
		t.Errorf("%d bytes of %d came, or others", n, total)
	}
}

func TestDeathOfTheLinkIsNeverAnEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		kill func(server, agent *Link)
	}{
		{"the peer closes", func(_, agent *Link) { _ = agent.Close() }},
		{"this side closes", func(server, _ *Link) { _ = server.Close() }},
		{"the connection breaks", func(_, agent *Link) { _ = agent.ws.NetConn().Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, agent := newPair(t, ends{})
			waiting, _ := open(t, server, agent)
			holding, a := open(t, server, agent)
			finished, b := open(t, server, agent)
			for _, s := range []*Stream{a, b} {
				if _, err := s.Write(make([]byte, 100<<10)); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the data is there", func() bool { return server.Buffered() == 200<<10 })
			eventually(t, "the end is there", func() bool {
				finished.mu.Lock()
				defer finished.mu.Unlock()
				return finished.finIn
			})
			got := make(chan error, 1)
			go func() { _, err := waiting.Read(make([]byte, 1)); got <- err }()
			tt.kill(server, agent)
			ended(t, server)
			within(t, "the waiting read", func() {
				if err := <-got; err == nil || errors.Is(err, io.EOF) {
					t.Errorf("the waiting read ended with %v", err)
				}
			})
			if _, err := io.Copy(io.Discard, holding); err == nil {
				t.Error("a stream that never ended looks whole")
			}
			// All of this one came: either it is handed over whole, or it fails.
			if n, err := io.Copy(io.Discard, finished); err == nil && n != 100<<10 {
				t.Errorf("a stream looks whole with %d bytes of %d", n, 100<<10)
			}
			if _, err := waiting.Write([]byte("x")); err == nil {
				t.Error("a write on a dead link succeeds")
			}
			if _, err := server.Open(t.Context(), protocol.Preface{}); err == nil {
				t.Error("a stream opens on a dead link")
			}
		})
	}
}

func TestPrefaceLeavesBeforeTheFirstReadOrWithTheFirstWrite(t *testing.T) {
	server, agent := newPair(t, ends{})
	visitor := protocol.Preface{Tunnel: 9, Visitor: mustAddr("192.0.2.7:4711")}
	for _, first := range []string{"read", "write", "finish"} {
		t.Run(first, func(t *testing.T) {
			s, err := server.Open(t.Context(), visitor)
			if err != nil {
				t.Fatal(err)
			}
			switch first {
			case "read":
				go func() { _, _ = s.Read(make([]byte, 1)) }()
			case "write":
				_, err = s.Write([]byte("hi"))
			case "finish":
				err = s.CloseWrite()
			}
			if err != nil {
				t.Fatal(err)
			}
			within(t, "the agent", func() {
				a, err := agent.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer a.Close()
				if p, err := protocol.ReadPreface(a); err != nil || p != visitor {
					t.Errorf("preface %+v, %v", p, err)
				}
				if first == "write" {
					if b := make([]byte, 2); readFull(a, b) != nil || string(b) != "hi" {
						t.Errorf("then %q", b)
					}
				}
			})
		})
	}
}

func TestIdleTellsWhetherAStreamCanServeAgain(t *testing.T) {
	server, agent := newPair(t, ends{})
	exchange := func(s, a *Stream) {
		t.Helper()
		if _, err := s.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if err := readFull(a, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write([]byte("pong")); err != nil {
			t.Fatal(err)
		}
		if err := readFull(s, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		s.Rest()
		a.Rest()
	}
	for name, spoil := range map[string]func(s, a *Stream){
		"unread data": func(_, a *Stream) { _, _ = a.Write([]byte("x")) },
		"finished":    func(_, a *Stream) { _ = a.CloseWrite() },
		"reset there": func(_, a *Stream) { a.Reset() },
		"reset here":  func(s, _ *Stream) { s.Reset() },
		"ended here":  func(s, _ *Stream) { _ = s.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			s, a := open(t, server, agent)
			for range 3 {
				exchange(s, a)
				if !s.Idle() {
					t.Fatal("a stream between two exchanges is not idle")
				}
			}
			spoil(s, a)
			eventually(t, "it is idle no more", func() bool { return !s.Idle() })
			s.Reset()
		})
	}
	s, _ := open(t, server, agent)
	_ = server.Close()
	if s.Idle() {
		t.Error("a stream of a dead link is idle")
	}
}

func TestBulkIsCountedAndTold(t *testing.T) {
	told := make(chan struct{}, 100)
	server, agent := newPair(t, ends{agent: Options{Bulk: func(*Link) { told <- struct{}{} }}})
	s, a := open(t, server, agent)
	for range 50 { // much in all, but little at a time
		if _, err := a.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := readFull(s, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if server.Bulk() != 0 || agent.Bulk() != 0 || len(told) != 0 {
		t.Errorf("small exchanges count as bulk: %d, %d, told %d", server.Bulk(), agent.Bulk(), len(told))
	}
	go func() { _, _ = a.Write(make([]byte, 4<<20)) }()
	if err := readFull(s, make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	if server.Bulk() != 1 || agent.Bulk() != 1 || len(told) != 1 {
		t.Errorf("a bulk stream: %d here, %d there, told %d", server.Bulk(), agent.Bulk(), len(told))
	}
	s.Rest()
	a.Rest()
	if server.Bulk() != 0 || agent.Bulk() != 0 {
		t.Errorf("between two exchanges: %d, %d", server.Bulk(), agent.Bulk())
	}
	go func() { _, _ = a.Write(make([]byte, 4<<20)) }()
	if err := readFull(s, make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	s.Reset()
	eventually(t, "a stream that is over moves nothing", func() bool { return server.Bulk() == 0 && agent.Bulk() == 0 })
}

// Whoever opens streams and gives them up at once must not use up what yamux has
// for streams that are being opened.
func TestStreamsGivenUpAtOnceDoNotBlockTheNext(t *testing.T) {
	server, agent := newPair(t, ends{})
	go func() {
		for {
			a, err := agent.Accept()
			if err != nil {
				return
			}
			go func() {
				if _, err := protocol.ReadPreface(a); err != nil {
					_ = a.Close()
					return
				}
				_, _ = io.Copy(a, a)
				_ = a.Close()
			}()
		}
	}()
	within(t, "opening and giving up", func() {
		for range 5 * serverBacklog {
			s, err := server.Open(t.Context(), protocol.Preface{})
			if err != nil {
				t.Error(err)
				return
			}
			_ = s.Close()
		}
		s, err := server.Open(t.Context(), protocol.Preface{})
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := s.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if err := readFull(s, make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}

// An agent that accepts nothing costs whoever opens no more patience than he has.
func TestOpenEndsWithItsContext(t *testing.T) {
	h := listen(t, Options{})
	server, ws := h.raw(t)
	go drain(ws)
	within(t, "opening", func() {
		for range 3 * serverBacklog {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			s, err := server.Open(ctx, protocol.Preface{})
			cancel()
			if err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Open ended with %v", err)
				}
				return
			}
			defer s.Close()
		}
		t.Error("streams that nobody accepts are opened without end")
	})
	if server.Ended() {
		t.Errorf("the link ended: %v", server.Err())
	}
}

func TestAddressesAreTheLinks(t *testing.T) {
	server, agent := newPair(t, ends{})
	s, a := open(t, server, agent)
	if s.LocalAddr().String() != a.RemoteAddr().String() || s.RemoteAddr().String() != a.LocalAddr().String() {
		t.Errorf("%v-%v and %v-%v", s.LocalAddr(), s.RemoteAddr(), a.LocalAddr(), a.RemoteAddr())
	}
	if s.Link() != server || !strings.Contains(server.RemoteAddr().String(), "127.0.0.1") {
		t.Errorf("the link of the stream is %v", s.Link())
	}
}
