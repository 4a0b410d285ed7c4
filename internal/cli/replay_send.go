package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/compare"
	"github.com/relaytunnel/relay/internal/inspector"
	"github.com/relaytunnel/relay/internal/signature"
)

// replayer sends recorded requests to an app and compares its answers.
type replayer struct {
	to          *url.URL
	client      *http.Client
	header      http.Header // in place of what was recorded
	sign        func(r signature.Request, now time.Time) (signature.Request, error)
	compare     bool
	rules       *compare.Rules
	concurrency int
	asJSON      bool
	env         *env
	now         func() time.Time

	answered atomic.Bool // the app has answered at least once
}

// outcome says what came of a request.
type outcome string

// The outcomes.
const (
	outcomeSent    outcome = "sent" // and answered; nobody compared
	outcomeSame    outcome = "same"
	outcomeChanged outcome = "changed"
	outcomeFailed  outcome = "failed"  // there was no answer
	outcomeSkipped outcome = "skipped" // it cannot be sent, or its answer not be compared
)

// replayedEvent is what came of one request; see docs/json.md.
type replayedEvent struct {
	ID         string           `json:"id"`
	Method     string           `json:"method"`
	Path       string           `json:"path"`
	Outcome    outcome          `json:"outcome"`
	Before     int              `json:"before"`
	Status     int              `json:"status"`
	DurationMS float64          `json:"duration_ms"`
	Changes    []compare.Change `json:"changes,omitempty"`
	LeftOut    []string         `json:"left_out,omitempty"`
	Error      string           `json:"error,omitempty"`

	took time.Duration
}

// run sends all and tells what came of them, in their order. It fails when an answer has
// changed or is missing, or when nothing could be sent.
func (rp *replayer) run(ctx context.Context, list []recorded) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]chan replayedEvent, len(list))
	for i := range results {
		results[i] = make(chan replayedEvent, 1)
	}
	began := rp.now()
	sum := summaryEvent{Chosen: len(list), To: rp.to.String()}
	var g, all errgroup.Group
	g.SetLimit(rp.concurrency)
	all.Go(func() error {
		for i, one := range list {
			g.Go(func() error {
				defer close(results[i])
				if ctx.Err() != nil {
					return nil
				}
				x, err := rp.one(ctx, one)
				switch {
				case err != nil:
					cancel(err)
				case ctx.Err() == nil: // what was broken off says nothing about the app
					results[i] <- x
				}
				return nil
			})
		}
		return g.Wait()
	})
	var written error
	for _, result := range results {
		if x, ok := <-result; ok && written == nil {
			sum.count(x)
			if written = rp.tell(x); written != nil {
				cancel(written)
			}
		}
	}
	_ = all.Wait() // returns no error: they are told by the context
	if err := context.Cause(ctx); err != nil {
		return err
	}
	sum.DurationMS = milliseconds(rp.now().Sub(began))
	return rp.conclude(sum)
}

// one sends a request and says what came of it. An error is an end of all: there is
// nobody to send to, or nobody to load from.
func (rp *replayer) one(ctx context.Context, r recorded) (replayedEvent, error) {
	out := replayedEvent{ID: r.id, Outcome: outcomeSkipped}
	x, err := r.load(ctx)
	var skipped errSkipped
	if errors.As(err, &skipped) {
		out.Error = skipped.Error()
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.Method, out.Path, out.Before = x.Request.Method, x.Request.Target, x.Status()
	req, body, left, err := rp.request(ctx, x)
	if err != nil {
		out.Error = err.Error()
		return out, nil //nolint:nilerr // it is what came of the request
	}
	out.LeftOut = left
	began := rp.now()
	got, err := rp.send(req, body)
	out.took = rp.now().Sub(began)
	out.DurationMS = milliseconds(out.took)
	switch {
	case err != nil:
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" && !rp.answered.Load() {
			return out, &client.UnreachableError{Server: rp.to.String(), Err: client.Plainly(err)}
		}
		out.Outcome, out.Error = outcomeFailed, rp.plainly(err)
		if rp.compare && x.Response == nil { // as it was
			out.Outcome = outcomeSame
		}
		return out, nil
	case !rp.compare:
		out.Outcome = outcomeSent
	default:
		out.Outcome = outcomeSame
		if out.Changes = rp.rules.Answers(x.Response, got); len(out.Changes) > 0 {
			out.Outcome = outcomeChanged
		}
	}
	rp.answered.Store(true)
	out.Status = got.Status
	return out, nil
}

