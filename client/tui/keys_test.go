package tui

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"rsc.io/qr"

	"github.com/relaytunnel/relay/internal/capture"
)

const alice = "https://alice.relay.example.com"

// arrives is one more request.
func arrives(seq uint64) requests {
	return requests{
		Oldest: 1, Stats: capture.Stats{Seen: seq},
		Changed: []*capture.Exchange{exchange(seq, "GET", fmt.Sprintf("/%d", seq), 200, nil)},
	}
}

func TestTheListFollowsWhatComesUntilOneIsChosen(t *testing.T) {
	s := newStage(t, nil)
	s.serves(alice, "localhost:3000")
	s.send(traffic())
	s.send(arrives(8))
	if s.list.selected != 8 {
		t.Errorf("selected is %d, want the newest", s.list.selected)
	}
	s.keys("j", "down")
	s.send(arrives(9))
	if s.list.selected != 6 {
		t.Errorf("selected is %d, want 6, as it was chosen", s.list.selected)
	}
	s.keys("g")
	s.send(arrives(10))
	if s.list.selected != 10 {
		t.Errorf("selected is %d, want the newest again", s.list.selected)
	}
	s.keys("G")
	if s.list.selected != 1 {
		t.Errorf("selected is %d, want the oldest", s.list.selected)
	}
	// The chosen one has to make room.
	s.send(requests{Oldest: 4, Stats: capture.Stats{Seen: 10}})
	if s.list.selected != 4 || len(s.list.all) != 7 || len(s.list.judged) > 7 {
		t.Errorf("selected is %d of %d, want its neighbor", s.list.selected, len(s.list.all))
	}
}

func TestFilterWorksWhileItIsTyped(t *testing.T) {
	s := newStage(t, nil)
	s.serves(alice, "localhost:3000")
	s.send(traffic())
	seqs := func() (got []uint64) {
		for _, x := range s.list.visible {
			got = append(got, x.Seq)
		}
		return got
	}
	s.keys("/", "status:4")
	s.keys("04")
	if got := seqs(); !reflect.DeepEqual(got, []uint64{3}) {
		t.Errorf("status:404 shows %v", got)
	}
	s.keys("enter")
	if s.typing || s.filter.Value() != "status:404" {
		t.Error("enter does not keep the filter")
	}
	s.send(requests{Oldest: 1, Stats: capture.Stats{Seen: 9}, Changed: []*capture.Exchange{
		exchange(8, "GET", "/new", 404, nil), exchange(9, "GET", "/other", 200, nil),
	}})
	if got := seqs(); !reflect.DeepEqual(got, []uint64{8, 3}) {
		t.Errorf("what comes later is not filtered: %v", got)
	}
	s.keys("/", "backspace", "esc")
	if s.filter.Value() != "status:404" || len(seqs()) != 2 {
		t.Errorf("esc does not take the typing back: %q", s.filter.Value())
	}
	s.keys("/", " status:abc", "enter")
	if !s.typing || !strings.Contains(s.screen(), "status:abc: ") {
		t.Errorf("a wrong filter is not told of:\n%s", s.screen())
	}
	s.keys("esc", "esc")
	if s.filter.Value() != "" || len(seqs()) != 9 {
		t.Error("esc does not show all again")
	}
	s.keys("/")
	s.send(tea.PasteMsg{Content: "status:5xx\n"})
	if s.filter.Value() != "status:5xx" || !reflect.DeepEqual(seqs(), []uint64{4}) {
		t.Errorf("pasted: %q shows %v", s.filter.Value(), seqs())
	}
}

// A filter that looks into bodies is dear: a snapshot is looked at once.
func TestASnapshotIsJudgedOnce(t *testing.T) {
	s := newStage(t, nil)
	s.send(traffic())
	s.keys("/", "status:404", "enter")
	before := s.list.judged[3]
	s.list.judged[3] = judged{before.x, false}
	s.send(arrives(8))
	if len(s.list.visible) != 0 {
		t.Error("a snapshot is judged again though it did not change")
	}
	s.send(requests{Oldest: 1, Changed: []*capture.Exchange{exchange(3, "GET", "/missing", 404, nil)}})
	if len(s.list.visible) != 1 {
		t.Error("another snapshot is not judged anew")
	}
}

