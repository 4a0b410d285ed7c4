package inspector_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
)

func TestListIsNewestFirst(t *testing.T) {
	s := newSource()
	first := record(t, s.Recorder, exchange{
		id: "req_1", target: "/a?x=1", method: "POST", body: "hello", status: 201, answer: "world!",
		answerHeader: fields("Content-Type", "text/plain"),
	})
	record(t, s.Recorder, exchange{id: "req_2", target: "/b", replayOf: first})
	record(t, s.Recorder, exchange{id: "req_3", target: "/c", mute: true, open: true})
	var got page
	newAPI(t, s).get("/api/v1/requests", &got)
	equal(t, "order", got.targets(), []string{"/c", "/b", "/a?x=1"})
	if got.Next != "" {
		t.Errorf("there is no more, but next is %q", got.Next)
	}
	want := inspector.Summary{
		ID: "req_1", Seq: 1, State: capture.Done, Began: noon(), Duration: capture.Millis(time.Microsecond), Method: "POST", Target: "/a?x=1", Host: "alice.relay.test",
		Visitor: "192.0.2.7", Status: 201, RequestSize: 5, ResponseSize: 6, ResponseType: "text/plain",
	}
	if len(got.Items) != 3 {
		t.Fatalf("%d items", len(got.Items))
	}
	if got.Items[2] != want {
		t.Errorf("got %+v, want %+v", got.Items[2], want)
	}
	if x := got.Items[1]; !x.Replay || x.ReplayOf != first {
		t.Errorf("a replay is listed as %+v", x)
	}
	if x := got.Items[0]; x.State != capture.Live || x.Status != 0 {
		t.Errorf("an open request is listed as %+v", x)
	}
}

func TestListOfNothingIsAList(t *testing.T) {
	if got := newAPI(t, newSource()).text("/api/v1/requests"); got != `{"items":[]}` {
		t.Errorf("got %s", got)
	}
}

// Paging goes on where it was, whatever comes meanwhile.
func TestPaging(t *testing.T) {
	s := newSource()
	for i := range 7 {
		record(t, s.Recorder, exchange{target: fmt.Sprint("/", i)})
	}
	a := newAPI(t, s)
	var all []string
	next := ""
	for n := range 4 {
		var p page
		target := "/api/v1/requests?limit=3"
		if next != "" {
			target += "&before=" + next
		}
		a.get(target, &p)
		all = append(all, p.targets()...)
		if next = p.Next; next == "" {
			if n != 2 {
				t.Errorf("7 by 3 are %d parts", n+1)
			}
			break
		}
		record(t, s.Recorder, exchange{target: "/later"})
	}
	equal(t, "all parts", all, []string{"/6", "/5", "/4", "/3", "/2", "/1", "/0"})
}

func TestLimits(t *testing.T) {
	s := newSource()
	for range 201 {
		record(t, s.Recorder, exchange{})
	}
	a := newAPI(t, s)
	for query, want := range map[string]int{"": 200, "limit=1": 1, "limit=201": 201, "limit=2000": 201, "limit=": 200} {
		var p page
		a.get("/api/v1/requests?"+query, &p)
		if len(p.Items) != want || (p.Next == "") != (want == 201) {
			t.Errorf("%q: %d items, next %q; want %d", query, len(p.Items), p.Next, want)
		}
	}
	for _, query := range []string{"limit=0", "limit=-1", "limit=2001", "limit=x", "limit=1e2", "before=x", "before=-1", "before=1.5", "before=99999999999999999999"} {
		w := a.call(http.MethodGet, "/api/v1/requests?"+query, "")
		if f := a.fails(w); w.Code != 422 || f.Code != "invalid" {
			t.Errorf("%q: %d %+v", query, w.Code, f)
		}
	}
}

