package server

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/edge"
	"github.com/relaytunnel/relay/server/history"
	"github.com/relaytunnel/relay/server/store"
)

// openHistory makes what records exchanges, for the endpoints that want it.
func (s *Server) openHistory(ctx context.Context, st *store.Store) error {
	s.history = history.New(history.Options{
		Store: st, Carry: s.carryReplay, Sign: s.inbox.Sign, Log: s.log, Memory: max(s.memory/4, minHistory),
		Live: func(name relay.Name) bool { _, ok := s.registry.Find(s.hostOf(name)); return ok },
	})
	all, err := st.Endpoints(ctx)
	for _, e := range all {
		s.history.Set(e)
	}
	return err
}

// minHistory is how much memory, in bytes, recorded exchanges may take at least.
const minHistory = 16 << 20

// carryReplay takes a replay to an agent, as an event would go.
func (s *Server) carryReplay(ctx context.Context, name relay.Name, from history.Sender, req *http.Request) (*http.Response, error) {
	s.doors.of(name).Strip(req)
	client, _ := netip.ParseAddr(from.Visitor)
	return s.edge.Carry(ctx, s.hostOf(name), edge.Visitor{Client: client, Proto: from.Scheme, Host: from.Host}, req)
}

// recordOf is where the exchanges of a name are recorded; nil where they are not.
func (s *Server) recordOf(name relay.Name) *edge.Record {
	if r := s.history.Recorder(name); r != nil {
		return &edge.Record{Recorder: r, Endpoint: string(name)}
	}
	return nil
}

// trafficStep is how exact the numbers of requests are in time.
const trafficStep = 15 * time.Minute

// trafficKept is how long they are kept.
const trafficKept = 35 * 24 * time.Hour

// traffic counts the requests of each user.
type traffic struct {
	mu     sync.RWMutex
	counts map[string]*edge.Traffic // by id of the user
}

// of is what counts a user's requests; "" is nobody, and not counted.
func (t *traffic) of(userID string) *edge.Traffic {
	if userID == "" {
		return nil
	}
	t.mu.RLock()
	c := t.counts[userID]
	t.mu.RUnlock()
	if c != nil {
		return c
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c = t.counts[userID]; c == nil {
		if t.counts == nil {
			t.counts = map[string]*edge.Traffic{}
		}
		c = &edge.Traffic{}
		t.counts[userID] = c
		c.Concurrent.Store(int64(relay.Rights{}.Defaults("").Concurrent))
	}
	return c
}

// limit takes over the rights of a user.
func (t *traffic) limit(u relay.User) {
	c, r := t.of(u.ID), u.Rights.Defaults(u.Name)
	c.Concurrent.Store(int64(r.Concurrent))
	if r.Rate <= 0 {
		c.Rate.Store(nil)
		return
	}
	// A second's worth may come at once.
	limiter := rate.NewLimiter(rate.Limit(r.Rate), max(1, int(r.Rate)))
	allow := func(now time.Time) time.Duration {
		v := limiter.ReserveN(now, 1)
		wait := v.DelayFrom(now)
		if wait > 0 {
			v.CancelAt(now)
		}
		return wait
	}
	c.Rate.Store(&allow)
}

// openTraffic takes over the rights of all users.
func (s *Server) openTraffic(ctx context.Context, st *store.Store) error {
	all, err := st.Users(ctx)
	for _, u := range all {
		s.traffic.limit(u)
	}
	return err
}

// take gives what was counted since it was called before.
func (t *traffic) take(now time.Time) []store.Traffic {
	at := now.Truncate(trafficStep)
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []store.Traffic
	for id, c := range t.counts {
		one := store.Traffic{UserID: id, At: at, Requests: c.Requests.Swap(0), Errors: c.Errors.Swap(0)}
		if one.Requests > 0 || one.Errors > 0 {
			out = append(out, one)
		}
	}
	return out
}

// saveTraffic keeps what was counted.
func (s *Server) saveTraffic(ctx context.Context) {
	all := s.traffic.take(time.Now())
	if len(all) == 0 {
		return
	}
	if err := s.store.AddTraffic(ctx, all); err != nil {
		s.log.Warn("numbers of requests were not kept", "err", err)
	}
}