func TestDetailsGoOnWhileTheExchangeDoes(t *testing.T) {
	s := newStage(t, nil)
	s.serves(alice, "localhost:3000")
	s.send(traffic())
	s.keys("enter")
	if got := s.screen(); !strings.Contains(got, "GET not answered yet") {
		t.Errorf("a live one:\n%s", got)
	}
	s.send(requests{Oldest: 1, Changed: []*capture.Exchange{exchange(7, "GET", "/größe", 204, nil)}})
	if got := s.screen(); !strings.Contains(got, "GET 204 No Content") {
		t.Errorf("when it is over:\n%s", got)
	}
	s.send(arrives(8)) // the list follows, the page does not
	s.keys("right")
	if got := s.screen(); !strings.Contains(got, "GET 204") {
		t.Errorf("the one below the newest:\n%s", got)
	}
	s.send(requests{Oldest: 9, Stats: capture.Stats{Seen: 8}})
	if got := s.screen(); !strings.Contains(got, "GET 204 No Content") {
		t.Errorf("one that is not kept any more goes from under its reader:\n%s", got)
	}
}

func TestReplay(t *testing.T) {
	var got []string
	rec := capture.New(capture.Options{})
	answer := errors.New("only the beginning of its body was kept")
	s := newStage(t, func(o *Options) {
		o.Recorder = rec
		o.Replay = func(ctx context.Context, x *capture.Exchange) (string, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("a replay has no bound")
			}
			got = append(got, x.ID)
			return "", answer
		}
	})
	s.serves(alice, "localhost:3000")
	s.keys("r") // there is nothing
	s.send(traffic())
	s.keys("down", "down", "r")
	if !reflect.DeepEqual(got, []string{"req_0005"}) || !strings.Contains(s.screen(), "Not sent again: only the beginning") {
		t.Errorf("replayed %v:\n%s", got, s.screen())
	}
	s.sending = true
	s.keys("r")
	if len(got) != 1 {
		t.Error("a second replay begins while one is under way")
	}
}

func TestKeysForTheURL(t *testing.T) {
	var opened []string
	s := newStage(t, func(o *Options) {
		o.Open = func(_ context.Context, url string) error {
			opened = append(opened, url)
			return errors.New("there is no xdg-open here")
		}
	})
	s.keys("c", "o", "q", "esc") // there is no URL yet
	if len(opened)+len(s.cmds) != 0 {
		t.Errorf("without a URL: %v, %v", opened, s.cmds)
	}
	s.serves(alice, "localhost:3000")
	s.serves("https://other.example.com", "localhost:3001")
	s.keys("o", "i", "tab", "o", "tab", "c")
	if want := []string{alice, "http://127.0.0.1:4040", "https://other.example.com"}; !reflect.DeepEqual(opened, want) {
		t.Errorf("opened %v, want %v", opened, want)
	}
	last := s.cmds[len(s.cmds)-1]
	if want := tea.SetClipboard(alice)(); last != want {
		t.Errorf("c came to %#v, want %#v", last, want)
	}
	s.keys("o")
	if got := s.screen(); !strings.Contains(got, "No browser could be opened: there is no xdg-open here") {
		t.Errorf("without a browser:\n%s", got)
	}
}

func TestKeysThatEnd(t *testing.T) {
	for key, want := range map[string]End{"ctrl+c": Interrupted, "ctrl+d": Left} {
		for _, where := range [][]string{nil, {"/", "abc"}, {"?"}, {"q"}, {"enter"}} {
			s := newStage(t, nil)
			s.serves(alice, "localhost:3000")
			s.send(traffic())
			s.keys(where...)
			s.cmds = nil
			s.keys(key)
			if len(s.cmds) != 1 || s.cmds[0] != (tea.QuitMsg{}) || s.end != want {
				t.Errorf("%s after %v: %v, end %v", key, where, s.cmds, s.end)
			}
		}
	}
}

func TestNotesAreKeptWithinBounds(t *testing.T) {
	s := newStage(t, nil)
	for i := range maxNotes + 10 {
		s.send(note(fmt.Sprintf("note %d\n", i)))
	}
	if got := s.screen(); !strings.Contains(got, fmt.Sprintf("! note %d  n: notes", maxNotes+9)) {
		t.Errorf("the last note is not shown:\n%s", got)
	}
	s.keys("n")
	if got := s.screen(); !strings.Contains(got, "10 older ones are gone") || strings.Contains(got, "n: notes") {
		t.Errorf("the notes:\n%s", got)
	}
	s.keys("G")
	if got := s.screen(); !strings.Contains(got, fmt.Sprintf("note %d", maxNotes+9)) {
		t.Errorf("the end of the notes:\n%s", got)
	}
}

