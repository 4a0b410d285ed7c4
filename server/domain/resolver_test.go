package domain_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	miekg "github.com/miekg/dns"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/dns"
	"github.com/relaytunnel/relay/server/domain"
)

// resolver returns Go's own resolver, asking a server that answers for
// relay.test as the relay does, and for all else from the lines of a zone file. A
// name that begins with broken gets SERVFAIL, refused REFUSED.
func resolver(t *testing.T, zone string) *net.Resolver {
	t.Helper()
	own, err := dns.New(dns.Options{Zone: base, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	if err != nil {
		t.Fatal(err)
	}
	loop := func() (net.PacketConn, net.Listener) {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return pc, ln
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	ownPC, ownLn := loop()
	go func() { ended <- own.Serve(ctx, ownPC, ownLn) }()

	var records []miekg.RR
	parser := miekg.NewZoneParser(strings.NewReader(zone), ".", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		records = append(records, rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	pc, ln := loop()
	_ = ln.Close()
	front := &miekg.Server{PacketConn: pc, Handler: miekg.HandlerFunc(func(w miekg.ResponseWriter, q *miekg.Msg) {
		_ = w.WriteMsg(recurse(q, records, ownPC.LocalAddr().String()))
	})}
	go func() { ended <- front.ActivateAndServe() }()
	t.Cleanup(func() {
		stop()
		_ = pc.Close()
		<-ended
		<-ended
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

// recurse answers as a resolver does: along CNAMEs, to the end.
func recurse(q *miekg.Msg, records []miekg.RR, own string) *miekg.Msg {
	r := new(miekg.Msg).SetReply(q)
	r.RecursionAvailable = true
	name, qtype := q.Question[0].Name, q.Question[0].Qtype
	for range 5 {
		switch {
		case strings.HasPrefix(name, "broken"):
			r.Rcode = miekg.RcodeServerFailure
			return r
		case strings.HasPrefix(name, "refused"):
			r.Rcode = miekg.RcodeRefused
			return r
		}
		if miekg.IsSubDomain(base+".", name) {
			m, err := miekg.Exchange(new(miekg.Msg).SetQuestion(name, qtype), own)
			if err != nil {
				r.Rcode = miekg.RcodeServerFailure
				return r
			}
			r.Answer, r.Ns, r.Rcode = append(r.Answer, m.Answer...), m.Ns, m.Rcode
			return r
		}
		target, exists := "", false
		for _, rr := range records {
			if !strings.EqualFold(rr.Header().Name, name) {
				continue
			}
			exists = true
			if rr.Header().Rrtype == qtype {
				r.Answer = append(r.Answer, rr)
			} else if c, ok := rr.(*miekg.CNAME); ok {
				r.Answer = append(r.Answer, rr)
				target = c.Target
			}
		}
		if !exists {
			r.Rcode = miekg.RcodeNameError
		}
		if target == "" {
			return r
		}
		name = target
	}
	return r
}

// The same through Go's resolver and true packets: what a *net.Resolver makes of
// CNAMEs, of chains of them, of nothing and of errors.
func TestThroughARealResolver(t *testing.T) {
	w := newWorld(t)
	token := func(host string) string {
		tok, err := w.store.DomainToken(w.ann.ID, host)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	r := resolver(t, `
simple.acme.com.    60 IN CNAME api.relay.test.
upper.acme.com.     60 IN CNAME API.Relay.TEST.
chain.acme.com.     60 IN CNAME simple.acme.com.
bobs.acme.com.      60 IN CNAME bob.relay.test.
below.acme.com.     60 IN CNAME x.api.relay.test.
base.acme.com.      60 IN CNAME relay.test.
dangling.acme.com.  60 IN CNAME gone.example.
round.acme.com.     60 IN CNAME round2.acme.com.
round2.acme.com.    60 IN CNAME round.acme.com.
txtonly.acme.com.   60 IN TXT "x"
acme.com.           60 IN A 192.0.2.1
acme.com.           60 IN A 198.51.100.7
_relay-challenge.acme.com. 60 IN TXT "`+token("acme.com")+`"
_relay-challenge.acme.com. 60 IN TXT "v=other"
noproof.com.        60 IN A 192.0.2.1
away.com.           60 IN A 198.51.100.7
_relay-challenge.away.com. 60 IN TXT "`+token("away.com")+`"
unknown.com.        60 IN A 192.0.2.1
_relay-challenge.unknown.com. 60 IN CNAME broken.example.
`)
	d := domain.New(domain.Options{
		Store: w.store, Domain: base, Resolver: r,
		Holder: func(n relay.Name) string { return w.holder[n] },
		Claim:  func(context.Context, relay.User, relay.Name) error { return nil },
	})
	for _, tt := range []struct {
		host string
		want string // the reason, or "error"; empty: active
	}{
		{"simple.acme.com", ""},
		{"upper.acme.com", ""},
		{"acme.com", ""},
		{"chain.acme.com", ""},
		{"bobs.acme.com", "bob.relay.test, which is not a name of yours"},
		{"below.acme.com", "x.api.relay.test, which is not a name of yours"},
		{"base.acme.com", "there is no TXT record"},
		{"dangling.acme.com", "leads to gone.example, which has no address"},
		{"round.acme.com", "and not to this server"},
		{"txtonly.acme.com", "no address in DNS"},
		{"nothing.acme.com", "no address in DNS"},
		{"noproof.com", "there is no TXT record _relay-challenge.noproof.com"},
		{"away.com", "leads to 198.51.100.7 and not to this server"},
		{"broken.acme.com", "error"},
		{"refused.acme.com", "error"},
		{"unknown.com", "error"}, // its TXT record
	} {
		if _, err := d.Add(t.Context(), w.ann, tt.host, "api"); err != nil {
			t.Fatal(err)
		}
		got, err := d.Verify(t.Context(), w.ann, tt.host)
		switch {
		case tt.want == "error":
			if err == nil {
				t.Errorf("%s: %+v, want an error", tt.host, got)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.host, err)
		case (tt.want == "") != (got.State == relay.DomainActive) || !strings.Contains(got.Reason, tt.want):
			t.Errorf("%s: %+v, want %q", tt.host, got, tt.want)
		}
	}
}
