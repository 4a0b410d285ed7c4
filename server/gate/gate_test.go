package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/link"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/protocol"
	"github.com/relaytunnel/relay/server/gate"
	"github.com/relaytunnel/relay/server/registry"
)

const patience = 10 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door is a gate with everything behind it played: a token is the name of its
// user, every name is free, resume secrets are kept in memory.
type door struct {
	*gate.Gate
	registry registry.Registry
	url      string
	skew     atomic.Int64 // the clock is ahead by this

	mu      sync.Mutex
	resumes map[string]resume
}

type resume struct {
	user, agent, session string
	expires              time.Time
}

func (d *door) now() time.Time { return time.Now().Add(time.Duration(d.skew.Load())) }

func open(t *testing.T, change func(*gate.Options)) *door {
	t.Helper()
	d := &door{resumes: map[string]resume{}}
	o := gate.Options{
		Authenticate: func(_ context.Context, token string, _ netip.Addr) (relay.User, relay.Token, error) {
			switch token {
			case "slow":
				return relay.User{}, relay.Token{}, relay.ErrLimit
			case "broken":
				return relay.User{}, relay.Token{}, errors.New("the disk is on fire")
			case "bad":
				return relay.User{}, relay.Token{}, relay.ErrDenied
			}
			return relay.User{ID: "usr_" + token, Name: token}, relay.Token{ID: "tok_" + token}, nil
		},
		Claim: func(_ context.Context, _ relay.User, b protocol.Bind, _ func(string) bool) (gate.Claimed, error) {
			if b.Name == "others" {
				return gate.Claimed{}, &protocol.Error{Code: protocol.CodeTaken, Bind: b.ID, Message: "The name others belongs to another user."}
			}
			return gate.Claimed{Name: b.Name, Host: b.Name + ".relay.test", URL: "https://" + b.Name + ".relay.test"}, nil
		},
		SaveResume: func(_ context.Context, hash []byte, user, agent, session string, expires time.Time) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.resumes[string(hash)] = resume{user, agent, session, expires}
			return nil
		},
		TakeResume: func(_ context.Context, hash []byte, user, agent string) (string, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			r, ok := d.resumes[string(hash)]
			delete(d.resumes, string(hash))
			if !ok || r.user != user || r.agent != agent || d.now().After(r.expires) {
				return "", relay.ErrNotFound
			}
			return r.session, nil
		},
		RemoteAddr: func(r *http.Request) netip.Addr { return netip.MustParseAddrPort(r.RemoteAddr).Addr() },
		Registry:   &d.registry,
		Now:        d.now,
	}
	if change != nil {
		change(&o)
	}
	d.Gate = gate.New(o)
	srv := httptest.NewServer(d.Gate)
	d.url = srv.URL
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); _ = d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ran
		d.Close()
		srv.Close()
		if n := d.Sessions(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		if left := d.registry.Snapshot(); len(left) != 0 {
			t.Errorf("%d tunnels are left", len(left))
		}
	})
	return d
}

// agent is one link of an agent that the test plays.
type agent struct {
	*link.Link
	protocol.Welcome
	said chan protocol.Message
}

func hello(id string, names ...string) protocol.Hello {
	h := protocol.Hello{Agent: id, Hostname: "laptop-of-" + id}
	for i, n := range names {
		h.Binds = append(h.Binds, protocol.Bind{ID: uint32(i + 1), Kind: protocol.KindHTTP, Name: n})
	}
	return h
}

