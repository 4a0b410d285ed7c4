package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// Endpoints are the operations on names and their settings. A name is the user's own
// when it is empty, and may be given in short: "api" for api-alice.
type Endpoints struct {
	Create  func(ctx context.Context, u relay.User, in EndpointChange) (Endpoint, error)
	Change  func(ctx context.Context, u relay.User, name string, in EndpointChange) (Endpoint, error)
	Show    func(ctx context.Context, u relay.User, name string) (Endpoint, error)
	List    func(ctx context.Context, u relay.User) ([]Endpoint, error)
	Release func(ctx context.Context, u relay.User, name string) error
}

// Endpoint is a name with its settings.
type Endpoint struct {
	Name        string         `json:"name"`
	URL         string         `json:"url"`
	Agent       string         `json:"agent,omitempty" doc:"Where the agent is that serves it just now"`
	Settings    relay.Settings `json:"settings" doc:"What was set"`
	Effective   relay.Settings `json:"effective" doc:"The same with every default filled in"`
	Secrets     int            `json:"secrets" doc:"How many secrets of signatures it has; they are not shown"`
	Handshake   bool           `json:"handshake_secret" doc:"Whether it has a token for the sender's handshake"`
	SecretsLost bool           `json:"secrets_lost,omitempty" doc:"Its secrets were lost with the server key: what needs them is refused until they are given anew"`
	Verify      string         `json:"verify,omitempty" enum:"enforce,observe" doc:"What happens to wrong signatures; nothing when nobody looks"`
	Kept        Usage          `json:"kept"`
	Created     *time.Time     `json:"created,omitempty"`
}

// Usage is what an endpoint keeps.
type Usage struct {
	Events  int   `json:"events"`
	Pending int   `json:"pending" doc:"Not delivered yet"`
	Dead    int   `json:"dead" doc:"Given up"`
	Bytes   int64 `json:"bytes"`
}

// EndpointChange is what to change. What it does not mention stays as it is.
type EndpointChange struct {
	Name     string          `json:"name,omitempty" doc:"For a new one: the name; the user's own without it"`
	Settings json.RawMessage `json:"settings,omitempty" doc:"Fields of settings, as an endpoint shows them"`
	Secrets  json.RawMessage `json:"secrets,omitempty" doc:"signing: a list of secrets, the newest first; handshake: a token"`
}

type nameInput struct {
	Name string `path:"name" doc:"A name, in full or in short"`
}

type changeInput struct {
	Name string `path:"name" doc:"A name, in full or in short"`
	Body EndpointChange
}

func (a *api) endpoints() {
	e := a.o.Endpoints
	if e == nil {
		return
	}
	operation(a, http.MethodPost, "/endpoints", "create-endpoint", "Reserve a name, and say how it works",
		func(ctx context.Context, c Caller, in *body[EndpointChange]) (*body[Endpoint], error) {
			about(ctx, in.Body.Name)
			out, err := e.Create(ctx, c.User, in.Body)
			return &body[Endpoint]{out}, err
		})
	operation(a, http.MethodGet, "/endpoints", "list-endpoints", "One's own names and their settings",
		func(ctx context.Context, c Caller, _ *none) (*body[page[Endpoint]], error) {
			out, err := e.List(ctx, c.User)
			return &body[page[Endpoint]]{list(out)}, err
		})
	operation(a, http.MethodGet, "/endpoints/{name}", "show-endpoint", "One endpoint",
		func(ctx context.Context, c Caller, in *nameInput) (*body[Endpoint], error) {
			out, err := e.Show(ctx, c.User, in.Name)
			return &body[Endpoint]{out}, err
		})
	operation(a, http.MethodPatch, "/endpoints/{name}", "change-endpoint", "Change settings or secrets",
		func(ctx context.Context, c Caller, in *changeInput) (*body[Endpoint], error) {
			out, err := e.Change(ctx, c.User, in.Name, in.Body)
			return &body[Endpoint]{out}, err
		})
	operation(a, http.MethodDelete, "/endpoints/{name}", "release-endpoint", "Give a name back, with all that it has kept",
		func(ctx context.Context, c Caller, in *nameInput) (*none, error) {
			return &none{}, e.Release(ctx, c.User, in.Name)
		})
}
