package compare_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/compare"
)

// answer makes one of a status, lines of a head, and a body.
func answer(status int, head, body string) *capture.Response {
	h := http.Header{}
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		h.Add(name, value)
	}
	return &capture.Response{Status: status, Header: capture.Header(h), Body: capture.Body{
		Size: int64(len(body)), Kept: []byte(body), Type: h.Get("Content-Type"), Encoding: h.Get("Content-Encoding"),
	}}
}

// told writes changes, a line each.
func told(changes []compare.Change) []string {
	lines := []string{}
	for _, c := range changes {
		s := fmt.Sprintf("%s %s %s: %s -> %s", c.Part, c.At, c.Kind, c.Before, c.After)
		for _, l := range c.Lines {
			s += "|" + l.Op + l.Text
		}
		lines = append(lines, s)
	}
	return lines
}

func TestStatusAndHeaders(t *testing.T) {
	for name, test := range map[string]struct {
		a, b   *capture.Response
		ignore []string
		want   []string
	}{
		"nothing": {a: answer(200, "", ""), b: answer(200, "", "")},
		"status":  {a: answer(200, "", ""), b: answer(500, "", ""), want: []string{"status  changed: 200 -> 500"}},
		"an answer where there was none": {
			a: nil, b: answer(200, "Content-Type: text/plain", "x"), want: []string{"status  changed: none -> 200"},
		},
		"none where there was one": {a: answer(200, "", ""), b: nil, want: []string{"status  changed: 200 -> none"}},
		"never one":                {},
		"what is new each time": {
			a: answer(200, "Date: today\nEtag: 1\nX-Request-Id: a\nContent-Length: 3\nServer: a", ""),
			b: answer(200, "Date: tomorrow\nEtag: 2\nX-Request-Id: b\nServer: b", ""),
		},
		"another type": {
			a: answer(200, "Content-Type: application/json", ""), b: answer(200, "Content-Type: text/html", ""),
			want: []string{"header Content-Type changed: application/json -> text/html"},
		},
		"the same type, written in another way": {
			a: answer(200, "Content-Type: application/json; charset=UTF-8", ""), b: answer(200, "Content-Type: Application/JSON;charset=utf-8", ""),
		},
		"a boundary": {
			a: answer(200, "Content-Type: multipart/form-data; boundary=a", ""), b: answer(200, "Content-Type: multipart/form-data; boundary=b", ""),
		},
		"a place to go to": {
			a: answer(302, "Location: /a", ""), b: answer(302, "", ""), want: []string{"header Location removed: /a -> "},
		},
		"a field more": {
			a: answer(401, "", ""), b: answer(401, "WWW-Authenticate: Basic", ""), want: []string{"header Www-Authenticate added:  -> Basic"},
		},
		"lists in another order": {
			a: answer(200, "Cache-Control: no-store, max-age=0\nVary: Accept\nVary: Origin", ""),
			b: answer(200, "Cache-Control: max-age=0,No-Store\nVary: origin, accept", ""),
		},
		"cookies by their names": {
			a: answer(200, "Set-Cookie: sid=1; Path=/\nSet-Cookie: theme=dark", ""), b: answer(200, "Set-Cookie: theme=light\nSet-Cookie: sid=2; Secure", ""),
		},
		"a cookie less": {
			a: answer(200, "Set-Cookie: sid=1\nSet-Cookie: theme=dark", ""), b: answer(200, "Set-Cookie: sid=2", ""),
			want: []string{"header Set-Cookie changed: sid, theme -> sid"},
		},
		"a masked cookie may be any": {
			a: answer(200, "Set-Cookie: "+capture.Mask, ""), b: answer(200, "Set-Cookie: sid=2", ""),
		},
		"a masked cookie is there": {
			a: answer(200, "Set-Cookie: "+capture.Mask, ""), b: answer(200, "", ""),
			want: []string{"header Set-Cookie removed: " + capture.Mask + " -> "},
		},
		"ignored": {
			a: answer(200, "Location: /a\nVary: x", ""), b: answer(200, "Location: /b\nVary: y", ""), ignore: []string{"location", " VARY"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := compare.NewRules(test.ignore, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{}, test.want...), told(rules.Answers(test.a, test.b))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	const kind = "Content-Type: application/json"
	for name, test := range map[string]struct {
		head   string
		a, b   string
		ignore []string
		want   []string
	}{
		"the same":            {a: "x", b: "x"},
		"keys in any order":   {head: kind, a: `{"a":1,"b":[1,2]}`, b: "{\n  \"b\": [1, 2],\n  \"a\": 1\n}"},
		"told by its bytes":   {a: `{"a":1,"b":2}`, b: ` {"b":2,"a":1}`},
		"a byte order mark":   {head: kind, a: "\ufeff{\"a\":1}", b: `{"a": 1}`},
		"numbers by value":    {head: kind, a: `[1,1.0,0,100,1e400,-0.0,0.10]`, b: `[1.0,1e0,0e9,1e2,10e399,0,1E-1]`},
		"numbers of any size": {head: kind, a: `[9007199254740993,1e99999999999999999999]`, b: `[9007199254740992,1e99999999999999999998]`, want: []string{"body [0] changed: 9007199254740993 -> 9007199254740992", "body [1] changed: 1e99999999999999999999 -> 1e99999999999999999998"}},
		"values": {
			head: kind, a: `{"user":{"name":"Ann","age":7,"gone":null},"<x>":true}`, b: `{"user":{"name":"Bob","age":"7","new":[1]},"<x>":false}`,
			want: []string{`body .<x> changed: true -> false`, `body .user.age changed: 7 -> "7"`, `body .user.gone removed: null -> `, `body .user.name changed: "Ann" -> "Bob"`, `body .user.new added:  -> [1]`},
		},
		"odd keys":        {head: kind, a: `{"a.b":{"":1}}`, b: `{"a.b":{"":2}}`, want: []string{`body ["a.b"][""] changed: 1 -> 2`}},
		"the whole of it": {head: kind, a: `[]`, b: `{}`, want: []string{"body  changed: [] -> {}"}},
		"an element more": {
			head: kind, a: `{"l":[{"id":1},{"id":2}]}`, b: `{"l":[{"id":0},{"id":1},{"id":2}]}`, want: []string{`body .l[0] added:  -> {"id":0}`},
		},
		"an element less": {head: kind, a: `[1,2,3,4]`, b: `[1,2,4]`, want: []string{"body [2] removed: 3 -> "}},
		"elements changed": {
			head: kind, a: `[1,{"a":1,"b":2},3]`, b: `[1,{"a":1,"b":3},4]`, want: []string{"body [1].b changed: 2 -> 3", "body [2] changed: 3 -> 4"},
		},
		"ignored": {
			head: kind, a: `{"at":1,"l":[{"id":1,"x":1}],"m":{"deep":{"y":1}},"odd key":1}`, b: `{"at":2,"l":[{"id":2,"x":1}],"m":{"deep":5},"odd key":2}`,
			ignore: []string{".at", ".l[*].id", ".m.deep", `.["odd key"]`},
		},
		"ignored, and an element more": {
			head: kind, a: `[{"id":1,"x":1}]`, b: `[{"id":5,"x":0},{"id":9,"x":1}]`, ignore: []string{"[*].id"}, want: []string{`body [0] added:  -> {"id":5,"x":0}`},
		},
		"masked values may be any":  {head: kind, a: `{"k":"` + capture.Mask + `"}`, b: `{"k":{"a":1}}`},
		"a masked value is missing": {head: kind, a: `{"k":"` + capture.Mask + `"}`, b: `{}`, want: []string{`body .k removed: "` + capture.Mask + `" -> `}},
		"not JSON any more": {
			head: kind, a: `{"a":1}`, b: "oops", want: []string{`body  changed:  -> |-{"a":1}|+oops`},
		},
		"two values": {head: kind, a: `{} {}`, b: `{}{}`, want: []string{`body  changed:  -> |-{} {}|+{}{}`}},
		"text": {
			head: "Content-Type: text/plain", a: "1\n2\n3\n4\n5\nold\n7\n8\n9\n", b: "1\n2\n3\n4\n5\nnew\n7\n8\n9\n",
			want: []string{"body  changed:  -> |~|=4|=5|-old|+new|=7|=8|~"},
		},
		"no body any more": {a: "x", b: "", want: []string{"body  removed:  -> |-x"}},
		"bytes": {
			a: "\x00\x01\x02", b: "\x00\x01\x03\x04",
			want: []string{
				"body  changed: 3 bytes, sha256 ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc -> " +
					"4 bytes, sha256 f682d654a310a7d6579b0a0bfa3f274615d3e789af868555fde0e197206dccc9, another from byte 2 on",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := compare.NewRules(nil, test.ignore)
			if err != nil {
				t.Fatal(err)
			}
			got := told(rules.Answers(answer(200, test.head, test.a), answer(200, test.head, test.b)))
			if diff := cmp.Diff(append([]string{}, test.want...), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is compressed is compared as what it was.
func TestCompressedBodies(t *testing.T) {
	zip := func(s string, level int) string {
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, level)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(s))
		_ = w.Close()
		return b.String()
	}
	const head = "Content-Type: application/json\nContent-Encoding: gzip"
	rules := &compare.Rules{}
	a, b := answer(200, head, zip(`{"a":1}`, gzip.NoCompression)), answer(200, head, zip(`{ "a": 1 }`, gzip.BestCompression))
	if got := rules.Answers(a, b); len(got) != 0 {
		t.Errorf("the same, compressed in two ways: %v", told(got))
	}
	if got := told(rules.Answers(a, answer(200, head, zip(`{"a":2}`, 9)))); len(got) != 1 || got[0] != "body .a changed: 1 -> 2" {
		t.Errorf("got %v", got)
	}
	if got := told(rules.Answers(answer(200, "Content-Encoding: br", "\x01"), answer(200, "Content-Encoding: br", "\x02"))); len(got) != 1 || !strings.Contains(got[0], "byte 0") {
		t.Errorf("an encoding that is not known: %v", got)
	}
}

// What goes deep takes no longer than it is long.
func TestDeepBodies(t *testing.T) {
	nest := func(leaf string) string { return strings.Repeat("[1,", 4000) + leaf + strings.Repeat("]", 4000) }
	rules := &compare.Rules{}
	got := rules.Answers(answer(200, "", nest("2")), answer(200, "", nest("3")))
	if len(got) != 1 || got[0].Before != "2" || got[0].After != "3" {
		t.Errorf("got %d changes", len(got))
	}
	uneven := func(leaf string, more string) string {
		return strings.Repeat("[", 4000) + leaf + strings.Repeat("]", 3000) + strings.Repeat(more+"]", 1000)
	}
	if got := rules.Answers(answer(200, "", uneven("2", ",0")), answer(200, "", uneven("3", ",1,1"))); len(got) == 0 {
		t.Error("no change was found")
	}
}

func TestBadPaths(t *testing.T) {
	for _, path := range []string{"", "name", "..a", "[x]"} {
		if _, err := compare.NewRules(nil, []string{path}); err == nil {
			t.Errorf("%q was taken for a path", path)
		}
	}
}