// request makes the request that repeats x, and lists the masked fields that it does not
// have. The error says why there is none, to people.
func (rp *replayer) request(ctx context.Context, x *capture.Exchange) (req *http.Request, body []byte, leftOut []string, err error) {
	switch {
	case x.State == capture.Live:
		return nil, nil, nil, errSkipped("it is not over yet")
	case x.Request.Header.Get("Upgrade") != "":
		return nil, nil, nil, errSkipped("it is a WebSocket or another upgrade")
	case incomplete(&x.Request.Body):
		return nil, nil, nil, errSkipped("only the beginning of its body was kept")
	case x.Request.Body.Masked || bytes.Contains(x.Request.Body.Kept, []byte(capture.Mask)):
		return nil, nil, nil, errSkipped("its body has masked values; export it with --reveal")
	case rp.compare && x.Response != nil && incomplete(&x.Response.Body):
		return nil, nil, nil, errSkipped("only the beginning of its answer was kept, which cannot be compared")
	case rp.compare && x.Response != nil && byRelay(x.Response):
		return nil, nil, nil, errSkipped("the relay answered it, and not the app")
	}
	again, err := inspector.Again(x)
	if err != nil {
		return nil, nil, nil, err
	}
	if again.Header == nil {
		again.Header = http.Header{}
	}
	for name, values := range again.Header {
		whole := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return strings.Contains(v, capture.Mask) })
		if len(whole) == len(values) {
			continue
		}
		if again.Header[name] = whole; len(whole) == 0 {
			delete(again.Header, name)
		}
		if _, given := rp.header[name]; !given {
			leftOut = append(leftOut, name)
		}
	}
	slices.Sort(leftOut)
	for name, values := range rp.header {
		again.Header[name] = values
	}
	host := rp.to.Host
	if isHere(rp.to.Hostname()) && again.Host != "" { // as from the agent
		host = again.Host
	}
	if given := again.Header.Get("Host"); given != "" {
		host = given
		again.Header.Del("Host")
	}
	if rp.sign != nil {
		signed, err := rp.sign(signature.Request{Method: again.Method, URL: rp.to.String() + again.Target, Header: again.Header, Body: again.Body}, rp.now())
		if err != nil {
			return nil, nil, nil, errSkipped("it cannot be signed: " + err.Error())
		}
		again.Header, again.Body = signed.Header, signed.Body
	}
	if again.Header["User-Agent"] == nil {
		again.Header["User-Agent"] = nil // or the library adds its own
	}
	req, err = http.NewRequestWithContext(ctx, again.Method, rp.to.String(), bytes.NewReader(again.Body))
	if err != nil {
		return nil, nil, nil, err
	}
	req.URL, err = targetBelow(rp.to, again.Target)
	req.Host, req.Header = host, again.Header
	return req, again.Body, leftOut, err
}

// byRelay tells whether the recorded answer is none of the app's: an error of the relay,
// or the usual one of an inbox, which has the id of the event.
func byRelay(r *capture.Response) bool {
	if r.Header.Get("Relay-Error") != "" {
		return true
	}
	id, ok := bytes.CutPrefix(r.Body.Kept, []byte(`{"id":"evt_`))
	return ok && r.Status == http.StatusAccepted && bytes.IndexByte(id, ',') < 0
}

// incomplete tells whether something of a body is missing.
func incomplete(b *capture.Body) bool { return b.Truncated || b.Omitted && b.Size > 0 }

// plainly says why there was no answer.
func (rp *replayer) plainly(err error) string {
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		return "no answer within " + rp.client.Timeout.String()
	case errors.Is(err, io.EOF):
		return "the app closed the connection without an answer"
	}
	return client.Plainly(err).Error()
}

// targetBelow is the URL of a target, byte for byte, at an app.
func targetBelow(to *url.URL, target string) (*url.URL, error) {
	target = strings.TrimSuffix(to.EscapedPath(), "/") + target
	u, err := url.Parse(to.Scheme + "://" + to.Host + target)
	if err == nil && u.RequestURI() == target {
		return u, nil
	}
	if strings.HasPrefix(target, "//") { // would be an authority
		return nil, errSkipped("its path cannot be sent as it was")
	}
	return &url.URL{Scheme: to.Scheme, Host: to.Host, Opaque: target}, nil
}

// isHere tells whether a host is this machine.
func isHere(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// send sends a request and reads the answer whole.
func (rp *replayer) send(req *http.Request, body []byte) (*capture.Response, error) {
	if len(body) == 0 && (req.Method == http.MethodGet || req.Method == http.MethodHead) {
		req.Body = http.NoBody
	}
	res, err := rp.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer broke off: %w", err)
	case len(got) > maxAnswer:
		return nil, fmt.Errorf("the answer is longer than %s", size(maxAnswer))
	}
	return compare.KeptOf(res, got), nil
}
