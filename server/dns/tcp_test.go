package dns_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/relaytunnel/relay/server/dns"
)

func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// readReply reads one framed message.
func readReply(conn net.Conn) (*miekg.Msg, error) {
	return (&miekg.Conn{Conn: conn}).ReadMsg()
}

// Several questions may be on their way at once, in pieces of any size.
func TestTCPConnectionsCarryManyQuestions(t *testing.T) {
	_, addr := start(t, options())
	conn := dial(t, addr)
	var all []byte
	for id := range 50 {
		q := question("relay.test.", miekg.TypeA)
		q.Id = uint16(id)
		all = append(all, framed(packed(t, q))...)
	}
	go func() {
		for i := 0; i < len(all); i += 7 {
			_, _ = conn.Write(all[i:min(i+7, len(all))])
		}
	}()
	for id := range 50 {
		r, err := readReply(conn)
		if err != nil || int(r.Id) != id || len(r.Answer) != 2 {
			t.Fatalf("reply %d: %v, %v", id, r, err)
		}
	}
}

func TestTCPConnectionsThatBreakTheRulesAreClosed(t *testing.T) {
	_, addr := start(t, options())
	reply := question("relay.test.", miekg.TypeA)
	reply.Response = true
	for what, b := range map[string][]byte{
		"a reply":               framed(packed(t, reply)),
		"too short":             framed([]byte("x")),
		"empty":                 framed(nil),
		"too long":              {0xff, 0xff},
		"silent from the start": nil, // after three seconds
	} {
		conn := dial(t, addr)
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || isTimeout(err) {
			t.Errorf("%s: read %d, %v; want the end", what, n, err)
		}
	}
}

// One network cannot take all connections, and those that end make room.
func TestTCPConnectionsAreBounded(t *testing.T) {
	_, addr := start(t, options())
	q := framed(packed(t, question("relay.test.", miekg.TypeA)))
	var open []net.Conn
	for range 16 {
		conn := dial(t, addr)
		if _, err := conn.Write(q); err != nil {
			t.Fatal(err)
		}
		if _, err := readReply(conn); err != nil {
			t.Fatalf("connection %d: %v", len(open), err)
		}
		open = append(open, conn)
	}
	more := dial(t, addr)
	_, _ = more.Write(q)
	if _, err := readReply(more); err == nil || isTimeout(err) {
		t.Errorf("one connection more: %v, want the end", err)
	}
	open[0].Close()
	for range 200 {
		conn := dial(t, addr)
		_, _ = conn.Write(q)
		if _, err := readReply(conn); err == nil {
			return
		}
	}
	t.Error("a connection that ended has made no room")
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// Serve ends with its context, whatever is open.
func TestServeEnds(t *testing.T) {
	s, err := dns.New(options())
	if err != nil {
		t.Fatal(err)
	}
	pc, ln := listen(t, "127.0.0.1")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, pc, ln) }()
	conn := dial(t, pc.LocalAddr().String())
	_, _ = conn.Write(framed(packed(t, question("relay.test.", miekg.TypeA))))
	if _, err := readReply(conn); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("an open connection: %v", err)
	}
}

func TestServeFailsWhenASocketBreaks(t *testing.T) {
	for what, breakOne := range map[string]func(net.PacketConn, net.Listener){
		"UDP": func(pc net.PacketConn, _ net.Listener) { pc.Close() },
		"TCP": func(_ net.PacketConn, ln net.Listener) { ln.Close() },
	} {
		s, err := dns.New(options())
		if err != nil {
			t.Fatal(err)
		}
		pc, ln := listen(t, "127.0.0.1")
		breakOne(pc, ln)
		if err := s.Serve(t.Context(), pc, ln); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
