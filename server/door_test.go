package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/relaytest"
)

// The door stands before the app and before the inbox, and works from one request to
// the next.
func TestDoor(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	alice := caller{t, w, "alice"}
	a := w.Agent(t, client.Options{}, client.Spec{Name: "api"}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RequestURI+" "+r.Header.Get("X-Token"))
	}))
	a.Online(t, 1)
	set := func(settings, secrets string) {
		t.Helper()
		alice.must("PATCH", "/endpoints/api", `{"settings":`+settings+`,"secrets":`+secrets+`}`, nil)
	}
	ask := func(target, body string, header ...string) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL()+target, io.MultiReader(strings.NewReader(body))) // of a length that is not known
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := w.Client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text), res.Header
	}
	want := func(what string, status int, code string, target, body string, header ...string) string {
		t.Helper()
		got, text, h := ask(target, body, header...)
		if got != status || h.Get("Relay-Error") != code {
			t.Errorf("%s: %d %q %s, want %d %q", what, got, h.Get("Relay-Error"), text, status, code)
		}
		if status == http.StatusTooManyRequests && h.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", what)
		}
		return text
	}
	alice.must("POST", "/endpoints", `{"name":"api"}`, nil)
	want("no door", 200, "", "/", "x")
	set(`{"door":{"deny_ip":["127.0.0.0/8"]}}`, `{}`)
	want("a denied address", 403, "ip_denied", "/", "x")
	want("a denied address that says it is another", 403, "ip_denied", "/", "x", "X-Forwarded-For", "203.0.113.9")
	set(`{"door":{"deny_ip":[],"allow_ip":["127.0.0.1"],"require_token":["header:X-Token","query:token"],"strip":true}}`, `{"door":{"header:X-Token":["geheim"],"query:token":["geheim"]}}`)
	want("no token", 401, "token_required", "/", "x")
	want("a wrong token", 401, "token_required", "/", "x", "X-Token", "geheimer")
	if got := want("a token in a header", 200, "", "/a?b=c", "x", "X-Token", "geheim"); got != "/a?b=c " {
		t.Errorf("the app saw %q", got)
	}
	if got := want("a token in the query", 200, "", "/a?b=c&token=geheim&d=%20", "x"); got != "/a?b=c&d=%20 " {
		t.Errorf("the app saw %q", got)
	}
	set(`{"door":{"require_token":[],"strip":false,"max_body":10}}`, `{"door":null}`)
	want("a body that is short enough", 200, "", "/", "0123456789")
	want("a body that is too long", 413, "body_too_large", "/", "0123456789x")
	set(`{"inbox":"always","door":{"rate":"2/h","burst":2}}`, `{}`)
	want("the first", 202, "", "/", "x")
	want("the second", 202, "", "/", "x")
	want("one too many", 429, "rate_limited", "/", "x")
	if status, body := alice.call("PATCH", "/endpoints/api", `{"settings":{"door":{"allow_ip":["nonsense"]}}}`); status != 422 {
		t.Errorf("a door that cannot be: %d %s", status, body)
	}

	// It is there after a restart.
	w.Stop(t)
	w.Restart(t)
	want("after a restart, the first", 202, "", "/", "x")
	want("after a restart, the second", 202, "", "/", "x")
	want("after a restart, one too many", 429, "rate_limited", "/", "x")
	var shown json.RawMessage
	alice.must("GET", "/endpoints/api", "", &shown)
	if strings.Contains(string(shown), "geheim") {
		t.Errorf("the API tells a token: %s", shown)
	}
}