func TestListFilter(t *testing.T) {
	s := newSource()
	record(t, s.Recorder, exchange{target: "/hooks/a", method: "POST", body: `{"action":"opened"}`, status: 500, header: fields("Content-Type", "application/json")})
	record(t, s.Recorder, exchange{target: "/hooks/b", method: "POST", body: `{"action":"closed"}`, status: 204, header: fields("Content-Type", "application/json")})
	record(t, s.Recorder, exchange{target: "/image.png"})
	a := newAPI(t, s)
	for filter, want := range map[string][]string{
		"":                            {"/image.png", "/hooks/b", "/hooks/a"},
		"status:5xx":                  {"/hooks/a"},
		"path:/hooks -status:5xx":     {"/hooks/b"},
		"json:.action=opened":         {"/hooks/a"},
		`"closed"`:                    {"/hooks/b"},
		"endpoint:hooks":              {},
		"signature:none":              {"/image.png", "/hooks/b", "/hooks/a"},
		"is:event":                    {},
		"after:1m method:POST":        {"/hooks/b", "/hooks/a"},
		"before:2026-01-31":           {},
		"status:5xx method:GET":       {},
		"header:content-type=*json":   {"/hooks/b", "/hooks/a"},
		`path:"/hooks/b" host:alice.`: {"/hooks/b"},
	} {
		var p page
		a.get("/api/v1/requests?filter="+url.QueryEscape(filter), &p)
		equal(t, filter, p.targets(), want)
	}
	for filter, at := range map[string]int{"status:x": 0, "method:GET  status:": 12, `a "open`: 2} {
		for _, path := range []string{"/api/v1/requests", "/api/v1/requests/stream", "/api/v1/requests/export"} {
			w := a.call(http.MethodGet, path+"?format=har&filter="+url.QueryEscape(filter), "")
			f := a.fails(w)
			if w.Code != 422 || f.Code != "filter" || f.Filter == nil || f.Filter.At != at || f.Filter.Why == "" {
				t.Errorf("%s %q: %d %+v %+v", path, filter, w.Code, f, f.Filter)
			}
		}
	}
}

func TestDetail(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{
		method: "POST", target: "/a?b=c", body: "secret of the body", header: fields("X-Forwarded-Host", "public.example"), answer: "answered",
	})
	text := newAPI(t, s).text("/api/v1/requests/" + id)
	var got struct {
		capture.Exchange
		URL string `json:"url"`
	}
	newAPI(t, s).get("/api/v1/requests/"+id, &got)
	if got.URL != "https://public.example/a?b=c" || got.Request.Method != "POST" || got.Status() != 200 || got.Upstream != "127.0.0.1:3000" {
		t.Errorf("got %+v", got)
	}
	if b := got.Request.Body; b.Size != 18 || !b.Omitted {
		t.Errorf("the body in the detail is %+v: %s", b, text)
	}
}

// What a store says when it fails is for the log, not for the caller.
func TestFailuresOfTheStore(t *testing.T) {
	s := newSource()
	s.fail = errors.New("disk at /secret/place is gone")
	a := newAPI(t, s)
	for _, target := range []string{"/requests", "/requests/x", "/requests/x/request-body", "/requests/x/export?format=har", "/requests/export?format=har", "/targets"} {
		w := a.call(http.MethodGet, "/api/v1"+target, "")
		if f := a.fails(w); w.Code != 500 || f.Code != "internal" || f.Detail != "That failed; the log says why." {
			t.Errorf("%s: %d %+v", target, w.Code, f)
		}
	}
	for _, target := range []string{"/requests/x/replay", "/requests/replay"} {
		w := a.call(http.MethodPost, "/api/v1"+target, `{"ids":["x"]}`)
		if f := a.fails(w); w.Code != 500 || f.Code != "internal" {
			t.Errorf("%s: %d %+v", target, w.Code, f)
		}
	}
}

func TestTargets(t *testing.T) {
	s := newSource()
	a := newAPI(t, s)
	if got := a.text("/api/v1/targets"); got != `{"items":[]}` {
		t.Errorf("without targets: %s", got)
	}
	s.targets = []capture.Target{{ID: "hooks", Name: "hooks", Live: true, Signs: true}, {ID: "b", Name: "B"}}
	const want = `{"items":[{"id":"hooks","name":"hooks","live":true,"signs":true},{"id":"b","name":"B","live":false,"signs":false}]}`
	if got := a.text("/api/v1/targets"); got != want {
		t.Errorf("got %s", got)
	}
}
