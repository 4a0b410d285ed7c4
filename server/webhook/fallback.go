package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// A call is a request to the app that is under way.
type call struct {
	done   chan outcome // buffered
	cancel context.CancelFunc
}

// outcome is what became of a call until its answer began.
type outcome struct {
	res *http.Response
	err error
}

// fallback keeps the event and asks the app at the same time. Whoever answers the
// sender first owns the event from then on: this function decides it, in one place,
// and nobody else can.
func (b *Inbox) fallback(w http.ResponseWriter, r *http.Request, a *arrival) {
	e := a.endpoint
	n := b.newEvent(a)
	if !b.o.Live(e.Name) || b.isEnding() {
		b.accepted(w, a, n)
		return
	}
	n.Strict = e.Settings.Strict()
	claim := b.lease(e, a.came)
	n.Live = &claim
	n.ID = b.store.NextEventID()
	a.event.ID = n.ID

	// Where the store may say no, it is asked before the app.
	var asked *call
	if n.DedupeSince.IsZero() && !n.Strict {
		asked = b.ask(a)
	}
	kept, err := b.keep(a, n)
	if err != nil {
		if asked != nil {
			b.drop(asked)
		}
		a.release()
		b.cannotKeep(w, e, err)
		return
	}
	switch {
	case kept.Event.State == relay.EventDuplicate:
		a.release()
		repeatAnswer(w, e, kept)
		return
	case kept.Delivery.State != relay.DeliverySending: // others come first
		a.release()
		b.wake(e.ID)
		accept(w, kept.Event.ID)
		return
	}
	if asked == nil {
		asked = b.ask(a)
	}
	b.race(w, r, a, kept.Delivery, asked)
}

// accepted keeps the event for later and says so.
func (b *Inbox) accepted(w http.ResponseWriter, a *arrival, n relay.NewEvent) {
	defer a.release()
	kept, err := b.keep(a, n)
	switch {
	case err != nil:
		b.cannotKeep(w, a.endpoint, err)
	case kept.Event.State == relay.EventDuplicate:
		repeatAnswer(w, a.endpoint, kept)
	default:
		b.wake(a.endpoint.ID)
		accept(w, kept.Event.ID)
	}
}

func (b *Inbox) isEnding() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.isClosing
}

// ask begins the call. It outlives the sender's patience, but not Timeout.
func (b *Inbox) ask(a *arrival) *call {
	ctx, cancel := context.WithTimeout(b.life, time.Duration(a.endpoint.Settings.Timeout))
	c := &call{done: make(chan outcome, 1), cancel: cancel}
	if !b.try(func() {
		res, err := b.o.Forward(ctx, a.endpoint.Name, a.visitor, b.request(ctx, a.endpoint, a.event, relay.Delivery{Try: 1, Live: true})) //nolint:bodyclose // pass, settle or drop closes it
		c.done <- outcome{res, err}
	}) {
		c.done <- outcome{nil, errEnding}
	}
	return c
}

// errEnding is the error of a call that came too late.
var errEnding = errors.Join(relay.ErrOffline, ErrUnsent, errors.New("the server stops"))

// drop breaks a call off and waits until it is over.
func (b *Inbox) drop(c *call) {
	c.cancel()
	if o := <-c.done; o.res != nil {
		_ = o.res.Body.Close()
	}
}

// race gives the sender the app's answer if it begins in time, and the relay's
// otherwise.
func (b *Inbox) race(w http.ResponseWriter, r *http.Request, a *arrival, d relay.Delivery, c *call) {
	patience := time.NewTimer(time.Duration(a.endpoint.Settings.AnswerWithin))
	defer patience.Stop()
	select {
	case o := <-c.done:
		if o.err == nil {
			b.pass(w, a, d, c, o.res)
			return
		}
		// From here on the event is the relay's: the sender is told so at once, the
		// claim that is on disk says so too.
		c.done <- o
	case <-patience.C:
	case <-r.Context().Done(): // nobody to tell; so it is the relay's
	}
	accept(w, a.event.ID)
	b.later(w, a, d, c)
}

// later has the try end as any other does, whenever that is.
func (b *Inbox) later(w http.ResponseWriter, a *arrival, d relay.Delivery, c *call) {
	end := func() {
		defer c.cancel()
		o := <-c.done
		b.settle(a.endpoint, d, a.came, o)
		a.release()
		b.wake(a.endpoint.ID)
	}
	if !b.try(end) { // the life of tries is over, or will be in a moment
		_ = http.NewResponseController(w).Flush()
		end()
	}
}

// pass gives the app's answer to the sender. The event is closed when the whole of
// it was handed over; before that, nobody was told the outcome.
func (b *Inbox) pass(w http.ResponseWriter, a *arrival, d relay.Delivery, c *call, res *http.Response) {
	defer c.cancel()
	defer a.release()
	passHeader(w.Header(), res.Header)
	if res.ContentLength < 0 {
		w.Header().Del("Content-Length")
	}
	if res.ContentLength == 0 && res.StatusCode != http.StatusNoContent && res.StatusCode != http.StatusNotModified {
		w.Header().Set("Content-Length", "0")
	}
	w.WriteHeader(res.StatusCode)
	to := flushing{w, http.NewResponseController(w)}
	record := &recorder{}
	_, err := io.Copy(to, io.TeeReader(res.Body, record))
	_ = res.Body.Close()
	if err == nil {
		err = to.flush() // the sender is told before the event is closed
	}

	at := record.attempt(res, a.came, b.o.Now())
	after := d
	after.State, after.Reason = relay.DeliveryClosed, ""
	if err != nil {
		// The sender has no whole answer. If the app took the event, that is good
		// enough; if not, the event is the relay's.
		at.Reason = "the answer did not reach the sender: " + err.Error()
		after = d.After(relay.Result{Status: res.StatusCode, Reason: at.Reason, RetryAfter: retryAfter(res.Header, b.o.Now())},
			a.endpoint.Settings.Schedule, b.o.Now(), b.o.Rand())
	}
	finish := func() {
		b.finish(a.endpoint, d, after, at)
		b.wake(a.endpoint.ID)
	}
	if err != nil || !b.try(finish) {
		finish()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // a short answer must not look whole
	}
}

// flushing sends on at once what an app has written.
type flushing struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if err == nil {
		err = f.flush()
	}
	return n, err
}

func (f flushing) flush() error {
	if err := f.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
