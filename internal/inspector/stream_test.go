package inspector_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
)

// event is one of the stream.
type event struct {
	name, id string
	comment  bool
	news
}

type news struct {
	Items []struct {
		inspector.Summary
		Match bool `json:"match"`
	} `json:"items"`
	Oldest uint64        `json:"oldest"`
	Stats  capture.Stats `json:"stats"`
	Target string        `json:"target"`
}

// matches are the targets that came, with a ! where the filter does not take them.
func (e event) matches() []string {
	out := []string{}
	for _, i := range e.Items {
		if i.Match {
			out = append(out, i.Target)
		} else {
			out = append(out, "!"+i.Target)
		}
	}
	return out
}

// listener reads a stream as a browser does. It belongs into a synctest bubble.
type listener struct {
	t     *testing.T
	head  http.Header
	lines *bufio.Reader
	leave func()
	over  chan struct{}
}

// pipeWriter is a response that somebody reads while it is written.
type pipeWriter struct {
	*io.PipeWriter
	head http.Header
}

func (w pipeWriter) Header() http.Header { return w.head }
func (w pipeWriter) WriteHeader(int)     {}
func (w pipeWriter) Flush()              {}

// listen opens the stream; the listener is gone when the test ends.
func (a api) listen(query, lastID string) *listener {
	ctx, leave := context.WithCancel(a.t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/requests/stream"+query, nil)
	r.Host = "127.0.0.1:4040"
	if lastID != "" {
		r.Header.Set("Last-Event-Id", lastID)
	}
	in, out := io.Pipe()
	l := &listener{t: a.t, head: http.Header{}, lines: bufio.NewReader(in), over: make(chan struct{})}
	l.leave = func() {
		leave()
		_ = in.Close()
		<-l.over
	}
	go func() {
		defer close(l.over)
		a.ServeHTTP(pipeWriter{out, l.head}, r)
		_ = out.Close()
	}()
	a.t.Cleanup(l.leave)
	return l
}

// next waits for an event or a comment.
func (l *listener) next() event {
	l.t.Helper()
	var e event
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			l.t.Fatalf("the stream is over: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "":
			if line == "" {
				return e
			}
			e.comment = true
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.news); err != nil {
				l.t.Fatalf("%v: %s", err, value)
			}
		default:
			l.t.Fatalf("a line that is none of an event stream: %q", line)
		}
	}
}

func epochOf(e event) string {
	epoch, _, _ := strings.Cut(e.id, ":")
	return epoch
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		record(t, s.Recorder, exchange{target: "/before"})
		l := newAPI(t, s).listen("?filter=path:/a", "")
		hello := l.next()
		if hello.name != "hello" || len(hello.Items) != 0 || hello.Oldest != 1 || hello.Stats.Kept != 1 || hello.Stats.Seen != 1 || hello.Target != "127.0.0.1:3000" {
			t.Errorf("it begins with %+v", hello)
		}
		if l.head.Get("Content-Type") != "text/event-stream" || l.head.Get("Cache-Control") != "no-store" {
			t.Errorf("head: %v", l.head)
		}
		safe(t, "stream", l.head)
		record(t, s.Recorder, exchange{target: "/a"})
		changes := l.next()
		if changes.name != "changes" || epochOf(changes) != epochOf(hello) || changes.Stats.Kept != 2 {
			t.Errorf("then comes %+v", changes)
		}
		// It may be told more than once while it goes on; the last word is that it is done.
		for changes.Items[len(changes.Items)-1].State != capture.Done {
			changes = l.next()
		}
		equal(t, "changes", changes.matches(), []string{"/a"})
		record(t, s.Recorder, exchange{target: "/b"})
		equal(t, "what the filter does not take", l.next().matches(), []string{"!/b"})
	})
}

// A flood is a few large events, and nothing of it is lost.
func TestStreamOfAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		l := newAPI(t, s).listen("", "")
		l.next()
		start := time.Now()
		record(t, s.Recorder, exchange{target: "/first"})
		l.next()
		for range 500 {
			record(t, s.Recorder, exchange{target: "/x"})
		}
		synctest.Wait()
		seen := map[string]bool{}
		events := 0
		for len(seen) < 500 {
			e := l.next()
			events++
			for _, i := range e.Items {
				if i.Target == "/x" && i.State == capture.Done {
					seen[i.ID] = true
				}
			}
		}
		if events > 2 || time.Since(start) < 80*time.Millisecond {
			t.Errorf("%d events within %v", events, time.Since(start))
		}
	})
}

func TestStreamIsTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		a := newAPI(t, s)
		l := a.listen("", "")
		hello := l.next()
		l.leave()
		record(t, s.Recorder, exchange{target: "/meanwhile"})

		again := a.listen("", hello.id)
		if e := again.next(); e.name != "hello" || len(e.Items) != 0 || e.id != hello.id {
			t.Errorf("it is greeted with %+v, not as %s", e, hello.id)
		}
		e := again.next()
		equal(t, "what came meanwhile", e.matches(), []string{"/meanwhile"})
		again.leave()

		// Nothing has happened since: there is a greeting, and then silence.
		quiet := a.listen("", e.id)
		if e := quiet.next(); e.name != "hello" {
			t.Errorf("got %+v", e)
		}
		if e := quiet.next(); !e.comment {
			t.Errorf("something is told twice: %+v", e)
		}
	})
}

// Ids of another process, or such as nobody gave, are as none: the caller lists anew,
// which it sees by the new epoch.
func TestStreamAfterAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		record(t, s.Recorder, exchange{target: "/before"})
		old := newAPI(t, s).listen("", "").next()
		a := newAPI(t, s)
		first := a.listen("", "").next()
		if epochOf(first) == epochOf(old) {
			t.Fatal("two processes have the same epoch")
		}
		epoch := epochOf(first)
		for _, id := range []string{old.id, epochOf(old) + ":1", "x", ":", epoch, epoch + ":", epoch + ":x", epoch + ":-1", epoch + ":999999", "\x00"} {
			l := a.listen("", id)
			if e := l.next(); e.name != "hello" || len(e.Items) != 0 || e.id != first.id {
				t.Errorf("after %q: %+v", id, e)
			}
			if e := l.next(); !e.comment {
				t.Errorf("after %q comes %+v", id, e)
			}
			l.leave()
		}
	})
}

// Who was away while requests came and went has missed some: it is told to list anew,
// by an epoch that it does not know.
func TestStreamThatHasMissedSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{Recorder: capture.New(capture.Options{Now: noon, MaxExchanges: 2})}
		a := newAPI(t, s)
		l := a.listen("", "")
		hello := l.next()
		l.leave()
		for range 5 {
			record(t, s.Recorder, exchange{target: "/x"})
		}
		again := a.listen("", hello.id)
		if e := again.next(); epochOf(e) != epochOf(hello) {
			t.Errorf("the greeting is %+v", e)
		}
		missed := again.next()
		if missed.name != "hello" || epochOf(missed) == epochOf(hello) || missed.Stats.Dropped != 3 || missed.Oldest != 4 {
			t.Errorf("got %+v", missed)
		}
		// It goes on under the new epoch, and the old one is not taken up any more.
		record(t, s.Recorder, exchange{target: "/y"})
		if e := again.next(); epochOf(e) != epochOf(missed) && e.name != "hello" {
			t.Errorf("after it comes %+v", e)
		}
		again.leave()
		third := a.listen("", missed.id)
		if e := third.next(); e.name != "hello" || epochOf(e) != epochOf(hello) || len(e.Items) != 0 {
			t.Errorf("later the greeting is %+v", e)
		}
	})
}

// A silent stream shows that it lives, and costs nothing when its reader has left.
func TestSilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		l := newAPI(t, s).listen("", "")
		l.next()
		start := time.Now()
		for n := 1; n <= 3; n++ {
			if e := l.next(); !e.comment || e.name != "" || time.Since(start) != time.Duration(n)*15*time.Second {
				t.Errorf("after %v comes %+v", time.Since(start), e)
			}
		}
		left := time.Now()
		l.leave() // waits for the handler
		if d := time.Since(left); d > 0 {
			t.Errorf("it took %v to see that nobody listens", d)
		}
	})
}

// The stream ends with the process, though its reader stays.
func TestStreamEndsWithItsServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		stop := make(chan struct{})
		l := newAPI(t, ending{s, stop}).listen("", "")
		l.next()
		close(stop)
		if _, err := l.lines.ReadString('\n'); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end", err)
		}
	})
}

// ending is a source that can be closed.
type ending struct {
	*source
	stop chan struct{}
}

func (e ending) Next(ctx context.Context, after uint64) (capture.Changes, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	defer func() { <-over }()
	defer cancel()
	go func() {
		defer close(over)
		select {
		case <-e.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return e.source.Next(ctx, after)
}

func TestStreamOfABrokenStore(t *testing.T) {
	s := newSource()
	a := newAPI(t, failing{s})
	w := a.call(http.MethodGet, "/api/v1/requests/stream", "")
	if f := a.fails(w); w.Code != 500 || f.Code != "internal" {
		t.Errorf("%d %+v", w.Code, f)
	}
}

type failing struct{ *source }

func (failing) Next(context.Context, uint64) (capture.Changes, error) {
	return capture.Changes{}, errors.New("no disk")
}
