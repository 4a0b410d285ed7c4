package api

import (
	"context"
	"net/http"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// Users are the operations on users, for admins.
type Users struct {
	List   func(ctx context.Context) ([]relay.User, error)
	Show   func(ctx context.Context, name string) (relay.User, error)
	Add    func(ctx context.Context, name string, admin bool, rights relay.Rights) (relay.User, error)
	Change func(ctx context.Context, u relay.User) error
	Remove func(ctx context.Context, u relay.User) error
}

// Agents are the operations on agents that are connected.
type Agents struct {
	List func(ctx context.Context, userName string) ([]Agent, error) // "": of all users
	Kick func(ctx context.Context, id string) error
}

// Agent is one that is connected.
type Agent struct {
	ID    string    `json:"id"`
	User  string    `json:"user"`
	Where string    `json:"where" doc:"Its machine and address"`
	Since time.Time `json:"since"`
	Names []string  `json:"names" nullable:"false"`
}

// User is somebody with names and tokens.
type User struct {
	Name      string       `json:"name"`
	Role      string       `json:"role" enum:"admin,user"`
	Disabled  bool         `json:"disabled,omitempty"`
	Rights    relay.Rights `json:"rights" doc:"What was set"`
	Effective relay.Rights `json:"effective" doc:"The same with every default filled in"`
	Created   time.Time    `json:"created"`
}

func userOf(u relay.User) User {
	role := "user"
	if u.Admin {
		role = "admin"
	}
	return User{u.Name, role, u.Disabled, u.Rights, u.Rights.Defaults(u.Name), u.Created}
}

// UserInput makes or changes a user. What a change does not mention stays.
type UserInput struct {
	Name     string        `json:"name,omitempty" doc:"Of a new one"`
	Role     string        `json:"role,omitempty" enum:"admin,user"`
	Disabled *bool         `json:"disabled,omitempty" doc:"A disabled user can do nothing; agents are disconnected"`
	Rights   *relay.Rights `json:"rights,omitempty" doc:"All of them: what is left out takes its default"`
}

type userInput struct {
	Name string `path:"name"`
}

type changeUserInput struct {
	Name string `path:"name"`
	Body UserInput
}

type userTokenInput struct {
	Name string `path:"name"`
	Body TokenInput
}

type agentsInput struct {
	User string `query:"user" doc:"For admins: of this user; * for all"`
}

func (a *api) users() {
	u := a.o.Users
	if u == nil {
		return
	}
	operation(a, http.MethodGet, "/users", "list-users", "All users; for admins",
		func(ctx context.Context, c Caller, _ *none) (*body[page[User]], error) {
			if err := c.admin(); err != nil {
				return nil, err
			}
			all, err := u.List(ctx)
			out := make([]User, 0, len(all))
			for _, one := range all {
				out = append(out, userOf(one))
			}
			return &body[page[User]]{list(out)}, err
		})
	operation(a, http.MethodPost, "/users", "add-user", "Add a user; for admins",
		func(ctx context.Context, c Caller, in *body[UserInput]) (*body[User], error) {
			about(ctx, in.Body.Name)
			if err := c.admin(); err != nil {
				return nil, err
			}
			var rights relay.Rights
			if in.Body.Rights != nil {
				rights = *in.Body.Rights
			}
			if err := rights.Check(); err != nil {
				return nil, err
			}
			made, err := u.Add(ctx, in.Body.Name, in.Body.Role == "admin", rights)
			return &body[User]{userOf(made)}, err
		})
	operation(a, http.MethodGet, "/users/{name}", "show-user", "One user; for admins",
		func(ctx context.Context, c Caller, in *userInput) (*body[User], error) {
			if err := c.admin(); err != nil {
				return nil, err
			}
			one, err := u.Show(ctx, in.Name)
			return &body[User]{userOf(one)}, err
		})
	operation(a, http.MethodPatch, "/users/{name}", "change-user", "Change role, rights, or whether a user may do anything; for admins", a.changeUser)
	operation(a, http.MethodDelete, "/users/{name}", "remove-user", "Remove a user with names, tokens, events and all; for admins",
		func(ctx context.Context, c Caller, in *userInput) (*none, error) {
			if err := c.admin(); err != nil {
				return nil, err
			}
			one, err := u.Show(ctx, in.Name)
			if err == nil {
				err = u.Remove(ctx, one)
			}
			return &none{}, err
		})
}

func (a *api) changeUser(ctx context.Context, c Caller, in *changeUserInput) (*body[User], error) {
	if err := c.admin(); err != nil {
		return nil, err
	}
	one, err := a.o.Users.Show(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if in.Body.Role != "" {
		one.Admin = in.Body.Role == "admin"
	}
	if in.Body.Disabled != nil {
		one.Disabled = *in.Body.Disabled
	}
	if in.Body.Rights != nil {
		if one.Rights = *in.Body.Rights; one.Rights.Check() != nil {
			return nil, one.Rights.Check()
		}
	}
	return &body[User]{userOf(one)}, a.o.Users.Change(ctx, one)
}

func (a *api) agents() {
	if a.o.Agents == nil {
		return
	}
	operation(a, http.MethodGet, "/sessions", "list-sessions", "Agents that are connected: one's own, or for admins those of others",
		func(ctx context.Context, c Caller, in *agentsInput) (*body[page[Agent]], error) {
			of := c.User.Name
			if in.User != "" && in.User != of {
				if err := c.admin(); err != nil {
					return nil, err
				}
				if of = in.User; of == "*" {
					of = ""
				}
			}
			all, err := a.o.Agents.List(ctx, of)
			return &body[page[Agent]]{list(all)}, err
		})
	operation(a, http.MethodDelete, "/sessions/{id}", "kick-session", "Disconnect an agent, which does not come back by itself",
		func(ctx context.Context, c Caller, in *idInput) (*none, error) {
			of := c.User.Name
			if c.User.Admin {
				of = ""
			}
			all, err := a.o.Agents.List(ctx, of)
			if err != nil {
				return nil, err
			}
			for _, one := range all {
				if one.ID == in.ID {
					return &none{}, a.o.Agents.Kick(ctx, in.ID)
				}
			}
			return nil, &kindError{relay.ErrNotFound, "there is no such session"}
		})
}