// dial connects; a refusal is a *protocol.Error.
func (d *door) dial(t *testing.T, token string, h protocol.Hello) (*agent, error) {
	t.Helper()
	a := &agent{said: make(chan protocol.Message, 64)}
	enc, err := protocol.Encode(h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, head, err := link.Dial(ctx, link.DialOptions{
		URL:    "ws" + strings.TrimPrefix(d.url, "http"),
		Header: http.Header{"Authorization": {"Bearer " + token}, protocol.HelloHeader: {enc}},
	}, link.Options{Control: func(_ *link.Link, m protocol.Message) { a.said <- m }})
	if err != nil {
		var refusal *link.Refusal
		if errors.As(err, &refusal) {
			var e protocol.Error
			if jerr := json.Unmarshal(refusal.Body, &e); jerr != nil {
				t.Fatalf("refused with %d %q, which is no Error", refusal.Status, refusal.Body)
			}
			return nil, &e
		}
		return nil, err
	}
	if err := protocol.Decode(head.Get(protocol.WelcomeHeader), &a.Welcome); err != nil {
		t.Fatal(err)
	}
	a.Link = l
	t.Cleanup(func() { _ = l.Close() })
	return a, nil
}

func (d *door) mustDial(t *testing.T, token string, h protocol.Hello) *agent {
	t.Helper()
	a, err := d.dial(t, token, h)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// holder is the session that serves a name; empty for none.
func (d *door) holder(name string) string {
	if tun, ok := d.registry.Find(name + ".relay.test"); ok {
		return tun.Session
	}
	return ""
}

func (a *agent) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-a.Done():
	case <-time.After(patience):
		t.Fatal("the link does not end")
	}
}

func (a *agent) await(t *testing.T) protocol.Message {
	t.Helper()
	select {
	case m := <-a.said:
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
		return protocol.Message{}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen: " + what)
		}
	}
}

func TestRefusals(t *testing.T) {
	d := open(t, nil)
	many := hello("a")
	for i := range protocol.MaxBinds + 1 {
		many.Binds = append(many.Binds, protocol.Bind{ID: uint32(i + 1), Kind: protocol.KindHTTP, Name: fmt.Sprint("n", i)})
	}
	twice := hello("a", "one", "two")
	twice.Binds[1].ID = 1
	odd := hello("a", "one")
	odd.Binds[0].Kind = "carrier-pigeon"
	encoded := func(h protocol.Hello) string {
		e, err := protocol.Encode(h)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, c := range []struct {
		name   string
		change func(http.Header)
		status int
		code   protocol.Code
		says   string
	}{
		{"no token", func(h http.Header) { h.Del("Authorization") }, 401, protocol.CodeAuth, "relay login"},
		{"another kind of credentials", func(h http.Header) { h.Set("Authorization", "Basic YTpi") }, 401, protocol.CodeAuth, "relay login"},
		{"bad token", func(h http.Header) { h.Set("Authorization", "Bearer bad") }, 401, protocol.CodeAuth, "not valid"},
		{"too many tries", func(h http.Header) { h.Set("Authorization", "Bearer slow") }, 429, protocol.CodeLimit, ""},
		{"the store fails", func(h http.Header) { h.Set("Authorization", "Bearer broken") }, 503, protocol.CodeInternal, "log"},
		{"another version", func(h http.Header) { h.Set("Sec-Websocket-Protocol", "relay.v9") }, 426, protocol.CodeVersion, "Update the older"},
		{"a browser", func(h http.Header) { h.Set("Origin", "https://evil.example") }, 403, protocol.CodeDenied, "browser"},
		{"no hello", func(h http.Header) { h.Del(protocol.HelloHeader) }, 400, protocol.CodeBadRequest, protocol.HelloHeader},
		{"a hello of rubbish", func(h http.Header) { h.Set(protocol.HelloHeader, "!!!") }, 400, protocol.CodeBadRequest, protocol.HelloHeader},
		{"a hello without an agent", func(h http.Header) { h.Set(protocol.HelloHeader, encoded(hello(""))) }, 400, protocol.CodeBadRequest, "agent id"},
		{"too many binds", func(h http.Header) { h.Set(protocol.HelloHeader, encoded(many)) }, 400, protocol.CodeBadRequest, "too many binds"},
		{"one bind id twice", func(h http.Header) { h.Set(protocol.HelloHeader, encoded(twice)) }, 400, protocol.CodeBadRequest, "bind id"},
		{"an unknown kind", func(h http.Header) { h.Set(protocol.HelloHeader, encoded(odd)) }, 400, protocol.CodeBadRequest, "carrier-pigeon"},
		{"another user's name", func(h http.Header) { h.Set(protocol.HelloHeader, encoded(hello("a", "mine", "others"))) }, 409, protocol.CodeTaken, "belongs to another user"},
		{"no upgrade", func(h http.Header) { h.Del("Upgrade") }, 400, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+protocol.LinkPath, nil)
			req.Header = http.Header{
				"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
				"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {protocol.Subprotocol},
				"Authorization": {"Bearer alice"}, protocol.HelloHeader: {encoded(hello("a", "mine"))},
			}
			c.change(req.Header)
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
			defer func() { _ = res.Body.Close() }()
			body, _ := io.ReadAll(res.Body)
			var e protocol.Error
			if c.code != "" {
				if err := json.Unmarshal(body, &e); err != nil {
					t.Errorf("the body %q is no Error: %v", body, err)
				}
			}
			if res.StatusCode != c.status || e.Code != c.code || !strings.Contains(e.Message, c.says) {
				t.Errorf("answered %d %s; want %d, code %q and %q in the message", res.StatusCode, body, c.status, c.code, c.says)
			}
			if c.status == 429 && res.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			// Nothing may be left of it.
			until(t, "the refused session is away", func() bool { return d.Sessions() == 0 && d.holder("mine") == "" })
		})
	}
}

