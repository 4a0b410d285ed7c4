package inspector_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

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
