package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/relaytest"
	"github.com/relaytunnel/relay/protocol"
)

// callAs calls the API with a token.
func callAs(t *testing.T, w *relaytest.World, token, method, path, in string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.URL+"/api/v1"+path, strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if in != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := w.Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

func newToken(t *testing.T, c caller, in string) (id, secret string) {
	t.Helper()
	var made struct{ ID, Token string }
	c.must("POST", "/tokens", in, &made)
	return made.ID, made.Token
}

// refused starts an agent and expects that the server says no.
func refused(t *testing.T, w *relaytest.World, token string, s client.Spec, code protocol.Code, says string) {
	t.Helper()
	a := w.Agent(t, client.Options{Token: token}, s, http.NotFoundHandler())
	var e *protocol.Error
	if err := a.Wait(t); !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, says) {
		t.Errorf("%+v: %v, want %s, %q", s, err, code, says)
	}
}

func TestAdminsKeepUsers(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Users: []string{"root1", "bob"}})
	admin, bob := caller{t, w, "root1"}, caller{t, w, "bob"}
	for _, c := range []struct {
		method, path, in string
		status           int
		says             string
	}{
		{"POST", "/users", `{"name":"carol","rights":{"names":["shop","*-shop"],"endpoints":2}}`, 200, `"names":["shop","*-shop"]`},
		{"POST", "/users", `{"name":"carol"}`, 409, "taken"},
		{"POST", "/users", `{"name":"Carol"}`, 422, "upper-case"},
		{"POST", "/users", `{"name":"www"}`, 422, "www"},
		{"POST", "/users", `{"name":"b0b"}`, 409, "looks like bob"},
		{"POST", "/users", `{"name":"adm1n"}`, 422, "adm1n"},
		{"POST", "/users", `{"name":"dave","rights":{"names":["a.b"]}}`, 422, "pattern"},
		{"POST", "/users", `{"name":"dave","role":"king"}`, 422, "role"},
		{"GET", "/users/carol", "", 200, `"role":"user"`},
		{"GET", "/users/nobody", "", 404, "nobody"},
		{"PATCH", "/users/carol", `{"role":"admin"}`, 200, `"role":"admin"`},
		{"PATCH", "/users/carol", `{"role":"user"}`, 200, `"role":"user"`},
		{"PATCH", "/users/root1", `{"role":"user"}`, 403, "last admin"},
		{"DELETE", "/users/root1", "", 403, "last admin"},
		{"GET", "/users", "", 200, `"name":"carol"`},
	} {
		status, body := admin.call(c.method, c.path, c.in)
		if status != c.status && (status != 201 || c.status != 200) || !strings.Contains(body, c.says) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.in, status, body)
		}
		if status, body := bob.call(c.method, c.path, c.in); status != 403 && status != 422 {
			t.Errorf("bob may %s %s: %d %s", c.method, c.path, status, body)
		}
	}
	var made struct{ Token string }
	admin.must("POST", "/users/carol/tokens", `{"name":"laptop"}`, &made)

	// The rights say which names, and how many.
	a := w.Agent(t, client.Options{Token: made.Token}, client.Spec{Name: "shop"}, http.NotFoundHandler())
	if o := a.Online(t, 1); o.Name != "shop" {
		t.Errorf("carol has %s", o.Name)
	}
	refused(t, w, made.Token, client.Spec{Name: "other"}, protocol.CodeDenied, "You may take the names shop, *-shop")
	w.Agent(t, client.Options{Token: made.Token}, client.Spec{Name: "a-shop"}, http.NotFoundHandler()).Online(t, 1)
	refused(t, w, made.Token, client.Spec{Name: "b-shop"}, protocol.CodeLimit, "2 are the most")

	// Who is disabled is out at once, and stays out.
	admin.must("PATCH", "/users/carol", `{"disabled":true}`, nil)
	var e *protocol.Error
	if err := a.Wait(t); !errors.As(err, &e) || !strings.Contains(e.Message, "disabled") {
		t.Errorf("the agent ended with %v", err)
	}
	if status, body := callAs(t, w, made.Token, "GET", "/me", ""); status != 401 {
		t.Errorf("disabled: %d %s", status, body)
	}
	admin.must("PATCH", "/users/carol", `{"disabled":false}`, nil)
	if status, body := callAs(t, w, made.Token, "GET", "/me", ""); status != 200 {
		t.Errorf("enabled again: %d %s", status, body)
	}
	admin.must("DELETE", "/users/carol", "", nil)
	if status, body := callAs(t, w, made.Token, "GET", "/me", ""); status != 401 {
		t.Errorf("removed: %d %s", status, body)
	}
	admin.must("POST", "/users", `{"name":"shop"}`, nil)
	var names struct{ Items []struct{ Name string } }
	admin.must("POST", "/users/shop/tokens", `{"name":"x"}`, &made)
	if _, body := callAs(t, w, made.Token, "GET", "/endpoints", ""); json.Unmarshal([]byte(body), &names) != nil || len(names.Items) != 1 || names.Items[0].Name != "shop" {
		t.Errorf("the name of a removed user is not free: %s", body)
	}
}

