package inspector_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/relaytunnel/relay/internal/capture"
)

const scripted = `<script>alert("owned")</script><img src=x onerror=alert(1)>`

// hostile records what strangers send to hurt whoever looks. It returns the ids by
// what they are.
func hostile(t *testing.T, r *capture.Recorder) map[string]string {
	t.Helper()
	packed := bomb(t)
	nested := strings.Repeat(`{"a":[`, 2500) + strings.Repeat("]}", 2500)
	large := `[` + strings.Repeat(`{"key":"value","n":12345},`, 400_000) + `{}]`
	ids := map[string]string{}
	for name, e := range map[string]exchange{
		"script in a path":      {target: "/" + scripted[:8] + "?q=" + strings.ReplaceAll(scripted, " ", "+")},
		"script in heads":       {header: fields("X-Odd", scripted, "Content-Type", scripted, "User-Agent", scripted), answerHeader: fields("Content-Type", scripted)},
		"script as a method":    {method: "<script>"},
		"script as a host":      {host: scripted},
		"script in JSON":        {method: "POST", header: fields("Content-Type", "application/json"), body: `{"` + `<script>alert(1)</script>":"<b>","__proto__":{"x":1}}`},
		"SVG":                   {answerHeader: fields("Content-Type", "image/svg+xml"), answer: `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`},
		"HTML":                  {answerHeader: fields("Content-Type", "text/html"), answer: "<!doctype html>" + scripted},
		"10 MB of JSON":         {method: "POST", header: fields("Content-Type", "application/json"), body: large, answerHeader: fields("Content-Type", "application/json"), answer: large},
		"nested 5000 deep":      {method: "POST", header: fields("Content-Type", "application/json"), body: nested, answerHeader: fields("Content-Type", "application/json"), answer: nested},
		"no UTF-8":              {method: "POST", target: "/\xff\xfe", header: fields("X-Odd", "\xff\xc3", "Content-Type", "text/plain"), body: "\xff\xfe\xc3"},
		"zip bomb":              {method: "POST", header: fields("Content-Encoding", "gzip", "Content-Type", "application/json"), body: packed, answerHeader: fields("Content-Encoding", "gzip"), answer: packed},
		"event stream of lines": {answerHeader: fields("Content-Type", "text/event-stream"), answer: strings.Repeat("data: </script><script>\n\n", 1000)},
	} {
		e.id = "req_" + strings.ReplaceAll(name, " ", "_")
		ids[name] = record(t, r, e)
	}
	return ids
}

// bomb is 64 MiB of spaces between brackets, in 65 KB.
func bomb(t *testing.T) string {
	t.Helper()
	return zipped(t, "["+strings.Repeat(" ", 64<<20)+"]")
}

// Whatever was captured, no answer is anything that a browser shows or runs, each is
// bounded and soon there.
func TestHostileCaptures(t *testing.T) {
	s := newSource()
	ids := hostile(t, s.Recorder)
	other := record(t, s.Recorder, exchange{method: "POST", body: "other"})
	a := newAPI(t, s, ".key", ".a[*].a", "x-mask")
	for what, id := range ids {
		one := "/api/v1/requests/" + url.PathEscape(id)
		for _, path := range append(views(), "/diff?with="+other) {
			harmless(t, a, what, one+path)
		}
	}
	for _, target := range []string{
		"/api/v1/requests", "/api/v1/requests?filter=" + url.QueryEscape(`json:.key=value`), "/api/v1/requests?filter=" + url.QueryEscape(`"<script>"`),
		"/api/v1/requests/export?format=har", "/api/v1/requests/export?format=json", "/api/v1/requests/export?format=fixture",
	} {
		harmless(t, a, "all", target)
	}
}

// views are the ways to look at one request, below it.
func views() []string {
	return []string{
		"", "?reveal=1", "/request-body", "/request-body?decode=1", "/response-body?decode=1&reveal=1",
		"/export?format=curl", "/export?format=httpie", "/export?format=fetch", "/export?format=har", "/export?format=json", "/export?format=fixture",
	}
}

// harmless asks, and looks at the answer with the eyes of a browser.
func harmless(t *testing.T, a api, what, target string) {
	t.Helper()
	w := a.call(http.MethodGet, target, "")
	if w.Code != 200 && w.Code != 409 {
		t.Errorf("%s: %s: %d %.300s", what, target, w.Code, w.Body)
	}
	head := w.Header()
	safe(t, what, head)
	switch kind, _, _ := strings.Cut(head.Get("Content-Type"), ";"); kind {
	case "application/json", "application/problem+json":
		if !json.Valid(w.Body.Bytes()) || !utf8.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %s is no JSON", what, target)
		}
		if strings.ContainsAny(w.Body.String(), "<>") {
			t.Errorf("%s: %s has angle brackets that are not escaped", what, target)
		}
	case "application/octet-stream", "application/jsonl", "text/plain":
		if !strings.HasPrefix(head.Get("Content-Disposition"), "attachment; ") {
			t.Errorf("%s: %s is no file: %v", what, target, head)
		}
	default:
		t.Errorf("%s: %s has the type %s", what, target, kind)
	}
	if w.Body.Len() > 64<<20 {
		t.Errorf("%s: %s has %d bytes", what, target, w.Body.Len())
	}
}

// A body of 10 MB that is kept whole, as an inbox keeps it.
func TestLargeBodyIsWhole(t *testing.T) {
	s := &source{Recorder: capture.New(capture.Options{Now: noon, BodyLimit: 16 << 20})}
	large := `[` + strings.Repeat(`{"key":"value","n":12345},`, 400_000) + `{}]`
	id := record(t, s.Recorder, exchange{method: "POST", header: fields("Content-Type", "application/json"), body: large})
	a := newAPI(t, s)
	for _, path := range views() {
		if !strings.HasPrefix(path, "/response") {
			harmless(t, a, "10 MB of JSON", "/api/v1/requests/"+id+path)
		}
	}
	if got := newAPI(t, s, ".nothing").text("/api/v1/requests/" + id + "/request-body"); got != large {
		t.Errorf("got %d bytes of %d", len(got), len(large))
	}
}

// A bomb is unpacked as far as the limit, and said to be more.
func TestZipBombIsBounded(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{method: "POST", header: fields("Content-Encoding", "gzip"), body: bomb(t)})
	w := newAPI(t, s).call(http.MethodGet, "/api/v1/requests/"+id+"/request-body?decode=1", "")
	if w.Code != 200 || w.Body.Len() != 4<<20 || w.Header().Get("Relay-Body-Truncated") != "true" {
		t.Errorf("%d, %d bytes, %v", w.Code, w.Body.Len(), w.Header())
	}
}
