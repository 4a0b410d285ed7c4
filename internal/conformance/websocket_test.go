package conformance

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func sum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

// dialer connects to this road whatever the URL names.
func (r *road) dialer() *websocket.Dialer {
	return &websocket.Dialer{
		NetDial:          func(_, _ string) (net.Conn, error) { return net.Dial("tcp", r.addr) },
		HandshakeTimeout: patience,
	}
}

func (r *road) dialWebSocket(t *testing.T, target string) *websocket.Conn {
	t.Helper()
	c, resp, err := r.dialer().Dial("ws://"+r.host+target, nil)
	if err != nil {
		t.Fatalf("websocket: %v (%+v)", err, resp)
	}
	t.Cleanup(func() { c.Close() })
	deadline := time.Now().Add(patience)
	c.SetReadDeadline(deadline)
	c.SetWriteDeadline(deadline)
	return c
}

// upgrade is a WebSocket app; serve owns the connection until it returns.
func upgrade(u websocket.Upgrader, serve func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, http.Header{"Set-Cookie": {"a=1", "b=2"}, "X-App": {"yes"}})
		if err != nil {
			return
		}
		defer c.Close()
		serve(c)
	}
}

func echo(c *websocket.Conn) {
	for {
		kind, b, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, b) != nil {
			return
		}
	}
}

func TestWebSocketEchoesUpToBigMessages(t *testing.T) {
	overRoads(t, handler(upgrade(websocket.Upgrader{}, echo)), func(t *testing.T, r *road) {
		c := r.dialWebSocket(t, "/ws?x=1")
		for _, n := range []int{0, 1, 125, 126, 4095, 65535, 65536, 1 << 20, 4 << 20} {
			for _, kind := range []int{websocket.BinaryMessage, websocket.TextMessage} {
				want := pattern(n)
				if kind == websocket.TextMessage {
					want = bytes.Repeat([]byte("é"), n/2)
				}
				if err := c.WriteMessage(kind, want); err != nil {
					t.Fatal(err)
				}
				got, b, err := c.ReadMessage()
				if err != nil || got != kind || !bytes.Equal(b, want) {
					t.Fatalf("%d bytes of kind %d: got kind %d, %d bytes, %v", n, kind, got, len(b), err)
				}
			}
		}
	})
}

func TestWebSocketPingPong(t *testing.T) {
	overRoads(t, handler(upgrade(websocket.Upgrader{}, echo)), func(t *testing.T, r *road) {
		c := r.dialWebSocket(t, "/")
		pong := ""
		c.SetPongHandler(func(s string) error { pong = s; return nil })
		c.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(patience))
		c.WriteMessage(websocket.TextMessage, []byte("after"))
		if _, b, err := c.ReadMessage(); err != nil || string(b) != "after" || pong != "are you there" {
			t.Fatalf("got %q, pong %q, %v", b, pong, err)
		}
	})
}

// Both sides talk at once: nothing may wait for the other direction.
func TestWebSocketBothWaysAtOnce(t *testing.T) {
	const messages, size = 200, 32 << 10
	app := upgrade(websocket.Upgrader{}, func(c *websocket.Conn) {
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range messages {
				if c.WriteMessage(websocket.BinaryMessage, append([]byte{byte(i)}, pattern(size)...)) != nil {
					return
				}
			}
		})
		n := 0
		for n < messages {
			if _, _, err := c.ReadMessage(); err != nil {
				return
			}
			n++
		}
		wg.Wait()
		c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "got %d", n))
		c.ReadMessage()
	})
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		c := r.dialWebSocket(t, "/")
		go func() {
			for range messages {
				if c.WriteMessage(websocket.BinaryMessage, pattern(size)) != nil {
					return
				}
			}
		}()
		for i := range messages {
			_, b, err := c.ReadMessage()
			if err != nil || len(b) != size+1 || b[0] != byte(i) || !bytes.Equal(b[1:], pattern(size)) {
				t.Fatalf("message %d: %d bytes, %v", i, len(b), err)
			}
		}
		if _, b, err := c.ReadMessage(); err != nil || string(b) != fmt.Sprintf("got %d", messages) {
			t.Fatalf("the app says %q, %v", b, err)
		}
	})
}

