package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/relaytunnel/relay/internal/http1"
	"github.com/relaytunnel/relay/internal/relay"
)

// Tunnel is a live way from a public host to one agent's service. It is an
// http.RoundTripper; see http1.Pool for what requests may ask of it.
type Tunnel struct {
	// Host is the canonical public host.
	Host string
	// Name is the name that was bound.
	Name string
	// URL is what the user was told.
	URL string
	// User is the name of the user who holds it.
	User string
	// Session and Agent name the agent's session and the agent itself; Where is
	// its machine and Since when it came, for people.
	Session, Agent, Where string
	Since                 time.Time
	// HostHeader replaces the Host that the service sees, when set.
	HostHeader string
	// Gone is closed when the agent is gone. An error after that is ErrOffline.
	Gone <-chan struct{}
	// End ends the tunnel's session and tells the agent why.
	End func(why string)

	mu    sync.Mutex
	ready chan struct{} // closed with the first lane; made by whoever comes first
	lanes atomic.Pointer[[]*lane]
}

// lane is one link of the tunnel's session, with its kept streams.
type lane struct {
	pool  http1.Pool
	bulk  func() int
	ended func() bool
}

// streamIdle is how long an unused stream is kept: less than the time after
// which common services close theirs would be better still, but streams also
// tell when they were closed (see link.Stream.Idle).
const streamIdle = time.Minute

// AddLane lets the tunnel use one more link: dial opens a stream on it, bulk is
// the number of its streams that move much, ended tells whether the link has
// begun to end. remove takes the lane away.
func (t *Tunnel) AddLane(dial func(context.Context) (net.Conn, error), bulk func() int, ended func() bool) (remove func()) {
	l := &lane{bulk: bulk, ended: ended}
	l.pool.Dial = dial
	l.pool.Agent = true
	l.pool.IdleTimeout = streamIdle
	t.change(func(all []*lane) []*lane { return append(all, l) })
	t.mu.Lock()
	if t.ready == nil {
		t.ready = make(chan struct{})
	}
	select {
	case <-t.ready:
	default:
		close(t.ready)
	}
	t.mu.Unlock()
	return func() {
		t.change(func(all []*lane) []*lane {
			var rest []*lane
			for _, o := range all {
				if o != l {
					rest = append(rest, o)
				}
			}
			return rest
		})
		l.pool.Close()
	}
}

func (t *Tunnel) change(f func([]*lane) []*lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*lane
	if p := t.lanes.Load(); p != nil {
		all = append(all, *p...)
	}
	all = f(all)
	t.lanes.Store(&all)
}

// lane returns the lane that moves the least: a small request behind a bulk
// transfer waits, on another link it does not. A tunnel is found from the moment
// its name is bound, which is before its link is up: the first requests wait.
func (t *Tunnel) lane(ctx context.Context) (*lane, error) {
	p := t.lanes.Load()
	if p == nil {
		t.mu.Lock()
		if t.ready == nil {
			t.ready = make(chan struct{})
		}
		ready := t.ready
		t.mu.Unlock()
		select {
		case <-ready:
		case <-t.Gone:
			return nil, t.offline(errNoLink)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		p = t.lanes.Load()
	}
	var best *lane
	least := 0
	for _, l := range *p {
		if l.ended() {
			continue
		}
		n := l.bulk()
		if best == nil || n < least {
			best, least = l, n
		}
		if n == 0 {
			break
		}
	}
	if best == nil {
		return nil, t.offline(errNoLink)
	}
	return best, nil
}

// errNoLink is an http1.DialError: nothing of a request was sent.
var errNoLink = &http1.DialError{Err: errors.New("no link")}

// RoundTrip runs one exchange with the agent's service. An error of kind
// relay.ErrOffline means that the agent is gone; *http1.Failed that it could not
// get an answer from the service.
func (t *Tunnel) RoundTrip(req *http.Request) (*http.Response, error) {
	l, err := t.lane(req.Context())
	if err != nil {
		return nil, err
	}
	res, err := l.pool.RoundTrip(req)
	if err != nil {
		return nil, t.classify(l, err)
	}
	return res, nil
}

// Open opens a stream of its own, for what is not HTTP.
func (t *Tunnel) Open(ctx context.Context) (net.Conn, error) {
	l, err := t.lane(ctx)
	if err != nil {
		return nil, err
	}
	c, err := l.pool.Dial(ctx)
	if err != nil {
		return nil, t.classify(l, err)
	}
	return c, nil
}

// IsGone tells whether the agent is gone.
func (t *Tunnel) IsGone() bool {
	select {
	case <-t.Gone:
		return true
	default:
		return false
	}
}

// Live tells whether a request may try: the agent is not gone, and has a link
// that has not ended, or will have its first in a moment.
func (t *Tunnel) Live() bool {
	if t.IsGone() {
		return false
	}
	p := t.lanes.Load()
	if p == nil {
		return true
	}
	for _, l := range *p {
		if !l.ended() {
			return true
		}
	}
	return false
}

// classify decides between a failure and an agent that is gone.
func (t *Tunnel) classify(l *lane, err error) error {
	var failed *http1.Failed
	var body *http1.BodyError
	if errors.As(err, &failed) || errors.As(err, &body) {
		return err
	}
	if t.IsGone() || l.ended() || errors.Is(err, net.ErrClosed) && !t.Live() {
		return t.offline(err)
	}
	return err
}

func (t *Tunnel) offline(err error) error {
	return fmt.Errorf("%s: %w: %w", t.Host, relay.ErrOffline, err)
}
