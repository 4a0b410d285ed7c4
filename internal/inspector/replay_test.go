package inspector_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
)

func TestReplayAsItWas(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{
		id: "req_1", method: "POST", target: "/hooks?a=b%20c", host: "alice.relay.test", body: "\x00\xffbody",
		header: fields("Content-Type", "application/octet-stream", "X-Many", "1", "X-Many", "2", "Content-Length", "6", "Connection", "keep-alive, X-Hop",
			"X-Hop", "gone", "Keep-Alive", "timeout=5", "Transfer-Encoding", "chunked", "Te", "trailers", "Expect", "100-continue"),
	})
	var got map[string]any
	newAPI(t, s).post("/api/v1/requests/"+id+"/replay", "", &got)
	if len(got) != 2 || got["id"] != "again-req_1" || got["ended"] != true {
		t.Errorf("got %v", got)
	}
	want := []capture.Again{{
		Of: "req_1", Upstream: "127.0.0.1:3000", Method: "POST", Target: "/hooks?a=b%20c", Host: "alice.relay.test", Body: []byte("\x00\xffbody"),
		Header: fields("Content-Type", "application/octet-stream", "X-Many", "1", "X-Many", "2"),
	}}
	if diff := cmp.Diff(want, s.replays()); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	// What was recorded did not change under it.
	var x capture.Exchange
	newAPI(t, s).get("/api/v1/requests/"+id, &x)
	if x.Request.Header.Get("X-Hop") != "gone" {
		t.Errorf("the recorded head is now %v", x.Request.Header)
	}
}

