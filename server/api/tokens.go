package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// Tokens are the operations on a user's tokens.
type Tokens struct {
	List func(ctx context.Context, u relay.User) ([]relay.Token, error)
	// Create makes a token as t describes it and gives its secret, which is not shown
	// again.
	Create func(ctx context.Context, t relay.Token) (secret string, made relay.Token, err error)
	Revoke func(ctx context.Context, u relay.User, id string) error
}

// Token is a token without its secret.
type Token struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Prefix      string     `json:"prefix" doc:"How the secret begins"`
	Created     time.Time  `json:"created"`
	LastUsed    *time.Time `json:"last_used,omitempty"`
	LastAddress string     `json:"last_address,omitempty" doc:"From where it was used last"`
	Expires     *time.Time `json:"expires,omitempty"`
	Scopes      []string   `json:"scopes,omitempty" doc:"What it is good for; without any, for all that its user may"`
	Endpoints   []string   `json:"endpoints,omitempty" doc:"Patterns of the names that it is good for; without any, for all"`
	Current     bool       `json:"current,omitempty" doc:"It is the one of this call"`
}

// NewToken is a token that was just made.
type NewToken struct {
	Token
	Secret string `json:"token" doc:"The secret; it is shown only now"`
}

// TokenInput says what token is to be made.
type TokenInput struct {
	Name      string   `json:"name" minLength:"1" maxLength:"64" doc:"What you call it, like laptop"`
	ExpiresIn string   `json:"expires_in,omitempty" doc:"How long it lasts, like 720h; without it, it does not expire" example:"720h"`
	Scopes    []string `json:"scopes,omitempty" doc:"What it is to be good for: tunnel, events:read, events:write, endpoints, tokens, admin"`
	Endpoints []string `json:"endpoints,omitempty" doc:"Patterns of the names that it is to be good for, like pr-*"`
}

// token is what the input describes. The parent's end is the child's.
func (in TokenInput) token(parent relay.Token) (relay.Token, error) {
	t := relay.Token{Name: in.Name, Endpoints: in.Endpoints, Parent: parent.ID}
	for _, s := range in.Scopes {
		t.Scopes = append(t.Scopes, relay.Scope(s))
	}
	if err := relay.CheckScopes(t.Scopes); err != nil {
		return t, err
	}
	for _, p := range t.Endpoints {
		if err := relay.CheckPattern(p); err != nil {
			return t, err
		}
	}
	if in.ExpiresIn != "" {
		d, err := time.ParseDuration(in.ExpiresIn)
		if err != nil || d < time.Minute {
			return t, &kindError{relay.ErrInvalid, "expires_in is a time of a minute or more, like 720h"}
		}
		t.Expires = time.Now().Add(d)
	}
	if end := parent.Expires; !end.IsZero() && (t.Expires.IsZero() || t.Expires.After(end)) {
		t.Expires = end
	}
	return t, parent.Child(t)
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

func some(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func tokenOf(t relay.Token, c Caller) Token {
	out := Token{
		ID: t.ID, Name: t.Name, Prefix: t.Prefix, Created: t.Created, LastUsed: some(t.LastUsed), LastAddress: t.LastAddr,
		Expires: some(t.Expires), Endpoints: t.Endpoints, Current: t.ID == c.Token.ID,
	}
	for _, s := range t.Scopes {
		out.Scopes = append(out.Scopes, string(s))
	}
	return out
}

func (a *api) tokens() {
	t := a.o.Tokens
	if t == nil {
		return
	}
	operation(a, http.MethodGet, "/tokens", "list-tokens", "One's own tokens, without their secrets",
		func(ctx context.Context, c Caller, _ *none) (*body[page[Token]], error) {
			return a.listTokens(ctx, c, c.User)
		})
	create := func(ctx context.Context, c Caller, u relay.User, in TokenInput) (*body[NewToken], error) {
		about(ctx, in.Name)
		t, err := in.token(c.Token)
		if err != nil {
			return nil, err
		}
		t.UserID = u.ID
		secret, made, err := a.o.Tokens.Create(ctx, t)
		return &body[NewToken]{NewToken{tokenOf(made, c), secret}}, err
	}
	operation(a, http.MethodPost, "/tokens", "create-token", "Make a token, good for no more than the one that asks",
		func(ctx context.Context, c Caller, in *body[TokenInput]) (*body[NewToken], error) {
			return create(ctx, c, c.User, in.Body)
		})
	if a.o.Users != nil {
		operation(a, http.MethodPost, "/users/{name}/tokens", "create-token-for", "Make a token of another user; for admins",
			func(ctx context.Context, c Caller, in *userTokenInput) (*body[NewToken], error) {
				if err := c.admin(); err != nil {
					return nil, err
				}
				u, err := a.o.Users.Show(ctx, in.Name)
				if err != nil {
					return nil, err
				}
				return create(ctx, c, u, in.Body)
			})
		operation(a, http.MethodGet, "/users/{name}/tokens", "list-tokens-of", "Tokens of another user; for admins",
			func(ctx context.Context, c Caller, in *userInput) (*body[page[Token]], error) {
				if err := c.admin(); err != nil {
					return nil, err
				}
				u, err := a.o.Users.Show(ctx, in.Name)
				if err != nil {
					return nil, err
				}
				return a.listTokens(ctx, c, u)
			})
		operation(a, http.MethodDelete, "/users/{name}/tokens/{id}", "revoke-token-of", "Make a token of another user worthless; for admins",
			func(ctx context.Context, c Caller, in *struct {
				Name string `path:"name"`
				ID   string `path:"id"`
			},
			) (*none, error) {
				if err := c.admin(); err != nil {
					return nil, err
				}
				u, err := a.o.Users.Show(ctx, in.Name)
				if err != nil {
					return nil, err
				}
				return &none{}, t.Revoke(ctx, u, in.ID)
			})
	}
	operation(a, http.MethodDelete, "/tokens/{id}", "revoke-token", "Make a token worthless; sessions of the dashboard that began with it end",
		func(ctx context.Context, c Caller, in *idInput) (*none, error) {
			return &none{}, t.Revoke(ctx, c.User, in.ID)
		})
}

func (a *api) listTokens(ctx context.Context, c Caller, u relay.User) (*body[page[Token]], error) {
	all, err := a.o.Tokens.List(ctx, u)
	out := make([]Token, 0, len(all))
	for _, one := range all {
		out = append(out, tokenOf(one, c))
	}
	return &body[page[Token]]{list(out)}, err
}