func TestTokensHaveScopes(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Users: []string{"alice", "bob"}})
	alice := caller{t, w, "alice"}
	alice.must("POST", "/endpoints", `{"name":"pr-1","settings":{"inbox":"always"}}`, nil)
	alice.must("POST", "/endpoints", `{"name":"other","settings":{"inbox":"always"}}`, nil)
	for _, name := range []string{"pr-1", "other"} {
		send(t, w, strings.Replace(w.URL, "://", "://"+name+"-alice.", 1), `{}`)
	}
	_, tunnel := newToken(t, alice, `{"name":"t","scopes":["tunnel"]}`)
	_, read := newToken(t, alice, `{"name":"r","scopes":["events:read"],"endpoints":["pr-*"]}`)
	_, maker := newToken(t, alice, `{"name":"m","scopes":["tokens","events:read"]}`)
	_, pr := newToken(t, alice, `{"name":"pr","scopes":["tunnel","endpoints"],"endpoints":["pr-*"]}`)
	for _, c := range []struct {
		what, token, method, path, in string
		status                        int
		says                          string
	}{
		{"tunnel", tunnel, "GET", "/me", "", 200, "alice"},
		{"tunnel", tunnel, "GET", "/events", "", 403, "events:read"},
		{"tunnel", tunnel, "GET", "/requests", "", 403, "events:read"},
		{"tunnel", tunnel, "POST", "/tokens", `{"name":"x"}`, 403, "tokens"},
		{"tunnel", tunnel, "GET", "/users", "", 403, "admin"},
		{"tunnel", tunnel, "GET", "/status", "", 403, "admin"},
		{"tunnel", tunnel, "POST", "/endpoints", `{"name":"x"}`, 403, "endpoints"},
		{"read", read, "GET", "/events", "", 200, `"endpoint":"pr-1-alice"`},
		{"read", read, "GET", "/events?endpoint=other", "", 403, "pr-*"},
		{"read", read, "POST", "/events/purge", `{"filter":{}}`, 403, "events:write"},
		{"read", read, "GET", "/endpoints/other", "", 403, "pr-*"},
		{"maker", maker, "POST", "/tokens", `{"name":"x","scopes":["tunnel"]}`, 403, "no scope tunnel"},
		{"maker", maker, "POST", "/tokens", `{"name":"x"}`, 403, "has scopes"},
		{"maker", maker, "POST", "/tokens", `{"name":"x","scopes":["events:read"]}`, 200, `"token":"rly_`},
		{"maker", maker, "POST", "/tokens", `{"name":"x","scopes":["events:none"]}`, 422, "known are"},
		{"maker", maker, "POST", "/tokens", `{"name":"x","scopes":["tokens"],"endpoints":["a.b"]}`, 422, "pattern"},
		{"pr", pr, "PATCH", "/endpoints/other", `{"settings":{"inbox":"off"}}`, 403, "pr-*"},
		{"pr", pr, "POST", "/endpoints", `{"name":"pr-2"}`, 200, "pr-2-alice"},
		{"pr", pr, "GET", "/endpoints", "", 200, "pr-1-alice"},
	} {
		status, body := callAs(t, w, c.token, c.method, c.path, c.in)
		if status != c.status && (status != 201 || c.status != 200) || !strings.Contains(body, c.says) {
			t.Errorf("%s %s %s: %d %s", c.what, c.method, c.path, status, body)
		}
		if c.status == 200 && (c.what == "read" || c.what == "pr") && strings.Contains(body, "other-alice") {
			t.Errorf("%s %s %s: it tells of what the token is not for: %s", c.what, c.method, c.path, body)
		}
	}
	refused(t, w, read, client.Spec{Name: "pr-1"}, protocol.CodeDenied, "no scope tunnel")
	refused(t, w, pr, client.Spec{Name: "other"}, protocol.CodeDenied, "Your token is for the names pr-*")
	w.Agent(t, client.Options{Token: pr}, client.Spec{Name: "pr-1"}, http.NotFoundHandler()).Online(t, 1)
}