func TestReplayWithEdits(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{
		method: "POST", target: "/a\xff?x=1", body: zipped(t, "old"),
		header: fields("Content-Encoding", "gzip", "X-Latin", "Zo\xeb", "Authorization", "Bearer one"),
	})
	a := newAPI(t, s)
	for _, tt := range []struct {
		name, edit string
		want       func(*capture.Again)
	}{
		{"nothing", `{}`, func(*capture.Again) {}},
		{"nulls", `{"method":null,"path":null,"headers":null,"body":null,"body_base64":null}`, func(*capture.Again) {}},
		{"method", `{"method":"DELETE"}`, func(a *capture.Again) { a.Method = "DELETE" }},
		{"path", `{"path":"/b?y=2"}`, func(a *capture.Again) { a.Target = "/b?y=2" }},
		{"target", `{"to":"other:3000"}`, func(a *capture.Again) { a.To = "other:3000" }},
		{"signature", `{"sign":true}`, func(a *capture.Again) { a.Sign = true }},
		{"text", `{"body":"new"}`, func(a *capture.Again) { a.Body = []byte("new"); a.Header.Del("Content-Encoding") }},
		{"no text", `{"body":""}`, func(a *capture.Again) { a.Body = []byte{}; a.Header.Del("Content-Encoding") }},
		{"bytes", `{"body_base64":"AP8="}`, func(a *capture.Again) { a.Body = []byte{0, 0xff}; a.Header.Del("Content-Encoding") }},
		{"headers", `{"headers":[{"name":"x-a","value":" b "},{"name":"X-A","value":"c"}]}`, func(a *capture.Again) { a.Header = fields("X-A", "b", "X-A", "c") }},
		{
			"headers of one connection", `{"headers":[{"name":"Host","value":"evil"},{"name":"content-length","value":"1"},{"name":"Connection","value":"x-b"},{"name":"X-B","value":"1"}]}`,
			func(a *capture.Again) { a.Header = http.Header{} },
		},
		// JSON cannot have bytes that are no UTF-8: what it has in their place stands for them.
		{"a field that JSON cannot tell", `{"headers":[{"name":"X-Latin","value":"Zo\ufffd"},{"name":"X-New","value":"\ufffd"}]}`, func(a *capture.Again) { a.Header = fields("X-Latin", "Zo\xeb", "X-New", "\ufffd") }},
		{"a path that JSON cannot tell", `{"path":"/a\ufffd?x=1"}`, func(*capture.Again) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := capture.Again{
				Of: id, Upstream: "127.0.0.1:3000", Method: "POST", Target: "/a\xff?x=1", Host: "alice.relay.test", Body: []byte(zipped(t, "old")),
				Header: fields("Content-Encoding", "gzip", "X-Latin", "Zo\xeb", "Authorization", "Bearer one"),
			}
			tt.want(&want)
			a.post("/api/v1/requests/"+id+"/replay", tt.edit, &map[string]any{})
			sent := s.replays()
			if len(sent) != 1 {
				t.Fatalf("sent %d", len(sent))
			}
			if diff := cmp.Diff(want, sent[0]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Each edit that cannot be is told in a sentence, and nothing is sent.
func TestReplayWithEditsThatCannotBe(t *testing.T) {
	const (
		method = "That is not a method that can be sent."
		path   = "A path begins with / and has no spaces: write %20 for one."
		field  = "A header field has a name that cannot be, or a line break in its value: "
	)
	s := newSource()
	id := record(t, s.Recorder, exchange{method: "POST", body: "x"})
	a := newAPI(t, s)
	for edit, want := range map[string]string{
		`{"method":""}`:                                   method,
		`{"method":"CONNECT"}`:                            method,
		`{"method":"GET /"}`:                              method,
		`{"method":"GET\r\nX: y"}`:                        method,
		`{"method":"GÉT"}`:                                method,
		`{"path":""}`:                                     path,
		`{"path":"a"}`:                                    path,
		`{"path":"http://evil.example/"}`:                 path,
		`{"path":"*"}`:                                    path,
		`{"path":"/a b"}`:                                 path,
		`{"path":"/a\r\nX: y"}`:                           path,
		`{"path":"/a\u007f"}`:                             path,
		`{"path":"/ HTTP/1.1\r\nHost: x"}`:                path,
		`{"headers":[{"name":""}]}`:                       field + `"".`,
		`{"headers":[{"name":"a b"}]}`:                    field + `"a b".`,
		`{"headers":[{"name":"a:b"}]}`:                    field + `"a:b".`,
		`{"headers":[{"name":"é"}]}`:                      field + `"é".`,
		`{"headers":[{"name":"a\r\nb"}]}`:                 field + `"a\r\nb".`,
		`{"body_base64":"?"}`:                             "body_base64 is not base64.",
		`{"body_base64":"AA"}`:                            "body_base64 is not base64.",
		`{"body":"a","body_base64":"YQ=="}`:               "Give body or body_base64, not both.",
		`{"headers":[{"name":"X-A","value":"a\nb"}]}`:     field + `"X-A".`,
		`{"headers":[{"name":"X-A","value":"a\rb"}]}`:     field + `"X-A".`,
		`{"headers":[{"name":"X-A","value":"a\u0000b"}]}`: field + `"X-A".`,
	} {
		w := a.call(http.MethodPost, "/api/v1/requests/"+id+"/replay", edit)
		if f := a.fails(w); w.Code != 422 || f.Code != "invalid" || f.Detail != want {
			t.Errorf("%s: %d %+v, want %q", edit, w.Code, f, want)
		}
	}
	for _, edit := range []string{`{`, `[]`, `"x"`, `{"method":1}`, `{"headers":{"X":"y"}}`, `{} {}`, `{"boddy":"x"}`, `{"headers":[{"name":"a","valu":"b"}]}`, strings.Repeat(" ", 16<<20+1)} {
		w := a.call(http.MethodPost, "/api/v1/requests/"+id+"/replay", edit)
		if f := a.fails(w); w.Code != 422 || !strings.HasPrefix(f.Detail, "The edit cannot be read: ") {
			t.Errorf("%.30s: %d %+v", edit, w.Code, f)
		}
	}
	if sent := s.replays(); len(sent) != 0 {
		t.Errorf("sent %+v", sent)
	}
	w := a.call(http.MethodPost, "/api/v1/requests/nobody/replay", "")
	if f := a.fails(w); w.Code != 404 || f.Code != "not_found" {
		t.Errorf("an unknown one: %d %+v", w.Code, f)
	}
}

// A body of which only the beginning is here cannot be sent as it was, but another can
// be in its place.
func TestReplayOfWhatIsNotWhole(t *testing.T) {
	s := &source{Recorder: capture.New(capture.Options{Now: noon, BodyLimit: 4})}
	truncated := record(t, s.Recorder, exchange{method: "POST", body: "12345"})
	coming := record(t, s.Recorder, exchange{method: "POST", mute: true, open: true})
	a := newAPI(t, s)
	for id, want := range map[string]string{
		truncated: "Only the beginning of its body was kept, so it cannot be sent again as it was. Edit it to send another body.",
		coming:    "This request is still coming in: wait for its end.",
	} {
		w := a.call(http.MethodPost, "/api/v1/requests/"+id+"/replay", `{"path":"/b"}`)
		if f := a.fails(w); w.Code != 422 || f.Detail != want {
			t.Errorf("%d %+v, want %q", w.Code, f, want)
		}
		a.post("/api/v1/requests/"+id+"/replay", `{"body":"whole"}`, &map[string]any{})
		if sent := s.replays(); len(sent) != 1 || string(sent[0].Body) != "whole" {
			t.Errorf("sent %+v", sent)
		}
	}
}

// Each kind of error has its answer; one of no kind is for the log.
func TestReplayThatIsRefused(t *testing.T) {
	for _, tt := range []struct {
		err    error
		edit   string
		status int
		code   string
		detail string
	}{
		{fmt.Errorf("%w: no agent serves hooks just now", relay.ErrOffline), "", 409, "offline", "No agent serves hooks just now."},
		{relay.ErrOffline, "", 409, "offline", "Offline."},
		{fmt.Errorf("%w: ", relay.ErrOffline), "", 409, "offline", "Offline."},
		{fmt.Errorf("%w: è is away", relay.ErrOffline), "", 409, "offline", "È is away."},
		{fmt.Errorf("%w: no app at x:1 is served here", relay.ErrNotFound), `{"to":"x:1"}`, 404, "not_found", "No app at x:1 is served here."},
		{fmt.Errorf("%w: no secret is known", relay.ErrInvalid), `{"sign":true}`, 422, "cannot_sign", "No secret is known."},
		{errors.New("dial 10.0.0.1: secret place"), "", 500, "internal", "That failed; the log says why."},
		{context.DeadlineExceeded, "", 504, "timeout", "It was not sent within 30 seconds."},
	} {
		s := newSource()
		s.answer = func(context.Context, capture.Again) (string, error) { return "", tt.err }
		id := record(t, s.Recorder, exchange{})
		a := newAPI(t, s)
		w := a.call(http.MethodPost, "/api/v1/requests/"+id+"/replay", tt.edit)
		if f := a.fails(w); w.Code != tt.status || f.Code != tt.code || f.Detail != tt.detail {
			t.Errorf("%v: %d %+v", tt.err, w.Code, f)
		}
	}
}

// An event stream has no end, so its replay is broken off, and that is no failure.
func TestReplayWithoutAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		s.answer = func(ctx context.Context, _ capture.Again) (string, error) {
			<-ctx.Done()
			return "req_2", ctx.Err()
		}
		id := record(t, s.Recorder, exchange{})
		start := time.Now()
		var got map[string]any
		newAPI(t, s).post("/api/v1/requests/"+id+"/replay", "", &got)
		if got["id"] != "req_2" || got["ended"] != false || time.Since(start) != 30*time.Second {
			t.Errorf("got %v after %v", got, time.Since(start))
		}
	})
}

// The largest body that can be kept can also be edited and sent.
func TestReplayWithALargeBody(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{method: "POST"})
	body := strings.Repeat("\xff", 8<<20)
	in, err := json.Marshal(map[string]string{"body_base64": base64.StdEncoding.EncodeToString([]byte(body))})
	if err != nil {
		t.Fatal(err)
	}
	newAPI(t, s).post("/api/v1/requests/"+id+"/replay", string(in), &map[string]any{})
	if sent := s.replays(); len(sent) != 1 || string(sent[0].Body) != body {
		t.Error("it did not arrive")
	}
}
