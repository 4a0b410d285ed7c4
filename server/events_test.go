package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/relaytest"
)

// caller calls the API as a user.
type caller struct {
	t    *testing.T
	w    *relaytest.World
	user string
}

func (c caller) call(method, path, in string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.w.URL+"/api/v1"+path, strings.NewReader(in))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.w.Token(c.user))
	if in != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.w.Client(c.t).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// must calls and reads the answer into out.
func (c caller) must(method, path, in string, out any) {
	c.t.Helper()
	status, body := c.call(method, path, in)
	if status/100 != 2 {
		c.t.Fatalf("%s %s: %d %s", method, path, status, body)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(body), out); err != nil {
			c.t.Fatalf("%s %s: %v in %s", method, path, err, body)
		}
	}
}

type endpointJSON struct{ Name, URL string }

type eventsJSON struct {
	Items []struct{ ID, Endpoint, Status, Type string }
	Next  string
}

// send posts an event to an endpoint and returns its id.
func send(t *testing.T, w *relaytest.World, url, body string) string {
	t.Helper()
	res, err := w.Client(t).Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var said struct{ ID string }
	text, _ := io.ReadAll(res.Body)
	if err := json.Unmarshal(text, &said); err != nil || res.StatusCode != http.StatusAccepted || said.ID == "" {
		t.Fatalf("%s: %s", res.Status, text)
	}
	return said.ID
}

