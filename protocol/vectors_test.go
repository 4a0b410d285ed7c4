package protocol_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/relaytunnel/relay/internal/link"
	"github.com/relaytunnel/relay/protocol"
	"github.com/relaytunnel/relay/server"
)

// patience is how long a step may take before a test calls it a hang.
const patience = 10 * time.Second

// A vector is one block of a file in testdata.
type vector struct {
	name  string
	is    map[string]string
	bytes []byte
}

// vectors reads a file of testdata; prefaces.txt says how they are written.
func vectors(t *testing.T, file string) []vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "" || line[0] == '#' || line == "hex:":
		case line[0] == '[':
			all = append(all, vector{name: strings.Trim(line, "[]"), is: map[string]string{}})
		case line[0] == ' ':
			v := &all[len(all)-1]
			v.bytes = append(v.bytes, spelled(t, line)...)
		default:
			key, value, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("%s: %q is not understood", file, line)
			}
			all[len(all)-1].is[key] = value
		}
	}
	return all
}

// spelled reads one line of bytes: hex, or a quoted string.
func spelled(t *testing.T, line string) []byte {
	t.Helper()
	line = strings.TrimSpace(line)
	if line[0] == '"' {
		s, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return []byte(s)
	}
	line, _, _ = strings.Cut(line, "#")
	b, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return b
}

