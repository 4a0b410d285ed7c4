package tui

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/capture"
)

var update = flag.Bool("update", false, "write the golden files anew")

// noon is when all tests take place.
var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.Local)

// stage is a model without a terminal.
type stage struct {
	t testing.TB
	*model
	cmds []tea.Msg // what the commands of keys came to
}

func newStage(t testing.TB, change func(*Options)) *stage {
	t.Helper()
	masks, err := capture.NewMasks(".password")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Recorder: capture.New(capture.Options{}), Masks: masks, Inspector: "http://127.0.0.1:4040",
		Replay: func(context.Context, *capture.Exchange) (string, error) { return "", errors.New("not in this test") },
		Open:   func(context.Context, string) error { return nil },
		Now:    func() time.Time { return noon },
	}
	if change != nil {
		change(&o)
	}
	m := newModel(o)
	m.begin = func(f func(context.Context) tea.Msg) tea.Cmd {
		return func() tea.Msg { return f(t.Context()) }
	}
	return &stage{t: t, model: m}
}

// serves has a tunnel online.
func (s *stage) serves(url, target string) *client.Listener {
	ln := &client.Listener{}
	s.tunnels = append(s.tunnels, tunnel{listener: ln, target: target})
	on := client.Online{URL: url, Listener: ln}
	s.send(on, tried{on, ""})
	return ln
}

func (s *stage) send(msgs ...tea.Msg) {
	for _, msg := range msgs {
		_, cmd := s.Update(msg)
		if cmd != nil {
			if got := cmd(); got != nil {
				s.cmds = append(s.cmds, got)
				if _, ok := got.(tea.QuitMsg); !ok {
					s.Update(got)
				}
			}
		}
	}
}

// keys presses keys, by the names that a library gives them; others are typed letter by
// letter.
func (s *stage) keys(names ...string) {
	special := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "down": tea.KeyDown, "up": tea.KeyUp, "left": tea.KeyLeft, "right": tea.KeyRight,
		"tab": tea.KeyTab, "end": tea.KeyEnd, "home": tea.KeyHome, "pgdown": tea.KeyPgDown, "backspace": tea.KeyBackspace,
	}
	for _, name := range names {
		if code, ok := special[name]; ok {
			s.send(tea.KeyPressMsg{Code: code})
			continue
		}
		if letter, ok := strings.CutPrefix(name, "ctrl+"); ok {
			s.send(tea.KeyPressMsg{Code: rune(letter[0]), Mod: tea.ModCtrl})
			continue
		}
		for _, r := range name {
			s.send(tea.KeyPressMsg{Code: r, Text: string(r)})
		}
	}
}

var styled = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// screen is what is seen, without styles.
func (s *stage) screen() string {
	return styled.ReplaceAllString(s.View().Content, "")
}

func (s *stage) size(w, h int) { s.send(tea.WindowSizeMsg{Width: w, Height: h}) }

// exchange is a made-up one.
func exchange(seq uint64, method, target string, status int, change func(*capture.Exchange)) *capture.Exchange {
	x := &capture.Exchange{
		ID: fmt.Sprintf("req_%04d", seq), RequestID: fmt.Sprintf("req_%04d", seq), Seq: seq, State: capture.Done,
		Began: noon.Add(time.Duration(seq) * time.Second), FirstByte: capture.Millis(8 * time.Millisecond), Duration: capture.Millis(12 * time.Millisecond),
		Visitor: "203.0.113.9", Upstream: "localhost:3000",
		Request: capture.Request{
			Method: method, Target: target, Host: "alice.relay.example.com", Scheme: "https",
			Header: capture.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer hunter2"}},
		},
	}
	if status != 0 {
		x.Response = &capture.Response{
			Status: status, Header: capture.Header{"Content-Type": {"text/plain"}},
			Body: capture.Body{Size: 5, Kept: []byte("hello"), Type: "text/plain"},
		}
	}
	if change != nil {
		change(x)
	}
	return x
}

// traffic is what most tests look at.
func traffic() requests {
	return requests{
		Oldest: 1, Stats: capture.Stats{Kept: 7, Seen: 7},
		Changed: []*capture.Exchange{
			exchange(1, "GET", "/", 200, nil),
			exchange(2, "POST", "/hooks/github?delivery=72d3162e-cc78-11e3-81ab-4c9367dc0958", 201, func(x *capture.Exchange) {
				x.Request.Body = capture.Body{Kept: []byte(`{"action":"opened","password":"hunter2","n":[1,2]}`), Size: 50, Type: "application/json"}
			}),
			exchange(3, "GET", "/missing", 404, nil),
			exchange(4, "DELETE", "/broken", 500, func(x *capture.Exchange) { x.Duration = capture.Millis(1234 * time.Millisecond) }),
			exchange(5, "PUT", "/nobody", 0, func(x *capture.Exchange) { x.State, x.Error = capture.Failed, "the app is not there" }),
			exchange(6, "POST", "/hooks/github", 302, func(x *capture.Exchange) { x.Replay, x.ReplayOf = true, "req_0002" }),
			exchange(7, "GET", "/größe/日本語", 0, func(x *capture.Exchange) { x.State, x.Duration = capture.Live, 0 }),
		},
	}
}

