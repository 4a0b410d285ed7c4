package link

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/relaytunnel/relay/protocol"
)

// A hostile peer has a valid token and speaks WebSocket, or nearly so. Whatever it
// sends costs it its link within a moment, a few log lines and little memory.

const (
	// judged is how long a hostile peer may go on.
	judged = 5 * time.Second
	// costs is what an attack may take of the memory (T13-T18).
	costs = 32 << 20
)

// frame is a yamux frame with a body.
func frame(typ byte, flags uint16, id, length uint32, body ...byte) []byte {
	b := make([]byte, headerSize, headerSize+len(body))
	putHeader(b, typ, flags, id, length)
	return append(b, body...)
}

// data is a data frame whose length is true.
func data(flags uint16, id uint32, n int) []byte {
	return frame(typeData, flags, id, uint32(n), make([]byte, n)...)
}

// flood repeats a frame until a WebSocket message is well filled.
func flood(f []byte) []byte { return bytes.Repeat(f, max(1, 64<<10/len(f))) }

// An attacker sends until it is stopped.
type attacker struct {
	ws     *websocket.Conn
	server *Link
	stream *Stream // one that the server has opened, if the attack wants one
	id     uint32
}

// send sends one binary message with the frames.
func (a *attacker) send(frames ...[]byte) error {
	return a.ws.WriteMessage(websocket.BinaryMessage, bytes.Join(frames, nil))
}

// forever sends the frames again and again, as few system calls as there are.
func (a *attacker) forever(frames []byte) error {
	for {
		if err := a.send(frames); err != nil {
			return err
		}
	}
}

// again calls f until it fails.
func again(f func() error) error {
	for {
		if err := f(); err != nil {
			return err
		}
	}
}

