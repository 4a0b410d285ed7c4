package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/relaytunnel/relay/protocol"
)

func TestControlMessagesArriveInOrderBesideData(t *testing.T) {
	const messages = 150 // an honest peer stays below 200 a second
	var got []uint32
	all := make(chan struct{})
	server, agent := newPair(t, ends{server: Options{Control: func(_ *Link, m protocol.Message) {
		if got = append(got, m.Unbind.ID); len(got) == messages {
			close(all)
		}
	}}})
	s, a := open(t, server, agent)
	go func() { _, _ = io.Copy(struct{ io.Writer }{a}, &patterned{}) }()
	go func() { _, _ = io.Copy(io.Discard, s) }()
	for i := range messages {
		if err := agent.Control(protocol.Message{Unbind: &protocol.Unbind{ID: uint32(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "the messages", func() { <-all })
	for i, id := range got {
		if id != uint32(i) {
			t.Fatalf("message %d is number %d", id, i)
		}
	}
}

func TestControlMessagesThatAreTooLongAreNotSent(t *testing.T) {
	server, agent := newPair(t, ends{})
	m := protocol.Message{Error: &protocol.Error{Message: strings.Repeat("x", protocol.MaxMessage)}}
	if err := agent.Control(m); err == nil {
		t.Error("it was sent")
	}
	_ = server.Close()
	if err := server.Control(protocol.Message{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// What was said last arrives before the end.
func TestLastWordsArriveBeforeTheEnd(t *testing.T) {
	for i := range 20 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var heard atomic.Pointer[protocol.Error]
			server, agent := newPair(t, ends{agent: Options{Control: func(_ *Link, m protocol.Message) { heard.Store(m.Error) }}})
			s, a := open(t, server, agent)
			go func() { _, _ = io.Copy(struct{ io.Writer }{s}, &patterned{}) }()
			go func() { _, _ = io.Copy(io.Discard, a) }()
			go func() { _, _ = io.Copy(struct{ io.Writer }{a}, &patterned{}) }()
			go func() { _, _ = io.Copy(io.Discard, s) }()
			reason := errors.New("enough")
			if err := server.Control(protocol.Message{Error: &protocol.Error{Code: protocol.CodeReplaced, Message: "another took over"}}); err != nil {
				t.Fatal(err)
			}
			if err := server.CloseWith(reason); err != nil {
				t.Fatal(err)
			}
			if err := server.Err(); !errors.Is(err, reason) {
				t.Errorf("this side's reason is %v", err)
			}
			if err := ended(t, agent); !errors.Is(err, ErrPeerClosed) {
				t.Errorf("the peer's reason is %v", err)
			}
			if e := heard.Load(); e == nil || e.Message != "another took over" {
				t.Errorf("the peer heard %v", e)
			}
		})
	}
}

func TestCloseIsALifesEnd(t *testing.T) {
	server, agent := newPair(t, ends{})
	if server.Err() != nil || server.Ended() {
		t.Errorf("a living link: %v", server.Err())
	}
	told := make(chan struct{}, 2)
	agent.OnClose(func() { told <- struct{}{} })
	accepted := make(chan error, 1)
	go func() { _, err := agent.Accept(); accepted <- err }()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _ = server.Close() })
	}
	within(t, "Close", wg.Wait)
	if err := ended(t, server); !errors.Is(err, ErrClosed) || !server.Ended() {
		t.Errorf("the reason is %v", err)
	}
	if err := ended(t, agent); !errors.Is(err, ErrPeerClosed) {
		t.Errorf("the peer's reason is %v", err)
	}
	within(t, "Accept", func() {
		if err := <-accepted; !errors.Is(err, ErrPeerClosed) {
			t.Errorf("Accept ended with %v", err)
		}
	})
	within(t, "OnClose", func() { <-told })
	agent.OnClose(func() { told <- struct{}{} })
	if len(told) != 1 {
		t.Error("one who asks after the end is not told")
	}
	if _, err := agent.Accept(); !errors.Is(err, ErrPeerClosed) {
		t.Errorf("Accept after the end: %v", err)
	}
}

// All who wait anywhere on a link come back when it ends.
func TestEverybodyComesBackWhenTheLinkEnds(t *testing.T) {
	server, agent := newPair(t, ends{})
	var wg sync.WaitGroup
	for range 40 {
		s, a := open(t, server, agent)
		for _, x := range []*Stream{s, a} {
			wg.Go(func() {
				if _, err := x.Write(make([]byte, 64<<20)); err == nil {
					t.Error("a write of 64 MiB that nobody reads succeeds")
				}
			})
			wg.Go(func() {
				time.Sleep(time.Millisecond)
				x.OnReset(func() {})
				_ = x.SetDeadline(time.Now().Add(time.Hour))
			})
		}
	}
	for range 3 * serverBacklog {
		wg.Go(func() { _, _ = server.Open(t.Context(), protocol.Preface{}) })
	}
	eventually(t, "windows are full", func() bool { return server.Buffered() > 8<<20 && agent.Buffered() > 8<<20 })
	_ = agent.ws.NetConn().Close()
	within(t, "the end", wg.Wait)
	ended(t, server)
	ended(t, agent)
}

func TestPingIsAnsweredAndSilenceIsMeasured(t *testing.T) {
	server, agent := newPair(t, ends{})
	past := time.Now().Add(-time.Hour).UnixMilli()
	for _, l := range []*Link{server, agent} {
		l.lastRead.Store(past)
		l.lastWrite.Store(past)
	}
	now := time.Now()
	if agent.Silent(now) < 59*time.Minute || agent.Quiet(now) < 59*time.Minute || server.Silent(now) < 59*time.Minute {
		t.Error("silence is not measured")
	}
	agent.Ping()
	eventually(t, "both have heard", func() bool {
		now := time.Now()
		return agent.Silent(now) < time.Minute && agent.Quiet(now) < time.Minute && server.Silent(now) < time.Minute
	})
	if a := agent.Age(); a < 0 || a > time.Minute {
		t.Errorf("the link is %v old", a)
	}
}

func TestDialTellsWhatTheServerAnswered(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		check  func(t *testing.T, err error)
	}{
		{"refused", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Relay-Error", "taken")
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"code":"taken"}`)
		}, func(t *testing.T, err error) {
			var r *Refusal
			if !errors.As(err, &r) || r.Status != 409 || string(r.Body) != `{"code":"taken"}` || r.Header.Get("Relay-Error") != "taken" {
				t.Errorf("%v, %+v", err, r)
			}
		}},
		{"endless refusal", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, func(t *testing.T, err error) {
			var r *Refusal
			if !errors.As(err, &r) || len(r.Body) > protocol.MaxMessage {
				t.Errorf("%v", err)
			}
		}},
		{"another protocol", func(w http.ResponseWriter, r *http.Request) {
			u := websocket.Upgrader{Subprotocols: []string{"relay.v2"}, CheckOrigin: func(*http.Request) bool { return true }}
			if ws, err := u.Upgrade(w, r, nil); err == nil {
				_ = ws.Close()
			}
		}, func(t *testing.T, err error) {
			if err == nil || !strings.Contains(err.Error(), protocol.Subprotocol) {
				t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(tt.answer)
			defer srv.Close()
			within(t, "Dial", func() {
				l, _, err := Dial(t.Context(), DialOptions{URL: "ws" + strings.TrimPrefix(srv.URL, "http")}, Options{})
				if err == nil {
					_ = l.Close()
					t.Fatal("a link came up")
				}
				tt.check(t, err)
			})
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // takes connections and says nothing
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	within(t, "Dial", func() {
		if _, _, err := Dial(ctx, DialOptions{URL: "ws://" + ln.Addr().String()}, Options{}); err == nil {
			t.Error("a link came up")
		}
	})
}

func TestBrowsersAreRefused(t *testing.T) {
	h := listen(t, Options{})
	for _, origin := range []string{"https://evil.example", "null", strings.Replace(h.url, "ws", "http", 1)} {
		_, _, err := Dial(t.Context(), DialOptions{URL: h.url, Header: http.Header{"Origin": {origin}}}, Options{})
		var r *Refusal
		if !errors.As(err, &r) || r.Status != http.StatusForbidden {
			t.Errorf("origin %q: %v", origin, err)
		}
	}
}

// F07: a slow uplink is busy, not dead. All transfers end well, and a ping is
// answered in spite of what waits.
func TestSlowUplinkCarriesAllTransfersAndAnswersPings(t *testing.T) {
	const rate, total = 128 << 10, 512 << 10 // 1 Mbit/s
	for _, transfers := range []int{8, 64} {
		t.Run(fmt.Sprint(transfers), func(t *testing.T) {
			t.Parallel()
			server, agent := newPair(t, ends{dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				return &slow{c, rate}, err
			}})
			var wg sync.WaitGroup
			var failed atomic.Int32
			began := time.Now()
			for range transfers {
				s, a := open(t, server, agent)
				wg.Go(func() {
					if _, err := a.Write(make([]byte, total/transfers)); err != nil {
						t.Error(err)
						failed.Add(1)
					}
					_ = a.CloseWrite()
				})
				wg.Go(func() {
					if n, err := io.Copy(io.Discard, s); err != nil || n != int64(total/transfers) {
						t.Errorf("%d bytes came: %v", n, err)
						failed.Add(1)
					}
				})
			}
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			var worst time.Duration
			for pings := true; pings; {
				agent.lastRead.Store(0)
				sent := time.Now()
				agent.Ping()
				for agent.lastRead.Load() == 0 {
					time.Sleep(time.Millisecond)
					if time.Since(sent) > patience {
						t.Fatal("no pong")
					}
				}
				worst = max(worst, time.Since(sent))
				select {
				case <-done:
					pings = false
				case <-time.After(100 * time.Millisecond):
				}
			}
			t.Logf("%d transfers, %d KiB in %v: %d failed, slowest pong %v", transfers, total>>10, time.Since(began).Round(time.Millisecond), failed.Load(), worst.Round(time.Millisecond))
			if worst > 5*time.Second {
				t.Errorf("a pong came after %v", worst)
			}
			if server.Ended() || agent.Ended() {
				t.Error("the link ended")
			}
		})
	}
}

// Small requests overtake bulk: what waits for the line has a bound.
func TestQueueBehindASlowLinkIsShort(t *testing.T) {
	server, agent := newPair(t, ends{dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &slow{c, 1 << 20}, err
	}})
	for range 16 {
		s, a := open(t, server, agent)
		go func() { _, _ = io.Copy(struct{ io.Writer }{a}, &patterned{}) }()
		go func() { _, _ = io.Copy(io.Discard, s) }()
	}
	most := 0
	for range 500 {
		agent.w.mu.Lock()
		if agent.w.out != nil {
			most = max(most, len(*agent.w.out))
		}
		agent.w.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	if most > 2*maxQueue+aloneChunk+1024 || most < maxQueue {
		t.Errorf("%d KiB wait for the line", most>>10)
	}
}
