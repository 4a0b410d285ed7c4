package inspector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
	"github.com/relaytunnel/relay/internal/npmtest"
	"github.com/relaytunnel/relay/internal/relay"
)

// node is an object of the document.
type node = map[string]any

func document(t *testing.T) node {
	t.Helper()
	var doc node
	if err := json.Unmarshal(inspector.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// under is what stands at a place in the document; nil is nothing.
func under(n node, names ...string) node {
	for _, name := range names {
		n, _ = n[name].(node)
	}
	return n
}

func TestDocumentHasEachRoute(t *testing.T) {
	var described []string
	ids := map[string]bool{}
	for path, of := range under(document(t), "paths") {
		for method := range of.(node) { //nolint:forcetypeassert // a document without that is broken anyhow
			described = append(described, strings.ToUpper(method)+" "+path)
			id, _ := under(of.(node), method)["operationId"].(string) //nolint:forcetypeassert // as above
			if id == "" || ids[id] {
				t.Errorf("%s %s has the operationId %q", method, path, id)
			}
			ids[id] = true
		}
	}
	routes := inspector.Routes()
	slices.Sort(described)
	slices.Sort(routes)
	equal(t, "described, against routes", described, routes)
}

func TestDocumentIsServed(t *testing.T) {
	a := newAPI(t, newSource())
	w := a.call(http.MethodGet, "/api/v1/openapi.json", "")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" || !bytes.Equal(w.Body.Bytes(), inspector.OpenAPI()) {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	inspector.OpenAPI()[0] = 'x'
	if inspector.OpenAPI()[0] != '{' {
		t.Error("who gets the document can change that of others")
	}
}

// The schema of OpenAPI itself has nothing against it.
func TestDocumentIsOpenAPI(t *testing.T) {
	dir, err := filepath.Abs("testdata/judge")
	if err != nil {
		t.Fatal(err)
	}
	npmtest.Install(t, dir)
	f, err := os.Open(filepath.Join(dir, "node_modules", "@apidevtools", "openapi-schemas", "schemas", "v3.1", "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	schema, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("http://openapi.test/schema.json", schema); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("http://openapi.test/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc := document(t)
	if err := s.Validate(doc); err != nil {
		t.Error(err)
	}
	delete(under(doc, "info"), "title")
	if s.Validate(doc) == nil {
		t.Error("a document without a title is valid: the schema judges nothing")
	}
}

// everything is an exchange in which nothing is left out.
func everything() *capture.Exchange {
	head := capture.Header(fields("Content-Type", "application/json", "Authorization", "Bearer one"))
	body := capture.Body{Size: 20, Kept: []byte(`{"password":1}`), Truncated: true, Type: "application/json", Encoding: "identity"}
	return &capture.Exchange{
		ID: "req_1", RequestID: "req_1", Seq: 3, State: capture.Failed, Began: noon(), FirstByte: 1e6, Duration: 2e6, Visitor: "192.0.2.7",
		Upstream: "127.0.0.1:3000", Endpoint: "hooks", EventID: "evt_1", Verified: "bad_signature", Replay: true, ReplayOf: "req_0", Error: "cut off",
		Request:  capture.Request{Method: "POST", Target: "/a", Host: "alice.relay.test", Scheme: "https", Header: head, Trailer: head, Body: body},
		Response: &capture.Response{Status: 500, Header: head, Trailer: head, Body: capture.Body{Size: 1, Kept: []byte{0xff}, Type: "image/png"}},
		Frames: []capture.Frame{{
			N: 1, At: 1e6, From: capture.FromApp, Kind: "event", Size: 4, Text: `{"password":1}`, Base64: "AA==", Truncated: true, Compressed: true, Name: "n", EventID: "1",
		}},
		FramesDropped: 1, FramesNote: "too long",
	}
}

// fixed has two exchanges, and says that there are more.
type fixed struct {
	*source
	more bool
}

func (f *fixed) all() []*capture.Exchange {
	small := &capture.Exchange{ID: "req_2", State: capture.Done, Began: noon(), Request: capture.Request{Method: "GET", Target: "/", Scheme: "http"}}
	return []*capture.Exchange{everything(), small}
}

func (f *fixed) List(context.Context, capture.Query) ([]*capture.Exchange, bool, error) {
	return f.all(), f.more, nil
}

func (f *fixed) Get(_ context.Context, id string) (*capture.Exchange, bool, error) {
	for _, x := range f.all() {
		if x.ID == id {
			return x, true, nil
		}
	}
	return nil, false, nil
}

func (f *fixed) Next(ctx context.Context, after uint64) (capture.Changes, error) {
	if after > 1 {
		<-ctx.Done()
		return capture.Changes{}, ctx.Err()
	}
	return capture.Changes{Version: after + 1, Changed: f.all(), Oldest: 1, Stats: capture.Stats{Kept: 2}}, nil
}

// Each call answers as it is described: status, type, and every field of it; and what is
// described does occur.
func TestAnswersAreAsDescribed(t *testing.T) {
	s := &fixed{source: newSource()}
	s.targets = []capture.Target{{ID: "hooks", Name: "hooks"}}
	s.answer = func(_ context.Context, a capture.Again) (string, error) {
		switch a.To {
		case "offline":
			return "", relay.ErrOffline
		case "slow":
			return "", context.DeadlineExceeded
		case "nobody":
			return "", relay.ErrNotFound
		case "broken":
			return "", fmt.Errorf("disk")
		}
		return "req_3", nil
	}
	a := newAPI(t, s, ".password")
	d := &described{t: t, doc: document(t), statuses: map[string]bool{}, params: map[string]bool{}, fields: map[string]bool{}}
	const one = "/api/v1/requests/{id}"
	for _, c := range []struct {
		method, path string // as in the document
		id, query    string
		body         string
		want         int
	}{
		{"get", "/api/v1/requests", "", "filter=path:/&limit=2&before=9", "", 200},
		{"get", "/api/v1/requests", "", "filter=status:x", "", 422},
		{"get", "/api/v1/requests/export", "", "format=har&filter=", "", 200},
		{"get", "/api/v1/requests/export", "", "format=json&reveal=1", "", 200},
		{"get", "/api/v1/requests/export", "", "format=fixture&id=req_1&id=req_2", "", 200},
		{"get", "/api/v1/requests/export", "", "format=har&id=nobody", "", 404},
		{"get", "/api/v1/requests/export", "", "format=x", "", 422},
		{"post", "/api/v1/requests/replay", "", "", `{"filter":"","dry_run":true}`, 200},
		{"post", "/api/v1/requests/replay", "", "", `{"ids":["req_2"],"to":"broken","sign":true}`, 200},
		{"post", "/api/v1/requests/replay", "", "", `{"ids":["nobody"]}`, 404},
		{"post", "/api/v1/requests/replay", "", "", `{"ids":["req_2"],"to":"offline"}`, 409},
		{"post", "/api/v1/requests/replay", "", "", `{}`, 422},
		{"get", one, "req_1", "reveal=0", "", 200},
		{"get", one, "req_2", "", "", 200},
		{"get", one, "nobody", "", "", 404},
		{"get", one + "/request-body", "req_1", "decode=1&reveal=1", "", 200},
		{"get", one + "/request-body", "nobody", "", "", 404},
		{"get", one + "/response-body", "req_1", "decode=1&reveal=1", "", 200},
		{"get", one + "/response-body", "req_2", "", "", 404},
		{"get", one + "/diff", "req_1", "with=req_2&reveal=1", "", 200},
		{"get", one + "/diff", "req_1", "with=nobody", "", 404},
		{"get", one + "/diff", "req_1", "", "", 422},
		{"get", one + "/export", "req_2", "format=curl&reveal=1", "", 200},
		{"get", one + "/export", "req_1", "format=har", "", 200},
		{"get", one + "/export", "req_1", "format=json", "", 200},
		{"get", one + "/export", "req_1", "format=fixture", "", 200},
		{"get", one + "/export", "nobody", "format=json", "", 404},
		{"get", one + "/export", "req_1", "format=curl", "", 409},
		{"get", one + "/export", "req_1", "format=x", "", 422},
		{"post", one + "/replay", "req_2", "", ``, 200},
		{"post", one + "/replay", "req_2", "", `{"method":"PUT","path":"/","headers":[{"name":"A","value":"b"}],"body":"","to":"","sign":false}`, 200},
		{"post", one + "/replay", "req_2", "", `{"body_base64":"AA=="}`, 200},
		{"post", one + "/replay", "req_2", "", `{"to":"nobody"}`, 404},
		{"post", one + "/replay", "req_2", "", `{"to":"offline"}`, 409},
		{"post", one + "/replay", "req_1", "", `{}`, 422},
		{"post", one + "/replay", "req_2", "", `{"to":"slow"}`, 504},
		{"post", one + "/replay", "req_2", "", `{"to":"broken"}`, 500},
		{"get", "/api/v1/targets", "", "", "", 200},
		{"get", "/api/v1/session", "", "", "", 200},
		{"get", "/api/v1/openapi.json", "", "", "", 200},
	} {
		s.more = c.path == "/api/v1/requests"
		target := strings.ReplaceAll(c.path, "{id}", c.id)
		if c.query != "" {
			target += "?" + c.query
		}
		what := c.method + " " + target + " " + c.body
		w := a.call(strings.ToUpper(c.method), target, c.body)
		if w.Code != c.want {
			t.Errorf("%s: %d %s, want %d", what, w.Code, w.Body, c.want)
			continue
		}
		d.request(what, c.method, c.path, c.query, c.body, c.want != 422)
		d.answer(what, c.method, c.path, w.Result())
	}
	d.stream(a)
	d.complete()
}