func TestARevokedTokenCutsItsAgents(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	alice := caller{t, w, "alice"}
	id, secret := newToken(t, alice, `{"name":"ci"}`)
	a := w.Agent(t, client.Options{Token: secret}, client.Spec{Name: "ci"}, http.NotFoundHandler())
	a.Online(t, 1)
	other := w.Agent(t, client.Options{}, client.Spec{Name: "mine"}, http.NotFoundHandler())
	other.Online(t, 1)
	var list struct {
		Items []struct {
			ID    string
			Names []string
		}
	}
	alice.must("GET", "/sessions", "", &list)
	if len(list.Items) != 2 || fmt.Sprint(list.Items[0].Names) != "[ci-alice]" {
		t.Errorf("sessions: %+v", list)
	}
	began := time.Now()
	alice.must("DELETE", "/tokens/"+id, "", nil)
	var e *protocol.Error
	if err := a.Wait(t); !errors.As(err, &e) || e.Code != protocol.CodeRevoked || !strings.Contains(e.Message, "revoked") {
		t.Errorf("the agent ended with %v", err)
	}
	t.Logf("cut after %v", time.Since(began))
	alice.must("GET", "/sessions", "", &list)
	if len(list.Items) != 1 {
		t.Errorf("sessions: %+v", list)
	}
	alice.must("DELETE", "/sessions/"+list.Items[0].ID, "", nil)
	if err := other.Wait(t); !errors.As(err, &e) || e.Code != protocol.CodeRevoked {
		t.Errorf("the agent ended with %v", err)
	}
	if status, _ := alice.call("DELETE", "/sessions/ses_x", ""); status != 404 {
		t.Errorf("nobody's session: %d", status)
	}
}

func TestAudit(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Users: []string{"alice", "bob"}})
	alice, bob := caller{t, w, "alice"}, caller{t, w, "bob"}
	b := &browser{t: t, w: w}
	b.signIn("rly_wrong")
	b.signIn(w.Token("alice"))
	id, _ := newToken(t, alice, `{"name":"laptop"}`)
	alice.must("POST", "/endpoints", `{"name":"hooks"}`, nil)
	alice.must("PATCH", "/endpoints/hooks", `{"settings":{"inbox":"always"},"secrets":{"signing":["very secret"]}}`, nil)
	alice.call("PATCH", "/endpoints/none", `{}`)
	alice.must("POST", "/events/replay", `{"filter":{}}`, nil)
	bob.call("POST", "/users", `{"name":"eve"}`)
	alice.must("DELETE", "/endpoints/hooks", "", nil)
	alice.must("DELETE", "/tokens/"+id, "", nil)
	b.do("DELETE", "/api/v1/session", "")
	var got struct {
		Items []struct{ User, Action, Target, Result, Token, Address string }
	}
	alice.must("GET", "/audit", "", &got)
	var lines []string
	for _, e := range got.Items {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(e.User, " ", e.Action, " ", strings.Replace(e.Target, id, "ID", 1), " ", e.Result)))
		if e.Address == "" {
			t.Errorf("%+v: no address", e)
		}
	}
	want := []string{
		"alice session.sign_out  ok", "alice token.remove ID ok", "alice endpoint.remove hooks ok", "bob user.create eve denied",
		"alice event.replay  ok", "alice endpoint.change none not_found", "alice endpoint.change hooks ok", "alice endpoint.create hooks ok",
		"alice token.create laptop ok", "alice session.sign_in  ok", "session.sign_in  auth",
	}
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("audit:\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if _, body := alice.call("GET", "/audit", ""); strings.Contains(body, "secret") {
		t.Errorf("the log tells a secret: %s", body)
	}
	if status, _ := bob.call("GET", "/audit", ""); status != 403 {
		t.Errorf("bob reads it: %d", status)
	}
	alice.must("GET", "/audit?action=endpoint&user=alice&limit=2", "", &got)
	if len(got.Items) != 2 || got.Items[0].Action != "endpoint.remove" {
		t.Errorf("filtered: %+v", got.Items)
	}
}
