package capture

import (
	"encoding/base64"
	"unicode/utf8"
)

// A Frame is one message of a live connection: a WebSocket frame or an event of an
// event stream.
type Frame struct {
	N         int    `json:"n"` // counts from 1 within its exchange
	At        Millis `json:"at_ms"`
	From      From   `json:"from"`
	Kind      string `json:"kind"` // text, binary, continuation, close, ping, pong or event
	Size      int64  `json:"size"`
	Text      string `json:"text,omitempty"`   // its beginning, if it is UTF-8
	Base64    string `json:"base64,omitempty"` // its beginning, if it is not
	Truncated bool   `json:"truncated,omitempty"`
	Masked    bool   `json:"masked,omitempty"` // secrets in Text are hidden
	// Compressed tells that a WebSocket extension has compressed it; the text is not
	// shown then.
	Compressed bool   `json:"compressed,omitempty"`
	Name       string `json:"name,omitempty"` // of an event: its type
	EventID    string `json:"event_id,omitempty"`
}

// From says who sent a Frame.
type From string

// The two who send frames.
const (
	FromVisitor From = "visitor"
	FromApp     From = "app"
)

const (
	maxFrames    = 500     // are kept of one exchange
	framePreview = 4 << 10 // bytes are kept of each
)

// show puts the beginning of a payload into f.
func (f *Frame) show(p []byte) {
	f.Truncated = int64(len(p)) < f.Size
	if f.Truncated { // a character may be cut
		for i := 0; i < utf8.UTFMax-1 && len(p) > 0; i++ {
			if r, n := utf8.DecodeLastRune(p); r != utf8.RuneError || n > 1 {
				break
			}
			p = p[:len(p)-1]
		}
	}
	if utf8.Valid(p) {
		f.Text = string(p)
	} else {
		f.Base64 = base64.StdEncoding.EncodeToString(p)
	}
}

// frame keeps a frame, and forgets the oldest when there are many.
func (t *Tap) frame(f Frame) {
	t.mu.Lock()
	if t.gone {
		t.mu.Unlock()
		return
	}
	f.N = len(t.frames) + t.x.FramesDropped + 1
	f.At = Millis(t.r.o.Now().Sub(t.x.Began))
	cost := f.cost()
	if len(t.frames) == maxFrames {
		cost -= t.frames[0].cost()
		t.frames[0] = Frame{}
		t.frames = t.frames[1:]
		t.x.FramesDropped++
	}
	t.frames = append(t.frames, f)
	t.pay(cost)
	t.mu.Unlock()
	t.r.trim()
	t.r.changed(t)
}

func (f *Frame) cost() int64 {
	return int64(160 + len(f.Text) + len(f.Base64) + len(f.Name) + len(f.EventID))
}

// note says why frames are not read any further.
func (t *Tap) note(why string) {
	t.mu.Lock()
	t.x.FramesNote = why
	t.mu.Unlock()
	t.r.changed(t)
}
