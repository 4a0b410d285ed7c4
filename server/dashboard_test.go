package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/relaytest"
)

type requestsJSON struct {
	Items []struct {
		ID, Method, Target, Endpoint, Verified string
		Status                                 int
		EventID                                string `json:"event_id"`
		ReplayOf                               string `json:"replay_of"`
	}
}

// await asks until the answer has n requests.
func (c caller) await(n int, filter string) requestsJSON {
	c.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var out requestsJSON
		c.must("GET", "/requests?filter="+filter, "", &out)
		if len(out.Items) == n {
			return out
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s: %+v, want %d", filter, out.Items, n)
		}
	}
}

func TestRequestsAreRecordedAndReplayed(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Users: []string{"alice", "bob"}})
	alice, bob := caller{t, w, "alice"}, caller{t, w, "bob"}
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
	})
	// Plain names are not recorded.
	plain := w.Agent(t, client.Options{}, client.Spec{Name: "plain"}, app)
	plain.Online(t, 1)
	w.Get(t, plain.URL()+"/unseen")

	a := w.Agent(t, client.Options{}, client.Spec{Name: "api", Settings: json.RawMessage(`{"record":true}`)}, app)
	a.Online(t, 1)
	res, err := w.Client(t).Post(a.URL()+"/hook?x=1", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	got := alice.await(1, "")
	x := got.Items[0]
	if x.Method != "POST" || x.Target != "/hook?x=1" || x.Status != http.StatusTeapot || x.Endpoint != "api-alice" {
		t.Errorf("recorded %+v", x)
	}
	if _, body := alice.call("GET", "/requests/"+x.ID+"/response-body", ""); body != "POST /hook?x=1 hello" {
		t.Errorf("the answer is recorded as %q", body)
	}
	bob.await(0, "")
	if status, body := bob.call("GET", "/requests/"+x.ID, ""); status != 404 {
		t.Errorf("bob gets it: %d %s", status, body)
	}
	if status, body := bob.call("POST", "/requests/"+x.ID+"/replay", `{}`); status != 404 {
		t.Errorf("bob replays it: %d %s", status, body)
	}

	var replayed struct{ ID string }
	alice.must("POST", "/requests/"+x.ID+"/replay", `{"body":"edited","path":"/other"}`, &replayed)
	if _, body := alice.call("GET", "/requests/"+replayed.ID+"/response-body", ""); body != "POST /other edited" {
		t.Errorf("the replay was answered %q", body)
	}
	if got := alice.await(1, "is:replay"); got.Items[0].ReplayOf != x.ID {
		t.Errorf("recorded %+v", got.Items[0])
	}

	// What is over survives a restart.
	_ = a.Stop(t)
	_ = plain.Stop(t)
	w.Stop(t)
	w.Restart(t)
	if got := alice.await(2, ""); got.Items[1].ID != x.ID {
		t.Errorf("after a restart: %+v", got.Items)
	}
	if status, body := alice.call("POST", "/requests/"+x.ID+"/replay", `{}`); status != http.StatusConflict || !strings.Contains(body, `"code":"offline"`) {
		t.Errorf("replayed without an agent: %d %s", status, body)
	}
	var overview struct {
		Endpoints []struct {
			Name         string
			Live, Record bool
		}
		Series   []struct{ Requests, Errors int }
		Recorded struct{ Kept int }
	}
	alice.must("GET", "/overview", "", &overview)
	sum := 0
	for _, p := range overview.Series {
		sum += p.Requests
	}
	if len(overview.Series) != 96 || sum != 2 || overview.Recorded.Kept != 2 || len(overview.Endpoints) != 2 {
		t.Errorf("overview: %d points, %d requests, %+v", len(overview.Series), sum, overview.Endpoints)
	}
}

