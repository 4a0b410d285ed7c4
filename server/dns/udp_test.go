package dns_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/relaytunnel/relay/server/dns"
)

// A machine has several addresses. A connected socket, like a resolver, takes
// only what comes from the address it has asked.
func TestAnswersComeFromTheAddressThatWasAsked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8")
	}
	for _, host := range []string{"0.0.0.0", "::"} {
		s, err := dns.New(options())
		if err != nil {
			t.Fatal(err)
		}
		if host == "::" {
			if ln, err := net.Listen("tcp", "[::1]:0"); err != nil {
				t.Skip("no IPv6 here")
			} else {
				ln.Close()
			}
		}
		pc, ln := listen(t, host)
		serve(t, s, pc, ln)
		asked := []string{"127.0.0.1", "127.9.8.7"}
		if host == "::" {
			asked = append(asked, "::1")
		}
		for _, to := range asked {
			r := ask(t, "udp", net.JoinHostPort(to, portOf(pc.LocalAddr().String())), question("relay.test.", miekg.TypeA))
			if len(r.Answer) != 2 {
				t.Errorf("listening on %s, asked at %s: %v", host, to, shown(r))
			}
		}
	}
}

// A packetConn hides that it is UDP.
type packetConn struct{ net.PacketConn }

func TestAnyPacketConnIsServed(t *testing.T) {
	s, err := dns.New(options())
	if err != nil {
		t.Fatal(err)
	}
	pc, ln := listen(t, "127.0.0.1")
	serve(t, s, packetConn{pc}, ln)
	if r := ask(t, "udp", pc.LocalAddr().String(), question("relay.test.", miekg.TypeA)); len(r.Answer) != 2 {
		t.Error(shown(r))
	}
}

// Who asks too much is told to come by TCP, where it gets all, and then nothing.
func TestTooManyQuestions(t *testing.T) {
	_, addr := start(t, options()) // whose clock stands still
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q := packed(t, question("alice.relay.test.", miekg.TypeA))
	buf, r := make([]byte, 4096), new(miekg.Msg)
	full, blank := 0, 0
	for range 400 {
		if _, err := conn.Write(q); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("after %d answers and %d blank ones: %v", full, blank, err)
		}
		if err := r.Unpack(buf[:n]); err != nil {
			t.Fatal(err)
		}
		switch {
		case !r.Truncated && len(r.Answer) == 2 && blank == 0:
			full++
		case r.Truncated && n == len(q):
			blank++
		default:
			t.Fatalf("after %d answers and %d blank ones: %v", full, blank, shown(r))
		}
	}
	if full != 200 || blank != 200 {
		t.Errorf("%d answers and %d blank ones", full, blank)
	}
	if _, err := conn.Write(q); err != nil {
		t.Fatal(err)
	}
	// TCP is answered in the meantime, and nothing comes over UDP before it.
	if r := ask(t, "tcp", addr, question("alice.relay.test.", miekg.TypeA)); len(r.Answer) != 2 {
		t.Error(shown(r))
	}
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(buf); err == nil {
		t.Errorf("%d bytes more", n)
	}
}
