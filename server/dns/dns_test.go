package dns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	miekg "github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/dns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is the time of all servers here, and so the serial of their zone.
var now = time.Unix(1_800_000_000, 0)

// options are what most tests serve: relay.test with two addresses of each kind.
func options() dns.Options {
	return dns.Options{
		Zone: "relay.test",
		Addrs: []netip.Addr{
			netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"),
			netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"),
		},
		CAA: []string{"letsencrypt.org", "pki.goog; validationmethods=dns-01"},
		Now: func() time.Time { return now },
	}
}

// start serves the zone on a port of the loopback, over UDP and TCP, and returns
// its address. It ends with the test.
func start(t *testing.T, o dns.Options) (*dns.Server, string) {
	t.Helper()
	s, err := dns.New(o)
	if err != nil {
		t.Fatal(err)
	}
	pc, ln := listen(t, "127.0.0.1")
	serve(t, s, pc, ln)
	return s, pc.LocalAddr().String()
}

func serve(t *testing.T, s *dns.Server, pc net.PacketConn, ln net.Listener) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, pc, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// listen takes one port for both UDP and TCP.
func listen(t *testing.T, host string) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp", net.JoinHostPort(host, portOf(ln.Addr().String())))
		if err == nil {
			return pc, ln
		}
		_ = ln.Close()
	}
	t.Fatal("found no port that is free for UDP and TCP")
	return nil, nil
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func question(name string, qtype uint16) *miekg.Msg {
	return new(miekg.Msg).SetQuestion(name, qtype)
}

func ask(t *testing.T, network, addr string, q *miekg.Msg) *miekg.Msg {
	t.Helper()
	c := miekg.Client{Net: network, Timeout: 5 * time.Second, UDPSize: miekg.MaxMsgSize}
	r, _, err := c.Exchange(q, addr)
	if err != nil {
		t.Fatalf("%s over %s: %v", q.Question[0].String(), network, err)
	}
	return r
}

