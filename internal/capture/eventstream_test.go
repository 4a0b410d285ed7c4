package capture_test

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/relaytunnel/relay/internal/capture"
)

func events(t testing.TB, stream string, header ...string) (*capture.Exchange, string) {
	t.Helper()
	r := capture.New(capture.Options{})
	tap := r.Begin(request("GET", "/events", ""), "", "")
	res := response(200, "", append([]string{"Content-Type", "text/event-stream; charset=utf-8"}, header...)...)
	res.Body = io.NopCloser(iotest.OneByteReader(strings.NewReader(stream)))
	tap.Response(res)
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	tap.End(nil)
	xs, _, _ := r.List(t.Context(), capture.Query{})
	return xs[0], string(b)
}

func TestEventsAreListed(t *testing.T) {
	const stream = ": a comment\n\n" +
		"data: plain\n\n" +
		"event: tick\nid: 7\ndata:one\ndata: two\n\n" +
		"event: no-data\n\n" +
		"data\n\n" +
		"data: cr\r\rdata: crlf\r\n\r\n" +
		"retry: 10\nnonsense: x\ndata: é\n\n" +
		"data: not over"
	x, passed := events(t, stream)
	if passed != stream {
		t.Errorf("what passed is not what was sent: %q", passed)
	}
	var got []string
	for _, f := range x.Frames {
		if f.From != capture.FromApp || f.Kind != "event" {
			t.Errorf("%+v", f)
		}
		got = append(got, f.Name+"/"+f.EventID+"/"+f.Text)
	}
	want := []string{"//plain", "tick/7/one\ntwo", "/7/", "/7/cr", "/7/crlf", "/7/é"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", got)
	}
	if string(x.Response.Body.Kept) != stream {
		t.Error("the body itself is not kept")
	}
}

func TestLongEventsAreCut(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	x, _ := events(t, "data: "+long+"\n\ndata: "+strings.Repeat("y", 3000)+"\ndata: "+strings.Repeat("z", 3000)+"\n\nevent: "+long+"\nid: "+long+"\ndata: 1\n\n")
	if len(x.Frames) != 3 {
		t.Fatalf("%d events", len(x.Frames))
	}
	if f := x.Frames[0]; len(f.Text) != 4<<10 || !f.Truncated || f.Size < 10_000 {
		t.Errorf("%d bytes of %d, truncated %v", len(f.Text), f.Size, f.Truncated)
	}
	if f := x.Frames[1]; len(f.Text) != 4<<10 || !f.Truncated || !strings.Contains(f.Text, "y\nz") {
		t.Errorf("%d bytes of %d, truncated %v", len(f.Text), f.Size, f.Truncated)
	}
	if f := x.Frames[2]; len(f.Name) != 200 || len(f.EventID) != 200 || f.Text != "1" || f.Truncated {
		t.Errorf("%+v", f)
	}
}

// Compressed, or of another type, they are bytes.
func TestOnlyEventStreamsAreListed(t *testing.T) {
	if x, _ := events(t, "data: 1\n\n", "Content-Encoding", "gzip"); len(x.Frames) != 0 {
		t.Errorf("%+v", x.Frames)
	}
	r := capture.New(capture.Options{})
	x := get(t, r, record(t, r, request("GET", "/", ""), response(200, "data: 1\n\n", "Content-Type", "text/plain")))
	if len(x.Frames) != 0 {
		t.Errorf("%+v", x.Frames)
	}
}

func FuzzEventStream(f *testing.F) {
	f.Add("event: a\r\ndata: b\r\rid:\n\ndata:\n\n")
	f.Add("data" + strings.Repeat(":", 20) + "\n\n\xff\n")
	f.Fuzz(func(t *testing.T, stream string) {
		x, passed := events(t, stream)
		if passed != stream {
			t.Fatalf("%q became %q", stream, passed)
		}
		for _, f := range x.Frames {
			if len(f.Text) > 4<<10 || len(f.Base64) > 6<<10 || len(f.Name) > 700 {
				t.Fatalf("%+v", f)
			}
		}
		if len(x.Frames) > strings.Count(stream, "\n")+strings.Count(stream, "\r") {
			t.Fatalf("%d events in %q", len(x.Frames), stream)
		}
	})
}
