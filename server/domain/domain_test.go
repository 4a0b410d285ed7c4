package domain_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/domain"
	"github.com/relaytunnel/relay/server/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const base = "relay.test"

// fakeDNS is what DNS says; names end with a dot.
type fakeDNS struct {
	mu     sync.Mutex
	cname  map[string]string
	txt    map[string][]string
	addrs  map[string]string
	broken map[string]error // look-ups that fail
	asked  int
}

// count returns how many look-ups of CNAMEs there were.
func (f *fakeDNS) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *fakeDNS) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func nothing(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (f *fakeDNS) LookupCNAME(_ context.Context, host string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if err := f.broken[host]; err != nil {
		return "", err
	}
	if c := f.cname[host]; c != "" {
		return c, nil
	}
	if f.addrs[host] == "" {
		return "", nothing(host)
	}
	return host, nil
}

func (f *fakeDNS) LookupTXT(_ context.Context, name string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.broken[name]; err != nil {
		return nil, err
	}
	if len(f.txt[name]) == 0 {
		return nil, nothing(name)
	}
	return f.txt[name], nil
}

func (f *fakeDNS) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.broken[host]; err != nil {
		return nil, err
	}
	if c := f.cname[host]; c != "" {
		host = c
	}
	if strings.HasSuffix(host, "."+base+".") || host == base+"." {
		return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, nil
	}
	if f.addrs[host] == "" {
		return nil, nothing(host)
	}
	return []netip.Addr{netip.MustParseAddr(f.addrs[host])}, nil
}

// A world has ann, who holds ann and api, and bob, who holds bob.
type world struct {
	dns      *fakeDNS
	store    *store.Store
	domains  *domain.Domains
	ann, bob relay.User

	mu     sync.Mutex
	holder map[relay.Name]string
	active []string
}

func newWorld(t *testing.T, change ...func(*domain.Options)) *world {
	t.Helper()
	st, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	w := &world{store: st, holder: map[relay.Name]string{}, dns: &fakeDNS{
		cname: map[string]string{}, txt: map[string][]string{}, addrs: map[string]string{}, broken: map[string]error{},
	}}
	for name, u := range map[string]*relay.User{"ann": &w.ann, "bob": &w.bob} {
		if *u, err = st.AddUser(t.Context(), name, false); err != nil {
			t.Fatal(err)
		}
		w.holder[relay.Name(name)] = u.ID
	}
	w.holder["api"] = w.ann.ID
	o := domain.Options{
		Store: st, Domain: base, Resolver: w.dns,
		Holder: func(n relay.Name) string {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.holder[n]
		},
		Claim: func(_ context.Context, u relay.User, n relay.Name) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.holder[n] != u.ID {
				return relay.ErrTaken
			}
			return nil
		},
		Active: func(host string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.active = append(w.active, host)
		},
	}
	for _, c := range change {
		c(&o)
	}
	w.domains = domain.New(o)
	return w
}

