package api

import (
	"context"
	"net/http"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// Domains are the operations on hosts of users' own; see the room server/domain.
type Domains struct {
	Add    func(ctx context.Context, u relay.User, host, name string) (Domain, error)
	Verify func(ctx context.Context, u relay.User, host string) (Domain, error)
	List   func(ctx context.Context, u relay.User) ([]Domain, error)
	Remove func(ctx context.Context, u relay.User, host string) error
}

// Domain is a host of a user's own.
type Domain struct {
	Host    string     `json:"host"`
	Name    string     `json:"name" doc:"The name that it leads to"`
	URL     string     `json:"url"`
	State   string     `json:"state" enum:"pending,active,failing"`
	Reason  string     `json:"reason,omitempty" doc:"What is wrong with its DNS"`
	Checked *time.Time `json:"checked,omitempty" doc:"When its DNS was last seen"`
	Dropped *time.Time `json:"dropped,omitempty" doc:"When it is dropped unless its DNS is put right"`
	CNAME   []Record   `json:"cname,omitempty" doc:"What to set, the simple way; none where DNS does not allow it"`
	TXT     []Record   `json:"txt,omitempty" doc:"What to set where there can be no CNAME"`
}

// Record is a DNS record to set.
type Record struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// newDomain is what a user says of a domain.
type newDomain struct {
	Host string `json:"host" doc:"The host, like hooks.acme.com"`
	Name string `json:"name,omitempty" doc:"The name that it leads to; the user's own without it"`
}

type hostInput struct {
	Host string `path:"host"`
}

// page is a list. There is no next page so far.
type page[T any] struct {
	Items []T `json:"items" nullable:"false"`
}

// list makes a page; an empty one is no null.
func list[T any](items []T) page[T] {
	if items == nil {
		items = []T{}
	}
	return page[T]{items}
}

func (a *api) domains() {
	d := a.o.Domains
	if d == nil {
		return
	}
	operation(a, http.MethodPost, "/domains", "add-domain", "Add a domain, or change where it leads",
		func(ctx context.Context, c Caller, in *body[newDomain]) (*body[Domain], error) {
			about(ctx, in.Body.Host)
			out, err := d.Add(ctx, c.User, in.Body.Host, in.Body.Name)
			return &body[Domain]{out}, err
		})
	operation(a, http.MethodGet, "/domains", "list-domains", "One's own domains",
		func(ctx context.Context, c Caller, _ *none) (*body[page[Domain]], error) {
			out, err := d.List(ctx, c.User)
			return &body[page[Domain]]{list(out)}, err
		})
	operation(a, http.MethodPost, "/domains/{host}/verify", "verify-domain", "Look at the DNS of a domain now",
		func(ctx context.Context, c Caller, in *hostInput) (*body[Domain], error) {
			out, err := d.Verify(ctx, c.User, in.Host)
			return &body[Domain]{out}, err
		})
	operation(a, http.MethodDelete, "/domains/{host}", "remove-domain", "Forget a domain",
		func(ctx context.Context, c Caller, in *hostInput) (*none, error) {
			return &none{}, d.Remove(ctx, c.User, in.Host)
		})
}
