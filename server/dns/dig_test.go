package dns_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// judge runs one of the programs that people ask with, and returns what it says
// with its white space made one.
func judge(t *testing.T, program, addr string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: make test installs it where it can", program)
	}
	args = append([]string{"@127.0.0.1", "-p", portOf(addr)}, args...)
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return regexp.MustCompile(`[ \t]+`).ReplaceAllString(string(out), " ")
}

type judged struct {
	args string
	want []string // each is somewhere in the output
	not  []string // none is
}

func runJudged(t *testing.T, program string, tests []judged) {
	t.Helper()
	addr := startForJudges(t)
	for _, tt := range tests {
		out := judge(t, program, addr, strings.Fields(tt.args)...)
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s %s: no %q in\n%s", program, tt.args, want, out)
			}
		}
		// What dig and kdig say when something is not as it should be.
		for _, not := range append(tt.not, "Warning", "WARNING", "malformed", "mismatch", "extra bytes") {
			if strings.Contains(out, not) {
				t.Errorf("%s %s: %q in\n%s", program, tt.args, not, out)
			}
		}
	}
}

func startForJudges(t *testing.T) string {
	t.Helper()
	s, addr := start(t, options())
	for _, value := range []string{"gfj9Xq...Rg85nM", "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo"} {
		if err := s.Present(t.Context(), "_acme-challenge.relay.test.", value); err != nil {
			t.Fatal(err)
		}
	}
	return addr
}

func TestDig(t *testing.T) {
	const aa = "flags: qr aa;"
	runJudged(t, "dig", []judged{
		{"+norec relay.test A", []string{"NOERROR", aa, "ANSWER: 2, AUTHORITY: 0", "relay.test. 300 IN A 192.0.2.1"}, nil},
		{"+norec +tcp deep.alice.relay.test AAAA", []string{"NOERROR", aa, "deep.alice.relay.test. 300 IN AAAA 2001:db8::2"}, nil},
		{"+norec aLiCe.ReLaY.tEsT A", []string{"aLiCe.ReLaY.tEsT. 300 IN A 192.0.2.1"}, nil},
		{"+norec RELAY.test SOA", []string{aa, "RELAY.test. 300 IN SOA ns.relay.test. hostmaster.relay.test. 1800000002"}, nil},
		{"+norec relay.test NS", []string{aa, "IN NS ns.relay.test.", "ADDITIONAL: 5", "ns.relay.test. 300 IN A 192.0.2.1"}, nil},
		{"+norec relay.test CAA", []string{`CAA 0 issue "letsencrypt.org"`}, nil},
		{"+norec relay.test MX", []string{"NOERROR", aa, "ANSWER: 0, AUTHORITY: 1", "relay.test. 60 IN SOA"}, nil},
		{"+norec _dmarc.relay.test TXT", []string{"NXDOMAIN", aa, "relay.test. 0 IN SOA"}, nil},
		{"+norec +short _acme-challenge.relay.test TXT", []string{"\"gfj9Xq...Rg85nM\"\n\"LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo\"\n"}, nil},
		{"+norec +notcp relay.test ANY", []string{"NOERROR", `HINFO "RFC8482" ""`}, nil},
		{"+nocomments relay.test AXFR", []string{"Transfer failed."}, nil},
		{"+norec example.com A", []string{"REFUSED", "flags: qr;", "ANSWER: 0, AUTHORITY: 0"}, nil},
		{"+norec version.bind TXT CH", []string{"REFUSED"}, []string{"relay"}},
		{"+norec +noedns +opcode=notify relay.test SOA", []string{"opcode: NOTIFY, status: NOTIMP"}, nil},
		{"+norec +noedns relay.test A", []string{"NOERROR", "ADDITIONAL: 0"}, []string{"EDNS"}},
		{"+norec +edns=1 +noednsneg relay.test A", []string{"BADVERS", "EDNS: version: 0", "ANSWER: 0"}, nil},
		{"+norec +bufsize=512 relay.test AAAA", []string{"udp: 1232", "ANSWER: 2"}, nil},
		{"+norec +nsid +subnet=192.0.2.0/24 +ednsopt=65001:00 relay.test A", []string{"NOERROR", "ANSWER: 2"}, []string{"NSID", "COOKIE", "CLIENT-SUBNET"}},
		{"+norec +dnssec +ednsflags=0x80 relay.test A", []string{"flags: do; udp: 1232"}, []string{"MBZ", "RRSIG"}},
		{"+norec +cdflag relay.test A", []string{"flags: qr aa cd;"}, nil},
		{"+norec +noedns +header-only relay.test A", []string{"FORMERR"}, nil},
		{"+norec +tcp +keepopen relay.test A relay.test NS", []string{"IN A 192.0.2.2", "IN NS ns.relay.test."}, nil},
	})
}

func TestKdig(t *testing.T) {
	runJudged(t, "kdig", []judged{
		{"+norec alice.relay.test A", []string{"NOERROR", "Flags: qr aa;", "ANSWER: 2", "alice.relay.test. 300 IN A 192.0.2.1"}, nil},
		{"+norec +tcp alice.relay.test AAAA", []string{"NOERROR", "Flags: qr aa;", "IN AAAA 2001:db8::1"}, nil},
		{"+norec +edns +nsid +padding +bufsize=4096 relay.test TXT", []string{"NOERROR", "ANSWER: 0", "IN SOA ns.relay.test.", "UDP size: 1232 B"}, nil},
		{"+norec _x.relay.test A", []string{"NXDOMAIN", "Flags: qr aa;", "IN SOA"}, nil},
		{"+norec example.com A", []string{"REFUSED"}, nil},
	})
}

// delv is a resolver of its own, and stricter about what it takes for an answer.
func TestDelv(t *testing.T) {
	runJudged(t, "delv", []judged{
		{"-i alice.relay.test A", []string{"; authoritative", "alice.relay.test. 300 IN A 192.0.2.1"}, nil},
		{"-i +tcp relay.test SOA", []string{"; authoritative", "SOA ns.relay.test."}, nil},
		{"-i _acme-challenge.relay.test TXT", []string{`"gfj9Xq...Rg85nM"`}, nil},
	})
}
