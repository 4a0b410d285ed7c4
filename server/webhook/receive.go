package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
)

// storeTimeout is how long the store may take. A sender has given up by then.
const storeTimeout = 10 * time.Second

// arrival is a request that has been read.
type arrival struct {
	endpoint *endpoint
	event    relay.Event
	visitor  Visitor
	signed   signature.Request
	came     time.Time
	release  func() // gives the memory of the body back; called once
	told     func(relay.Event)
}

// receive is the door of an endpoint.
func (b *Inbox) receive(w http.ResponseWriter, r *http.Request, e *endpoint, live http.Handler) {
	if !e.covers(r) || upgrades(r) {
		live.ServeHTTP(w, r)
		return
	}
	reads := e.Settings.Inbox == relay.InboxFallback && onlyReads(r)
	if reads && !e.handshakes() {
		live.ServeHTTP(w, r)
		return
	}
	a := &arrival{endpoint: e, came: b.o.Now(), release: func() {}, told: func(ev relay.Event) { b.o.Found(r, ev) }}
	if !reads { // such a request has no body that counts, and it may have to go on
		var p *problem
		if a.event.Body, a.release, p = b.read(w, r, e.Settings.MaxBody); p != nil {
			refuse(w, *p)
			return
		}
	}
	b.describe(a, r)
	if b.handshake(w, a) {
		a.release()
		return
	}
	if reads {
		live.ServeHTTP(w, r)
		return
	}
	if !b.check(w, a) {
		a.release()
		return
	}
	if !b.room(e, a.event.Size) {
		a.release()
		refuse(w, inboxFull)
		return
	}
	if e.Settings.Inbox == relay.InboxAlways {
		b.always(w, a)
		return
	}
	b.fallback(w, r, a)
}

// covers tells whether the inbox is for the path of the request. It errs on the
// side of the inbox: however an app cleans a path, what it takes for the inbox's
// must have been checked here.
func (e *endpoint) covers(r *http.Request) bool {
	if e.Settings.Path == "" || e.Settings.Path == "/" {
		return true
	}
	want := strings.ToLower(path.Clean(e.Settings.Path))
	have := strings.ToLower(path.Clean("/" + strings.ReplaceAll(r.URL.Path, `\`, "/")))
	return have == want || strings.HasPrefix(have, want+"/") || strings.HasPrefix(have, want+";")
}

func onlyReads(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// upgrades tells whether the request wants another protocol, which nobody can keep.
func upgrades(r *http.Request) bool {
	for _, v := range r.Header["Connection"] {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), "upgrade") && r.Header.Get("Upgrade") != "" && onlyReads(r) {
				return true
			}
		}
	}
	return false
}

// firstRead is how much memory a body gets at first. It grows with what arrives and
// not with what is announced: a sender that announces much must not keep others out.
const firstRead = 16 << 10

// read takes the body into memory, within the limit of the endpoint and the budget
// of the server. release gives the memory back.
func (b *Inbox) read(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, release func(), p *problem) {
	if r.ContentLength > limit {
		return nil, nil, &bodyTooLarge
	}
	most := limit
	if r.ContentLength >= 0 {
		most = r.ContentLength
	}
	if most == 0 || r.Body == nil {
		return nil, func() {}, nil
	}
	var held int64
	fail := func(p problem) ([]byte, func(), *problem) {
		b.arriving.give(held)
		return nil, nil, &p
	}
	rc := http.NewResponseController(w)
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	var set time.Time
	for {
		if len(body) == cap(body) {
			size := min(max(2*int64(cap(body)), firstRead), most+1) // one more byte shows that it is too long
			if !b.arriving.take(size - held) {
				return fail(serverFull)
			}
			held = size
			body = append(make([]byte, 0, size), body...)
		}
		if now := time.Now(); now.Sub(set) > b.o.Progress/8 {
			set = now
			_ = rc.SetReadDeadline(now.Add(b.o.Progress))
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		var tooLong *http.MaxBytesError
		switch {
		case int64(len(body)) > limit:
			return fail(bodyTooLarge)
		case errors.Is(err, io.EOF):
			return body, func() { b.arriving.give(held) }, nil
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fail(bodyStalled)
		case errors.As(err, &tooLong):
			return fail(bodyTooLarge)
		default:
			return fail(badBody)
		}
	}
}

// describe fills in what the request says of itself.
func (b *Inbox) describe(a *arrival, r *http.Request) {
	a.visitor = b.o.Visitor(r)
	if a.visitor.Host == "" {
		a.visitor.Host = r.Host
	}
	e := &a.event
	e.EndpointID = a.endpoint.ID
	e.Received = a.came
	e.Method = r.Method
	e.Target = r.RequestURI
	if !strings.HasPrefix(e.Target, "/") { // in absolute form
		e.Target = r.URL.RequestURI()
	}
	e.URL = a.visitor.Proto + "://" + a.visitor.Host + e.Target
	e.Header = r.Header.Clone()
	if a.visitor.Client.IsValid() {
		e.Client = a.visitor.Client.String()
	}
	e.Size = int64(len(e.Body))
	a.signed = signature.Request{Method: e.Method, URL: e.URL, Header: e.Header, Body: e.Body}
}

// keep commits the event. The sender may have left by now: what has arrived is kept
// all the same, because nobody else will send it again.
func (b *Inbox) keep(a *arrival, n relay.NewEvent) (relay.Kept, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	kept, err := b.store.AddEvent(ctx, n)
	if err == nil {
		a.told(kept.Event)
	}
	return kept, err
}

// cannotKeep tells the sender that nothing was accepted.
func (b *Inbox) cannotKeep(w http.ResponseWriter, e *endpoint, err error) {
	b.log.Error("keep event", "endpoint", e.Name, "err", err)
	refuse(w, notKept)
}

// newEvent is what there is to keep of an arrival.
func (b *Inbox) newEvent(a *arrival) relay.NewEvent {
	n := relay.NewEvent{Event: a.event}
	if window := time.Duration(a.endpoint.Settings.Dedupe); window > 0 && a.event.ProviderID != "" {
		n.DedupeSince = a.came.Add(-window)
	}
	return n
}
