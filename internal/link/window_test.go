package link

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relaytunnel/relay/protocol"
)

// window is what a stream may have on the way to its reader.
func window(s *Stream) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window
}

func TestWindowGrowsWithTheLengthOfThePath(t *testing.T) {
	server, agent := newPair(t, ends{dial: far(t, 20*time.Millisecond)})
	s, a := open(t, server, agent)
	const total = 24 << 20
	go func() {
		_, _ = io.Copy(struct{ io.Writer }{a}, pattern(1, total))
		_ = a.CloseWrite()
	}()
	began := time.Now()
	if n, err := io.Copy(io.Discard, s); n != total || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	t.Logf("%d MiB over 40 ms in %v, window %d KiB", total>>20, time.Since(began).Round(time.Millisecond), window(s)>>10)
	if w := window(s); w < 2<<20 {
		t.Errorf("the window is %d KiB after all that", w>>10)
	}
	if n := server.loaned.Load(); n > maxLoans {
		t.Errorf("%d bytes are on loan", n)
	}
	_ = s.Close()
	_ = a.Close()
	if n := server.loaned.Load(); n != 0 {
		t.Errorf("%d bytes are on loan to nobody", n)
	}
}

func TestWindowShrinksForAReaderThatIsSlow(t *testing.T) {
	server, agent := newPair(t, ends{dial: far(t, 10*time.Millisecond)})
	s, a := open(t, server, agent)
	go func() { _, _ = io.Copy(struct{ io.Writer }{a}, &patterned{}) }()
	buf := make([]byte, 256<<10)
	for range 64 {
		if err := readFull(s, buf); err != nil {
			t.Fatal(err)
		}
	}
	grown := window(s)
	if grown <= firstWindow {
		t.Fatalf("the window is %d KiB while the reader is quick", grown>>10)
	}
	took := func(wait time.Duration, below int64) {
		t.Helper()
		for range 200 {
			time.Sleep(wait)
			if err := readFull(s, buf[:growStep]); err != nil {
				t.Fatal(err)
			}
			if window(s) <= below {
				return
			}
		}
		t.Errorf("the window is %d KiB with a reader that takes %v for a piece", window(s)>>10, wait)
	}
	took(50*time.Millisecond, firstWindow)
	took(shrinkAbove+100*time.Millisecond, minWindow)
	if n := server.Buffered(); n > grown {
		t.Errorf("%d KiB wait", n>>10)
	}
	s.Reset()
	if server.Buffered() != 0 || server.loaned.Load() != 0 {
		t.Errorf("after the reset %d bytes wait and %d are on loan", server.Buffered(), server.loaned.Load())
	}
}