// golden compares what is seen with what was found right.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	var b strings.Builder
	for line := range strings.Lines(got) { // editors take spaces at the end away
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	got = b.String()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not as it was; with -update it is taken for right. Got:\n%s", path, got)
	}
}

// scenes are the states of the screen that are worth looking at.
func scenes() map[string]func(*stage) {
	const url = "https://alice.relay.example.com"
	common := func(s *stage) {
		s.serves(url, "localhost:3000")
		s.send(roundTrip(12*time.Millisecond), traffic())
	}
	return map[string]func(*stage){
		"empty":  func(s *stage) { s.serves(url, "localhost:3000") },
		"list":   common,
		"detail": func(s *stage) { common(s); s.keys("end", "up", "enter") },
		"filter": func(s *stage) { common(s); s.keys("/", "method:GET -status:404") },
		"wrong":  func(s *stage) { common(s); s.keys("/", "status:abc") },
		"help":   func(s *stage) { common(s); s.keys("?") },
		"qr":     func(s *stage) { common(s); s.keys("q") },
		"notes": func(s *stage) {
			common(s)
			s.send(note("12:00:01 WRN something is odd\n"), note("12:00:02 INF \x1b[31mred\x07"))
			s.keys("n")
		},
		"note": func(s *stage) { common(s); s.send(note("12:00:01 WRN something is odd")) },
		"offline": func(s *stage) {
			common(s)
			s.send(client.Offline{Reason: "connection lost", RetryIn: 3 * time.Second})
		},
		"drain": func(s *stage) { common(s); s.send(client.Draining{Reason: "it is updated"}) },
		"inbox": func(s *stage) { common(s); s.send(backlog{120, true}, backlog{83, false}) },
		"unreachable": func(s *stage) {
			common(s)
			s.send(tried{client.Online{URL: url, Listener: s.tunnels[0].listener}, "the name alice.relay.example.com is not known"})
		},
		"many": func(s *stage) {
			for i := range 9 {
				s.serves(fmt.Sprintf("https://app%d-alice.relay.example.com", i), fmt.Sprintf("localhost:300%d", i))
			}
			s.send(traffic())
			s.keys("tab", "tab", "tab")
		},
	}
}

func TestScenes(t *testing.T) {
	for name, play := range scenes() {
		for _, size := range [][2]int{{60, 15}, {80, 24}, {160, 50}} {
			t.Run(fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), func(t *testing.T) {
				s := newStage(t, nil)
				s.size(size[0], size[1])
				play(s)
				golden(t, fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), s.screen())
			})
		}
	}
}

// Whatever the window is like, nothing is wider or higher than it.
func TestEverySizeHolds(t *testing.T) {
	for name, play := range scenes() {
		s := newStage(t, nil)
		play(s)
		for w := 12; w <= 200; w += 7 {
			for h := 1; h <= 60; h += 3 {
				s.size(w, h)
				lines := strings.Split(s.screen(), "\n")
				if len(lines) > h {
					t.Errorf("%s has %d lines in a window of %dx%d", name, len(lines), w, h)
				}
				for _, l := range lines {
					if got := width(strings.TrimRight(l, " ")); got > w {
						t.Fatalf("%s has a line of %d cells in a window of %dx%d: %q", name, got, w, h, l)
					}
				}
			}
		}
	}
}

func TestNoColor(t *testing.T) {
	for _, no := range []bool{false, true} {
		s := newStage(t, func(o *Options) { o.NoColor = no })
		s.serves("https://alice.relay.example.com", "localhost:3000")
		s.send(traffic())
		colored := regexp.MustCompile(`\x1b\[([0-9]+;)*(3[0-9]|4[0-9]|9[0-9])`).MatchString(s.View().Content)
		if colored == no {
			t.Errorf("with NoColor %v the screen has colors: %v", no, colored)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	s := newStage(t, nil)
	s.size(100, 60)
	s.serves("https://alice.relay.example.com", "localhost:3000")
	s.send(traffic())
	s.keys("end", "up", "enter")
	got := s.screen()
	if strings.Contains(got, "hunter2") {
		t.Errorf("a secret is shown:\n%s", got)
	}
	for _, want := range []string{"Authorization: " + capture.Mask, `"password": "` + capture.Mask + `"`, `"action": "opened"`} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q:\n%s", want, got)
		}
	}
}

