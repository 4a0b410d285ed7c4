package inspector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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

// described holds answers to the document.
type described struct {
	t        *testing.T
	doc      node
	statuses map[string]bool // that occurred, as "get /path 200"
	params   map[string]bool // that were given, as "get /path limit"
	fields   map[string]bool // that were seen
}

// resolve follows a reference.
func (d *described) resolve(n node) node {
	if to, ok := n["$ref"].(string); ok {
		return under(d.doc, strings.Split(strings.TrimPrefix(to, "#/"), "/")...)
	}
	return n
}

// schema compiles one of the document, so that it refuses what it does not name.
func (d *described) schema(s node) *jsonschema.Schema {
	d.t.Helper()
	whole := maps.Clone(d.strict(s).(node)) //nolint:forcetypeassert // a node stays one
	whole["components"] = d.strict(d.doc["components"])
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	if err := c.AddResource("http://relay.test/schema.json", whole); err != nil {
		d.t.Fatal(err)
	}
	compiled, err := c.Compile("http://relay.test/schema.json")
	if err != nil {
		d.t.Fatal(err)
	}
	return compiled
}

// strict makes a copy in which objects have no properties but those that are named.
// What is composed becomes one object.
func (d *described) strict(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = d.strict(v[i])
		}
		return out
	case node:
		if all, ok := v["allOf"].([]any); ok {
			v = d.merged(all)
		}
		out := node{}
		for name, of := range v {
			out[name] = d.strict(of)
		}
		if _, ok := v["properties"].(node); ok && v["type"] == "object" && v["description"] != "HAR 1.2" {
			out["additionalProperties"] = false
		}
		return out
	}
	return v
}

func (d *described) merged(all []any) node {
	out := node{"type": "object", "properties": node{}, "required": []any{}}
	for _, one := range all {
		of := d.resolve(one.(node)) //nolint:forcetypeassert // a document without that is broken anyhow
		maps.Copy(under(out, "properties"), under(of, "properties"))
		required, _ := of["required"].([]any)
		out["required"] = append(out["required"].([]any), required...) //nolint:forcetypeassert // made above
	}
	return out
}

// request holds what was asked to the document.
func (d *described) request(what, method, path, query, body string, valid bool) {
	d.t.Helper()
	op := under(d.doc, "paths", path, method)
	names := map[string]bool{}
	list, _ := op["parameters"].([]any)
	for _, p := range list {
		p := d.resolve(p.(node)) //nolint:forcetypeassert // as above
		names[p["name"].(string)] = true
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		d.t.Fatal(err)
	}
	for name := range values {
		if !names[name] {
			d.t.Errorf("%s: the parameter %s is not described", what, name)
		}
		d.params[method+" "+path+" "+name] = true
	}
	if body == "" || !valid {
		return
	}
	var in any
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		d.t.Fatal(err)
	}
	if err := d.schema(under(op, "requestBody", "content", "application/json", "schema")).Validate(in); err != nil {
		d.t.Errorf("%s: what is sent: %v", what, err)
	}
}

// answer holds what was answered to the document.
func (d *described) answer(what, method, path string, res *http.Response) {
	d.t.Helper()
	responses := under(d.doc, "paths", path, method, "responses")
	status := strconv.Itoa(res.StatusCode)
	d.statuses[method+" "+path+" "+status] = true
	if responses[status] == nil && res.StatusCode == http.StatusInternalServerError {
		status = "default"
	}
	response := d.resolve(under(responses, status))
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	media := under(response, "content", kind)
	if media == nil {
		d.t.Errorf("%s: %s with the type %q is not described", what, status, kind)
		return
	}
	for name := range res.Header {
		own := strings.HasPrefix(name, "Relay-") || name == "Content-Disposition"
		if own && under(response, "headers", name) == nil {
			d.t.Errorf("%s: the header %s is not described", what, name)
		}
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	v, err := jsonschema.UnmarshalJSON(res.Body)
	if err != nil {
		d.t.Errorf("%s: %v", what, err)
		return
	}
	d.valid(what, under(media, "schema"), v)
}

func (d *described) valid(what string, schema node, v any) {
	d.t.Helper()
	if err := d.schema(schema).Validate(v); err != nil {
		d.t.Errorf("%s: %v", what, err)
	}
	if schema["type"] != "object" || schema["properties"] != nil { // the document itself tells nothing
		d.see(v)
	}
}

// see notes which fields there are.
func (d *described) see(v any) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			d.see(one)
		}
	case node:
		for name, of := range v {
			d.fields[name] = true
			d.see(of)
		}
	}
}

// stream looks at the two events that come first.
func (d *described) stream(a api) {
	d.t.Helper()
	const path = "/api/v1/requests/stream"
	ctx, cancel := context.WithTimeout(d.t.Context(), 200*time.Millisecond)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, path+"?filter=", nil)
	r.Host = "127.0.0.1:4040"
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	events := 0
	for line := range strings.Lines(w.Body.String()) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		events++
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(data))
		if err != nil {
			d.t.Fatal(err)
		}
		d.valid("an event of the stream", node{"$ref": "#/components/schemas/StreamEvent"}, v)
	}
	if events != 2 {
		d.t.Errorf("the stream has %d events: %s", events, w.Body)
	}
	d.params["get "+path+" filter"] = true
	d.params["get "+path+" Last-Event-ID"] = true // the tests of the stream send it
	d.answer("the stream", "get", path, w.Result())
	bad := a.call(http.MethodGet, path+"?filter=status:x", "")
	d.answer("the stream", "get", path, bad.Result())
}

// complete tells what is described and did not occur.
func (d *described) complete() {
	d.t.Helper()
	for path, methods := range under(d.doc, "paths") {
		for method := range methods.(node) { //nolint:forcetypeassert // as above
			op := under(d.doc, "paths", path, method)
			for status := range under(op, "responses") {
				if status != "default" && !d.statuses[method+" "+path+" "+status] {
					d.t.Errorf("%s %s is described to answer %s, and never did", method, path, status)
				}
			}
			list, _ := op["parameters"].([]any)
			for _, p := range list {
				p := d.resolve(p.(node)) //nolint:forcetypeassert // as above
				if name := p["name"].(string); name != "id" && !d.params[method+" "+path+" "+name] {
					d.t.Errorf("%s %s is described to take %s, and was never given it", method, path, name)
				}
			}
		}
	}
	for name, of := range under(d.doc, "components", "schemas") {
		if name == "Edit" || name == "Bulk" { // these are sent
			continue
		}
		for field := range under(of.(node), "properties") { //nolint:forcetypeassert // as above
			if !d.fields[field] {
				d.t.Errorf("%s is described to have %s, and never had", name, field)
			}
		}
	}
}
