package capture_test

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/capture"
)

// frame makes a WebSocket frame; one of a visitor is masked.
func frame(masked bool, first byte, payload string) []byte {
	b := []byte{first}
	bit := byte(0)
	if masked {
		bit = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, bit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, bit|127), uint64(n))
	}
	if !masked {
		return append(b, payload...)
	}
	key := []byte{1, 2, 3, 4}
	b = append(b, key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return b
}

// socket begins a WebSocket that is recorded.
func socket(t testing.TB, r *capture.Recorder, c *conn) (*capture.Tap, rwc) {
	t.Helper()
	tap := r.Begin(request("GET", "/ws", "", "Upgrade", "websocket", "Connection", "Upgrade"), "", "")
	res := &http.Response{StatusCode: 101, Header: http.Header{"Upgrade": {"WebSocket"}}, Body: c}
	tap.Response(res)
	up, ok := res.Body.(rwc)
	if !ok {
		t.Fatal("the upgraded connection cannot half-close or abort any more")
	}
	return tap, up
}

type rwc interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	Close() error
	CloseWrite() error
	Abort()
}

func TestWebSocketFramesAreListed(t *testing.T) {
	long := strings.Repeat("é", 3000)
	for _, step := range []int{1, 3, 7, 4096, 1 << 20} { // however the bytes fall into reads
		c := &conn{}
		clk := newClock()
		r := capture.New(capture.Options{Now: clk.Now})
		tap, up := socket(t, r, c)
		for _, f := range [][]byte{
			frame(false, 0x81, "hello"), frame(false, 0x82, "\xff\x00"), frame(false, 0x01, "be"), frame(false, 0x89, "ping"), frame(false, 0x80, "gin"),
			frame(false, 0x81, ""), frame(false, 0xc1, "squeezed"), frame(false, 0x81, long), frame(false, 0x82, strings.Repeat("x", 1<<16)), frame(false, 0x88, "\x03\xe8bye"),
		} {
			c.read.Write(f)
		}
		sent := append(frame(true, 0x81, "from the visitor"), frame(true, 0x81, long)...)
		for rest := sent; len(rest) > 0; {
			n := min(step, len(rest))
			if _, err := up.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if !bytes.Equal(c.wrote.Bytes(), sent) {
			t.Fatal("what was sent is not what arrived")
		}
		total := c.read.Len()
		got, buf := 0, make([]byte, step)
		for {
			n, err := up.Read(buf)
			got += n
			if err != nil {
				break
			}
		}
		if got != total {
			t.Fatalf("%d bytes of %d arrived", got, total)
		}
		if err := up.Close(); err != nil || !c.gone {
			t.Fatal("not closed")
		}
		x := get(t, r, tap.ID())
		var lines []string
		for i, f := range x.Frames {
			if f.N != i+1 {
				t.Errorf("frame %d is number %d", i, f.N)
			}
			s := string(f.From) + " " + f.Kind + " " + f.Text + f.Base64
			if f.Truncated {
				s += "…"
			}
			if f.Compressed {
				s += "(compressed)"
			}
			lines = append(lines, s)
		}
		want := []string{
			"visitor text from the visitor", "visitor text " + long[:4096] + "…",
			"app text hello", "app binary /wA=", "app text be", "app ping ping", "app continuation gin", "app text ", "app text (compressed)",
			"app text " + long[:4096] + "…", "app binary " + strings.Repeat("x", 4096) + "…", "app close A+hieWU=",
		}
		if strings.Join(lines, "\n") != strings.Join(want, "\n") || x.FramesNote != "" {
			t.Errorf("in steps of %d:\n%.300s\n%s", step, strings.Join(lines, "\n"), x.FramesNote)
		}
		if x.State != capture.Done || x.Response.Status != 101 || x.Response.Body.Size != int64(total) || x.Request.Body.Size != int64(len(sent)) {
			t.Errorf("%s, %d, %d and %d bytes", x.State, x.Response.Status, x.Request.Body.Size, x.Response.Body.Size)
		}
	}
}

// What is no WebSocket as it should be flows on, and is not listed.
func TestWebSocketGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		bytes []byte
		why   string
	}{
		"opcode":      {[]byte{0x83, 0}, "unknown opcode"},
		"reserved":    {[]byte{0xa1, 0}, "unknown extension"},
		"long ping":   {[]byte{0x89, 126, 0, 126}, "wrong length"},
		"cut ping":    {[]byte{0x09, 0}, "wrong length"},
		"too long":    {[]byte{0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0}, "wrong length"},
		"masked":      {frame(true, 0x81, "x"), "masked as the other side"},
		"other words": {[]byte("HTTP/1.1 200 OK"), ""},
	} {
		k := &conn{}
		r := capture.New(capture.Options{})
		tap, up := socket(t, r, k)
		k.read.Write(frame(false, 0x81, "good"))
		k.read.Write(c.bytes)
		k.read.Write(frame(false, 0x81, "not seen"))
		total := k.read.Len()
		got, buf := 0, make([]byte, 5)
		for {
			n, err := up.Read(buf)
			got += n
			if err != nil {
				break
			}
		}
		x := get(t, r, tap.ID())
		if got != total || len(x.Frames) != 1 || x.Frames[0].Text != "good" || !strings.Contains(x.FramesNote, c.why) || !strings.Contains(x.FramesNote, "from the app") {
			t.Errorf("%s: %d of %d bytes, %d frames, %q", name, got, total, len(x.Frames), x.FramesNote)
		}
	}
}

