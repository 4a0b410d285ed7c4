package capture_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/relaytunnel/relay/internal/capture"
)

// An exchange that was broken off says so, and its body is what had come.
func TestTapOfWhatFails(t *testing.T) {
	r := capture.New(capture.Options{})
	tap := r.Begin(request("GET", "/", ""), "", "")
	res := response(200, "")
	body := &halting{Reader: io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF))}
	res.Body = body
	tap.Response(res)
	if b, err := io.ReadAll(res.Body); string(b) != "half" || err == nil {
		t.Errorf("%q, %v", b, err)
	}
	a, ok := res.Body.(interface {
		Abort()
		Buffered() int
	})
	if !ok || a.Buffered() != 17 {
		t.Fatal("the body cannot tell what is buffered any more")
	}
	if a.Abort(); !body.aborted {
		t.Error("it cannot abort")
	}
	tap.End(io.ErrUnexpectedEOF)
	x := get(t, r, tap.ID())
	if x.State != capture.Failed || x.Error != "unexpected EOF" || string(x.Response.Body.Kept) != "half" {
		t.Errorf("%+v", x)
	}
	// No answer at all.
	tap = r.Begin(request("GET", "/", ""), "", "")
	if b := tap.RequestBody(http.NoBody, 0, nil); b != http.NoBody {
		t.Error("a body that is none was wrapped")
	}
	tap.End(io.EOF)
	if x := get(t, r, tap.ID()); x.State != capture.Failed || x.Response != nil || x.Duration <= 0 {
		t.Errorf("%+v", x)
	}
}

// halting is a body that knows what the agent's bodies know.
type halting struct {
	io.Reader
	aborted bool
}

func (h *halting) Close() error  { return nil }
func (h *halting) Abort()        { h.aborted = true }
func (h *halting) Buffered() int { return 17 }