func TestWebSocketHandshakeIsTheApps(t *testing.T) {
	app := upgrade(websocket.Upgrader{Subprotocols: []string{"b"}, EnableCompression: true, CheckOrigin: func(r *http.Request) bool {
		return r.Header.Get("Origin") == "http://example.com"
	}}, echo)
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		d := r.dialer()
		d.Subprotocols, d.EnableCompression = []string{"a", "b"}, true
		c, resp, err := d.Dial("ws://"+r.host+"/", http.Header{"Origin": {"http://example.com"}, "Cookie": {"x=y"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.Subprotocol() != "b" || !strings.Contains(resp.Header.Get("Sec-Websocket-Extensions"), "permessage-deflate") ||
			len(resp.Header.Values("Set-Cookie")) != 2 || resp.Header.Get("X-App") != "yes" {
			t.Errorf("the app's 101 was altered: subprotocol %q, %v", c.Subprotocol(), resp.Header)
		}
		c.SetReadDeadline(time.Now().Add(patience))
		want := strings.Repeat("compress me ", 10_000)
		c.WriteMessage(websocket.TextMessage, []byte(want))
		if _, b, err := c.ReadMessage(); err != nil || string(b) != want {
			t.Errorf("compressed echo: %d bytes, %v", len(b), err)
		}

		// The app's no is the app's: status, body, and no tunnel behind it.
		_, resp, err = d.Dial("ws://"+r.host+"/", http.Header{"Origin": {"http://evil.example"}})
		if !errors.Is(err, websocket.ErrBadHandshake) || resp.StatusCode != http.StatusForbidden {
			t.Errorf("refused handshake: %v, %+v", err, resp)
		}
	})
}

func TestWebSocketCloseCodesPassBothWays(t *testing.T) {
	closed := make(chan error, 1)
	app := func(w http.ResponseWriter, r *http.Request) {
		upgrade(websocket.Upgrader{}, func(c *websocket.Conn) {
			if r.URL.Path == "/app-closes" {
				c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4001, "app says bye"), time.Now().Add(patience))
			}
			_, _, err := c.ReadMessage()
			closed <- err
		})(w, r)
	}
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		c := r.dialWebSocket(t, "/app-closes")
		_, _, err := c.ReadMessage()
		if !websocket.IsCloseError(err, 4001) || err.(*websocket.CloseError).Text != "app says bye" {
			t.Errorf("the visitor saw %v, want close 4001", err)
		}
		if err := within(t, closed, "the app hears the visitor's close frame"); !websocket.IsCloseError(err, 4001) {
			t.Errorf("the app saw %v, want the echoed close 4001", err)
		}
		c = r.dialWebSocket(t, "/visitor-closes")
		c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4002, "visitor says bye"), time.Now().Add(patience))
		if err := within(t, closed, "the app hears the close"); !websocket.IsCloseError(err, 4002) {
			t.Errorf("the app saw %v, want close 4002", err)
		}
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 4002) {
			t.Errorf("the visitor saw %v, want the echoed close 4002", err)
		}
	})
}

// An app that dies without a close frame must not look as if it had said goodbye.
func TestWebSocketAppGone(t *testing.T) {
	app := upgrade(websocket.Upgrader{}, func(c *websocket.Conn) {
		c.ReadMessage()
		c.NetConn().(*net.TCPConn).SetLinger(0)
		c.NetConn().Close()
	})
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		c := r.dialWebSocket(t, "/")
		c.WriteMessage(websocket.TextMessage, []byte("die"))
		c.SetReadDeadline(time.Now().Add(soon))
		_, _, err := c.ReadMessage()
		if err == nil || isTimeout(err) || websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
			t.Errorf("the visitor saw %v, want an abnormal end within %v", err, soon)
		}
	})
}

// rawUpgrade is an app that answers 101 to `Upgrade: foo/1` and then is bytes. It says what it was asked.
func rawUpgrade(serve func(c *net.TCPConn, r io.Reader)) func(net.Conn) {
	return func(c net.Conn) {
		var mu sync.Mutex
		r := bufio.NewReader(c)
		s := readRequest(r, func(*sighting) {}, &mu)
		if s == nil || s.fault != "" {
			return
		}
		if !strings.EqualFold(s.value("Upgrade"), "foo/1") || !strings.EqualFold(s.value("Connection"), "upgrade") {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(s.raw), s.raw)
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo/1\r\nConnection: Upgrade\r\nX-App: yes\r\n\r\nright behind;")
		serve(c.(*net.TCPConn), r)
	}
}