func TestTwoAgentsOfOneUser(t *testing.T) {
	d := open(t, nil)
	first := d.mustDial(t, "alice", hello("a1", "api"))
	if len(first.Tunnels) != 1 || first.Tunnels[0].URL != "https://api.relay.test" {
		t.Fatalf("welcome: %+v", first.Welcome)
	}
	_, err := d.dial(t, "alice", hello("a2", "api"))
	var e *protocol.Error
	if !errors.As(err, &e) || e.Code != protocol.CodeTaken || e.Bind != 1 {
		t.Fatalf("a second agent: %v, want a conflict", err)
	}
	for _, word := range []string{"api", "laptop-of-a1", "--takeover", "--name"} {
		if !strings.Contains(e.Message, word) {
			t.Errorf("the conflict does not name %q: %s", word, e.Message)
		}
	}
	if d.holder("api") != first.Session {
		t.Error("the first lost the name")
	}

	h := hello("a2", "api")
	h.Binds[0].Takeover = true
	second := d.mustDial(t, "alice", h)
	if d.holder("api") != second.Session {
		t.Error("the name was not taken over")
	}
	if m := first.await(t); m.Error == nil || m.Error.Code != protocol.CodeReplaced || !strings.Contains(m.Error.Message, "laptop-of-a2") {
		t.Errorf("the first was told %+v", m)
	}
	first.awaitEnd(t)
	if d.holder("api") != second.Session {
		t.Error("the end of the first took the name away")
	}

	// Another user's agent may not, takeover or not (the names here are free for
	// all: what is tested is that the gate looks at the user).
	if _, err := d.dial(t, "bob", h); !errors.As(err, &e) || e.Code != protocol.CodeTaken {
		t.Errorf("another user took over: %v", err)
	}
}

