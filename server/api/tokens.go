package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// Tokens are the operations on a user's own tokens.
type Tokens struct {
	List func(ctx context.Context, u relay.User) ([]relay.Token, error)
	// Create makes a token and gives its secret, which is not shown again. A zero expires
	// means that it does not expire.
	Create func(ctx context.Context, u relay.User, name string, expires time.Time) (secret string, t relay.Token, err error)
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
	Current     bool       `json:"current,omitempty" doc:"It is the one of this call"`
}

// NewToken is a token that was just made.
type NewToken struct {
	Token
	Secret string `json:"token" doc:"The secret; it is shown only now"`
}

// TokenInput says what token is to be made.
type TokenInput struct {
	Name      string `json:"name" minLength:"1" maxLength:"64" doc:"What you call it, like laptop"`
	ExpiresIn string `json:"expires_in,omitempty" doc:"How long it lasts, like 720h; without it, it does not expire" example:"720h"`
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

func some(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func tokenOf(t relay.Token, c Caller) Token {
	return Token{t.ID, t.Name, t.Prefix, t.Created, some(t.LastUsed), t.LastAddr, some(t.Expires), t.ID == c.Token.ID}
}

func (a *api) tokens() {
	t := a.o.Tokens
	if t == nil {
		return
	}
	operation(a, http.MethodGet, "/tokens", "list-tokens", "One's own tokens, without their secrets",
		func(ctx context.Context, c Caller, _ *none) (*body[page[Token]], error) {
			all, err := t.List(ctx, c.User)
			out := make([]Token, 0, len(all))
			for _, one := range all {
				out = append(out, tokenOf(one, c))
			}
			return &body[page[Token]]{list(out)}, err
		})
	operation(a, http.MethodPost, "/tokens", "create-token", "Make a token; one that expires makes none that lasts longer",
		func(ctx context.Context, c Caller, in *body[TokenInput]) (*body[NewToken], error) {
			var expires time.Time
			if in.Body.ExpiresIn != "" {
				d, err := time.ParseDuration(in.Body.ExpiresIn)
				if err != nil || d < time.Minute {
					return nil, &kindError{relay.ErrInvalid, "expires_in is a time of a minute or more, like 720h"}
				}
				expires = time.Now().Add(d)
			}
			if limit := c.Token.Expires; !limit.IsZero() && (expires.IsZero() || expires.After(limit)) {
				expires = limit
			}
			secret, made, err := t.Create(ctx, c.User, in.Body.Name, expires)
			return &body[NewToken]{NewToken{tokenOf(made, c), secret}}, err
		})
	operation(a, http.MethodDelete, "/tokens/{id}", "revoke-token", "Make a token worthless; sessions of the dashboard that began with it end",
		func(ctx context.Context, c Caller, in *idInput) (*none, error) {
			return &none{}, t.Revoke(ctx, c.User, in.ID)
		})
}