func (r *road) rawUpgrade(t *testing.T) *wire {
	t.Helper()
	w := r.wire(t)
	w.ask(r.host, "GET /raw", "Connection: Upgrade", "Upgrade: foo/1")
	a := w.mustAnswer(t, "GET")
	if a.StatusCode != 101 || a.Header.Get("Upgrade") != "foo/1" || a.Header.Get("X-App") != "yes" {
		t.Fatalf("answer %d %v %.1000q, want the app's 101", a.StatusCode, a.Header, a.body)
	}
	behind := make([]byte, len("right behind;"))
	if _, err := io.ReadFull(w.r, behind); err != nil || string(behind) != "right behind;" {
		t.Fatalf("bytes right behind the 101: %q, %v", behind, err)
	}
	return w
}

func TestOtherUpgradesCarryRawBytes(t *testing.T) {
	app := rawUpgrade(func(c *net.TCPConn, r io.Reader) { io.Copy(c, r) })
	overRoads(t, bytesApp(app), func(t *testing.T, r *road) {
		w := r.rawUpgrade(t)
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		for _, want := range [][]byte{every, []byte("GET / HTTP/1.1\r\n\r\n"), pattern(1 << 20)} {
			go w.Write(want)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(w.r, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("echo of %d bytes: %v", len(want), err)
			}
		}
	})
}

// Half-close: one side has said all and still listens.
func TestUpgradedHalfCloseByTheVisitor(t *testing.T) {
	app := rawUpgrade(func(c *net.TCPConn, r io.Reader) {
		c.SetDeadline(time.Now().Add(patience))
		b, err := io.ReadAll(r)
		fmt.Fprintf(c, "app heard %q to its end (%v)", b, err)
	})
	overRoads(t, bytesApp(app), func(t *testing.T, r *road) {
		w := r.rawUpgrade(t)
		w.send("all I have to say")
		w.CloseWrite()
		got, err := io.ReadAll(w.r)
		if want := `app heard "all I have to say" to its end (<nil>)`; err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	})
}

func TestUpgradedHalfCloseByTheApp(t *testing.T) {
	heard := make(chan string, 1)
	app := rawUpgrade(func(c *net.TCPConn, r io.Reader) {
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "app is done")
		c.CloseWrite()
		b, err := io.ReadAll(r)
		heard <- fmt.Sprintf("%s, %v", b, err)
	})
	overRoads(t, bytesApp(app), func(t *testing.T, r *road) {
		w := r.rawUpgrade(t)
		got, err := io.ReadAll(w.r)
		if err != nil || string(got) != "app is done" {
			t.Fatalf("got %q, %v", got, err)
		}
		w.send("the visitor is not")
		w.CloseWrite()
		if got := within(t, heard, "the app hears the rest"); got != "the visitor is not, <nil>" {
			t.Errorf("the app heard %q", got)
		}
	})
}

// h2c is a protocol that only the next hop may choose (E13): the header is dropped, the request is plain.
func TestUpgradeH2CIsNotCarried(t *testing.T) {
	book := newLedger()
	overRoads(t, book.open, func(t *testing.T, r *road) {
		needsBinary(t) // the stand-ins carry it
		for _, upgrade := range []string{"h2c", "H2C", "h2c, websocket", "foo, h2c", "h2"} {
			w := r.wire(t)
			w.ask(r.host, "GET /h2c", "Connection: Upgrade, HTTP2-Settings", "Upgrade: "+upgrade, "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
			a := w.mustAnswer(t, "GET")
			if a.StatusCode != 200 && a.StatusCode != 400 {
				t.Errorf("Upgrade: %s: answer %d", upgrade, a.StatusCode)
			}
			for _, s := range book.take() {
				if strings.Contains(strings.ToLower(s.value("Upgrade")), "h2") || s.value("HTTP2-Settings") != "" || standIn == "" && s.fault != "" {
					t.Errorf("Upgrade: %s: the app saw %v", upgrade, s)
				}
			}
		}
	})
}

// within waits for an event that the other side reports.
func within[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v in vain: %s", patience, what)
		panic("unreachable")
	}
}