// A session that is replaced while its own 101 is on the way is told so all the
// same: an agent that hears nothing comes back and takes the name again.
func TestReplacedBeforeTheLinkStands(t *testing.T) {
	var d *door
	saving, goOn := make(chan struct{}), make(chan struct{})
	d = open(t, func(o *gate.Options) {
		save := o.SaveResume
		o.SaveResume = func(ctx context.Context, hash []byte, user, agent, session string, expires time.Time) error {
			if agent == "a1" { // its name is bound, its link is not there yet
				close(saving)
				<-goOn
			}
			return save(ctx, hash, user, agent, session, expires)
		}
	})
	came := make(chan *agent)
	go func() {
		defer close(came)
		if a, err := d.dial(t, "alice", hello("a1", "api")); err != nil {
			t.Errorf("the first: %v", err)
		} else {
			came <- a
		}
	}()
	<-saving
	h := hello("a2", "api")
	h.Binds[0].Takeover = true
	second := d.mustDial(t, "alice", h)
	until(t, "the first session is ended", func() bool { return d.Sessions() == 1 })
	close(goOn)
	first, ok := <-came
	if !ok {
		return
	}
	if m := first.await(t); m.Error == nil || m.Error.Code != protocol.CodeReplaced || !strings.Contains(m.Error.Message, "laptop-of-a2") {
		t.Errorf("the first was told %+v", m)
	}
	first.awaitEnd(t)
	if d.holder("api") != second.Session {
		t.Error("the name was not taken over")
	}
}

// A session that fails to bind its second name must not keep its first.
func TestAllBindsOrNone(t *testing.T) {
	d := open(t, nil)
	d.mustDial(t, "alice", hello("a1", "two"))
	if _, err := d.dial(t, "alice", hello("a2", "one", "two")); err == nil {
		t.Fatal("admitted")
	}
	until(t, "the first name is free", func() bool { return d.holder("one") == "" })
}

// Row T03: the secret is single-use, belongs to a user and an agent, is rotated
// with each session, and ends the older one.
func TestResume(t *testing.T) {
	d := open(t, nil)
	first := d.mustDial(t, "alice", hello("a1", "api"))

	again := func(token, id, secret string) (*agent, error) {
		h := hello(id, "api")
		h.Resume = secret
		return d.dial(t, token, h)
	}
	for _, c := range []struct{ who, token, agent, secret string }{
		{"no secret", "alice", "a1", ""},
		{"a secret of nobody", "alice", "a1", "c2VjcmV0"},
		{"another agent with it", "alice", "a2", first.Resume},
	} {
		if _, err := again(c.token, c.agent, c.secret); err == nil {
			t.Errorf("%s got the name", c.who)
		}
		if d.holder("api") != first.Session {
			t.Fatalf("%s moved the name", c.who)
		}
	}

	first = d.mustDial(t, "carol", hello("c1", "web"))
	if _, err := again("bob", "c1", first.Resume); err == nil {
		t.Error("another user with the secret got a name")
	}
	h := hello("c1", "web")
	h.Resume = first.Resume
	if _, err := d.dial(t, "carol", h); err == nil {
		t.Error("a secret that was shown by a thief still works: it should be void, whoever showed it")
	}
}

func TestResumeMovesNamesAtOnce(t *testing.T) {
	d := open(t, nil)
	last := d.mustDial(t, "alice", hello("a1", "api"))
	used := ""
	for range 3 {
		h := hello("a1", "api")
		h.Resume = last.Resume
		next, err := d.dial(t, "alice", h)
		if err != nil {
			t.Fatal(err)
		}
		if next.Resume == last.Resume || next.Session == last.Session {
			t.Fatal("the secret was not rotated")
		}
		if got := d.holder("api"); got != next.Session {
			t.Errorf("the name is with %q, not with the new session", got)
		}
		last.awaitEnd(t) // the stale one
		used, last = last.Resume, next
	}
	h := hello("a1", "api")
	h.Resume = used
	if _, err := d.dial(t, "alice", h); err == nil {
		t.Error("a used secret works")
	}
	if d.holder("api") != last.Session {
		t.Error("a used secret moved the name")
	}
}

// A secret expires after its session, not during it.
func TestResumeExpires(t *testing.T) {
	d := open(t, func(o *gate.Options) { o.ResumeFor = time.Minute })
	a := d.mustDial(t, "alice", hello("a1", "api"))
	d.skew.Store(int64(2 * time.Minute))
	h := hello("a1", "api")
	h.Resume = a.Resume
	b, err := d.dial(t, "alice", h)
	if err != nil {
		t.Fatalf("the secret of a live session: %v", err)
	}
	a.awaitEnd(t)
	if d.holder("api") != b.Session {
		t.Error("the name did not move")
	}
}