func (w *world) add(t *testing.T, u relay.User, host string, name relay.Name) relay.Domain {
	t.Helper()
	d, err := w.domains.Add(t.Context(), u, host, name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *world) verify(t *testing.T, u relay.User, host string) relay.Domain {
	t.Helper()
	d, err := w.domains.Verify(t.Context(), u, host)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *world) wantFind(t *testing.T, host string, want relay.Name) {
	t.Helper()
	got, ok := w.domains.Find(host)
	if got != want || ok != (want != "") {
		t.Errorf("Find(%s) = %q, %v; want %q", host, got, ok, want)
	}
}

// set returns what a user is told to set.
func (w *world) set(t *testing.T, d relay.Domain) domain.Setup {
	t.Helper()
	s, err := w.domains.Setup(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestADomainProvedByCNAME(t *testing.T) {
	w := newWorld(t)
	d := w.add(t, w.ann, "Hooks.Acme.com.", "api")
	if d.Host != "hooks.acme.com" || d.State != relay.DomainPending || d.Name != "api" {
		t.Errorf("added: %+v", d)
	}
	if diff := cmp.Diff([]domain.Record{{Type: "CNAME", Name: "hooks.acme.com", Value: "api.relay.test"}}, w.set(t, d).CNAME); diff != "" {
		t.Error(diff)
	}
	if d = w.verify(t, w.ann, "hooks.acme.com"); d.State != relay.DomainPending || !strings.Contains(d.Reason, "has no address") {
		t.Errorf("before DNS is set: %+v", d)
	}
	w.wantFind(t, "hooks.acme.com", "")

	w.dns.set(func() { w.dns.cname["hooks.acme.com."] = "API.relay.test." })
	if d = w.verify(t, w.ann, "HOOKS.acme.com"); d.State != relay.DomainActive || d.Reason != "" {
		t.Errorf("after DNS is set: %+v", d)
	}
	w.wantFind(t, "hooks.acme.com", "api")
	w.wantFind(t, "other.acme.com", "")
	if diff := cmp.Diff([]string{"hooks.acme.com"}, w.active); diff != "" {
		t.Error(diff)
	}
	// Another name of hers is a proof as well, and where it leads is her choice.
	w.add(t, w.ann, "hooks.acme.com", "")
	w.wantFind(t, "hooks.acme.com", "ann")
	if d = w.verify(t, w.ann, "hooks.acme.com"); d.State != relay.DomainActive || d.Name != "ann" {
		t.Errorf("with another name: %+v", d)
	}
	// A restart knows it.
	again := domain.New(domain.Options{Store: w.store, Domain: base, Holder: func(relay.Name) string { return w.ann.ID }})
	if err := again.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if name, ok := again.Find("hooks.acme.com"); !ok || name != "ann" {
		t.Errorf("after a restart: %q, %v", name, ok)
	}
	if list, err := w.domains.List(t.Context(), w.ann); err != nil || len(list) != 1 || list[0] != d {
		t.Errorf("List = %+v, %v; want %+v", list, err, d)
	}
	if err := w.domains.Remove(t.Context(), w.bob, "hooks.acme.com"); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("bob removes it: %v", err)
	}
	if err := w.domains.Remove(t.Context(), w.ann, "Hooks.acme.com"); err != nil {
		t.Error(err)
	}
	w.wantFind(t, "hooks.acme.com", "")
}

func TestADomainProvedByTXT(t *testing.T) {
	w := newWorld(t)
	d := w.add(t, w.ann, "acme.co.uk", "api")
	set := w.set(t, d)
	if set.CNAME != nil || len(set.TXT) != 3 {
		t.Fatalf("at the top of a domain: %+v", set)
	}
	token := set.TXT[0].Value
	want := []domain.Record{
		{Type: "TXT", Name: "_relay-challenge.acme.co.uk", Value: token},
		{Type: "A", Name: "acme.co.uk", Value: "192.0.2.1"},
		{Type: "AAAA", Name: "acme.co.uk", Value: "2001:db8::1"},
	}
	if diff := cmp.Diff(want, set.TXT); diff != "" || len(token) != 32 {
		t.Error(token, diff)
	}
	if d.State = w.verify(t, w.ann, "acme.co.uk").State; d.State != relay.DomainPending {
		t.Error(d)
	}
	steps := []struct {
		what string
		do   func()
		want string // the reason; empty: active
	}{
		{"the token alone", func() { w.dns.txt["_relay-challenge.acme.co.uk."] = []string{"other", " " + token} }, "has no address"},
		{"addresses of others", func() { w.dns.addrs["acme.co.uk."] = "198.51.100.9" }, "leads to 198.51.100.9 and not to this server"},
		{"our address without the token", func() {
			w.dns.addrs["acme.co.uk."] = "192.0.2.1"
			w.dns.txt["_relay-challenge.acme.co.uk."] = []string{token + "x"}
		}, "no TXT record _relay-challenge.acme.co.uk"},
		{"both", func() { w.dns.txt["_relay-challenge.acme.co.uk."] = []string{token} }, ""},
	}
	for _, s := range steps {
		w.dns.set(s.do)
		d := w.verify(t, w.ann, "acme.co.uk")
		if (d.State == relay.DomainActive) != (s.want == "") || !strings.Contains(d.Reason, s.want) {
			t.Errorf("%s: %+v", s.what, d)
		}
	}
	w.wantFind(t, "acme.co.uk", "api")
}

// Nobody gets the domain of another, whatever they see in DNS.
func TestADomainOfAnother(t *testing.T) {
	w := newWorld(t)
	w.dns.cname["hooks.acme.com."] = "api.relay.test."
	bobs := w.add(t, w.bob, "hooks.acme.com", "bob") // adding is free
	if d := w.verify(t, w.bob, "hooks.acme.com"); d.State != relay.DomainPending || !strings.Contains(d.Reason, "api.relay.test, which is not a name of yours") {
		t.Errorf("bob, by the CNAME of ann: %+v", d)
	}
	anns := w.add(t, w.ann, "hooks.acme.com", "api")
	token := w.set(t, anns).TXT[0].Value
	if token == w.set(t, bobs).TXT[0].Value {
		t.Error("both have the same token")
	}
	w.dns.txt["_relay-challenge.hooks.acme.com."] = []string{token}
	if d := w.verify(t, w.bob, "hooks.acme.com"); d.State != relay.DomainPending {
		t.Errorf("bob, by the token of ann: %+v", d)
	}
	w.verify(t, w.ann, "hooks.acme.com")
	// Even with a true proof: one at a time.
	w.dns.txt["_relay-challenge.hooks.acme.com."] = []string{token, w.set(t, bobs).TXT[0].Value}
	if _, err := w.domains.Verify(t.Context(), w.bob, "hooks.acme.com"); !errors.Is(err, relay.ErrTaken) || !strings.Contains(err.Error(), "seven days") {
		t.Errorf("bob, while ann has it: %v", err)
	}
	w.wantFind(t, "hooks.acme.com", "api")
	if err := w.domains.Remove(t.Context(), w.bob, "hooks.acme.com"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.domains.Add(t.Context(), w.bob, "hooks.acme.com", "bob"); !errors.Is(err, relay.ErrTaken) {
		t.Errorf("bob adds what ann has: %v", err)
	}
	w.wantFind(t, "hooks.acme.com", "api")
	// When ann's name goes to bob, her domain does not go with it.
	w.holder["api"] = w.bob.ID
	w.wantFind(t, "hooks.acme.com", "")
	if d := w.verify(t, w.ann, "hooks.acme.com"); d.State != relay.DomainFailing || !strings.Contains(d.Reason, "name api is not yours any more") {
		t.Errorf("ann without her name: %+v", d)
	}
}

func TestHostsThatCannotBeDomains(t *testing.T) {
	w := newWorld(t)
	for host, want := range map[string]string{
		"":                       "like hooks.acme.com",
		"relay.test":             "base domain",
		"RELAY.test.":            "base domain",
		"shop.relay.test":        "--name",
		"a.b.relay.test":         "--name",
		"localhost":              "whole host",
		"com":                    "whole host",
		"co.uk":                  "below co.uk",
		"github.io":              "below github.io",
		"192.0.2.1":              "address",
		"[2001:db8::1]":          "address",
		"hooks.acme.com:443":     "without a port",
		"*.acme.com":             "invalid host",
		"https://hooks.acme.com": "invalid host",
		"bücher.example":         "xn--",
		"a_b.acme.com":           "invalid host",
	} {
		if _, err := w.domains.Add(t.Context(), w.ann, host, "api"); !errors.Is(err, relay.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", host, err, want)
		}
	}
	for _, host := range []string{"acme.com", "hooks.acme.co.uk", "acme.github.io", "notrelay.test", "xn--bcher-kva.example"} {
		w.add(t, w.ann, host, "api")
	}
	if _, err := w.domains.Add(t.Context(), w.ann, "hooks.acme.com", "bob"); !errors.Is(err, relay.ErrTaken) {
		t.Errorf("a name of another: %v", err)
	}
	for i := 5; i < 50; i++ {
		w.add(t, w.ann, "h"+strings.Repeat("x", i)+".acme.com", "api")
	}
	if _, err := w.domains.Add(t.Context(), w.ann, "more.acme.com", "api"); !errors.Is(err, relay.ErrLimit) {
		t.Errorf("one domain too many: %v", err)
	}
	w.add(t, w.bob, "more.acme.com", "bob")
}

// A domain that leads elsewhere is served for seven days more, and then gone.
func TestADomainThatLeadsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.dns.cname["hooks.acme.com."] = "api.relay.test."
		w.dns.addrs["elsewhere.example."] = "198.51.100.7"
		w.add(t, w.ann, "hooks.acme.com", "api")
		w.verify(t, w.ann, "hooks.acme.com")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.domains.Run(ctx) }()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		state := func() relay.Domain {
			d, _ := w.store.Domain(t.Context(), w.ann.ID, "hooks.acme.com")
			return d
		}
		const round = 75 * time.Minute // a check and its spread

		time.Sleep(round)
		if d := state(); d.State != relay.DomainActive || time.Since(d.Checked) > round {
			t.Errorf("after a check: %+v", d)
		}
		// Look-ups that fail mean nothing.
		unknown := map[string]error{
			"SERVFAIL": &net.DNSError{Err: "server misbehaving", IsTemporary: true},
			"timeout":  &net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true},
			"REFUSED":  &net.DNSError{Err: "server misbehaving"},
			"other":    errors.New("no route to host"),
		}
		for what, err := range unknown {
			for _, name := range []string{"hooks.acme.com.", "api.relay.test."} {
				w.dns.set(func() {
					w.dns.cname["hooks.acme.com."] = "elsewhere.example."
					clear(w.dns.broken)
					w.dns.broken[name] = err
				})
				before := w.dns.count()
				time.Sleep(2 * round)
				if d := state(); d.State != relay.DomainActive || strings.HasPrefix(name, "hooks") && w.dns.count() < before+2 {
					t.Errorf("%s of %s: %+v", what, name, d)
				}
			}
		}
		// Our own zone that is empty is not the user's fault either.
		w.dns.set(func() { w.dns.broken = map[string]error{"api.relay.test.": nothing("")} })
		time.Sleep(2 * round)
		if d := state(); d.State != relay.DomainActive {
			t.Errorf("when the base domain is gone: %+v", d)
		}

		w.dns.set(func() { clear(w.dns.broken) })
		time.Sleep(round)
		d := state()
		if d.State != relay.DomainFailing || !strings.Contains(d.Reason, "leads to elsewhere.example and not to this server") {
			t.Errorf("elsewhere: %+v", d)
		}
		if left := time.Until(domain.Dropped(d)); left > 7*24*time.Hour || left < 7*24*time.Hour-round {
			t.Errorf("dropped in %s", left)
		}
		time.Sleep(7*24*time.Hour - 2*round)
		if d := state(); d.State != relay.DomainFailing {
			t.Errorf("before the seven days are over: %+v", d)
		}
		w.wantFind(t, "hooks.acme.com", "api")

		// Put right in time, the days count from the beginning again.
		w.dns.set(func() { w.dns.cname["hooks.acme.com."] = "ann.relay.test." })
		time.Sleep(round)
		if d := state(); d.State != relay.DomainActive || d.Reason != "" {
			t.Errorf("put right: %+v", d)
		}
		w.dns.set(func() { delete(w.dns.cname, "hooks.acme.com.") })
		time.Sleep(7 * 24 * time.Hour)
		if d := state(); d.State != relay.DomainFailing {
			t.Errorf("again, before the seven days are over: %+v", d)
		}
		time.Sleep(2 * round)
		if d := state(); d.Host != "" {
			t.Errorf("after the seven days: %+v", d)
		}
		w.wantFind(t, "hooks.acme.com", "")
	})
}