// attacks of an agent on a server. A sentence of the reason is in want; an attack
// that sends little and then waits is over when it returns nil.
var attacks = []struct {
	name string
	open bool // the server opens a stream first, which the agent accepts
	run  func(a *attacker) error
	want string
}{
	{"pings of WebSocket", false, func(a *attacker) error {
		return again(func() error { return a.ws.WriteControl(websocket.PingMessage, make([]byte, 125), time.Time{}) })
	}, "pings"},
	{"pongs nobody asked for", false, func(a *attacker) error {
		return again(func() error { return a.ws.WriteControl(websocket.PongMessage, nil, time.Time{}) })
	}, "pings"},
	{"pings of yamux", false, func(a *attacker) error { return a.forever(flood(frame(typePing, flagSYN, 0, 7))) }, "pings"},
	{"answers to pings of yamux", false, func(a *attacker) error { return a.forever(flood(frame(typePing, flagACK, 0, 7))) }, "pings"},
	{"going away without end", false, func(a *attacker) error { return a.forever(flood(frame(typeGoAway, 0, 0, 0))) }, "nothing"},
	{"data for unknown streams", false, func(a *attacker) error { return a.forever(flood(data(0, 99999, 1000))) }, "unknown streams"},
	{"credit for unknown streams", false, func(a *attacker) error { return a.forever(flood(frame(typeWindow, 0, 99999, 1))) }, "unknown streams"},
	{"ends of unknown streams", false, func(a *attacker) error { return a.forever(flood(frame(typeWindow, flagFIN, 4, 0))) }, "unknown streams"},
	{"streams nobody asked for", false, func(a *attacker) error {
		for id := uint32(1); ; id += 2 {
			if err := a.send(data(flagSYN, id, 256<<10)); err != nil {
				return err
			}
		}
	}, "an agent opened a stream"},
	{"a stream with the server's parity", false, func(a *attacker) error { return a.send(frame(typeWindow, flagSYN, 2, 0)) }, "an agent opened a stream"},
	{"another version", false, func(a *attacker) error { return a.send([]byte{1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0}) }, "frame version 1"},
	{"another type", false, func(a *attacker) error { return a.send(frame(4, 0, 2, 0)) }, "frame type 4"},
	{"flags that are none", false, func(a *attacker) error { return a.send(frame(typeWindow, 16, 2, 0)) }, "frame flags"},
	{"4 GiB for nobody", false, func(a *attacker) error { return a.send(frame(typeData, 0, 99998, math.MaxUint32)) }, "window"},
	{"noise", false, func(a *attacker) error { return a.send(noise[:1000]) }, "frame"},

	{"a stream opened twice", true, func(a *attacker) error { return a.send(frame(typeWindow, flagSYN, a.id, 0)) }, "opened twice"},
	{"a stream accepted twice", true, func(a *attacker) error { return a.send(frame(typeWindow, flagACK, a.id, 0)) }, "acknowledged twice"},
	{"a stream finished twice", true, func(a *attacker) error {
		return a.send(frame(typeWindow, flagFIN, a.id, 0), frame(typeData, flagFIN, a.id, 0))
	}, "went on after its end"},
	{"data after the end", true, func(a *attacker) error { return a.send(data(flagFIN, a.id, 10), data(0, a.id, 1)) }, "went on after its end"},
	{"one byte beyond the window", true, func(a *attacker) error {
		a.stream.mu.Lock()
		left := a.stream.granted - a.stream.recv
		a.stream.mu.Unlock()
		for ; left > 32<<10; left -= 32 << 10 {
			if err := a.send(data(0, a.id, 32<<10)); err != nil {
				return err
			}
		}
		return a.send(data(0, a.id, int(left)+1))
	}, "more than its window"},
	{"4 GiB at once", true, func(a *attacker) error { return a.send(frame(typeData, 0, a.id, math.MaxUint32)) }, "window"},
	{"credit without end", true, func(a *attacker) error { return a.forever(flood(frame(typeWindow, 0, a.id, 1<<30))) }, "2 GiB"},
	{"empty data", true, func(a *attacker) error { return a.forever(flood(data(0, a.id, 0))) }, "nothing"},
	{"empty credit", true, func(a *attacker) error { return a.forever(flood(frame(typeWindow, 0, a.id, 0))) }, "nothing"},
	{"more than was granted after a reset", true, func(a *attacker) error {
		a.stream.Reset()
		return again(func() error { return a.send(data(0, a.id, 32<<10)) })
	}, "more than its window"},
	{"empty data after a reset", true, func(a *attacker) error {
		a.stream.Reset()
		return a.forever(flood(data(0, a.id, 0)))
	}, "nothing"},
	{"credit after a reset", true, func(a *attacker) error {
		a.stream.Reset()
		return a.forever(flood(frame(typeWindow, 0, a.id, 1)))
	}, "unknown streams"},

	{"control messages", false, func(a *attacker) error {
		return again(func() error { return a.ws.WriteMessage(websocket.TextMessage, []byte(`{"unbind":{"id":1}}`)) })
	}, "control messages"},
	{"empty control messages", false, func(a *attacker) error {
		return again(func() error { return a.ws.WriteMessage(websocket.TextMessage, []byte(`{}`)) })
	}, "control messages"},
	{"a huge control message", false, func(a *attacker) error {
		return a.ws.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte(" "), protocol.MaxMessage+1))
	}, "are allowed"},
	{"a control message that is none", false, func(a *attacker) error {
		return a.ws.WriteMessage(websocket.TextMessage, []byte("GET / HTTP/1.1"))
	}, "control message"},
	{"deep JSON", false, func(a *attacker) error {
		return a.ws.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("["), protocol.MaxMessage))
	}, "control message"},
	{"empty messages", false, func(a *attacker) error { return again(func() error { return a.send() }) }, "nothing"},
	{"a huge message", false, func(a *attacker) error {
		return again(func() error { return a.send(flood(frame(typeWindow, 0, 4, 1)), make([]byte, maxWSMessage)) })
	}, ""},
	{"a message that never ends", true, func(a *attacker) error {
		w, err := a.ws.NextWriter(websocket.BinaryMessage)
		if err != nil {
			return err
		}
		return again(func() error { _, err := w.Write(data(0, a.id, 1)); return err })
	}, "read limit"},
	{"broken WebSocket", false, func(a *attacker) error {
		_, err := a.ws.NetConn().Write(bytes.Repeat([]byte{0xff}, 4096))
		return err
	}, "connection lost"},
	{"WebSocket without masks", false, func(a *attacker) error {
		_, err := a.ws.NetConn().Write([]byte{0x82, 1, 0})
		return err
	}, "MASK"},
}

