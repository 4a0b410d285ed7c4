package history

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
)

// View is what one user sees: the source of an inspector.
type View struct {
	h    *History
	user *user
}

// View shows the exchanges of a user.
func (h *History) View(userID string) *View { return &View{h, h.of(userID)} }

const (
	// page is how many exchanges are read from the store in one step; with bodies fewer,
	// for they are in memory together.
	page       = 500
	pageBodies = 50
)

// List returns what q chooses, and whether there may be more after it.
func (v *View) List(ctx context.Context, q capture.Query) ([]*capture.Exchange, bool, error) {
	live, more, err := v.user.recorder.List(ctx, q)
	if err != nil {
		return nil, false, err
	}
	m := merger{limit: q.Limit, live: live, moreLive: more}
	sq := relay.RecordedQuery{
		UserID: v.user.id, Before: q.Before, Since: q.Filter.Since(), Limit: page, Bodies: q.Filter.Bodies(),
	}
	if sq.Bodies {
		sq.Limit = pageBodies
	}
	for {
		rows, err := v.h.o.Store.Recorded(ctx, sq)
		if err != nil {
			return nil, false, err
		}
		for _, r := range rows {
			sq.Before = r.Seq
			x, err := exchange(r, sq.Bodies)
			if err != nil {
				return nil, false, fmt.Errorf("read exchange %s: %w", r.ID, err)
			}
			if q.Filter.Match(x) && !m.add(x) {
				return m.out, true, nil
			}
		}
		if len(rows) < sq.Limit {
			break
		}
	}
	more = !m.add(nil)
	return m.out, more || m.moreLive, nil
}

// merger joins what is in memory with what is in the store, the newest first, up to a
// limit. What is in both is the same exchange.
type merger struct {
	limit    int
	live     []*capture.Exchange // what is left of it
	moreLive bool
	out      []*capture.Exchange
}

// add takes the next from the store, after all newer ones in memory; nil is the end. It
// returns false when there is no room for more.
func (m *merger) add(x *capture.Exchange) bool {
	for len(m.live) > 0 && (x == nil || m.live[0].Seq >= x.Seq) {
		first := m.live[0]
		if !m.take(first) {
			return false
		}
		m.live = m.live[1:]
		if x != nil && first.Seq == x.Seq {
			return true
		}
	}
	return x == nil || m.take(x)
}

func (m *merger) take(x *capture.Exchange) bool {
	if m.limit > 0 && len(m.out) == m.limit {
		return false
	}
	m.out = append(m.out, x)
	return true
}

// Get returns one exchange with its bodies.
func (v *View) Get(ctx context.Context, id string) (*capture.Exchange, bool, error) {
	if x, ok, err := v.user.recorder.Get(ctx, id); ok || err != nil {
		return v.whole(ctx, x), ok, err
	}
	r, err := v.h.o.Store.RecordedByID(ctx, v.user.id, id)
	if errors.Is(err, relay.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	x, err := exchange(r, true)
	return x, err == nil, err
}

// whole is x with all of the body that an inbox has kept of it.
func (v *View) whole(ctx context.Context, x *capture.Exchange) *capture.Exchange {
	if x.EventID == "" || !x.Request.Body.Truncated {
		return x
	}
	r, err := v.h.o.Store.RecordedByID(ctx, v.user.id, x.ID)
	if err != nil {
		return x // not written yet
	}
	if kept, err := exchange(r, true); err == nil {
		return kept
	}
	return x
}

// Next waits for changes after a version; 0 answers at once.
func (v *View) Next(ctx context.Context, after uint64) (capture.Changes, error) {
	c, err := v.user.recorder.Next(ctx, after)
	if err != nil {
		return c, err
	}
	u, err := v.h.o.Store.RecordedUsage(ctx, v.user.id)
	if err != nil {
		return c, err
	}
	if u.Oldest > 0 {
		c.Oldest = min(c.Oldest, u.Oldest)
	}
	c.Stats = capture.Stats{Kept: u.Count, Bytes: u.Bytes, Seen: c.Stats.Seen, Dropped: v.user.dropped.Load()}
	return c, nil
}

// Targets are the user's endpoints that are recorded.
func (v *View) Targets(context.Context) ([]capture.Target, error) {
	v.h.mu.RLock()
	defer v.h.mu.RUnlock()
	var out []capture.Target
	for name, p := range v.h.names {
		if p.endpoint.UserID == v.user.id {
			out = append(out, capture.Target{
				ID: string(name), Name: string(name), Live: v.h.o.Live(name), Signs: len(p.endpoint.Secrets.Signing) > 0,
			})
		}
	}
	slices.SortFunc(out, func(a, b capture.Target) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Replay sends a request once more, to the agent of one of the user's endpoints: to
// that of the exchange unless a.To says another. Only endpoints that are recorded can
// be reached, for the new exchange is to be seen.
func (v *View) Replay(ctx context.Context, a capture.Again) (string, error) {
	original, found, err := v.Get(ctx, a.Of)
	if err != nil {
		return "", err
	}
	if !found {
		return "", fmt.Errorf("%w: the request is not kept any more", relay.ErrNotFound)
	}
	to := cmp.Or(a.To, original.Endpoint)
	p := v.h.place(to)
	if p == nil || p.endpoint.UserID != v.user.id {
		return "", fmt.Errorf("%w: you have no endpoint %s that is recorded", relay.ErrNotFound, to)
	}
	name := p.endpoint.Name
	if !v.h.o.Live(name) {
		return "", fmt.Errorf("%w: no agent serves %s just now", relay.ErrOffline, name)
	}
	if a.Sign {
		r := signature.Request{Method: a.Method, URL: original.Request.Scheme + "://" + a.Host + a.Target, Header: a.Header, Body: a.Body}
		if r, err = v.h.o.Sign(name, r); err != nil {
			return "", err
		}
		a.Header, a.Body = r.Header, r.Body
		if u, err := url.Parse(r.URL); err == nil { // some sign in the query
			a.Target = u.RequestURI()
		}
	}
	return v.send(ctx, p, original, a)
}

func (v *View) send(ctx context.Context, p *place, original *capture.Exchange, a capture.Again) (string, error) {
	u, err := url.ParseRequestURI(a.Target)
	if err != nil {
		u = &url.URL{Path: a.Target}
	}
	req := (&http.Request{
		Method: a.Method, RequestURI: a.Target, URL: u, Host: a.Host, Header: a.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(a.Body)),
	}).WithContext(ctx)
	from := Sender{original.Visitor, original.Request.Scheme, a.Host}
	tap := p.recorder.Open(req, capture.Opening{
		RequestID: "rpl_" + ulid.Make().String(), Visitor: from.Visitor, Scheme: from.Scheme, Endpoint: string(p.endpoint.Name),
		Replay: true, ReplayOf: a.Of, Header: a.Header.Clone(),
	})
	if len(a.Body) > 0 {
		req.Body = tap.RequestBody(io.NopCloser(bytes.NewReader(a.Body)), int64(len(a.Body)), func() http.Header { return nil })
	}
	req.Header.Set(capture.ReplayHeader, "true")
	res, err := v.h.o.Carry(ctx, p.endpoint.Name, from, req)
	if err != nil {
		tap.End(err)
		if ctx.Err() != nil {
			return tap.ID(), ctx.Err()
		}
		return tap.ID(), nil // that it failed is part of the exchange
	}
	tap.Response(res)
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	tap.End(err)
	return tap.ID(), ctx.Err()
}