// All are checked about once an hour, at different times, and those that cannot
// be looked up a little more often.
func TestChecksAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, l := range "abcdefghijklmnopqrstuvwxyz" {
			host := string(l) + ".acme.com"
			w.dns.cname[host+"."] = "api.relay.test."
			w.add(t, w.ann, host, "api")
			w.verify(t, w.ann, host)
		}
		w.dns.broken["a.acme.com."] = errors.New("broken")
		start := w.dns.count()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.domains.Run(ctx) }()
		most := 0
		for range 24 * 60 {
			before := w.dns.count()
			time.Sleep(time.Minute)
			synctest.Wait()
			most = max(most, w.dns.count()-before)
		}
		stop()
		<-ended
		if most > 12 {
			t.Errorf("%d of 26 domains are checked in the same minute", most)
		}
		// 25 domains 20 to 24 times, and one up to six times an hour.
		if n := w.dns.count() - start; n < 25*20+100 || n > 25*24+6*24 {
			t.Errorf("%d checks in a day", n)
		}
	})
}

// Who has added a domain need not ask: it becomes active when its proof is there.
// After a week without one nobody looks any more.
func TestAPendingDomainIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add(t, w.ann, "hooks.acme.com", "api")
		w.add(t, w.bob, "hooks.acme.com", "bob")
		w.add(t, w.ann, "never.acme.com", "api")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.domains.Run(ctx) }()
		time.Sleep(time.Hour)
		w.wantFind(t, "hooks.acme.com", "")
		w.dns.set(func() { w.dns.cname["hooks.acme.com."] = "api.relay.test." })
		time.Sleep(6 * time.Minute)
		w.wantFind(t, "hooks.acme.com", "api")

		time.Sleep(7 * 24 * time.Hour)
		if err := w.domains.Remove(ctx, w.ann, "hooks.acme.com"); err != nil {
			t.Error(err)
		}
		before := w.dns.count()
		time.Sleep(2 * time.Hour)
		if n := w.dns.count() - before; n > 0 {
			t.Errorf("%d checks after a week", n)
		}
		stop()
		<-ended
		if d := w.verify(t, w.bob, "hooks.acme.com"); d.State != relay.DomainPending {
			t.Errorf("bob asks himself: %+v", d)
		}
	})
}