// Row T02: many agents of one user fight for one name; one holds it at any time,
// and everybody else has an answer.
func TestManyAgentsWantOneName(t *testing.T) {
	workers, rounds := 100, 5
	if testing.Short() {
		workers, rounds = 30, 2
	}
	d := open(t, nil)
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for range rounds {
				h := hello(fmt.Sprint("a", i), "api")
				h.Binds[0].Takeover = i%3 == 0
				a, err := d.dial(t, "alice", h)
				var e *protocol.Error
				switch {
				case err == nil:
					won.Add(1)
					_ = a.Close()
				case errors.As(err, &e) && e.Code == protocol.CodeTaken, errors.As(err, &e) && e.Code == protocol.CodeReplaced:
					lost.Add(1)
				case errors.As(err, &e):
					t.Errorf("refused for another reason: %v", e)
				default: // taken over while it was being welcomed
					lost.Add(1)
				}
				if n := len(d.registry.Snapshot()); n > 1 {
					t.Errorf("%d tunnels of one name", n)
				}
			}
		})
	}
	wg.Wait()
	if won.Load() == 0 || won.Load()+lost.Load() != int32(workers*rounds) {
		t.Errorf("%d won, %d lost of %d", won.Load(), lost.Load(), workers*rounds)
	}
	until(t, "all are gone", func() bool { return d.Sessions() == 0 && d.holder("api") == "" })
}

