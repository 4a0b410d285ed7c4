package edge

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/relaytunnel/relay/internal/relay"
)

// Visitor is who sent a request, as the app is told.
type Visitor struct {
	Client netip.Addr
	Proto  string // http or https, as the visitor used it
	Host   string // with the port that the visitor named
}

// Visitor tells who sent a request that Target.Inbox was given.
func (e *Edge) Visitor(r *http.Request) Visitor {
	c := call{edge: e, r: r}
	c.identify()
	return Visitor{Client: c.client, Proto: c.proto, Host: r.Host}
}

// Carry carries a request that was kept, or made, by the server to the app behind a
// host, and tells the app of the visitor as of any other. Headers of the relay itself
// (Relay-…) are the caller's. It tries once and does not wait for an agent: without one
// the error is of kind relay.ErrOffline and wraps an *http1.DialError, or is ErrNoTunnel, when nothing
// of the request has left. The caller closes the body of the answer, whose header is
// fit for a visitor.
func (e *Edge) Carry(ctx context.Context, host string, v Visitor, req *http.Request) (*http.Response, error) {
	t := e.o.Resolve(host)
	if t.Tunnel == nil {
		return nil, ErrNoTunnel
	}
	c := call{edge: e, r: req, id: e.ids.next(), host: host, hostport: v.Host, client: v.Client, proto: v.Proto, target: req.RequestURI}
	own := http.Header{}
	for k, vs := range req.Header {
		if len(k) > 6 && k[:6] == "Relay-" {
			own[k] = vs
		}
	}
	dropForged(req.Header)
	dropHopByHop(req.Header)
	for k, vs := range own {
		req.Header[k] = vs
	}
	c.tell(nil)
	res, err := t.Tunnel.RoundTrip(c.outgoing(ctx, t, req.Body))
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	c.answerHeader(h, res)
	if h["Content-Type"] == nil {
		delete(h, "Content-Type")
	}
	res.Header = h
	return res, nil
}

// ErrNoTunnel is the error of Carry when no agent is there; it is of kind
// relay.ErrOffline, and nothing was sent.
var ErrNoTunnel = &offlineError{}

// offlineError says that there was no agent to send anything to.
type offlineError struct{}

func (*offlineError) Error() string { return "no agent is connected" }

// Is makes it relay.ErrOffline.
func (*offlineError) Is(target error) bool { return target == relay.ErrOffline }
