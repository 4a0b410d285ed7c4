package webhook

import (
	"context"
	"fmt"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
)

// Replay has the events that the filter chooses delivered once more, and returns
// how many. With dry it only counts. Rejected events are never delivered.
func (b *Inbox) Replay(ctx context.Context, f relay.Filter, dry bool) (int, error) {
	return b.change(ctx, b.store.Replay, f, dry)
}

// Retry begins again with events that are dead or cancelled, and has those at once
// that wait for their next try.
func (b *Inbox) Retry(ctx context.Context, f relay.Filter, dry bool) (int, error) {
	return b.change(ctx, b.store.Retry, f, dry)
}

// Cancel gives up events that are pending, but for those that are under way.
func (b *Inbox) Cancel(ctx context.Context, f relay.Filter, dry bool) (int, error) {
	return b.change(ctx, b.store.Cancel, f, dry)
}

func (b *Inbox) change(ctx context.Context, do func(context.Context, relay.Filter, bool) (int, error), f relay.Filter, dry bool) (int, error) {
	n, err := do(ctx, f, dry)
	if n == 0 || dry {
		return n, err
	}
	if f.EndpointID != "" {
		b.wake(f.EndpointID)
		return n, err
	}
	open, oerr := b.store.OpenEndpoints(ctx)
	for _, id := range open {
		b.wake(id)
	}
	if err == nil && oerr != nil {
		err = fmt.Errorf("wake: %w", oerr)
	}
	return n, err
}

// Explain says in words why an event was, or was not, taken for signed right when
// it came. It takes some time: call it for a person who looks.
func (b *Inbox) Explain(ctx context.Context, eventID string) (string, error) {
	ev, err := b.store.Event(ctx, eventID)
	if err != nil {
		return "", err
	}
	e := b.endpoint(ev.EndpointID)
	switch {
	case e == nil:
		return "", fmt.Errorf("endpoint of event %q: %w", eventID, relay.ErrNotFound)
	case e.scheme == nil:
		return "The endpoint names no sender, so there is nothing to verify.", nil
	case ev.Cut:
		return fmt.Sprintf("%s. Only the beginning of the body was kept, so nothing more can be tried.", ev.Reason), nil
	}
	r := signature.Request{Method: ev.Method, URL: ev.URL, Header: ev.Header, Body: ev.Body}
	_ = b.certify(ctx, e, &r, ev.Received) // it is explained then
	return signature.Explain(*e.scheme, e.Secrets.Signing, r, ev.Received), nil
}