// What an inbox keeps is recorded with the event that it made of it.
func TestEventsAreRecorded(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	alice := caller{t, w, "alice"}
	var e endpointJSON
	alice.must("POST", "/endpoints", `{"name":"hooks","settings":{"inbox":"always","provider":"github"},"secrets":{"signing":["s"]}}`, &e)
	res, err := w.Client(t).Post(e.URL+"/in", "application/json", strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Fatal(res.Status)
	}
	x := alice.await(1, "signature:bad").Items[0]
	if x.Status != 401 || x.EventID == "" || x.Verified != "missing" && x.Verified == "" {
		t.Errorf("recorded %+v", x)
	}
	alice.must("PATCH", "/endpoints/hooks", `{"settings":{"verify":"observe"}}`, nil)
	id := send(t, w, e.URL+"/in", `{"b":2}`)
	y := alice.await(2, "is:event").Items[0]
	if y.EventID != id || y.Status != 202 {
		t.Errorf("recorded %+v, the event is %s", y, id)
	}
	if _, body := alice.call("GET", "/requests/"+y.ID+"/request-body", ""); body != `{"b":2}` {
		t.Errorf("its body is %q", body)
	}
}

// browser is somebody with a cookie.
type browser struct {
	t      *testing.T
	w      *relaytest.World
	cookie *http.Cookie
}

func (b *browser) do(method, path, in string, header ...string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.w.URL+path, strings.NewReader(in))
	if err != nil {
		b.t.Fatal(err)
	}
	if b.cookie != nil {
		req.AddCookie(b.cookie)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.w.Client(b.t).Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	for _, c := range res.Cookies() {
		b.cookie = c
	}
	return res, string(body)
}

func (b *browser) signIn(token string) int {
	b.t.Helper()
	res, _ := b.do("POST", "/api/v1/session", `{"token":"`+token+`"}`, "Sec-Fetch-Site", "same-origin")
	return res.StatusCode
}

func TestSignIn(t *testing.T) {
	for name, tls := range map[string]bool{"by HTTP": false, "by HTTPS": true} {
		t.Run(name, func(t *testing.T) {
			o := relaytest.Options{}
			if tls {
				o.TLS = relaytest.NewAuthority(t)
			}
			w := relaytest.Start(t, o)
			b := &browser{t: t, w: w}
			if res, body := b.do("GET", "/", "", "Accept", "text/html"); res.StatusCode != 200 || !strings.Contains(body, "<script") {
				t.Fatalf("the page: %d %.100s", res.StatusCode, body)
			}
			if _, body := b.do("GET", "/", ""); !strings.Contains(body, "relay login "+w.URL) {
				t.Errorf("for a program: %s", body)
			}
			if res, _ := b.do("GET", "/api/v1/session", ""); res.StatusCode != 401 {
				t.Errorf("before: %d", res.StatusCode)
			}
			if status := b.signIn("rly_wrong"); status != 401 || b.cookie != nil {
				t.Errorf("with a wrong token: %d, %v", status, b.cookie)
			}
			if status := b.signIn(w.Token("alice")); status != 204 || b.cookie == nil {
				t.Fatalf("sign in: %d", status)
			}
			c := b.cookie
			if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure != tls || c.Domain != "" || c.Path != "/" || tls != strings.HasPrefix(c.Name, "__Host-") {
				t.Errorf("cookie %+v", c)
			}
			if res, body := b.do("GET", "/api/v1/session", ""); res.StatusCode != 200 || !strings.Contains(body, `"mode":"server","user":"alice"`) {
				t.Errorf("after: %d %s", res.StatusCode, body)
			}
			for _, path := range []string{"/me", "/requests", "/targets", "/endpoints", "/tokens", "/overview"} {
				if res, body := b.do("GET", "/api/v1"+path, ""); res.StatusCode != 200 {
					t.Errorf("%s: %d %s", path, res.StatusCode, body)
				}
			}
			b.foreign()
			old := *b.cookie
			if res, _ := b.do("DELETE", "/api/v1/session", ""); res.StatusCode != 204 || b.cookie.MaxAge >= 0 {
				t.Errorf("sign out: %d, %+v", res.StatusCode, b.cookie)
			}
			b.cookie = &old
			if res, _ := b.do("GET", "/api/v1/me", ""); res.StatusCode != 401 {
				t.Errorf("the cookie of an ended session is good: %d", res.StatusCode)
			}
		})
	}
}

