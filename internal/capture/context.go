package capture

import "context"

type tapKey struct{}

// WithTap gives a context from which TapOf finds t.
func WithTap(ctx context.Context, t *Tap) context.Context { return context.WithValue(ctx, tapKey{}, t) }

// TapOf finds the Tap that follows a request; nil, which does nothing, when none does.
func TapOf(ctx context.Context) *Tap {
	t, _ := ctx.Value(tapKey{}).(*Tap)
	return t
}
