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

// pick returns the lane that moves the least: a small request behind a bulk
// transfer waits, on another link it does not.
func (t *Tunnel) pick() *lane {
	p := t.lanes.Load()
	if p == nil || len(*p) == 0 {
		return nil
	}
	all := *p
	best := all[0]
	if len(all) == 1 {
		return best
	}
	least := best.bulk()
	for _, l := range all[1:] {
		if least == 0 {
			break
		}
		if n := l.bulk(); n < least {
			best, least = l, n
		}
	}
	return best
}

// RoundTrip runs one exchange with the agent's service. An error of kind
// relay.ErrOffline means that the agent is gone; *http1.Failed that it could not
// get an answer from the service.
func (t *Tunnel) RoundTrip(req *http.Request) (*http.Response, error) {
	l := t.pick()
	if l == nil {
		return nil, t.offline(errors.New("no link"))
	}
	res, err := l.pool.RoundTrip(req)
	if err != nil {
		return nil, t.classify(l, err)
	}
	return res, nil
}

// Open opens a stream of its own, for what is not HTTP.
func (t *Tunnel) Open(ctx context.Context) (net.Conn, error) {
	l := t.pick()
	if l == nil {
		return nil, t.offline(errors.New("no link"))
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

// classify decides between a failure and an agent that is gone.
func (t *Tunnel) classify(l *lane, err error) error {
	var failed *http1.Failed
	var body *http1.BodyError
	if errors.As(err, &failed) || errors.As(err, &body) {
		return err
	}
	if t.IsGone() || l.ended() {
		return t.offline(err)
	}
	return err
}

func (t *Tunnel) offline(err error) error {
	return fmt.Errorf("%s: %w: %w", t.Host, relay.ErrOffline, err)
}