func TestFramesAreBounded(t *testing.T) {
	c := &conn{}
	r := capture.New(capture.Options{})
	tap, up := socket(t, r, c)
	for range 1200 {
		c.read.Write(frame(false, 0x81, strings.Repeat("x", 1000)))
	}
	buf := make([]byte, 1<<16)
	for {
		if _, err := up.Read(buf); err != nil {
			break
		}
	}
	x := get(t, r, tap.ID())
	if len(x.Frames) != 500 || x.FramesDropped != 700 || x.Frames[0].N != 701 || x.Frames[499].N != 1200 {
		t.Errorf("%d frames, %d dropped, from %d to %d", len(x.Frames), x.FramesDropped, x.Frames[0].N, x.Frames[len(x.Frames)-1].N)
	}
	if n, _ := r.Next(t.Context(), 0); n.Stats.Bytes > 700_000 {
		t.Errorf("%d bytes for 500 frames of 1000", n.Stats.Bytes)
	}
}

func TestUpgradedConnectionsStayWhatTheyAre(t *testing.T) {
	c := &conn{}
	r := capture.New(capture.Options{})
	_, up := socket(t, r, c)
	if err := up.CloseWrite(); err != nil || !c.halfClosed {
		t.Error("it cannot half-close")
	}
	if up.Abort(); !c.aborted {
		t.Error("it cannot abort")
	}
	// Another upgrade has no frames.
	tap := r.Begin(request("GET", "/", "", "Upgrade", "raw"), "", "")
	k := &conn{}
	k.read.Write(frame(false, 0x81, "hello"))
	res := &http.Response{StatusCode: 101, Header: http.Header{"Upgrade": {"raw"}}, Body: k}
	tap.Response(res)
	if n, err := res.Body.Read(make([]byte, 100)); n != 7 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = res.Body.Close()
	if x := get(t, r, tap.ID()); len(x.Frames) != 0 || x.Response.Body.Size != 7 || x.State != capture.Done {
		t.Errorf("%+v", x)
	}
}

// Whatever bytes pass, all of them pass, and what is listed is bounded.
func FuzzWebSocket(f *testing.F) {
	f.Add(append(frame(false, 0x81, "hello"), frame(false, 0x88, "")...), uint8(3))
	f.Add([]byte{0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0, 1}, uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		r := capture.New(capture.Options{})
		c := &conn{}
		tap, up := socket(t, r, c)
		c.read.Write(data)
		got, buf := 0, make([]byte, int(step)+1)
		for {
			n, err := up.Read(buf)
			got += n
			if err != nil {
				break
			}
		}
		if _, err := up.Write(data); err != nil || got != len(data) || !bytes.Equal(c.wrote.Bytes(), data) {
			t.Fatalf("%d of %d bytes, %v", got, len(data), err)
		}
		for _, f := range get(t, r, tap.ID()).Frames {
			if len(f.Text) > 4<<10 || len(f.Base64) > 6<<10 || f.Size < 0 || f.Kind == "" {
				t.Fatalf("%+v", f)
			}
		}
	})
}