// foreign tries what pages of other sites could make a browser do with the cookie.
func (b *browser) foreign() {
	b.t.Helper()
	for _, c := range []struct {
		method, path string
		header       []string
	}{
		{"POST", "/tokens", []string{"Origin", "https://evil.test"}},
		{"POST", "/tokens", []string{"Origin", "http://bob.relay.localhost", "Sec-Fetch-Site", "same-site"}},
		{"GET", "/requests", []string{"Sec-Fetch-Site", "cross-site"}},
		{"GET", "/requests/export?format=har", []string{"Sec-Fetch-Site", "same-site"}},
		{"DELETE", "/session", []string{"Sec-Fetch-Site", "cross-site"}},
		{"POST", "/session", []string{"Origin", "https://evil.test"}},
	} {
		if res, body := b.do(c.method, "/api/v1"+c.path, `{"name":"x"}`, append(c.header, "Content-Type", "application/json")...); res.StatusCode != 403 {
			b.t.Errorf("%s %s %v: %d %s", c.method, c.path, c.header, res.StatusCode, body)
		}
	}
}

func TestTokensOfOnesOwn(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Users: []string{"alice", "bob"}})
	alice, bob := caller{t, w, "alice"}, caller{t, w, "bob"}
	var made struct{ ID, Token, Name, Expires string }
	alice.must("POST", "/tokens", `{"name":"laptop","expires_in":"1h"}`, &made)
	if !strings.HasPrefix(made.Token, "rly_") || made.Expires == "" || made.Name != "laptop" {
		t.Fatalf("made %+v", made)
	}
	// One that expires makes none that lasts longer.
	b := &browser{t: t, w: w}
	if status := b.signIn(made.Token); status != 204 {
		t.Fatal(status)
	}
	var child struct{ ID, Expires string }
	_, body := b.do("POST", "/api/v1/tokens", `{"name":"child"}`, "Content-Type", "application/json")
	if err := json.Unmarshal([]byte(body), &child); err != nil || child.Expires != made.Expires {
		t.Errorf("child: %s", body)
	}
	if status, body := bob.call("DELETE", "/tokens/"+made.ID, ""); status != 404 {
		t.Errorf("bob revokes it: %d %s", status, body)
	}
	var list struct{ Items []map[string]any }
	alice.must("GET", "/tokens", "", &list)
	if len(list.Items) != 3 || strings.Contains(fmt.Sprint(list), made.Token) {
		t.Errorf("list: %v", list)
	}
	for _, in := range []string{`{}`, `{"name":""}`, `{"name":"x","expires_in":"soon"}`, `{"name":"x","expires_in":"-1h"}`, `{"name":"x","scope":"all"}`} {
		if status, body := alice.call("POST", "/tokens", in); status != 422 {
			t.Errorf("%s: %d %s", in, status, body)
		}
	}
	alice.must("DELETE", "/tokens/"+made.ID, "", nil)
	if res, _ := b.do("GET", "/api/v1/me", ""); res.StatusCode != 401 {
		t.Errorf("the session outlives its token: %d", res.StatusCode)
	}
}

// One document describes all, without a reference that leads nowhere.
func TestTheDocument(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	_, text := caller{t, w, "alice"}.call("GET", "/openapi.json", "")
	var doc struct {
		Paths      map[string]map[string]any
		Components map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/requests", "/requests/{id}/replay", "/targets", "/events", "/users/{name}/tokens", "/session", "/audit"} {
		if doc.Paths["/api/v1"+path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	if doc.Paths["/api/v1/session"]["post"] == nil {
		t.Error("signing in is not described: the path of an agent's inspector has come in its place")
	}
	refs := 0
	for _, m := range regexp.MustCompile(`"#/components/([^/"]+)/([^"]+)"`).FindAllStringSubmatch(text, -1) {
		refs++
		if doc.Components[m[1]][m[2]] == nil {
			t.Errorf("the reference %s leads nowhere", m[0])
		}
	}
	if refs < 50 {
		t.Errorf("only %d references", refs)
	}
}
