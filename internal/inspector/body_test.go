package inspector_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/capture"
)

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Bodies come byte for byte, whatever they say they are, and always as a file.
func TestBodies(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	packed := zipped(t, "hello hello hello")
	for _, tt := range []struct {
		name, kind, encoding, body string
		decoded                    string
		encoded                    bool // it could not be decoded
	}{
		{name: "text", kind: "text/plain", body: "hällo\r\n", decoded: "hällo\r\n"},
		{name: "empty", kind: "text/plain"},
		{name: "every byte", kind: "image/png", body: string(every), decoded: string(every)},
		{name: "HTML", kind: "text/html", body: "<script>alert(1)</script>", decoded: "<script>alert(1)</script>"},
		{name: "gzip", encoding: "gzip", body: packed, decoded: "hello hello hello"},
		{name: "unknown encoding", encoding: "br", body: "\x0b\x02", decoded: "\x0b\x02", encoded: true},
		{name: "no gzip", encoding: "gzip", body: "plain", decoded: "plain", encoded: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			if tt.kind != "" {
				h.Set("Content-Type", tt.kind)
			}
			if tt.encoding != "" {
				h.Set("Content-Encoding", tt.encoding)
			}
			s := newSource()
			id := record(t, s.Recorder, exchange{id: "req_1", method: "POST", header: h, body: tt.body, answerHeader: h, answer: tt.body})
			a := newAPI(t, s)
			for _, side := range []string{"request-body", "response-body"} {
				for _, query := range []string{"", "?decode=1"} {
					w := a.call(http.MethodGet, "/api/v1/requests/"+id+"/"+side+query, "")
					want := tt.body
					if query != "" {
						want = tt.decoded
					}
					if w.Code != 200 || w.Body.String() != want {
						t.Errorf("%s%s: %d %q, want %q", side, query, w.Code, w.Body, want)
					}
					head := w.Header()
					if head.Get("Content-Type") != "application/octet-stream" || head.Get("Content-Disposition") != `attachment; filename="req_1-`+side+`.bin"` ||
						head.Get("Cache-Control") != "no-store" || head.Get("Content-Encoding") != "" {
						t.Errorf("%s%s: %v", side, query, head)
					}
					if got := head.Get("Relay-Body-Encoded") != ""; got != (tt.encoded && query != "") {
						t.Errorf("%s%s: Relay-Body-Encoded: %v", side, query, got)
					}
					if head.Get("Relay-Body-Truncated") != "" {
						t.Errorf("%s%s: is called truncated", side, query)
					}
					safe(t, side, head)
				}
			}
		})
	}
}

func TestTruncatedBody(t *testing.T) {
	s := &source{Recorder: capture.New(capture.Options{Now: noon, BodyLimit: 10})}
	id := record(t, s.Recorder, exchange{method: "POST", body: strings.Repeat("x", 11), answer: strings.Repeat("y", 10)})
	a := newAPI(t, s)
	w := a.call(http.MethodGet, "/api/v1/requests/"+id+"/request-body", "")
	if w.Body.String() != strings.Repeat("x", 10) || w.Header().Get("Relay-Body-Truncated") != "true" {
		t.Errorf("request: %q %v", w.Body, w.Header())
	}
	w = a.call(http.MethodGet, "/api/v1/requests/"+id+"/response-body", "")
	if w.Body.String() != strings.Repeat("y", 10) || w.Header().Get("Relay-Body-Truncated") != "" {
		t.Errorf("response: %q %v", w.Body, w.Header())
	}
	for _, format := range []string{"curl", "httpie", "fetch"} {
		w := a.call(http.MethodGet, "/api/v1/requests/"+id+"/export?format="+format, "")
		if f := a.fails(w); w.Code != 409 || f.Code != "truncated" {
			t.Errorf("%s: %d %+v", format, w.Code, f)
		}
	}
}

func TestNoAnswerHasNoBody(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{mute: true})
	a := newAPI(t, s)
	w := a.call(http.MethodGet, "/api/v1/requests/"+id+"/response-body", "")
	if f := a.fails(w); w.Code != 404 || f.Detail != "There was no answer." {
		t.Errorf("%d %+v", w.Code, f)
	}
}

// A name is part of a header of ours, so nothing of a strange id may steer it.
func TestNamesOfFiles(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{id: "a\"; filename=\"b.html\r\nX: y\\é~..\u202e"})
	x, _, err := s.Recorder.Get(t.Context(), id)
	if err != nil || x == nil {
		t.Fatalf("%v %v", x, err)
	}
	a := newAPI(t, s)
	for _, target := range []string{"/request-body", "/response-body", "/export?format=curl", "/export?format=har", "/export?format=json", "/export?format=fixture"} {
		w := a.call(http.MethodGet, "/api/v1/requests/"+url.PathEscape(id)+target, "")
		name, ok := strings.CutPrefix(w.Header().Get("Content-Disposition"), `attachment; filename="a___filename__b.html__X__y___.._`)
		if w.Code != 200 || !ok || strings.ContainsFunc(strings.TrimSuffix(name, `"`), func(c rune) bool { return c > '~' || strings.ContainsRune("\"\\\r\n;/ ", c) }) {
			t.Errorf("%s: %d %q", target, w.Code, w.Header().Get("Content-Disposition"))
		}
	}
}