// shown is what an answer says, in lines that a test can compare.
func shown(r *miekg.Msg) []string {
	flags := miekg.RcodeToString[r.Rcode]
	if r.Authoritative {
		flags += " aa"
	}
	if r.Truncated {
		flags += " tc"
	}
	lines := []string{flags}
	for _, rr := range r.Answer {
		lines = append(lines, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	for _, rr := range r.Ns {
		lines = append(lines, "authority: "+strings.ReplaceAll(rr.String(), "\t", " "))
	}
	for _, rr := range r.Extra {
		if rr.Header().Rrtype != miekg.TypeOPT {
			lines = append(lines, "additional: "+strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	return lines
}

func TestZone(t *testing.T) {
	s, addr := start(t, options())
	ctx := t.Context()
	for _, c := range []struct{ fqdn, value string }{
		{"_acme-challenge.relay.test.", "one"},
		{"_acme-challenge.relay.test", "two"},
		{"_acme-challenge.relay.test.", "one"}, // again
		{"_x._y.relay.test.", "three"},
		{"_Acme-Challenge.Deep.Alice.relay.TEST.", `a"b\c;d \1`}, // escapes are not ours to read
	} {
		if err := s.Present(ctx, c.fqdn, c.value); err != nil {
			t.Fatal(err)
		}
	}
	// Two values and two more have changed the zone within one second.
	const (
		soa   = "relay.test. 60 IN SOA ns.relay.test. hostmaster.relay.test. 1800000004 7200 1800 1209600 60"
		empty = "NOERROR aa"
	)
	nothing := []string{empty, "authority: " + soa}
	// Nobody may keep that a challenge is not there.
	noChallenge := "authority: " + strings.Replace(soa, " 60 ", " 0 ", 1)
	addrs := func(name string) []string {
		return []string{empty, name + " 300 IN A 192.0.2.1", name + " 300 IN A 192.0.2.2"}
	}
	for _, tt := range []struct {
		name  string
		qtype uint16
		want  []string
	}{
		{"relay.test.", miekg.TypeA, addrs("relay.test.")},
		{"alice.relay.test.", miekg.TypeA, addrs("alice.relay.test.")},
		{"x.y.alice.relay.test.", miekg.TypeA, addrs("x.y.alice.relay.test.")},
		{"*.relay.test.", miekg.TypeA, addrs("*.relay.test.")},
		{"ns.relay.test.", miekg.TypeA, addrs("ns.relay.test.")},
		{`a\.b.relay.test.`, miekg.TypeA, addrs(`a\.b.relay.test.`)},
		// A challenge below a name makes no hole in it.
		{"deep.alice.relay.test.", miekg.TypeA, addrs("deep.alice.relay.test.")},
		{"alice.relay.test.", miekg.TypeAAAA, []string{
			empty,
			"alice.relay.test. 300 IN AAAA 2001:db8::1", "alice.relay.test. 300 IN AAAA 2001:db8::2",
		}},
		{"relay.test.", miekg.TypeSOA, []string{empty, strings.Replace(soa, " 60 ", " 300 ", 1)}},
		{"relay.test.", miekg.TypeNS, []string{
			empty, "relay.test. 300 IN NS ns.relay.test.",
			"additional: ns.relay.test. 300 IN A 192.0.2.1", "additional: ns.relay.test. 300 IN A 192.0.2.2",
			"additional: ns.relay.test. 300 IN AAAA 2001:db8::1", "additional: ns.relay.test. 300 IN AAAA 2001:db8::2",
		}},
		{"relay.test.", miekg.TypeCAA, []string{
			empty,
			`relay.test. 300 IN CAA 0 issue "letsencrypt.org"`, `relay.test. 300 IN CAA 0 issue "pki.goog; validationmethods=dns-01"`,
		}},
		// What is not there: the name is, or is not.
		{"relay.test.", miekg.TypeMX, nothing},
		{"relay.test.", miekg.TypeTXT, nothing},
		{"relay.test.", miekg.TypeDS, nothing},
		{"relay.test.", miekg.TypeDNSKEY, nothing},
		{"alice.relay.test.", miekg.TypeCAA, nothing}, // then the base domain is asked
		{"alice.relay.test.", miekg.TypeNS, nothing},
		{"alice.relay.test.", miekg.TypeSOA, nothing},
		{"alice.relay.test.", miekg.TypeHTTPS, nothing},
		{"alice.relay.test.", miekg.TypeCNAME, nothing},
		{"alice.relay.test.", 65280, nothing},
		{"_dmarc.relay.test.", miekg.TypeTXT, []string{"NXDOMAIN aa", noChallenge}},
		{"_dmarc.relay.test.", miekg.TypeA, []string{"NXDOMAIN aa", noChallenge}},
		{"_acme-challenge.bob.relay.test.", miekg.TypeTXT, []string{"NXDOMAIN aa", noChallenge}},
		{"x._acme-challenge.relay.test.", miekg.TypeA, []string{"NXDOMAIN aa", noChallenge}},
		{"_acme-challenge.relay.test.", miekg.TypeA, []string{empty, noChallenge}},
		{"_y.relay.test.", miekg.TypeTXT, []string{empty, noChallenge}}, // something is below it
		{"_z._y.relay.test.", miekg.TypeTXT, []string{"NXDOMAIN aa", noChallenge}},
		{"_acme-challenge.relay.test.", miekg.TypeTXT, []string{
			empty,
			`_acme-challenge.relay.test. 0 IN TXT "one"`, `_acme-challenge.relay.test. 0 IN TXT "two"`,
		}},
		{"_acme-challenge.deep.alice.relay.test.", miekg.TypeTXT, []string{
			empty,
			`_acme-challenge.deep.alice.relay.test. 0 IN TXT "a\"b\\c;d \\1"`,
		}},
		// As small as can be, and why.
		{"relay.test.", miekg.TypeANY, []string{empty, `relay.test. 300 IN HINFO "RFC8482" ""`}},
		{"_acme-challenge.relay.test.", miekg.TypeANY, []string{empty, `_acme-challenge.relay.test. 300 IN HINFO "RFC8482" ""`}},
		{"_dmarc.relay.test.", miekg.TypeANY, []string{"NXDOMAIN aa", noChallenge}},
		// Not for us.
		{".", miekg.TypeNS, []string{"REFUSED"}},
		{"test.", miekg.TypeSOA, []string{"REFUSED"}},
		{"example.com.", miekg.TypeA, []string{"REFUSED"}},
		{"myrelay.test.", miekg.TypeA, []string{"REFUSED"}},
		{`my\.relay.test.`, miekg.TypeA, []string{"REFUSED"}}, // one label "my.relay"
		{"relay.test.", miekg.TypeAXFR, []string{"REFUSED"}},
		{"relay.test.", miekg.TypeIXFR, []string{"REFUSED"}},
		{"relay.test.", miekg.TypeMAILB, []string{"NOTIMP"}},
		{"relay.test.", miekg.TypeTKEY, []string{"FORMERR"}},
	} {
		for _, network := range []string{"udp", "tcp"} {
			q := question(tt.name, tt.qtype)
			q.SetEdns0(1232, false)
			r := ask(t, network, addr, q)
			if diff := cmp.Diff(tt.want, shown(r)); diff != "" {
				t.Errorf("%s %s over %s:\n%s", tt.name, miekg.Type(tt.qtype), network, diff)
			}
			if r.RecursionAvailable || r.AuthenticatedData || !r.RecursionDesired {
				t.Errorf("%s %s over %s: flags %s", tt.name, miekg.Type(tt.qtype), network, r.MsgHdr.String())
			}
		}
	}
}

func TestWithoutAddressesOfOneKindThereAreNone(t *testing.T) {
	o := options()
	o.Addrs, o.CAA, o.NS, o.TTL = o.Addrs[:1], nil, "vps.example.com", time.Hour
	_, addr := start(t, o)
	const soa = "authority: relay.test. 60 IN SOA vps.example.com. hostmaster.relay.test. 1800000000 7200 1800 1209600 60"
	for _, tt := range []struct {
		name  string
		qtype uint16
		want  []string
	}{
		{"alice.relay.test.", miekg.TypeA, []string{"NOERROR aa", "alice.relay.test. 3600 IN A 192.0.2.1"}},
		{"alice.relay.test.", miekg.TypeAAAA, []string{"NOERROR aa", soa}},
		{"relay.test.", miekg.TypeCAA, []string{"NOERROR aa", soa}},
		{"relay.test.", miekg.TypeNS, []string{"NOERROR aa", "relay.test. 3600 IN NS vps.example.com."}},
	} {
		if diff := cmp.Diff(tt.want, shown(ask(t, "udp", addr, question(tt.name, tt.qtype)))); diff != "" {
			t.Errorf("%s %s:\n%s", tt.name, miekg.Type(tt.qtype), diff)
		}
	}
}

func TestChallengesComeAndGo(t *testing.T) {
	s, addr := start(t, options())
	ctx := t.Context()
	const name = "_acme-challenge.relay.test."
	values := func() (got []string, rcode int) {
		r := ask(t, "udp", addr, question(name, miekg.TypeTXT))
		for _, rr := range r.Answer {
			got = append(got, rr.(*miekg.TXT).Txt...)
		}
		return got, r.Rcode
	}
	serial := func() uint32 {
		return ask(t, "udp", addr, question("relay.test.", miekg.TypeSOA)).Answer[0].(*miekg.SOA).Serial
	}
	steps := []struct {
		do   func() error
		want string
	}{
		{func() error { return s.Present(ctx, name, "a") }, "[a] NOERROR +1"},
		{func() error { return s.Present(ctx, name, "b") }, "[a b] NOERROR +1"},
		{func() error { return s.Present(ctx, name, "b") }, "[a b] NOERROR +0"},
		{func() error { return s.CleanUp(ctx, name, "x") }, "[a b] NOERROR +0"},
		{func() error { return s.CleanUp(ctx, name, "a") }, "[b] NOERROR +1"},
		{func() error { return s.CleanUp(ctx, name, "b") }, "[] NXDOMAIN +1"},
		{func() error { return s.CleanUp(ctx, name, "b") }, "[] NXDOMAIN +0"},
	}
	for i, step := range steps {
		before := serial()
		if err := step.do(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		got, rcode := values()
		if said := fmt.Sprintf("%v %s +%d", got, miekg.RcodeToString[rcode], serial()-before); said != step.want {
			t.Errorf("step %d: %s, want %s", i, said, step.want)
		}
	}
}

func TestChallengesAreBounded(t *testing.T) {
	s, err := dns.New(options())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, tt := range []struct{ fqdn, value string }{
		{"_acme-challenge.example.com.", "x"},
		{"relay.test.", "x"},
		{"alice.relay.test.", "x"},
		{"", "x"},
		{"_acme-challenge..relay.test.", "x"},
		{"_acme-challenge.relay.test.", ""},
		{"_acme-challenge.relay.test.", strings.Repeat("x", 256)},
	} {
		if err := s.Present(ctx, tt.fqdn, tt.value); !errors.Is(err, relay.ErrInvalid) {
			t.Errorf("Present(%q, %.10q): %v", tt.fqdn, tt.value, err)
		}
	}
	for i := range 20 {
		if err := s.Present(ctx, "_acme-challenge.relay.test.", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Present(ctx, "_acme-challenge.relay.test.", "more"); !errors.Is(err, relay.ErrLimit) {
		t.Errorf("one value more: %v", err)
	}
	for i := range 99 {
		if err := s.Present(ctx, fmt.Sprintf("_acme-challenge.n%d.relay.test.", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Present(ctx, "_acme-challenge.more.relay.test.", "x"); !errors.Is(err, relay.ErrLimit) {
		t.Errorf("one name more: %v", err)
	}
}

func TestOptionsThatCannotBeRightAreRefused(t *testing.T) {
	for what, change := range map[string]func(*dns.Options){
		"no zone":             func(o *dns.Options) { o.Zone = "" },
		"zone with a port":    func(o *dns.Options) { o.Zone = "relay.test:53" },
		"an address as zone":  func(o *dns.Options) { o.Zone = "192.0.2.1" },
		"bad name server":     func(o *dns.Options) { o.NS = "ns_1.relay.test" },
		"no addresses":        func(o *dns.Options) { o.Addrs = nil },
		"unspecified address": func(o *dns.Options) { o.Addrs = []netip.Addr{netip.IPv4Unspecified()} },
		"zero address":        func(o *dns.Options) { o.Addrs = []netip.Addr{{}} },
		"short TTL":           func(o *dns.Options) { o.TTL = time.Millisecond },
		"CAA of many lines":   func(o *dns.Options) { o.CAA = []string{"a\nb"} },
	} {
		o := options()
		change(&o)
		if _, err := dns.New(o); !errors.Is(err, relay.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