func TestHostileAgentLosesItsLinkAndNothingElseIsLost(t *testing.T) {
	for _, tt := range attacks {
		t.Run(tt.name, func(t *testing.T) {
			log := new(journal)
			h := listen(t, Options{Log: log.logger()})
			server, ws := h.raw(t)
			a := &attacker{ws: ws, server: server}
			if tt.open {
				s, err := server.Open(t.Context(), protocol.Preface{Tunnel: 1})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
					t.Fatal(err)
				}
				a.stream, a.id = s, s.id
				if err := a.send(frame(typeWindow, flagACK, s.id, 0)); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the stream is accepted", func() bool {
					server.smu.Lock()
					defer server.smu.Unlock()
					return s.acked
				})
			}
			var heard sync.WaitGroup
			var told atomic.Pointer[protocol.Error]
			heard.Go(func() { // an agent that reads, so that it can hear the reason
				for {
					kind, r, err := ws.NextReader()
					if err != nil {
						return
					}
					b, _ := io.ReadAll(r)
					if m, err := protocol.Unmarshal(b); kind == websocket.TextMessage && err == nil {
						told.Store(m.Error)
					}
				}
			})
			m := watchMemory()
			began := time.Now()
			done := make(chan error, 1)
			go func() { done <- tt.run(a) }()
			select {
			case <-server.Done():
			case <-time.After(judged):
				_ = server.Close()
				<-done
				t.Fatalf("after %v the link lives", judged)
			}
			took, grown := time.Since(began), m.stop()
			<-done
			_ = ws.Close()
			heard.Wait()
			t.Logf("ended after %v, memory +%d KiB, %d log lines: %v", took.Round(time.Millisecond), grown>>10, log.lines(), server.Err())
			if err := server.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the reason is %v, want %q", err, tt.want)
			}
			if n := log.lines(); n > 2 {
				t.Errorf("the log has %d lines", n)
			}
			if grown > costs {
				t.Errorf("it took %d MiB", grown>>20)
			}
			var broke *protocol.Error
			if errors.As(server.Err(), &broke) && broke.Code != protocol.CodeProtocol {
				t.Errorf("the code is %s", broke.Code)
			}
		})
	}
}

