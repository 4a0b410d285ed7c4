package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
)

const (
	// keptAnswer is how much of an app's answer is kept with an attempt.
	keptAnswer = 64 << 10
	// drainedAnswer is how much more of it is read, so that its connection can be
	// used again.
	drainedAnswer = 256 << 10
	// longestReason is how much of an error is kept, in bytes.
	longestReason = 500
)

func storeContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), storeTimeout)
}

// deliver makes one try of a delivery that is claimed, and finishes it.
func (b *Inbox) deliver(e *endpoint, d relay.Delivery) relay.Result {
	began := b.o.Now()
	ev, release, err := b.load(d.EventID)
	switch {
	case errors.Is(err, relay.ErrNotFound):
		return relay.Result{} // it was removed; its delivery went with it
	case err != nil:
		b.log.Error("load event", "event", d.EventID, "err", err)
		return b.settle(e, d, began, outcome{nil, errors.Join(errNotLoaded, err)})
	}
	defer release()
	ctx, cancel := context.WithTimeout(b.life, time.Duration(e.Settings.Timeout))
	defer cancel()
	res, err := b.o.Forward(ctx, e.Name, visitorOf(ev), b.request(ctx, e, ev, d)) //nolint:bodyclose // settle closes it
	return b.settle(e, d, began, outcome{res, err})
}

// errNotLoaded is the error of a try that the app has not seen, for reasons of ours.
var errNotLoaded = errors.New("the server could not read the event just now")

// load reads an event when there is memory for it.
func (b *Inbox) load(id string) (ev relay.Event, release func(), err error) {
	size, err := b.store.EventBytes(b.life, id)
	if err != nil {
		return relay.Event{}, nil, err
	}
	ctx, cancel := context.WithTimeout(b.life, memoryPatience)
	defer cancel()
	if err := b.leaving.wait(ctx, size); err != nil {
		return relay.Event{}, nil, fmt.Errorf("wait for memory: %w", err)
	}
	if ev, err = b.store.Event(b.life, id); err != nil {
		b.leaving.give(size)
		return relay.Event{}, nil, err
	}
	return ev, func() { b.leaving.give(size) }, nil
}

// visitorOf is who sent an event.
func visitorOf(ev relay.Event) Visitor {
	var v Visitor
	proto, rest, _ := strings.Cut(ev.URL, "://")
	v.Proto, v.Host = proto, strings.TrimSuffix(rest, ev.Target)
	v.Client, _ = netip.ParseAddr(ev.Client)
	return v
}

// request makes the request to the app. The body is the very bytes that came.
func (b *Inbox) request(ctx context.Context, e *endpoint, ev relay.Event, d relay.Delivery) *http.Request {
	v := visitorOf(ev)
	out := signature.Request{Method: ev.Method, URL: ev.URL, Header: delivered(ev.Header, ev, d), Body: ev.Body}
	target := ev.Target
	if local := strings.TrimSuffix(e.Settings.LocalURL, "/"); local != "" {
		out.URL = local + ev.Target
	}
	if !d.Live || e.Settings.LocalURL != "" {
		before := out.URL
		if out = e.resign(ev, out, b.o.Now()); out.URL != before {
			// The sender has a hash of the body in the query.
			if u, err := url.Parse(out.URL); err == nil {
				target = u.RequestURI()
			}
		}
	}
	r := &http.Request{
		Method: ev.Method, RequestURI: target, Host: v.Host, Header: out.Header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(ev.Body)),
	}
	var err error
	if r.URL, err = url.ParseRequestURI(target); err != nil {
		r.URL = &url.URL{Path: "/"} // RequestURI is what counts
	}
	if len(ev.Body) > 0 {
		r.Body = &memoryBody{b: ev.Body, Reader: bytes.NewReader(ev.Body)}
	}
	return r.WithContext(ctx)
}

// memoryBody is a body in memory, which http1 may take as a whole.
type memoryBody struct {
	*bytes.Reader
	b []byte
}

// Bytes gives the whole body.
func (m *memoryBody) Bytes() []byte { return m.b }