func TestPretty(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(`{"a":1}`))
	_ = z.Close()
	long := strings.Repeat("ü", maxShown)
	for name, tt := range map[string]struct {
		body capture.Body
		want string // the lines
		note string
	}{
		"json":          {capture.Body{Kept: []byte(`{"b":1.0,"a":[true,"x"]}`), Type: "application/json; charset=utf-8"}, "{\n  \"b\": 1.0,\n  \"a\": [\n    true,\n    \"x\"\n  ]\n}", ""},
		"broken json":   {capture.Body{Kept: []byte(`{"b":`), Type: "application/json"}, `{"b":`, ""},
		"form":          {capture.Body{Kept: []byte("b=2&a=x+y%21&b=3"), Type: "application/x-www-form-urlencoded"}, "a = x y!\nb = 2\nb = 3", ""},
		"text":          {capture.Body{Kept: []byte("one\r\n\ttwo\n"), Type: "text/plain"}, "one\n    two", ""},
		"packed":        {capture.Body{Kept: packed.Bytes(), Type: "application/json", Encoding: "gzip"}, "{\n  \"a\": 1\n}", ""},
		"binary":        {capture.Body{Kept: []byte{0, 1, 2}}, "00000000  00 01 02                                          |...|", "3B"},
		"not packed":    {capture.Body{Kept: []byte("plain"), Encoding: "br"}, "00000000  70 6c 61 69 6e                                    |plain|", "5B, encoded as br"},
		"cut in letter": {capture.Body{Kept: []byte("aü"[:2]), Truncated: true}, `a\xc3`, "only the beginning is shown, of 2B"},
		"long":          {capture.Body{Kept: []byte(long)}, "", "only the beginning is shown, of 131.1kB"},
	} {
		tt.body.Size = int64(len(tt.body.Kept))
		lines, note := pretty(&tt.body)
		if got := strings.Join(lines, "\n"); tt.want != "" && got != tt.want || note != tt.note {
			t.Errorf("%s: %q, note %q; want %q, %q", name, got, note, tt.want, tt.note)
		}
		for _, l := range lines {
			if len(l) > maxLine+len("…") {
				t.Errorf("%s: a line of %d bytes", name, len(l))
			}
		}
	}
}

// The code on the screen, read square by square, is the one of the URL in capitals.
func TestQRCodeIsDrawnWhole(t *testing.T) {
	want, err := qr.Encode("HTTPS://ALICE.RELAY.EXAMPLE.COM", qr.L)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range [][2]int{{60, 15}, {80, 24}, {160, 50}} {
		s := newStage(t, nil)
		s.size(size[0], size[1])
		s.serves(alice, "localhost:3000")
		s.keys("q")
		var white [][]bool // by square
		for _, l := range strings.Split(s.screen(), "\n") {
			if !strings.ContainsAny(l, "█▀▄") {
				continue
			}
			var up, down []bool
			l, _, _ = strings.Cut(strings.TrimPrefix(l, " "), "  h") // what stands beside it
			l, _, _ = strings.Cut(l, "  esc")
			l, _, _ = strings.Cut(l, "  ctrl")
			for _, r := range strings.TrimRight(l, " ") {
				up, down = append(up, r == '█' || r == '▀'), append(down, r == '█' || r == '▄')
			}
			white = append(white, up, down)
		}
		x := (len(white[0]) - want.Size) / 2 // the white around it
		y := x + x%2                         // half a line more where that is odd
		if x < 1 {
			t.Fatalf("%v: there is no white around the code:\n%s", size, s.screen())
		}
		for i := range want.Size {
			for j := range want.Size {
				if white[y+i][x+j] == want.Black(j, i) {
					t.Fatalf("%v: row %d, column %d is wrong:\n%s", size, i, j, s.screen())
				}
			}
			if !white[y+i][x+want.Size] {
				t.Fatalf("%v: there is no white at the right end of row %d", size, i)
			}
		}
	}
}

func TestQRCodeWithoutRoom(t *testing.T) {
	s := newStage(t, nil)
	s.size(40, 12)
	s.serves(alice, "localhost:3000")
	s.keys("q")
	if got := s.screen(); !strings.Contains(got, "The code wants about") || !strings.Contains(got, alice) || strings.ContainsAny(got, "█▀▄") {
		t.Errorf("in a small window:\n%s", got)
	}
	if got := qrText("https://x.example.com/Path"); got != "https://x.example.com/Path" {
		t.Errorf("a path is put in capitals: %s", got)
	}
}

func TestLast(t *testing.T) {
	now := noon
	s := newStage(t, func(o *Options) { o.Now = func() time.Time { return now } })
	s.serves(alice, "localhost:3000")
	s.send(traffic(), backlog{3, true})
	now = now.Add(25 * time.Minute)
	want := alice + " -> localhost:3000\n7 requests, in 25m\n3 events wait at the server for the next time"
	if got := strings.Join(s.last(), "\n"); got != want {
		t.Errorf("the last lines are\n%s\nwant\n%s", got, want)
	}
}
