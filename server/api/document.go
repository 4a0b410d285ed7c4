package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// document serves this API's OpenAPI document with that of Options.Requests in it, which
// describes itself.
func (a *api) document() (http.Handler, error) {
	own, err := json.Marshal(a.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("write the API's document: %w", err)
	}
	text, err := join(own, a.o.RequestsDoc)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		_, _ = w.Write(text)
	}), nil
}

// openAPI is as much of a document as joining needs.
type openAPI map[string]json.RawMessage

// join adds to a document the paths of another one that it does not have. The components
// of the other get names of their own.
func join(own, other []byte) ([]byte, error) {
	if len(other) == 0 {
		return own, nil
	}
	for _, kind := range []string{"schemas", "responses", "parameters"} {
		ref := "#/components/" + kind + "/"
		other = bytes.ReplaceAll(other, []byte(`"`+ref), []byte(`"`+ref+"requests."))
	}
	var docs [2]openAPI
	var paths [2]openAPI
	var components [2]map[string]openAPI
	for i, text := range [][]byte{own, other} {
		if err := json.Unmarshal(text, &docs[i]); err != nil {
			return nil, fmt.Errorf("read an API's document: %w", err)
		}
		if err := json.Unmarshal(docs[i]["paths"], &paths[i]); err != nil {
			return nil, fmt.Errorf("read the paths of an API's document: %w", err)
		}
		if err := json.Unmarshal(docs[i]["components"], &components[i]); err != nil {
			return nil, fmt.Errorf("read the components of an API's document: %w", err)
		}
	}
	for path, item := range paths[1] {
		if _, has := paths[0][path]; !has && path != Prefix+"/openapi.json" {
			paths[0][path] = item
		}
	}
	for kind, all := range components[1] {
		if components[0][kind] == nil {
			components[0][kind] = openAPI{}
		}
		for name, c := range all {
			components[0][kind]["requests."+name] = c
		}
	}
	var err error
	if docs[0]["paths"], err = json.Marshal(paths[0]); err != nil {
		return nil, err
	}
	if docs[0]["components"], err = json.Marshal(components[0]); err != nil {
		return nil, err
	}
	return json.Marshal(docs[0])
}