// A slowDNS does something else between a question and what comes back.
type slowDNS struct {
	*fakeDNS
	during func()
}

func (s *slowDNS) LookupCNAME(ctx context.Context, host string) (string, error) {
	answer, err := s.fakeDNS.LookupCNAME(ctx, host)
	if do := s.during; do != nil {
		s.during = nil
		do()
	}
	return answer, err
}

// A check that took long does not undo what has been found or chosen since.
func TestAnOldCheckChangesNothing(t *testing.T) {
	slow, now := &slowDNS{}, time.UnixMilli(1_800_000_000_000)
	w := newWorld(t, func(o *domain.Options) {
		slow.fakeDNS = o.Resolver.(*fakeDNS)
		o.Resolver = slow
		o.Now = func() time.Time {
			now = now.Add(time.Second)
			return now
		}
	})
	w.add(t, w.ann, "hooks.acme.com", "api")
	right := func() { w.dns.set(func() { w.dns.cname["hooks.acme.com."] = "api.relay.test." }) }
	wrong := func() {
		w.dns.set(func() {
			w.dns.cname["hooks.acme.com."] = "elsewhere.example."
			w.dns.addrs["elsewhere.example."] = "198.51.100.7"
		})
	}
	slow.during = func() {
		right()
		if d := w.verify(t, w.ann, "hooks.acme.com"); d.State != relay.DomainActive {
			t.Errorf("the newer check: %+v", d)
		}
		wrong()
	}
	wrong()
	if d := w.verify(t, w.ann, "hooks.acme.com"); d.State != relay.DomainActive {
		t.Errorf("after an older check: %+v", d)
	}
	slow.during = func() { w.add(t, w.ann, "hooks.acme.com", "ann") }
	if d := w.verify(t, w.ann, "hooks.acme.com"); d.State != relay.DomainActive || d.Name != "ann" {
		t.Errorf("after a check of another name: %+v", d)
	}
	if d := w.verify(t, w.ann, "hooks.acme.com"); d.State != relay.DomainFailing {
		t.Errorf("after one more check: %+v", d)
	}
}