// Close makes it ready to be read again.
func (m *memoryBody) Close() error {
	m.Reset(m.b)
	return nil
}

// settle ends a try by the rules: delivered, again later, or dead.
func (b *Inbox) settle(e *endpoint, d relay.Delivery, began time.Time, o outcome) relay.Result {
	var at relay.Attempt
	var r relay.Result
	if o.err == nil {
		record := &recorder{}
		_, err := io.Copy(record, io.LimitReader(o.res.Body, keptAnswer+drainedAnswer))
		_ = o.res.Body.Close()
		at = record.attempt(o.res, began, b.o.Now())
		r = relay.Result{Status: o.res.StatusCode, RetryAfter: retryAfter(o.res.Header, b.o.Now())}
		if !r.OK() {
			r.Reason = fmt.Sprintf("the app answered %d %s", r.Status, http.StatusText(r.Status))
		}
		if err != nil && r.OK() {
			at.Reason = "the answer broke off: " + err.Error()
		}
	} else {
		at = relay.Attempt{Began: began, Ended: b.o.Now()}
		r = b.failure(e, o.err)
	}
	if at.Reason == "" {
		at.Reason = r.Reason
	}
	at.Reason = shorten(at.Reason)
	r.Reason = shorten(r.Reason)
	after := d.After(r, e.Settings.Schedule, b.o.Now(), b.o.Rand())
	b.finish(e, d, after, at)
	if after.State == relay.DeliveryDead {
		b.log.Warn("event is dead", "endpoint", e.Name, "event", d.EventID, "attempts", after.Attempt, "why", r.Reason)
	}
	return r
}

// failure says what an error of Forward means.
func (b *Inbox) failure(e *endpoint, err error) relay.Result {
	switch {
	case errors.Is(err, errNotLoaded):
		return relay.Result{Offline: true, Unsent: true, Reason: errNotLoaded.Error()}
	case errors.Is(err, relay.ErrOffline):
		return relay.Result{Offline: true, Unsent: errors.Is(err, ErrUnsent), Reason: "the agent was away"}
	case b.life.Err() != nil:
		return relay.Result{Offline: true, Reason: "the server was stopped"}
	case errors.Is(err, context.DeadlineExceeded):
		return relay.Result{Reason: fmt.Sprintf("no answer within %v", time.Duration(e.Settings.Timeout))}
	}
	return relay.Result{Reason: err.Error()}
}

func shorten(s string) string {
	if len(s) <= longestReason {
		return s
	}
	return strings.ToValidUTF8(s[:longestReason], "")
}

// finish writes down how a try ended, and does not give up while the claim lasts:
// what the store does not know the app would get again. A try that is by now
// somebody else's is let be.
func (b *Inbox) finish(e *endpoint, before, after relay.Delivery, at relay.Attempt) {
	for {
		ctx, cancel := storeContext()
		err := b.store.FinishAttempt(ctx, before, after, at)
		cancel()
		switch {
		case err == nil:
			return
		case errors.Is(err, relay.ErrTaken):
			b.log.Debug("a try was not ours any more", "endpoint", e.Name, "delivery", before.ID)
			return
		}
		b.log.Error("finish attempt", "endpoint", e.Name, "delivery", before.ID, "err", err)
		if !b.o.Now().Before(before.Lease) {
			return
		}
		select {
		case <-time.After(storePause):
		case <-b.life.Done():
			return
		}
	}
}

// recorder keeps the beginning of an answer.
type recorder struct {
	b   []byte
	cut bool
}

func (r *recorder) Write(p []byte) (int, error) {
	n := min(len(p), keptAnswer-len(r.b))
	r.b = append(r.b, p[:n]...)
	r.cut = r.cut || n < len(p)
	return len(p), nil
}

func (r *recorder) attempt(res *http.Response, began, ended time.Time) relay.Attempt {
	return relay.Attempt{Began: began, Ended: ended, Status: res.StatusCode, Header: res.Header, Body: r.b, Cut: r.cut}
}