func TestInboxCollectsWithoutAnAgentAndDrainsWhenOneComes(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	alice := caller{t, w, "alice"}
	var e endpointJSON
	alice.must("POST", "/endpoints", `{"name":"hooks","settings":{"inbox":"always"}}`, &e)
	if e.Name != "hooks-alice" {
		t.Fatalf("the endpoint is %+v", e)
	}
	var ids []string
	for n := range 5 {
		ids = append(ids, send(t, w, e.URL+"/hook?n=1", fmt.Sprintf(`{"n":%d}`, n)))
	}
	type arrival struct{ id, body, path string }
	arrived := make(chan arrival, 20)
	w.Agent(t, client.Options{}, client.Spec{Name: "hooks"}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		arrived <- arrival{r.Header.Get("Relay-Event-Id"), string(body), r.RequestURI}
	}))
	got := map[string]string{}
	for range ids {
		select {
		case a := <-arrived:
			got[a.id] = a.body
			if a.path != "/hook?n=1" {
				t.Errorf("the app was asked for %s", a.path)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("only %d of %d events came", len(got), len(ids))
		}
	}
	for n, id := range ids {
		if got[id] != fmt.Sprintf(`{"n":%d}`, n) {
			t.Errorf("event %s came as %q", id, got[id])
		}
	}

	// And once more, by hand.
	var counted struct{ Count int }
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var page eventsJSON
		if alice.must("GET", "/events?status=delivered", "", &page); len(page.Items) == len(ids) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d events are delivered", len(page.Items), len(ids))
		}
	}
	alice.must("POST", "/events/replay", `{"filter":{"endpoint":"hooks"},"dry_run":true}`, &counted)
	if counted.Count != 5 {
		t.Errorf("a dry run counts %d", counted.Count)
	}
	alice.must("POST", "/events/replay", `{"filter":{"ids":["`+ids[2]+`"]}}`, &counted)
	if counted.Count != 1 {
		t.Fatalf("replayed %d events", counted.Count)
	}
	select {
	case a := <-arrived:
		if a.id != ids[2] {
			t.Errorf("replayed %+v", a)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the replayed event does not come")
	}

	// Pages hang together.
	var all []string
	for after := ""; ; {
		var page eventsJSON
		alice.must("GET", "/events?limit=2&order=oldest&after="+after, "", &page)
		for _, one := range page.Items {
			all = append(all, one.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if strings.Join(all, " ") != strings.Join(ids, " ") {
		t.Errorf("pages list %v, want %v", all, ids)
	}
	var found eventsJSON
	alice.must("GET", `/events?grep=%22n%22%3A3`, "", &found)
	if len(found.Items) != 1 || found.Items[0].ID != ids[3] {
		t.Errorf("grep finds %+v", found.Items)
	}
	if _, body := alice.call("GET", "/events/"+ids[1]+"/body", ""); body != `{"n":1}` {
		t.Errorf("the body is %q", body)
	}
}

// Others' endpoints and events do not exist.
func TestUsersSeeOnlyTheirOwn(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Users: []string{"alice", "bob"}})
	alice, bob := caller{t, w, "alice"}, caller{t, w, "bob"}
	var e endpointJSON
	alice.must("POST", "/endpoints", `{"name":"hooks","settings":{"inbox":"always"}}`, &e)
	id := send(t, w, e.URL, "private")

	for _, c := range []struct{ method, path, in string }{
		{"GET", "/events/" + id, ""},
		{"GET", "/events/" + id + "/body", ""},
		{"GET", "/events/" + id + "/explanation", ""},
		{"GET", "/endpoints/hooks-alice", ""},
		{"PATCH", "/endpoints/hooks-alice", `{"settings":{"inbox":"off"}}`},
		{"DELETE", "/endpoints/hooks-alice", ""},
		{"GET", "/events?endpoint=hooks-alice", ""},
	} {
		if status, body := bob.call(c.method, c.path, c.in); status != http.StatusNotFound || strings.Contains(body, "private") {
			t.Errorf("bob: %s %s: %d %s", c.method, c.path, status, body)
		}
	}
	for _, verb := range []string{"replay", "retry", "cancel", "purge"} {
		for _, filter := range []string{`{}`, `{"ids":["` + id + `"]}`, `{"status":["pending"]}`} {
			var counted struct{ Count int }
			bob.must("POST", "/events/"+verb, `{"filter":`+filter+`}`, &counted)
			if counted.Count != 0 {
				t.Errorf("bob: %s %s takes %d events of alice's", verb, filter, counted.Count)
			}
		}
	}
	var page eventsJSON
	bob.must("GET", "/events", "", &page)
	if len(page.Items) != 0 {
		t.Errorf("bob sees %+v", page.Items)
	}
	alice.must("GET", "/events", "", &page)
	if len(page.Items) != 1 || page.Items[0].ID != id || page.Items[0].Status != "pending" {
		t.Errorf("alice sees %+v", page.Items)
	}
}

// Secrets go in and never come out: not by the API, not in the log.
func TestSecretsOfEndpointsAreNotTold(t *testing.T) {
	const secret = "whsec_this-must-not-be-seen"
	var log lockedBuffer
	w := relaytest.Start(t, relaytest.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	alice := caller{t, w, "alice"}
	bodies := ""
	for _, c := range []struct{ method, path, in string }{
		{"POST", "/endpoints", `{"name":"hooks","settings":{"inbox":"always","provider":"github"},"secrets":{"signing":["` + secret + `"]}}`},
		{"PATCH", "/endpoints/hooks", `{"secrets":{"signing":["` + secret + `","older"]}}`},
		{"PATCH", "/endpoints/hooks", `{"secrets":{"signing":"` + secret + `"}}`},
		{"PATCH", "/endpoints/hooks", `{"secrets":{"` + secret + `":1}}`},
		{"PATCH", "/endpoints/hooks", `{"secrets":["` + secret + `"]}`},
		{"GET", "/endpoints", ""},
		{"GET", "/endpoints/hooks", ""},
	} {
		_, body := alice.call(c.method, c.path, c.in)
		bodies += body
	}
	res, err := w.Client(t).Post("http://hooks-alice.relay.localhost/", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("an unsigned event: %s", res.Status)
	}
	w.Stop(t)
	for where, text := range map[string]string{"an answer": bodies, "the log": log.String()} {
		if strings.Contains(text, "must-not-be-seen") {
			t.Errorf("%s tells the secret: %s", where, text)
		}
	}
	if !strings.Contains(bodies, `"secrets":2`) {
		t.Errorf("the endpoint has not its two secrets: %s", bodies)
	}
}

func TestBadSettingsAreRefusedAndChangeNothing(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	alice := caller{t, w, "alice"}
	alice.must("POST", "/endpoints", `{"name":"hooks","settings":{"inbox":"always"}}`, nil)
	for _, settings := range []string{`{"inbox":"sometimes"}`, `{"nonsense":1}`, `{"provider":"nobody"}`, `{"in_flight":-1}`, `{"timeout":"soon"}`, `[]`, `{"answer":{"status":99}}`} {
		if status, body := alice.call("PATCH", "/endpoints/hooks", `{"settings":`+settings+`}`); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", settings, status, body)
		}
	}
	if status, body := alice.call("POST", "/endpoints", `{"name":"hooks"}`); status != http.StatusConflict {
		t.Errorf("made twice: %d %s", status, body)
	}
	if status, body := alice.call("POST", "/endpoints", `{"name":"a b"}`); status != http.StatusUnprocessableEntity {
		t.Errorf("a name that is none: %d %s", status, body)
	}
	var e struct{ Settings struct{ Inbox string } }
	alice.must("GET", "/endpoints/hooks", "", &e)
	if e.Settings.Inbox != "always" {
		t.Errorf("the inbox is %q now", e.Settings.Inbox)
	}
	alice.must("DELETE", "/endpoints/hooks", "", nil)
	if status, _ := w.Get(t, "http://hooks-alice.relay.localhost/"); status != http.StatusNotFound {
		t.Errorf("a released name answers %d", status)
	}
}

// What a change does not mention follows from what it does.
func TestWhatAChangeOfTheSenderMeans(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	alice := caller{t, w, "alice"}
	var e struct {
		Settings struct {
			Inbox, Provider string
			Scheme          json.RawMessage
		}
	}
	change := func(settings, inbox, provider string, scheme bool) {
		t.Helper()
		e.Settings.Inbox, e.Settings.Provider, e.Settings.Scheme = "", "", nil
		alice.must("PATCH", "/endpoints/hooks", `{"settings":`+settings+`}`, &e)
		if e.Settings.Inbox != inbox || e.Settings.Provider != provider || (e.Settings.Scheme != nil) != scheme {
			t.Errorf("after %s: %+v", settings, e.Settings)
		}
	}
	const own = `{"header":["X-Acme"],"algorithm":"hmac-sha256","encoding":"hex","content":["{body}"]}`
	alice.must("POST", "/endpoints", `{"name":"hooks"}`, nil)
	change(`{"provider":"github"}`, "fallback", "github", false) // signatures are checked before an inbox
	change(`{"inbox":"always"}`, "always", "github", false)
	change(`{"provider":"stripe"}`, "always", "stripe", false)
	change(`{"scheme":`+own+`}`, "always", "stripe", true)
	change(`{"in_flight":2}`, "always", "stripe", true)
	change(`{"provider":"github"}`, "always", "github", false)
	change(`{"scheme":`+own+`}`, "always", "github", true)
	change(`{"scheme":null}`, "always", "github", false)
	change(`{"inbox":"off"}`, "off", "github", false)
}

// The settings that an agent brings stay when it leaves.
func TestSettingsOfABindStay(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{})
	a := w.Agent(t, client.Options{}, client.Spec{Name: "hooks", Settings: json.RawMessage(`{"inbox":"fallback"}`)}, nothing())
	a.Online(t, 1)
	if err := a.Stop(t); err != nil {
		t.Fatal(err)
	}
	send(t, w, a.URL(), "kept for later")
	bad := w.Agent(t, client.Options{}, client.Spec{Name: "other", Settings: json.RawMessage(`{"inbox":"sometimes"}`)}, nothing())
	if err := bad.Wait(t); err == nil || !strings.Contains(err.Error(), "off, fallback, always") {
		t.Errorf("bad settings: %v", err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