func TestPrefaces(t *testing.T) {
	for _, v := range vectors(t, "prefaces.txt") {
		t.Run(v.name, func(t *testing.T) {
			r := bytes.NewReader(v.bytes)
			got, err := protocol.ReadPreface(r)
			if want := v.is["error"]; want != "" {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("read: %+v, error %v; want one about %q", got, err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want protocol.Preface
			if _, err := fmt.Sscan(v.is["tunnel"], &want.Tunnel); err != nil {
				t.Fatal(err)
			}
			if v.is["visitor"] != "" {
				want.Visitor = netip.MustParseAddrPort(v.is["visitor"])
			}
			if got != want {
				t.Errorf("read: %+v, want %+v", got, want)
			}
			if rest, _ := io.ReadAll(r); fmt.Sprintf("% x", rest) != v.is["rest"] {
				t.Errorf("% x is left of the stream, want %s", rest, v.is["rest"])
			}
			if wire := want.Append(nil); v.is["write"] != "no" && !bytes.Equal(wire, v.bytes) {
				t.Errorf("written: % x, want % x", wire, v.bytes)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	for _, v := range vectors(t, "headers.txt") {
		t.Run(v.name, func(t *testing.T) {
			var got, want any
			switch v.is["kind"] {
			case "hello":
				got, want = &protocol.Hello{}, &protocol.Hello{}
			case "welcome":
				got, want = &protocol.Welcome{}, &protocol.Welcome{}
			}
			if err := json.Unmarshal([]byte(v.is["json"]), want); err != nil {
				t.Fatal(err)
			}
			if err := protocol.Decode(v.is["header"], got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("read, - wanted, + got:\n%s", diff)
			}
			wire, err := protocol.Encode(want)
			if err != nil {
				t.Fatal(err)
			}
			if v.is["write"] != "no" && wire != v.is["header"] {
				t.Errorf("written: %s, want %s", wire, v.is["header"])
			}
		})
	}
}

func TestMessages(t *testing.T) {
	for _, v := range vectors(t, "messages.txt") {
		t.Run(v.name, func(t *testing.T) {
			m, err := protocol.Unmarshal([]byte(v.is["text"]))
			if want := v.is["error"]; want != "" {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("read: %+v, error %v; want one about %q", m, err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wire, err := protocol.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			want := v.is["text"]
			if means, ok := v.is["means"]; ok {
				want = means
			}
			if string(wire) != want {
				t.Errorf("written again: %s, want %s", wire, want)
			}
		})
	}
}

// A frame, as section 5 of spec.md lays it out. This decoder is written from
// there and shares nothing with internal/link.
type frame struct {
	kind   byte
	flags  uint16
	stream uint32
	length uint32
	body   []byte
}

const (
	data, window       = 0, 1
	syn, ack, fin, rst = 1, 2, 4, 8
	firstWindow        = 256 << 10
)

func decode(b []byte) (frames []frame, err error) {
	for len(b) > 0 {
		if len(b) < 12 {
			return nil, fmt.Errorf("%d bytes are no frame", len(b))
		}
		f := frame{kind: b[1], flags: binary.BigEndian.Uint16(b[2:]), stream: binary.BigEndian.Uint32(b[4:]), length: binary.BigEndian.Uint32(b[8:])}
		if b[0] != 0 || f.kind > 3 || f.flags > 15 {
			return nil, fmt.Errorf("header % x", b[:12])
		}
		b = b[12:]
		if f.kind == data {
			if len(b) < int(f.length) {
				return nil, fmt.Errorf("stream %d: %d of %d bytes", f.stream, len(b), f.length)
			}
			f.body, b = b[:f.length], b[f.length:]
		}
		frames = append(frames, f)
	}
	return frames, nil
}

// ledger is what both sides know of a stream.
type ledger struct {
	sent   map[string][]byte // by side
	credit map[string]int    // that the side has
	ended  map[string]bool
	acked  bool
	reset  bool
}

// account applies the rules for streams to a frame.
func account(streams map[uint32]*ledger, from string, f frame) error {
	other := map[string]string{"server": "agent", "agent": "server"}[from]
	s := streams[f.stream]
	if f.flags&syn != 0 {
		if from != "server" || s != nil || f.stream == 0 || f.stream%2 != 0 || f.kind != window || f.flags != syn {
			return fmt.Errorf("a stream may not begin with %+v from the %s", f, from)
		}
		s = &ledger{sent: map[string][]byte{}, credit: map[string]int{"server": firstWindow, "agent": firstWindow}, ended: map[string]bool{}}
		streams[f.stream] = s
	}
	switch {
	case s == nil || s.reset || s.ended["server"] && s.ended["agent"]:
		return fmt.Errorf("stream %d is not there", f.stream)
	case f.flags&ack != 0 && (from != "agent" || s.acked):
		return fmt.Errorf("stream %d: an ACK from the %s", f.stream, from)
	case s.ended[from] && f.kind == data:
		return fmt.Errorf("stream %d: data after the end", f.stream)
	}
	if f.kind == data {
		if s.credit[from] -= len(f.body); s.credit[from] < 0 {
			return fmt.Errorf("stream %d: more than the window", f.stream)
		}
		s.sent[from] = append(s.sent[from], f.body...)
	} else {
		s.credit[other] += int(f.length)
	}
	s.acked = s.acked || f.flags&ack != 0
	s.reset = s.reset || f.flags&rst != 0
	s.ended[from] = s.ended[from] || f.flags&fin != 0
	return nil
}

// The golden conversation keeps the rules, and says what its comments say.
func TestConversationIsUnderstood(t *testing.T) {
	streams := map[uint32]*ledger{}
	for _, v := range vectors(t, "conversation.txt") {
		frames, err := decode(v.bytes)
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		for _, f := range frames {
			if err := account(streams, v.is["from"], f); err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
		}
	}
	for id, want := range map[uint32]string{2: "GET /hello", 4: "POST /slow"} {
		r := bufio.NewReader(bytes.NewReader(streams[id].sent["server"]))
		if p, err := protocol.ReadPreface(r); err != nil || p.Tunnel != 1 {
			t.Errorf("stream %d: preface %+v, %v", id, p, err)
		}
		req, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("stream %d: request: %v", id, err)
		}
		if got := req.Method + " " + req.RequestURI; got != want {
			t.Errorf("stream %d: %s, want %s", id, got, want)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(streams[2].sent["agent"])), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); string(b) != "hello" || err != nil {
		t.Errorf("the answer is %q, %v", b, err)
	}
	if s := streams[2]; !s.ended["server"] || !s.ended["agent"] || s.reset {
		t.Errorf("stream 2 is not over: %+v", s)
	}
	if !streams[4].reset {
		t.Error("stream 4 was not broken off")
	}
}

// wire is the far end of a link: bare WebSocket messages.
type wire struct {
	ws  *websocket.Conn
	buf []byte // of binary messages, not yet asked for
}

// says sends b in pieces, to show that messages do not delimit frames.
func (w *wire) says(t *testing.T, b []byte) {
	t.Helper()
	for _, piece := range [][]byte{b[:5], b[5:]} {
		if err := w.ws.WriteMessage(websocket.BinaryMessage, piece); err != nil {
			t.Fatal(err)
		}
	}
}

// hears wants exactly b as the next bytes.
func (w *wire) hears(t *testing.T, name string, b []byte) {
	t.Helper()
	_ = w.ws.SetReadDeadline(time.Now().Add(patience))
	for len(w.buf) < len(b) {
		_, m, err := w.ws.ReadMessage()
		if err != nil {
			t.Fatalf("%s: %v, after\n% x, want\n% x", name, err, w.buf, b)
		}
		w.buf = append(w.buf, m...)
	}
	if got := w.buf[:len(b)]; !bytes.Equal(got, b) {
		t.Fatalf("%s:\n% x, want\n% x", name, got, b)
	}
	w.buf = w.buf[len(b):]
}

// payload is what the data frames of a vector carry after the preface.
func payload(t *testing.T, v vector) []byte {
	t.Helper()
	frames, err := decode(v.bytes)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, f := range frames {
		b = append(b, f.body...)
	}
	if v.is["from"] == "server" {
		b = b[7:]
	}
	return b
}

// The server's link says the server's part of the conversation, byte for byte.
func TestConversationWithServersLink(t *testing.T) {
	links := make(chan *link.Link, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l, err := link.Accept(w, r, nil, link.Options{})
		if err != nil {
			t.Error(err)
		}
		links <- l
	}))
	defer srv.Close()
	d := websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}}
	ws, res, err := d.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	_ = res.Body.Close()
	l := <-links
	defer l.Close()

	open := func(v vector) *link.Stream {
		s, err := l.Open(t.Context(), protocol.Preface{Tunnel: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(payload(t, v)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	agent, v := &wire{ws: ws}, vectors(t, "conversation.txt")
	s := open(v[0])
	agent.hears(t, v[0].name, v[0].bytes)
	agent.says(t, v[1].bytes)
	agent.says(t, v[2].bytes)
	if b, err := io.ReadAll(s); !bytes.Equal(b, payload(t, v[2])) || err != nil {
		t.Fatalf("the server read %q, %v", b, err)
	}
	_ = s.Close()
	agent.hears(t, v[3].name, v[3].bytes)
	s = open(v[4])
	agent.hears(t, v[4].name, v[4].bytes)
	agent.says(t, v[5].bytes)
	s.Reset()
	agent.hears(t, v[6].name, v[6].bytes)
}

// The agent's link says the agent's part.
func TestConversationWithAgentsLink(t *testing.T) {
	conns := make(chan *websocket.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := websocket.Upgrader{Subprotocols: []string{protocol.Subprotocol}}
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		conns <- ws
	}))
	defer srv.Close()
	l, _, err := link.Dial(t.Context(), link.DialOptions{URL: "ws" + strings.TrimPrefix(srv.URL, "http")}, link.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ws := <-conns
	defer ws.Close()

	accept := func() *link.Stream {
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if p, err := protocol.ReadPreface(s); err != nil || p.Tunnel != 1 {
			t.Fatalf("preface %+v, %v", p, err)
		}
		return s
	}
	server, v := &wire{ws: ws}, vectors(t, "conversation.txt")
	server.says(t, v[0].bytes)
	s := accept()
	server.hears(t, v[1].name, v[1].bytes)
	request := make([]byte, len(payload(t, v[0])))
	if _, err := io.ReadFull(s, request); err != nil || !bytes.Equal(request, payload(t, v[0])) {
		t.Fatalf("the agent read %q, %v", request, err)
	}
	if _, err := s.Write(payload(t, v[2])); err != nil {
		t.Fatal(err)
	}
	_ = s.CloseWrite()
	server.hears(t, v[2].name, v[2].bytes)
	server.says(t, v[3].bytes)
	if b, err := io.ReadAll(s); len(b) > 0 || err != nil {
		t.Fatalf("after the request the agent read %q, %v", b, err)
	}
	server.says(t, v[4].bytes)
	s = accept()
	server.hears(t, v[5].name, v[5].bytes)
	server.says(t, v[6].bytes)
	// A reset overtakes what was not read.
	if b, err := io.ReadAll(s); !errors.Is(err, link.ErrReset) {
		t.Fatalf("of a stream that was broken off the agent read %q, %v", b, err)
	}
}

// An agent that was written from spec.md works with the true server: the
// specification is enough.
func TestAgentFromSpecification(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	ready := make(chan server.Ready, 1)
	c := server.Config{
		Domain: "localhost", Plain: true, HTTPAddr: "127.0.0.1:0", DataDir: t.TempDir(), FirstUser: "alice",
		DrainFor: time.Second, HoldFor: time.Millisecond,
		OnReady: func(r server.Ready) { ready <- r },
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.New(c).Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var r server.Ready
	select {
	case r = <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}

	refused := startAgent(t, python, r.HTTPAddr, "rly_wrong", "api")
	if e := refused.await(t, "refused"); e["code"] != "auth" || e["status"] != 401.0 {
		t.Errorf("with a wrong token: %v", e)
	}
	a := startAgent(t, python, r.HTTPAddr, r.Token, "api")
	url, _ := a.await(t, "online")["url"].(string)
	if !strings.HasPrefix(url, "http://api-alice.localhost:") {
		t.Fatalf("the URL is %q", url)
	}
	a.await(t, "pong")

	ask := func(method, path, body string) (int, http.Header, string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, "http://"+r.HTTPAddr+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = hostOf(url)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%s %s: body: %v", method, path, err)
		}
		return res.StatusCode, res.Header, string(b)
	}
	var seen map[string]string
	if _, _, body := ask("GET", "/?q=%C3%A4", ""); json.Unmarshal([]byte(body), &seen) != nil ||
		seen["target"] != "/?q=%C3%A4" || seen["host"] != hostOf(url) || seen["for"] != "127.0.0.1" {
		t.Errorf("the agent saw %s", body)
	}
	first := a.await(t, "request")["stream"]
	if _, _, body := ask("POST", "/echo", "hello"); body != "hello" {
		t.Errorf("POST /echo: %q", body)
	}
	if second := a.await(t, "request")["stream"]; second != first {
		t.Errorf("stream %v after %v: a clean stream was not used again", second, first)
	}
	large := strings.Repeat("0123456789abcdef", 3<<20/16)
	if _, _, body := ask("POST", "/echo", large); body != large {
		t.Errorf("POST /echo of %d bytes: %d came back", len(large), len(body))
	}
	if _, _, body := ask("GET", "/big?5000000", ""); len(body) != 5_000_000 || body[4_999_999] != byte(4_999_999%251) {
		t.Errorf("GET /big?5000000: %d bytes", len(body))
	}
	if status, _, body := ask("HEAD", "/", ""); status != 200 || body != "" {
		t.Errorf("HEAD: %d %q", status, body)
	}
	if status, _, body := ask("GET", "/close", ""); status != 200 || body != "the end of the stream ends this" {
		t.Errorf("GET /close: %d %q", status, body)
	}
	if status, h, body := ask("GET", "/refused", ""); status != 502 || h.Get("Relay-Error") != "upstream_refused" || !strings.Contains(body, "Nothing listens here.") {
		t.Errorf("GET /refused: %d %v %s", status, h, body)
	}
	_ = a.stdin.Close()
	a.await(t, "lost")
	if status, h, _ := ask("GET", "/", ""); status != 503 || h.Get("Relay-Error") != "agent_away" {
		t.Errorf("after the agent's goodbye: %d %v", status, h)
	}
}

func hostOf(url string) string { return strings.TrimPrefix(url, "http://") }

// agent is a running testdata/agent.py.
type agent struct {
	stdin  io.Closer
	events chan map[string]any
}

func startAgent(t *testing.T, python string, args ...string) *agent {
	t.Helper()
	cmd := exec.Command(python, append([]string{filepath.Join("testdata", "agent.py")}, args...)...)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &agent{stdin: in, events: make(chan map[string]any, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(a.events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e map[string]any
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("the agent wrote %q", lines.Text())
			}
			a.events <- e
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		for range a.events { // what was not awaited
		}
		<-read
		_ = cmd.Wait()
	})
	return a
}

// await waits for an event and skips others.
func (a *agent) await(t *testing.T, event string) map[string]any {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case e, ok := <-a.events:
			if !ok {
				t.Fatalf("the agent ended before %q", event)
			}
			if e["event"] == event {
				return e
			}
		case <-late:
			t.Fatalf("no %q from the agent", event)
		}
	}
}