// A peer that breaks the rules by mistake learns which.
func TestAgentIsToldWhatItDidWrong(t *testing.T) {
	h := listen(t, Options{})
	server, ws := h.raw(t)
	// It has sent more than is looked at.
	if err := ws.WriteMessage(websocket.BinaryMessage, bytes.Join([][]byte{frame(9, 0, 0, 0), make([]byte, 500<<10)}, nil)); err != nil {
		t.Fatal(err)
	}
	kind, b, err := ws.ReadMessage()
	if err != nil || kind != websocket.TextMessage {
		t.Fatalf("%d, %v", kind, err)
	}
	m, err := protocol.Unmarshal(b)
	if err != nil || m.Error == nil || m.Error.Code != protocol.CodeProtocol || !strings.Contains(m.Error.Message, "frame type 9") {
		t.Errorf("it hears %s, %v", b, err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("then %v", err)
	}
	ended(t, server)
}

// T15: an agent that ignores that visitors have gone. What it sends for them is
// dropped, and nothing grows.
func TestDataForClosedStreamsIsDropped(t *testing.T) {
	log := new(journal)
	h := listen(t, Options{Log: log.logger()})
	server, ws := h.raw(t)
	go drain(ws)
	visits := 2000
	if testing.Short() {
		visits = 300
	}
	m := watchMemory()
	body := make([]byte, 32<<10)
	for range visits {
		s, err := server.Open(t.Context(), protocol.Preface{Tunnel: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		_ = s.Close() // the visitor went away
		w, err := ws.NextWriter(websocket.BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(frame(typeWindow, flagACK, s.id, 0))
		for range firstWindow / len(body) {
			_, _ = w.Write(frame(typeData, 0, s.id, uint32(len(body))))
			_, _ = w.Write(body)
		}
		if err := w.Close(); err != nil {
			t.Fatalf("the link ended: %v, %v", err, server.Err())
		}
	}
	grown := m.stop()
	t.Logf("%d aborted visits, %d MiB sent for them: memory +%d KiB", visits, visits*firstWindow>>20, grown>>10)
	if grown > 16<<20 {
		t.Errorf("%d aborted visits took %d MiB", visits, grown>>20)
	}
	if server.Ended() || server.Buffered() != 0 || server.Streams() != 0 || log.lines() > 1 {
		t.Errorf("ended %v, %d bytes, %d streams, log: %s", server.Ended(), server.Buffered(), server.Streams(), log)
	}
}

// An agent may say nothing for long in the midst of a frame. It holds no memory,
// and whoever watches the link sees the silence.
func TestHalfAFrameAndThenSilence(t *testing.T) {
	h := listen(t, Options{})
	for _, half := range [][]byte{{}, frame(typeData, 0, 2, 100)[:5], frame(typeData, 0, 2, 100)} {
		server, ws := h.raw(t)
		s, err := server.Open(t.Context(), protocol.Preface{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(nil); err != nil {
			t.Fatal(err)
		}
		if err := ws.WriteMessage(websocket.BinaryMessage, half); err != nil {
			t.Fatal(err)
		}
		go drain(ws)
		if server.Silent(time.Now().Add(time.Minute)) < 50*time.Second {
			t.Error("the silence is not seen")
		}
		within(t, "Close", func() { _ = server.Close() })
		if n, err := s.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("the visitor reads %d, %v", n, err)
		}
	}
}

// An agent that takes nothing of what is sent to it holds what waits for it, which
// has a bound.
func TestAgentThatReadsNothingHoldsNoMoreThanTheQueue(t *testing.T) {
	h := listen(t, Options{})
	server, ws := h.raw(t)
	var wg sync.WaitGroup
	m := watchMemory()
	for range 100 {
		s, err := server.Open(t.Context(), protocol.Preface{})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { _, _ = s.Write(make([]byte, 256<<10)) })
		if err := ws.WriteMessage(websocket.BinaryMessage, frame(typeWindow, flagACK, s.id, 16<<20)); err != nil {
			t.Fatal(err)
		}
	}
	// It asks without end, and takes no answer.
	asked := 0
	for i := range 100_000 {
		if server.Control(protocol.Message{Error: &protocol.Error{Message: strings.Repeat("x", 1000)}}) != nil {
			asked = i
			break
		}
	}
	if asked == 0 {
		t.Error("answers wait without bound for an agent that takes none")
	}
	within(t, "the end", func() { _ = server.Close() })
	wg.Wait()
	if grown := m.stop(); grown > costs+100*256<<10 { // the visitors' own bytes are ours
		t.Errorf("it took %d MiB", grown>>20)
	}
}

// The same house rules for a server that turns on its agent.
func TestHostileServerLosesItsLink(t *testing.T) {
	many := func(ws *websocket.Conn) error {
		var b []byte
		for i := range maxStreams + 1 {
			b = append(b, frame(typeWindow, flagSYN, uint32(2*i+2), 0)...)
		}
		return ws.WriteMessage(websocket.BinaryMessage, b)
	}
	frames := func(fs ...[]byte) func(*websocket.Conn) error {
		return func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.BinaryMessage, bytes.Join(fs, nil))
		}
	}
	syn := frame(typeWindow, flagSYN, 2, 0)
	for _, tt := range []struct {
		name string
		run  func(ws *websocket.Conn) error
		want string
	}{
		{"an odd id", frames(frame(typeWindow, flagSYN, 1, 0)), "stream id 1"},
		{"no id", frames(frame(typeWindow, flagSYN, 0, 0)), "stream id 0"},
		{"a stream that begins with data", frames(data(flagSYN, 2, 10)), "did not begin"},
		{"a stream that ends as it begins", frames(frame(typeWindow, flagSYN|flagFIN, 2, 0)), "did not begin"},
		{"a stream opened twice", frames(syn, syn), "opened twice"},
		{"a stream accepted by the one who opened it", frames(syn, frame(typeWindow, flagACK, 2, 0)), "acknowledged twice"},
		{"one byte beyond the window", frames(syn, data(0, 2, 200<<10), data(0, 2, 56<<10), data(0, 2, 1)), "more than its window"},
		{"too many streams", many, "too many streams"},
		{"4 GiB", frames(syn, frame(typeData, 0, 2, math.MaxUint32)), "window"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := new(journal)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				u := websocket.Upgrader{Subprotocols: []string{protocol.Subprotocol}}
				ws, err := u.Upgrade(w, r, nil)
				if err != nil {
					return
				}
				defer ws.Close()
				if tt.run(ws) == nil {
					drain(ws)
				}
			}))
			defer srv.Close()
			agent, _, err := Dial(t.Context(), DialOptions{URL: "ws" + strings.TrimPrefix(srv.URL, "http")}, Options{Log: log.logger()})
			if err != nil {
				t.Fatal(err)
			}
			defer agent.Close()
			if err := ended(t, agent); !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the reason is %v, want %q", err, tt.want)
			}
			if n := log.lines(); n > 2 {
				t.Errorf("the log has %d lines", n)
			}
		})
	}
}

// memory watches how much of the heap is in use.
type memory struct {
	before uint64
	most   uint64
	quit   chan struct{}
	done   chan struct{}
}

func watchMemory() *memory {
	m := &memory{quit: make(chan struct{}), done: make(chan struct{})}
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.before = s.HeapInuse + s.StackInuse
	go func() {
		defer close(m.done)
		for {
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			m.most = max(m.most, s.HeapInuse+s.StackInuse)
			select {
			case <-m.quit:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return m
}

// stop returns by how much it has grown at most.
func (m *memory) stop() uint64 {
	close(m.quit)
	<-m.done
	return m.most - min(m.before, m.most)
}