// Whatever many streams want, what a link grants beyond the first windows has a
// bound, and comes back.
func TestLoansNeverExceedTheLinksBound(t *testing.T) {
	server, agent := newPair(t, ends{dial: far(t, 5*time.Millisecond)})
	var most atomic.Int64
	watch := func() {
		for _, l := range []*Link{server, agent} {
			for n := l.loaned.Load(); n > most.Load(); n = l.loaned.Load() {
				most.Store(n)
			}
		}
	}
	var wg sync.WaitGroup
	for range 24 {
		s, a := open(t, server, agent)
		wg.Go(func() {
			_, _ = io.Copy(struct{ io.Writer }{a}, pattern(1, 2<<20))
			_ = a.CloseWrite()
			_, _ = io.Copy(io.Discard, a)
			_ = a.Close()
		})
		wg.Go(func() {
			_ = s.CloseWrite()
			buf := make([]byte, 32<<10)
			for {
				watch()
				if _, err := s.Read(buf); err != nil {
					_ = s.Close()
					return
				}
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n > maxLoans || n == 0 {
		t.Errorf("up to %d bytes were on loan, %d are allowed", n, maxLoans)
	}
	if n := server.loaned.Load() + agent.loaned.Load(); n != 0 {
		t.Errorf("%d bytes are on loan to nobody", n)
	}
}

// stall opens n streams into which the agent writes as much as it may, and which
// nobody reads.
func stall(t *testing.T, server, agent *Link, n int) (here []*Stream, over func() []error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		s, a := open(t, server, agent)
		here = append(here, s)
		wg.Go(func() {
			_, errs[i] = io.Copy(struct{ io.Writer }{a}, &patterned{at: uint64(i)})
		})
	}
	return here, func() []error { wg.Wait(); return errs }
}

// T18: visitors who take an answer and do not read it. Their bytes wait in the
// server's memory, up to a bound; beyond it those who hold the most are reset.
func TestStalledReadersHoldNoMoreThanTheLinksBudget(t *testing.T) {
	log := new(journal)
	server, agent := newPair(t, ends{server: Options{Log: log.logger()}})
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)

	var most atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if n := server.Buffered(); n > most.Load() {
				most.Store(n)
			}
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	})
	const visitors = 256
	streams, over := stall(t, server, agent, visitors)
	reset := func() int {
		n := 0
		for _, s := range streams {
			s.mu.Lock()
			if s.over {
				n++
			}
			s.mu.Unlock()
		}
		return n
	}
	// All windows are full when nothing moves any more.
	last, same := int64(-1), 0
	eventually(t, "the agent has sent all it may", func() bool {
		time.Sleep(20 * time.Millisecond)
		if n := server.Buffered() + int64(reset())<<32; n == last && reset() > 0 {
			same++
		} else {
			last, same = n, 0
		}
		return same > 10
	})
	close(stop)
	wg.Wait()
	runtime.GC()
	runtime.ReadMemStats(&now)
	t.Logf("%d stalled visitors: at most %d KiB waited, %d KiB wait, %d were reset, heap +%d KiB", visitors,
		most.Load()>>10, server.Buffered()>>10, reset(), int64(now.HeapInuse-before.HeapInuse)>>10)
	if n := most.Load(); n > MaxBuffered+2<<20 {
		t.Errorf("%d KiB waited, %d are allowed", n>>10, MaxBuffered>>10)
	}
	if n := server.Buffered(); n > MaxBuffered || n < MaxBuffered/2 {
		t.Errorf("%d KiB wait, more than needed were reset, or fewer", n>>10)
	}
	if n := log.lines(); n > 2 {
		t.Errorf("the log has %d lines", n)
	}
	if server.Ended() {
		t.Fatalf("the link ended: %v", server.Err())
	}

	// Who was not reset reads on, and new visitors come.
	lived := 0
	for i, s := range streams {
		want, got := make([]byte, 512<<10), make([]byte, 512<<10)
		_ = readFull(&patterned{at: uint64(i)}, want)
		err := readFull(s, got)
		switch {
		case err == nil && string(want) == string(got):
			lived++
		case !errors.Is(err, errSlow):
			t.Errorf("visitor %d: %v", i, err)
		}
		_ = s.Close()
	}
	if lived == 0 || lived == visitors {
		t.Errorf("%d of %d visitors live", lived, visitors)
	}
	for _, err := range over() {
		if !errors.Is(err, ErrReset) {
			t.Errorf("the agent's write ended with %v", err)
		}
	}
	s, a := open(t, server, agent)
	if _, err := a.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 5); readFull(s, b) != nil || string(b) != "hello" {
		t.Errorf("a new visitor reads %q", b)
	}
	_ = s.Close()
	if server.Buffered() != 0 || server.loaned.Load() != 0 {
		t.Errorf("after all visitors %d bytes wait, %d are on loan", server.Buffered(), server.loaned.Load())
	}
}