func TestFurtherLinks(t *testing.T) {
	d := open(t, nil)
	a := d.mustDial(t, "alice", hello("a1", "api"))
	join := func(token, session, secret string) (*agent, error) {
		return d.dial(t, token, protocol.Hello{Agent: "a1", Join: &protocol.Join{Session: session, Secret: secret}})
	}
	var e *protocol.Error
	for _, c := range []struct{ who, token, session, secret string }{
		{"wrong secret", "alice", a.Session, "nonsense"},
		{"no secret", "alice", a.Session, ""},
		{"no such session", "alice", "ses_none", a.Join},
		{"another user", "bob", a.Session, a.Join},
	} {
		if _, err := join(c.token, c.session, c.secret); !errors.As(err, &e) || e.Code != protocol.CodeDenied {
			t.Errorf("%s: %v, want denied", c.who, err)
		}
	}
	// As many at once as one likes: no more than the protocol allows get in.
	var in []*agent
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 3 * protocol.MaxLinks {
		wg.Go(func() {
			b, err := join("alice", a.Session, a.Join)
			var e *protocol.Error
			if err != nil {
				if !errors.As(err, &e) || e.Code != protocol.CodeLimit {
					t.Errorf("refused with %v, want the limit", err)
				}
				return
			}
			mu.Lock()
			in = append(in, b)
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(in) != protocol.MaxLinks-1 {
		t.Fatalf("%d further links, want %d", len(in), protocol.MaxLinks-1)
	}
	// The first link goes; the session lives, and so does its tunnel.
	_ = a.Close()
	tun, ok := d.registry.Find("api.relay.test")
	if !ok {
		t.Fatal("the tunnel went with the first link")
	}
	opened := make(chan error, 1)
	go func() {
		c, err := tun.Open(t.Context())
		if err == nil {
			_, err = c.Write([]byte("x")) // with the preface
		}
		opened <- err
	}()
	got := make(chan int, len(in))
	for i, b := range in {
		go func() {
			if st, err := b.Accept(); err == nil {
				if p, err := protocol.ReadPreface(st); err == nil && p.Tunnel == 1 {
					got <- i
				}
			}
		}()
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	select {
	case <-got:
	case <-time.After(patience):
		t.Fatal("the stream came to no link")
	}
	for _, b := range in {
		_ = b.Close()
	}
	until(t, "the session ends with its last link", func() bool { return d.Sessions() == 0 && d.holder("api") == "" })
}

// Binds and unbinds by message are done in order.
func TestBindByMessage(t *testing.T) {
	d := open(t, nil)
	a := d.mustDial(t, "alice", hello("a1", "api"))
	other := d.mustDial(t, "alice", hello("a2", "web"))
	bind := func(id uint32, name string) protocol.Message {
		return protocol.Message{Bind: &protocol.Bind{ID: id, Kind: protocol.KindHTTP, Name: name}}
	}
	for _, m := range []protocol.Message{bind(2, "web"), {Unbind: &protocol.Unbind{ID: 1}}, bind(1, "new"), bind(1, "twice")} {
		if err := a.Control(m); err != nil {
			t.Fatal(err)
		}
	}
	if m := a.await(t); m.Error == nil || m.Error.Code != protocol.CodeTaken || m.Error.Bind != 2 {
		t.Errorf("a name that another agent serves: %+v", m)
	}
	if m := a.await(t); m.Bound == nil || m.Bound.ID != 1 || m.Bound.Name != "new" {
		t.Errorf("after the unbind: %+v", m)
	}
	if m := a.await(t); m.Error == nil || m.Error.Code != protocol.CodeBadRequest {
		t.Errorf("one id twice: %+v", m)
	}
	if d.holder("api") != "" || d.holder("new") != a.Session || d.holder("web") != other.Session {
		t.Errorf("api %q, new %q, web %q", d.holder("api"), d.holder("new"), d.holder("web"))
	}
}

func TestDrain(t *testing.T) {
	d := open(t, nil)
	a := d.mustDial(t, "alice", hello("a1", "api"))
	d.Drain("an update")
	if m := a.await(t); m.Drain == nil || m.Drain.Reason != "an update" || m.Drain.RetryIn <= 0 {
		t.Errorf("the agent was told %+v", m)
	}
	if d.holder("api") != a.Session {
		t.Error("a drained session stopped to serve")
	}
	_, err := d.dial(t, "alice", hello("a2", "web"))
	var e *protocol.Error
	if !errors.As(err, &e) || !e.Retry() || e.RetryIn <= 0 {
		t.Errorf("a new agent: %v; want to be told to try again", err)
	}
	d.Close()
	a.awaitEnd(t)
}

// An agent that froze is given up; one that says little, but says it, is not.
func TestSilentAgents(t *testing.T) {
	d := open(t, func(o *gate.Options) { o.DeadAfter = 300 * time.Millisecond })
	quiet := d.mustDial(t, "alice", hello("a1", "quiet"))
	lively := d.mustDial(t, "bob", hello("a2", "lively"))
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				lively.Ping()
			}
		}
	}()
	quiet.awaitEnd(t)
	if d.holder("lively") == "" {
		t.Error("the lively one was given up too")
	}
	until(t, "requests wait for the one that may be back", func() bool {
		ago, ok := d.registry.Left("quiet.relay.test")
		return ok && ago < patience
	})
	_ = lively.Close()
	until(t, "the goodbye is heard", func() bool { return d.holder("lively") == "" })
	if _, ok := d.registry.Left("lively.relay.test"); ok {
		t.Error("requests would wait for one that said goodbye")
	}
}

// Sessions that come and go leave nothing behind.
func TestNothingStays(t *testing.T) {
	d := open(t, nil)
	d.mustDial(t, "alice", hello("a0", "warm"))
	before := runtime.NumGoroutine()
	for i := range 30 {
		a := d.mustDial(t, "alice", hello("a1", "api"))
		if i%2 == 0 {
			_ = a.Close()
		} else {
			a.Abandon(errors.New("pulled"))
		}
		until(t, "the session ends", func() bool { return d.holder("api") == "" })
	}
	until(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before+2 })
}
