package inspector_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/capture"
)

// What is saved as a fixture can be read again, a line for each.
func TestFixtures(t *testing.T) {
	s := newSource()
	record(t, s.Recorder, exchange{id: "a", method: "POST", target: "/a", body: "\x00\xff", header: fields("X-A", "b", "Relay-Request-Id", "a"), status: 201, answer: "one"})
	record(t, s.Recorder, exchange{id: "b", target: "/b", mute: true})
	record(t, s.Recorder, exchange{id: "c", target: "/c", status: 404})
	a := newAPI(t, s)
	for query, want := range map[string][]string{
		"":                                     {"/c", "/b", "/a"},
		"&filter=status:2xx":                   {"/a"},
		"&id=a&id=c":                           {"/a", "/c"},
		"&id=c&filter=status:2xx":              {"/c"}, // what is named
		"&filter=status:500":                   {},
		"&filter=" + "path%3A%2Fb&reveal=1":    {"/b"},
		"&filter=-id%3Ac%20-id%3Ab&id=&id=a":   nil, // no request is named ""
		"&id=nobody":                           nil,
		"&id=a&id=nobody":                      nil,
		"&id=" + strings.Repeat("a&id=", 1001): nil,
	} {
		w := a.call(http.MethodGet, "/api/v1/requests/export?format=fixture"+query, "")
		if want == nil {
			if w.Code != 404 && w.Code != 422 {
				t.Errorf("%.40s: %d %s", query, w.Code, w.Body)
			}
			a.fails(w)
			continue
		}
		if w.Code != 200 || w.Header().Get("Content-Disposition") != `attachment; filename="fixtures.jsonl"` {
			t.Errorf("%q: %d %v", query, w.Code, w.Header())
		}
		got := []string{}
		for lines := bufio.NewScanner(w.Body); lines.Scan(); {
			x, err := capture.ReadFixture(lines.Bytes())
			if err != nil {
				t.Fatalf("%q: %v: %s", query, err, lines.Text())
			}
			got = append(got, x.Request.Target)
			if x.Request.Target == "/a" && (string(x.Request.Body.Kept) != "\x00\xff" || x.Status() != 201 || x.Request.Header.Get("Relay-Request-Id") != "") {
				t.Errorf("read %+v", x)
			}
		}
		equal(t, query, got, want)
	}
	one := a.call(http.MethodGet, "/api/v1/requests/a/export?format=fixture", "")
	if _, err := capture.ReadFixture(one.Body.Bytes()); err != nil || one.Header().Get("Content-Disposition") != `attachment; filename="a.json"` {
		t.Errorf("one: %v %v", err, one.Header())
	}
}

func TestExportOfJSON(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{method: "POST", body: "text", answer: "\xff"})
	a := newAPI(t, s)
	var one capture.Exchange
	a.get("/api/v1/requests/"+id+"/export?format=json", &one)
	var all struct{ Items []capture.Exchange }
	a.get("/api/v1/requests/export?format=json", &all)
	if len(all.Items) != 1 {
		t.Fatalf("%d items", len(all.Items))
	}
	for _, x := range []capture.Exchange{one, all.Items[0]} {
		if string(x.Request.Body.Kept) != "text" || string(x.Response.Body.Kept) != "\xff" {
			t.Errorf("got %+v", x)
		}
	}
}

// store lists without bodies, as a database does, and has more than it lists.
type store struct {
	*source
	body string
	more bool
	gone string // of this one there is nothing any more
}

func (s *store) List(ctx context.Context, q capture.Query) ([]*capture.Exchange, bool, error) {
	list, more, err := s.source.List(ctx, q)
	for i, x := range list {
		c := x.WithoutBodies()
		list[i] = &c
	}
	return list, more || s.more, err
}

func (s *store) Get(ctx context.Context, id string) (*capture.Exchange, bool, error) {
	x, ok, err := s.source.Get(ctx, id)
	if !ok || err != nil || id == s.gone {
		return nil, false, err
	}
	c := *x
	if s.body != "" {
		c.Request.Body.Kept = []byte(s.body)
	}
	return &c, true, nil
}

func TestExportFromAStore(t *testing.T) {
	s := &store{source: newSource()}
	record(t, s.Recorder, exchange{id: "a", target: "/a", method: "POST", body: "one"})
	record(t, s.Recorder, exchange{id: "b", target: "/b", method: "POST", body: "two"})
	a := newAPI(t, s)
	text := a.text("/api/v1/requests/export?format=json")
	if !strings.Contains(text, `"text": "one"`) || !strings.Contains(text, `"text": "two"`) {
		t.Errorf("bodies are missing: %s", text)
	}
	s.gone = "a" // since it was listed
	var got struct{ Items []capture.Exchange }
	if err := json.Unmarshal([]byte(a.text("/api/v1/requests/export?format=json")), &got); err != nil || len(got.Items) != 1 || got.Items[0].ID != "b" {
		t.Errorf("%v: %+v", err, got.Items)
	}
}

// An export is whole, or it is none.
func TestExportOfTooMuch(t *testing.T) {
	s := &store{source: newSource(), more: true}
	record(t, s.Recorder, exchange{id: "a"})
	a := newAPI(t, s)
	w := a.call(http.MethodGet, "/api/v1/requests/export?format=har", "")
	if f := a.fails(w); w.Code != 422 || f.Code != "too_many" {
		t.Errorf("more than it lists: %d %+v", w.Code, f)
	}
	s.more, s.body = false, strings.Repeat("x", 1<<20)
	query := ""
	for i := range 65 {
		id := fmt.Sprint("r", i)
		record(t, s.Recorder, exchange{id: id})
		query += "&id=" + id
	}
	for _, target := range []string{"", query} {
		w := a.call(http.MethodGet, "/api/v1/requests/export?format=har"+target, "")
		if f := a.fails(w); w.Code != 422 || f.Code != "too_large" {
			t.Errorf("%.10s: %d %+v", target, w.Code, f)
		}
	}
}