func TestTheBiggestBacklogIsResetFirst(t *testing.T) {
	server, agent := newPair(t, ends{})
	big, a := open(t, server, agent)
	go func() { _, _ = a.Write(make([]byte, 900<<10)) }()
	eventually(t, "the big one", func() bool { return server.Buffered() == 900<<10 })
	const piece = 200 << 10
	var small []*Stream
	for n := int64(900 << 10); n <= MaxBuffered; n += piece {
		s, a := open(t, server, agent)
		if _, err := a.Write(make([]byte, piece)); err != nil {
			t.Fatal(err)
		}
		small = append(small, s)
	}
	_, _ = open(t, server, agent) // the next frame finds the budget used up
	within(t, "the reset", func() {
		for {
			big.mu.Lock()
			over := big.over
			big.mu.Unlock()
			if over {
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	if _, err := big.Read(make([]byte, 1)); !errors.Is(err, errSlow) {
		t.Errorf("the biggest reads %v", err)
	}
	for i, s := range small {
		if err := readFull(s, make([]byte, piece)); err != nil {
			t.Errorf("small one %d: %v", i, err)
		}
	}
}

func TestBudgetHoldsOverManyLinks(t *testing.T) {
	const limit = 3 << 20
	budget := NewBudget(limit)
	h := listen(t, Options{Budget: budget})
	var servers []*Link
	var most atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if n := budget.Used(); n > most.Load() {
				most.Store(n)
			}
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	})
	// One link holds far more than the others: it gives.
	modest := func() *Stream {
		agent, _, err := Dial(t.Context(), DialOptions{URL: h.url}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = agent.Close() })
		server := h.next(t)
		servers = append(servers, server)
		s, a := open(t, server, agent)
		if _, err := a.Write(make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it waits", func() bool { return server.Buffered() == 100<<10 })
		return s
	}
	var few []*Stream
	for range 5 {
		few = append(few, modest())
	}
	agent, _, err := Dial(t.Context(), DialOptions{URL: h.url}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	greedy := h.next(t)
	servers = append(servers, greedy)
	streams, over := stall(t, greedy, agent, 30)
	eventually(t, "someone is reset", func() bool {
		for _, s := range streams {
			s.mu.Lock()
			gone := s.over
			s.mu.Unlock()
			if gone {
				return true
			}
		}
		return false
	})
	eventually(t, "the budget holds", func() bool { return budget.Used() <= limit })
	close(stop)
	wg.Wait()
	if n := most.Load(); n > limit+2<<20 {
		t.Errorf("%d KiB waited in all, %d are allowed", n>>10, limit>>10)
	}
	for i, s := range few {
		if err := readFull(s, make([]byte, 100<<10)); err != nil {
			t.Errorf("visitor %d of a modest link: %v", i, err)
		}
	}
	_ = agent.Close()
	over()
	for _, l := range servers {
		_ = l.Close()
	}
	if n := budget.Used(); n != 0 {
		t.Errorf("%d bytes are counted, and nobody is there", n)
	}
	if n := len(budget.links); n != 0 {
		t.Errorf("the budget remembers %d links", n)
	}
}

// A peer that has finished needs no credit. Sent all the same, it would look like
// an attack where both have finished and one still reads.
func TestReadersThatAreLateSendNoCreditForWhatIsOver(t *testing.T) {
	server, agent := newPair(t, ends{})
	var late []*Stream
	for range 40 { // more would be too much for the agent's budget
		s, a := open(t, server, agent)
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(make([]byte, 250<<10)); err != nil {
			t.Fatal(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(s); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		late = append(late, a)
	}
	read := func() {
		for i, a := range late {
			if n, err := io.Copy(io.Discard, a); n != 250<<10 || err != nil {
				t.Fatalf("stream %d: %d bytes, %v", i, n, err)
			}
			_ = a.Close()
		}
	}
	eventually(t, "all is sent", func() bool { return agent.Buffered() == int64(len(late))*250<<10 })
	read()
	s, a := open(t, server, agent)
	if _, err := a.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := readFull(s, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if n := server.guard.strays; n != 0 { // the reader has just passed data on: it is quiet
		t.Errorf("the server counts %d frames for streams that are over", n)
	}
}

// A stream whose data never was wanted gives everything back, whenever it ends.
func TestNothingIsHeldForStreamsThatAreOver(t *testing.T) {
	budget := NewBudget(64 << 20)
	server, agent := newPair(t, ends{server: Options{Budget: budget}})
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			s, err := server.Open(t.Context(), protocol.Preface{})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Write([]byte("go")); err != nil {
				t.Error(err)
			}
			buf := make([]byte, 1+i*1000)
			_, _ = s.Read(buf)
			if i%2 == 0 {
				s.Reset()
			} else {
				_ = s.Close()
			}
		})
		wg.Go(func() {
			a, err := agent.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(struct{ io.Writer }{a}, pattern(1, 1<<20))
			_ = a.Close()
		})
	}
	wg.Wait()
	eventually(t, "all streams are over", func() bool { return server.Streams() == 0 && agent.Streams() == 0 })
	// What was on its way is discarded.
	s, a := open(t, server, agent)
	_, _ = a.Write([]byte("x"))
	_ = readFull(s, make([]byte, 1))
	_ = s.Close()
	if server.Buffered() != 0 || budget.Used() != 0 || server.loaned.Load() != 0 {
		t.Errorf("%d bytes wait, %d in the budget, %d on loan", server.Buffered(), budget.Used(), server.loaned.Load())
	}
}

func TestBudgetIsFreeAgainWhenALinkDies(t *testing.T) {
	budget := NewBudget(64 << 20)
	server, agent := newPair(t, ends{server: Options{Budget: budget}})
	_, over := stall(t, server, agent, 10)
	eventually(t, "much waits", func() bool { return budget.Used() > 2<<20 })
	_ = agent.ws.NetConn().Close()
	ended(t, server)
	within(t, "the writers", func() { over() })
	eventually(t, "the budget is free", func() bool { return budget.Used() == 0 && server.Buffered() == 0 })
}

// Streams that wait to be accepted hold memory as others do: they are reset when
// it is too much, the peer learns of it, and nothing is lost from the count.
func TestUnacceptedStreamsAreCountedAndReset(t *testing.T) {
	server, agent := newPair(t, ends{})
	var wg sync.WaitGroup
	var reset atomic.Int32
	for range serverBacklog { // nobody accepts
		s, err := server.Open(t.Context(), protocol.Preface{})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			_, _ = s.Write(make([]byte, 200<<10))
			if _, err := s.Read(make([]byte, 1)); errors.Is(err, ErrReset) {
				reset.Add(1)
			} else if err != io.EOF {
				t.Error(err)
			}
			_ = s.Close()
		})
	}
	eventually(t, "the agent gives some up", func() bool {
		agent.smu.Lock()
		defer agent.smu.Unlock()
		return agent.tooSlow > 10
	})
	go func() {
		for {
			a, err := agent.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.CopyN(io.Discard, a, 7+200<<10)
				_ = a.CloseWrite()
				_, _ = a.Read(make([]byte, 1))
				_ = a.Close()
			}()
		}
	}()
	within(t, "the end of all streams", wg.Wait)
	if n := reset.Load(); n == 0 || n == serverBacklog {
		t.Errorf("%d of %d were reset", n, serverBacklog)
	}
	eventually(t, "all streams are over", func() bool { return server.Streams() == 0 && agent.Streams() == 0 })
	if n := agent.Buffered(); n != 0 {
		t.Errorf("%d bytes are counted, and nobody holds them", n)
	}
}
