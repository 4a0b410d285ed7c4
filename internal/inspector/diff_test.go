package inspector_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/inspector"
)

// comparison is the answer to a diff.
type comparison struct {
	A, B     inspector.Summary
	Sections []struct {
		Name  string
		Same  bool
		Lines []struct{ Op, Text string }
	}
}

// changed are the lines of each section that is not the same, as in a patch.
func (c comparison) changed() map[string]string {
	out := map[string]string{}
	for _, s := range c.Sections {
		var b strings.Builder
		for _, l := range s.Lines {
			if l.Op != "=" {
				b.WriteString(l.Op + l.Text + "\n")
			}
		}
		if !s.Same {
			out[s.Name] = b.String()
		}
	}
	return out
}

func TestDiff(t *testing.T) {
	one := exchange{
		method: "POST", target: "/a", header: fields("Content-Type", "application/json", "X-A", "1"), body: `{"a":1,"b":[2,3]}`,
		answerHeader: fields("Content-Type", "text/plain"), answer: "one\ntwo\nthree\n",
	}
	for name, tt := range map[string]struct {
		change func(*exchange)
		want   map[string]string
	}{
		"nothing": {func(*exchange) {}, map[string]string{}},
		"path":    {func(e *exchange) { e.target = "/b" }, map[string]string{"request": "-POST /a\n+POST /b\n"}},
		"headers": {func(e *exchange) { e.header = fields("Content-Type", "application/json", "X-B", "1") }, map[string]string{"request-headers": "-X-A: 1\n+X-B: 1\n"}},
		"JSON, by its values": {
			func(e *exchange) { e.body = `{ "a": 1, "b": [2, 4] }` }, map[string]string{"request-body": "-    3\n+    4\n"},
		},
		"JSON, by its spaces": {func(e *exchange) { e.body = "{\"a\":1,\n\"b\":[2,3]}" }, map[string]string{}},
		"status":              {func(e *exchange) { e.status = 500 }, map[string]string{"response": "-200 OK\n+500 Internal Server Error\n"}},
		"text":                {func(e *exchange) { e.answer = "one\n2\nthree\n" }, map[string]string{"response-body": "-two\n+2\n"}},
		"no answer": {
			func(e *exchange) { e.mute, e.open = true, true }, map[string]string{
				"response": "-200 OK\n+no answer yet\n", "response-headers": "-Content-Type: text/plain\n", "response-body": "-one\n-two\n-three\n",
			},
		},
		"compressed": {
			func(e *exchange) {
				e.answerHeader = fields("Content-Type", "text/plain", "Content-Encoding", "gzip")
				e.answer = zipped(t, e.answer)
			}, map[string]string{"response-headers": "+Content-Encoding: gzip\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource()
			a := record(t, s.Recorder, one)
			other := one
			tt.change(&other)
			b := record(t, s.Recorder, other)
			var got comparison
			newAPI(t, s).get("/api/v1/requests/"+a+"/diff?with="+b, &got)
			if got.A.ID != a || got.B.ID != b {
				t.Errorf("it compares %s with %s", got.A.ID, got.B.ID)
			}
			var names []string
			for _, s := range got.Sections {
				names = append(names, s.Name)
			}
			equal(t, "sections", names, []string{"request", "request-headers", "request-body", "response", "response-headers", "response-body"})
			changed := got.changed()
			if len(changed) != len(tt.want) {
				t.Errorf("got %q, want %q", changed, tt.want)
			}
			for section, want := range tt.want {
				if changed[section] != want {
					t.Errorf("%s: got %q, want %q", section, changed[section], want)
				}
			}
		})
	}
}

// Bytes are compared as bytes, though they cannot be shown.
func TestDiffOfBytes(t *testing.T) {
	s := newSource()
	a := record(t, s.Recorder, exchange{method: "POST", body: "\x00\x01"})
	b := record(t, s.Recorder, exchange{method: "POST", body: "\x00\x02"})
	same := record(t, s.Recorder, exchange{method: "POST", body: "\x00\x01"})
	for other, want := range map[string]int{b: 1, same: 0} {
		var got comparison
		newAPI(t, s).get("/api/v1/requests/"+a+"/diff?with="+other, &got)
		if changed := got.changed(); len(changed) != want || want == 1 && !strings.HasPrefix(changed["request-body"], "-2 bytes, sha256 ") {
			t.Errorf("got %q", changed)
		}
	}
}

func TestDiffWithNobody(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{})
	a := newAPI(t, s)
	w := a.call(http.MethodGet, "/api/v1/requests/"+id+"/diff", "")
	if f := a.fails(w); w.Code != 422 || f.Code != "invalid" {
		t.Errorf("with nothing: %d %+v", w.Code, f)
	}
	for _, target := range []string{id + "/diff?with=nobody", "nobody/diff?with=" + id} {
		w := a.call(http.MethodGet, "/api/v1/requests/"+target, "")
		if f := a.fails(w); w.Code != 404 || f.Code != "not_found" {
			t.Errorf("%s: %d %+v", target, w.Code, f)
		}
	}
}
