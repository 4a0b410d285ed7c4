package link

import (
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/relaytunnel/relay/protocol"
)

// While one agent attacks, the requests on another agent's link take no longer
// than twice their time (T13-T17). The attacker is a process of its own that
// yields to others, as it would sit on a machine of its own, and dials again
// whenever it has lost its link.
func TestNeighboursOfAnAttackHardlyNotice(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for some seconds")
	}
	const (
		period = 700 * time.Millisecond
		slack  = 3 * time.Millisecond // a slice of the scheduler, where quiet is fast
		tries  = 3                    // the machine has other things to do
	)
	h := listen(t, Options{})
	agent, _, err := Dial(t.Context(), DialOptions{URL: h.url}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	neighbour := h.next(t)
	for _, name := range []string{
		"pings of WebSocket", "pings of yamux", "data for unknown streams", "credit for unknown streams",
		"streams nobody asked for", "empty data", "control messages", "a huge message",
	} {
		t.Run(name, func(t *testing.T) {
			for try := 1; ; try++ {
				quiet := p99(t, neighbour, agent, period)
				stop := attackFromOutside(t, h, name)
				during := p99(t, neighbour, agent, period)
				links := stop()
				t.Logf("p99 %v, in quiet times %v: %.1fx, %d links ended", during, quiet, float64(during)/float64(quiet), links)
				if neighbour.Ended() || neighbour.Streams() != 0 {
					t.Fatalf("the neighbour: %v, %d streams", neighbour.Err(), neighbour.Streams())
				}
				if links == 0 {
					t.Fatal("nobody attacked")
				}
				if during <= 2*quiet+slack {
					return
				}
				if try == tries {
					t.Errorf("p99 is %v, in quiet times %v", during, quiet)
					return
				}
			}
		})
	}
}

// attackFromOutside runs TestAttackerProcess elsewhere until stop is called, which
// tells how many links it has cost.
func attackFromOutside(t *testing.T, h *host, name string) (stop func() int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAttackerProcess$")
	cmd.Env = append(os.Environ(), "RELAY_TEST_ATTACK="+name, "RELAY_TEST_URL="+h.url)
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	links := 0
	go func() {
		defer close(done)
		for {
			select {
			case l := <-h.links:
				if s, err := l.Open(t.Context(), protocol.Preface{}); err == nil {
					_, _ = s.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
				}
				<-l.Done()
				links++
			case <-quit:
				return
			}
		}
	}()
	time.Sleep(100 * time.Millisecond) // it needs a moment to come up
	return func() int {
		_ = leash.Close()
		_ = cmd.Wait()
		close(quit)
		<-done
		for len(h.links) > 0 {
			<-(<-h.links).Done()
		}
		return links
	}
}

// TestAttackerProcess is no test but the process that attacks in the one above.
func TestAttackerProcess(t *testing.T) {
	name := os.Getenv("RELAY_TEST_ATTACK")
	if name == "" {
		t.Skip("only for TestNeighboursOfAnAttackHardlyNotice")
	}
	yieldToOthers()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for _, attack := range attacks {
		if attack.name != name {
			continue
		}
		d := websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}}
		// How often somebody may dial is the gate's affair, not the link's.
		for ; ; time.Sleep(20 * time.Millisecond) {
			ws, resp, err := d.DialContext(t.Context(), os.Getenv("RELAY_TEST_URL"), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			a := &attacker{ws: ws}
			if _, b, err := ws.ReadMessage(); err == nil && len(b) >= headerSize {
				a.id = binary.BigEndian.Uint32(b[4:])
			}
			go drain(ws)
			_ = a.send(frame(typeWindow, flagACK, a.id, 0))
			_ = attack.run(a)
			_ = ws.Close()
		}
	}
}

// p99 measures small requests, one after another on a few streams.
func p99(t *testing.T, server, agent *Link, period time.Duration) time.Duration {
	t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	end := time.Now().Add(period)
	for range 4 {
		s, a := open(t, server, agent)
		wg.Go(func() {
			defer a.Close()
			buf := make([]byte, 100)
			for readFull(a, buf) == nil {
				if _, err := a.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			defer s.Close()
			buf := make([]byte, 1000)
			var mine []time.Duration
			for time.Now().Before(end) {
				began := time.Now()
				if _, err := s.Write(buf[:100]); err != nil {
					t.Error(err)
					break
				}
				if err := readFull(s, buf); err != nil {
					t.Error(err)
					break
				}
				mine = append(mine, time.Since(began))
			}
			mu.Lock()
			all = append(all, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	eventually(t, "the streams are over", func() bool { return server.Streams() == 0 })
	slices.Sort(all)
	if len(all) < 100 {
		t.Fatalf("%d requests were answered", len(all))
	}
	return all[len(all)*99/100]
}
