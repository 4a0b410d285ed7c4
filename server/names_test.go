package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/relaytest"
	"github.com/relaytunnel/relay/server"
)

func nothing() http.Handler { return http.NotFoundHandler() }

// Which name a bind gets.
func TestNames(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Users: []string{"alice", "bob"}})
	// Users own their own names whether they have served them or not.
	w.Agent(t, client.Options{Token: w.Token("bob")}, client.Spec{}, nothing()).Online(t, 1)
	for _, c := range []struct {
		spec client.Spec
		want string
	}{
		{client.Spec{}, "alice"},
		{client.Spec{Hint: "http:8080"}, "8080-alice"},
		{client.Spec{Hint: "http:http://[::1]:9/x"}, "http-1-9-x-alice"},
		{client.Spec{Hint: "http:"}, "app-alice"},
		{client.Spec{Name: "API"}, "api-alice"},
		{client.Spec{Name: "shop-alice"}, "shop-alice"},
		{client.Spec{Name: "x"}, "x-alice"},
		{client.Spec{Name: "www"}, "www-alice"},
		{client.Spec{Name: "bob"}, "bob-alice"},
	} {
		a := w.Agent(t, client.Options{}, c.spec, nothing())
		if o := a.Online(t, 1); o.Name != c.want {
			t.Errorf("%+v is %s, want %s", c.spec, o.Name, c.want)
		}
	}
}

// Nobody gets a name that people would take for another's, or for one of the product's.
func TestANameThatLooksLikeAnothers(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Users: []string{"alice", "bob"}})
	alice := caller{t, w, "alice"}
	alice.must("PATCH", "/users/bob", `{"rights":{"names":["*"]}}`, nil)
	alice.must("POST", "/endpoints", `{"name":"alice"}`, nil)
	bob := caller{t, w, "bob"}
	for _, name := range []string{"a1ice", "al1ce"} {
		status, body := bob.call("POST", "/endpoints", `{"name":"`+name+`"}`)
		if status != 409 || !strings.Contains(body, "looks like alice, which belongs to another user") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for _, name := range []string{"admin", "adm1n"} {
		if _, body := bob.call("POST", "/endpoints", `{"name":"`+name+`"}`); !strings.Contains(body, `"name":"`+name+`-bob"`) {
			t.Errorf("%s: %s", name, body)
		}
	}
	bob.must("POST", "/endpoints", `{"name":"bob"}`, nil)
	bob.must("POST", "/endpoints", `{"name":"b0b"}`, nil) // their own
}

// A name stays with its user while it is offline.
func TestANameIsNotTakenWhileItsAgentIsAway(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Users: []string{"jim", "alice-jim"}})
	a := w.Agent(t, client.Options{}, client.Spec{Name: "x-alice-jim"}, nothing())
	name := a.Online(t, 1).Name
	if name != "x-alice-jim" {
		t.Fatalf("jim has %s", name)
	}
	_ = a.Stop(t)
	b := w.Agent(t, client.Options{Token: w.Token("alice-jim")}, client.Spec{Name: name}, nothing())
	if err := b.Wait(t); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("alice-jim asks for a name that jim holds: %v", err)
	}
	w.Stop(t)
	w.Restart(t)
	c := w.Agent(t, client.Options{}, client.Spec{Name: name}, nothing())
	if got := c.Online(t, 1).Name; got != name {
		t.Errorf("after a restart jim has %s", got)
	}
}

// Hosts that nobody holds are unknown, those of agents that are away are known.
func TestRoutes(t *testing.T) {
	w := relaytest.Start(t, relaytest.Options{Config: func(c *server.Config) { c.HoldFor = 1 }})
	a := w.Agent(t, client.Options{}, client.Spec{Name: "api"}, nothing())
	a.Online(t, 1)
	_ = a.Stop(t)
	base := w.URL
	port := base[len("http://relay.localhost"):]
	for _, c := range []struct {
		url  string
		want int
	}{
		{base + "/healthz", 200},
		{base + "/readyz", 200},
		{base + "/api/v1/me", 401},
		{base + "/nothing", 404},
		{"http://127.0.0.1" + port + "/healthz", 200},
		{"http://api-alice.relay.localhost" + port, 503},
		{"http://API-Alice.relay.localhost" + port, 503},
		{"http://nobody.relay.localhost" + port, 404},
		{"http://deeper.api-alice.relay.localhost" + port, 404},
		{"http://elsewhere.example" + port, 404},
	} {
		if got, body := w.Get(t, c.url); got != c.want {
			t.Errorf("%s: %d %q, want %d", c.url, got, body, c.want)
		}
	}
}
