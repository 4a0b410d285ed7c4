package inspector_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/npmtest"
)

// archive is as much of a HAR as these tests look at.
type archive struct {
	Log struct {
		Version string
		Entries []struct {
			StartedDateTime string
			Time            float64
			Comment         string
			Request         struct {
				Method, URL string
				Headers     []pair
				QueryString []pair
				PostData    *struct {
					MimeType, Text, Comment string
					Encoding                string `json:"_encoding"`
				}
				BodySize int64
			}
			Response struct {
				Status      int
				StatusText  string
				RedirectURL string
				Headers     []pair
				BodySize    int64
				Content     struct {
					Size                              int64
					MimeType, Text, Encoding, Comment string
				}
			}
		}
	}
}

type pair struct{ Name, Value string }

func TestHAR(t *testing.T) {
	s := newSource()
	record(t, s.Recorder, exchange{
		method: "POST", target: "/a?x=1&y=%20z&x=2&empty=&bare&%zz=%zz", host: "alice.relay.test:8443",
		header: fields("Content-Type", "application/json", "X-Two", "a", "X-Two", "b"), body: `{"a":1}`,
		status: 302, answerHeader: fields("Location", "/b", "Content-Type", "text/html", "Content-Encoding", "gzip"), answer: zipped(t, "<b>moved</b>"),
	})
	record(t, s.Recorder, exchange{method: "PUT", body: "\x00\xff", answer: "\x89PNG\x00", answerHeader: fields("Content-Type", "image/png")})
	record(t, s.Recorder, exchange{mute: true})
	a := newAPI(t, s)
	text := a.text("/api/v1/requests/export?format=har")
	var got archive
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	entries := got.Log.Entries
	if got.Log.Version != "1.2" || len(entries) != 3 {
		t.Fatalf("version %q, %d entries", got.Log.Version, len(entries))
	}
	first := entries[0] // the oldest
	if first.StartedDateTime != "2026-01-31T12:00:00Z" || first.Request.Method != "POST" || first.Request.URL != "https://alice.relay.test:8443/a?x=1&y=%20z&x=2&empty=&bare&%zz=%zz" {
		t.Errorf("the first is %+v", first)
	}
	equal(t, "query", first.Request.QueryString, []pair{{"x", "1"}, {"y", " z"}, {"x", "2"}, {"empty", ""}, {"bare", ""}, {"%zz", "%zz"}})
	equal(t, "headers", first.Request.Headers, []pair{{"Content-Type", "application/json"}, {"X-Two", "a"}, {"X-Two", "b"}})
	if p := first.Request.PostData; p == nil || p.Text != `{"a":1}` || p.MimeType != "application/json" || p.Encoding != "" || first.Request.BodySize != 7 {
		t.Errorf("what was posted is %+v", p)
	}
	r := first.Response
	if r.Status != 302 || r.StatusText != "Found" || r.RedirectURL != "/b" || r.Content.Text != "<b>moved</b>" || r.Content.Size != 12 || r.BodySize != int64(len(zipped(t, "<b>moved</b>"))) {
		t.Errorf("the answer is %+v", r)
	}
	bytes := entries[1]
	if p := bytes.Request.PostData; p == nil || p.Encoding != "base64" || p.Text != base64.StdEncoding.EncodeToString([]byte("\x00\xff")) {
		t.Errorf("bytes are posted as %+v", p)
	}
	if c := bytes.Response.Content; c.Encoding != "base64" || c.Text != base64.StdEncoding.EncodeToString([]byte("\x89PNG\x00")) {
		t.Errorf("bytes are answered as %+v", c)
	}
	if e := entries[2]; e.Response.Status != 0 || e.Request.PostData != nil {
		t.Errorf("without an answer it is %+v", e)
	}
}

// The schema that others check HAR files with finds nothing wrong.
func TestHARIsValid(t *testing.T) {
	dir, err := filepath.Abs("testdata/judge")
	if err != nil {
		t.Fatal(err)
	}
	npmtest.Install(t, dir)
	schema := harSchema(t, filepath.Join(dir, "node_modules", "har-schema", "lib"))

	s := &source{Recorder: capture.New(capture.Options{Now: noon, BodyLimit: 1000})}
	record(t, s.Recorder, exchange{target: "/a?b=c", header: fields("Cookie", "a=b"), answer: "hello", answerHeader: fields("Set-Cookie", "a=b")})
	record(t, s.Recorder, exchange{method: "POST", body: strings.Repeat("x", 1001), answer: "\xff", status: 599})
	record(t, s.Recorder, exchange{mute: true})
	record(t, s.Recorder, exchange{open: true, answer: "never ends"})
	hostile(t, s.Recorder)
	a := newAPI(t, s)
	for _, query := range []string{"", "&reveal=1"} {
		var doc any
		if err := json.Unmarshal([]byte(a.text("/api/v1/requests/export?format=har"+query)), &doc); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%q: %v", query, err)
		}
		// The schema can say no.
		log, _ := doc.(map[string]any)["log"].(map[string]any)
		entries, _ := log["entries"].([]any)
		delete(entries[0].(map[string]any), "timings") //nolint:forcetypeassert // it was valid
		if schema.Validate(doc) == nil {
			t.Error("an entry without timings is valid: the schema judges nothing")
		}
	}
}

func harSchema(t *testing.T, dir string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no schema in %s: %v", dir, err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		delete(doc.(map[string]any), "$id") //nolint:forcetypeassert // the names of the files are the same
		if err := c.AddResource("http://har.test/"+filepath.Base(file), doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("http://har.test/har.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestHAROfATruncatedBody(t *testing.T) {
	s := &source{Recorder: capture.New(capture.Options{Now: noon, BodyLimit: 4})}
	id := record(t, s.Recorder, exchange{method: "POST", body: "12345", answer: "12345"})
	var got archive
	if err := json.Unmarshal([]byte(newAPI(t, s).text("/api/v1/requests/"+id+"/export?format=har")), &got); err != nil {
		t.Fatal(err)
	}
	e := got.Log.Entries[0]
	const cut = "Only the beginning was kept."
	if p := e.Request.PostData; p.Text != "1234" || p.Comment != cut || e.Request.BodySize != 5 {
		t.Errorf("request: %+v of %d", p, e.Request.BodySize)
	}
	if c := e.Response.Content; c.Text != "1234" || c.Comment != cut || e.Response.BodySize != 5 {
		t.Errorf("response: %+v of %d", c, e.Response.BodySize)
	}
}

func TestHARIsAFile(t *testing.T) {
	w := newAPI(t, newSource()).call(http.MethodGet, "/api/v1/requests/export?format=har", "")
	if w.Header().Get("Content-Disposition") != `attachment; filename="requests.har"` || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%v", w.Header())
	}
}
