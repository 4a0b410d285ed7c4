package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/api"
)

// open serves the API with a token for alice (an admin), bob, and some that fail.
func open(t *testing.T, o api.Options) *httptest.Server {
	t.Helper()
	o.Authenticate = func(_ context.Context, token string, _ netip.Addr) (relay.User, relay.Token, error) {
		switch token {
		case "alice", "bob":
			return relay.User{ID: "usr_" + token, Name: token, Admin: token == "alice"}, relay.Token{Name: "laptop"}, nil
		case "slow":
			return relay.User{}, relay.Token{}, relay.ErrLimit
		case "broken":
			return relay.User{}, relay.Token{}, errors.New("the disk is on fire")
		}
		return relay.User{}, relay.Token{}, relay.ErrDenied
	}
	o.ClientAddr = func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") }
	if o.Info == nil {
		o.Info = func() api.Info { return api.Info{Domain: "relay.test", URL: "https://relay.test"} }
	}
	srv := httptest.NewServer(api.New(o))
	t.Cleanup(srv.Close)
	return srv
}

func call(t *testing.T, srv *httptest.Server, method, path, token, in string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+"/api/v1"+path, strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if in != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

func TestWhoMayCall(t *testing.T) {
	srv := open(t, api.Options{Status: func(context.Context) api.Status { return api.Status{Sessions: 3} }})
	for _, c := range []struct {
		path, token string
		status      int
		says        string
	}{
		{"/me", "alice", 200, `"user":"alice","admin":true,"token":"laptop","domain":"relay.test","url":"https://relay.test"`},
		{"/me", "", 401, `"code":"auth"`},
		{"/me", "nonsense", 401, `"code":"auth"`},
		{"/me", "slow", 429, `"code":"limit"`},
		{"/me", "broken", 500, `"code":"internal"`},
		{"/status", "alice", 200, `"sessions":3,"certificates":[]`},
		{"/status", "bob", 403, `"code":"denied"`},
		{"/nothing", "alice", 404, ""},
	} {
		status, h, body := call(t, srv, "GET", c.path, c.token, "")
		if status != c.status || !strings.Contains(body, c.says) || strings.Contains(body, "fire") {
			t.Errorf("%s as %q: %d %s, want %d with %s", c.path, c.token, status, body, c.status, c.says)
		}
		if status >= 400 && c.says != "" && !strings.HasPrefix(h.Get("Content-Type"), "application/problem+json") {
			t.Errorf("%s as %q: Content-Type %s", c.path, c.token, h.Get("Content-Type"))
		}
		if c.says != "" && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s as %q may be kept", c.path, c.token)
		}
		if status == 429 && h.Get("Retry-After") == "" {
			t.Errorf("%s as %q: no Retry-After", c.path, c.token)
		}
	}
}

// Every route but the document itself wants a token: deny by default.
func TestTheDocumentTellsOfEveryRoute(t *testing.T) {
	srv := open(t, api.Options{Status: func(context.Context) api.Status { return api.Status{} }, Domains: &api.Domains{}, Version: "v1.2.3"})
	status, _, text := call(t, srv, "GET", "/openapi.json", "", "")
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || status != 200 {
		t.Fatalf("%d, %v: %s", status, err, text)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Version != "v1.2.3" || len(doc.Paths) < 2 {
		t.Errorf("OpenAPI %s, version %s, %d paths", doc.OpenAPI, doc.Info.Version, len(doc.Paths))
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			path := strings.NewReplacer("{", "", "}", "").Replace(strings.TrimPrefix(path, "/api/v1"))
			if status, _, body := call(t, srv, strings.ToUpper(method), path, "", ""); status != 401 {
				t.Errorf("%s %s without a token: %d %s", method, path, status, body)
			}
		}
	}
}

func TestDomains(t *testing.T) {
	known := map[string]api.Domain{}
	srv := open(t, api.Options{Domains: &api.Domains{
		Add: func(_ context.Context, u relay.User, host, name string) (api.Domain, error) {
			if host == "taken.test" {
				return api.Domain{}, fmt.Errorf("%w: somebody has it", relay.ErrTaken)
			}
			known[host] = api.Domain{Host: host, Name: name, State: "pending", CNAME: []api.Record{{Type: "CNAME", Name: host, Value: u.Name + ".relay.test"}}}
			return known[host], nil
		},
		Verify: func(_ context.Context, _ relay.User, host string) (api.Domain, error) { return known[host], nil },
		List: func(context.Context, relay.User) ([]api.Domain, error) {
			return slices.Collect(maps.Values(known)), nil
		},
		Remove: func(_ context.Context, _ relay.User, host string) error {
			if _, ok := known[host]; !ok {
				return fmt.Errorf("%w: you have no domain %s", relay.ErrNotFound, host)
			}
			delete(known, host)
			return nil
		},
	}})
	for _, c := range []struct {
		method, path, in string
		status           int
		says             string
	}{
		{"GET", "/domains", "", 200, `{"items":[]}`},
		{"POST", "/domains", `{"host":"a.test","name":"api"}`, 200, `"cname":[{"type":"CNAME","name":"a.test","value":"alice.relay.test"}]`},
		{"POST", "/domains", `{"host":"taken.test"}`, 409, `"code":"taken"`},
		{"POST", "/domains", `{"name":"api"}`, 422, `host`},
		{"POST", "/domains", `{"host":"a.test","nonsense":1}`, 422, `nonsense`},
		{"POST", "/domains", `rubbish`, 400, ``},
		{"POST", "/domains/a.test/verify", "", 200, `"state":"pending"`},
		{"GET", "/domains", "", 200, `"host":"a.test"`},
		{"DELETE", "/domains/a.test", "", 204, ""},
		{"DELETE", "/domains/a.test", "", 404, `"code":"not_found"`},
	} {
		if status, _, body := call(t, srv, c.method, c.path, "alice", c.in); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s %s: %d %s, want %d with %s", c.method, c.path, c.in, status, body, c.status, c.says)
		}
	}
}