// What strangers send is shown, not obeyed.
func TestEscapesAreHarmless(t *testing.T) {
	const evil = "\x1b]52;c;aGk=\x07\x1b[2J\u202e\x9b1m\r\n"
	s := newStage(t, nil)
	s.size(120, 60)
	s.serves("https://alice.relay.example.com", "localhost:3000")
	s.send(requests{Oldest: 1, Changed: []*capture.Exchange{exchange(1, "GET"+evil, "/"+evil, 200, func(x *capture.Exchange) {
		x.Request.Header = capture.Header{"X-" + evil: {evil}}
		x.Request.Host, x.Visitor, x.RequestID, x.ReplayOf, x.Replay, x.Error = evil, evil, evil, evil, true, evil
		x.Request.Body = capture.Body{Kept: []byte(evil + "<- text"), Size: 30, Type: evil}
		x.Response.Body = capture.Body{Kept: []byte(evil), Size: 30, Encoding: evil}
		x.Frames = []capture.Frame{{N: 1, Kind: "text", Text: evil, Name: evil}}
		x.FramesNote = evil
	})}, Stats: capture.Stats{Seen: 1}})
	s.send(client.Offline{Reason: evil}, client.Draining{Reason: evil}, note(evil), replayed{err: errors.New(evil)}, opened{errors.New(evil)})
	for range 3 {
		for _, r := range s.screen() {
			if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e') {
				t.Fatalf("the screen has %q in it:\n%q", r, s.screen())
			}
		}
		s.keys("enter", "G")
	}
	for _, l := range s.last() {
		if printable(l) != l {
			t.Errorf("the last lines have escapes: %q", l)
		}
	}
}

func TestStateOfTheURL(t *testing.T) {
	s := newStage(t, nil)
	if got := s.screen(); !strings.Contains(got, "connecting") {
		t.Errorf("before anything:\n%s", got)
	}
	ln := &client.Listener{}
	s.tunnels = append(s.tunnels, tunnel{listener: ln, target: "localhost:3000"})
	on := client.Online{URL: "https://x.example.com", Listener: ln}
	s.send(on)
	if got := s.screen(); !strings.Contains(got, "trying whether the URL answers") {
		t.Errorf("before it was tried:\n%s", got)
	}
	s.send(tried{on, ""})
	if got := s.screen(); !strings.Contains(got, "● online") || strings.Contains(got, "answer") {
		t.Errorf("when it works:\n%s", got)
	}
	s.send(client.Offline{Reason: "connection lost", RetryIn: 90 * time.Second})
	if got := s.screen(); !strings.Contains(got, "offline: connection lost; next try 12:01:30") {
		t.Errorf("when the server is lost:\n%s", got)
	}
	if got := strings.Join(s.last(), "\n"); !strings.Contains(got, "https://x.example.com -> localhost:3000") || !strings.Contains(got, "the server was lost: connection lost") {
		t.Errorf("the last lines: %s", got)
	}
}

func TestNoInspect(t *testing.T) {
	s := newStage(t, func(o *Options) { o.Recorder = nil })
	s.serves("https://alice.relay.example.com", "localhost:3000")
	s.keys("/", "enter", "r", "down")
	if got := s.screen(); !strings.Contains(got, "--no-inspect") || s.typing {
		t.Errorf("without a recorder:\n%s", got)
	}
}

func TestInboxDrains(t *testing.T) {
	s := newStage(t, nil)
	s.serves("https://alice.relay.example.com", "localhost:3000")
	// One that is on its way just now is no backlog.
	s.send(backlog{0, true}, backlog{1, false}, backlog{0, false})
	if got := s.screen(); strings.Contains(got, "to go") || strings.Contains(got, "Inbox") {
		t.Errorf("a passing event is told of:\n%s", got)
	}
	s.send(backlog{40, true})
	if got := s.screen(); !strings.Contains(got, "0 of 40 done, 40 to go") {
		t.Errorf("with a backlog:\n%s", got)
	}
	s.send(backlog{10, false})
	got := s.screen()
	if !strings.Contains(got, "30 of 40 done, 10 to go") || strings.Count(got, "█") != 3*strings.Count(got, "░")+2 && strings.Count(got, "█") != 22 {
		t.Errorf("three quarters are done:\n%s", got)
	}
	s.send(backlog{0, false})
	if got := s.screen(); strings.Contains(got, "to go") || !strings.Contains(got, "all 40 events") {
		t.Errorf("when it is done:\n%s", got)
	}
}
