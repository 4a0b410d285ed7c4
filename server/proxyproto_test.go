package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

var (
	fromHere      = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	fromElsewhere = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
)

// throughProxy connects to a proxyListener and gives both ends. The time for the
// header is short, so that a missing one is no wait for the test.
func throughProxy(t *testing.T, trusted []netip.Prefix, within time.Duration) (proxy *net.TCPConn, visitor net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pl := proxyListener(ln, trusted)
	t.Cleanup(func() { _ = pl.Close() })
	if pl.(*proxied).ReadHeaderTimeout != proxyHeaderTimeout {
		t.Fatal("a proxy has endless time for its header")
	}
	pl.(*proxied).ReadHeaderTimeout = within
	c, err := net.Dial("tcp", pl.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if visitor, err = pl.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = visitor.Close() })
	return c.(*net.TCPConn), visitor
}

// v2 makes a header of version 2 byte by byte, right or wrong.
func v2(command, family byte, body []byte) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(append(b, body...))
}

// extra is one extra of a header of version 2, of a kind that anybody may use.
func extra(n int) []byte {
	return append([]byte{0xE0, byte(n >> 8), byte(n)}, make([]byte, n)...)
}

func TestWhatAProxySaysOfAVisitorIsBelievedOnlyFromATrustedAddress(t *testing.T) {
	ipv4 := []byte{203, 0, 113, 7, 198, 51, 100, 1, 0xC3, 0x50, 0x01, 0xBB}
	ipv6 := append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0xC3, 0x50, 0x01, 0xBB)
	const body = "GET / HTTP/1.1\r\n\r\n"
	for _, c := range []struct {
		name    string
		trusted []netip.Prefix
		header  string
		from    string // the visitor's address; "proxy" for the connection's own
		refused bool
	}{
		{"v1 IPv4", fromHere, "PROXY TCP4 203.0.113.7 198.51.100.1 50000 443\r\n", "203.0.113.7:50000", false},
		{"v1 IPv6", fromHere, "PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n", "[2001:db8::7]:50000", false},
		{"v1 unknown", fromHere, "PROXY UNKNOWN\r\n", "proxy", false},
		{"v1 unknown with addresses", fromHere, "PROXY UNKNOWN 203.0.113.7 198.51.100.1 50000 443\r\n", "proxy", false},
		{"v2 IPv4", fromHere, v2(1, 0x11, ipv4), "203.0.113.7:50000", false},
		{"v2 IPv6", fromHere, v2(1, 0x21, ipv6), "[2001:db8::7]:50000", false},
		{"v2 with extras", fromHere, v2(1, 0x11, append(ipv4[:12:12], extra(1000)...)), "203.0.113.7:50000", false},
		{"v2 local", fromHere, v2(0, 0x00, nil), "proxy", false},
		{"v2 local with addresses", fromHere, v2(0, 0x11, ipv4), "proxy", false},

		{"none", fromHere, "", "proxy", true},
		{"a broken v1 address", fromHere, "PROXY TCP4 203.0.113.700 198.51.100.1 50000 443\r\n", "proxy", true},
		{"a v1 family that does not fit", fromHere, "PROXY TCP4 2001:db8::7 2001:db8::1 50000 443\r\n", "proxy", true},
		{"a v1 port beyond all ports", fromHere, "PROXY TCP4 203.0.113.7 198.51.100.1 70000 443\r\n", "proxy", true},
		{"a v1 line without its return", fromHere, "PROXY TCP4 203.0.113.7 198.51.100.1 50000 443\n", "proxy", true},
		{"a v1 line without end", fromHere, "PROXY TCP4 " + strings.Repeat("2", 8000), "proxy", true},
		{"garbage", fromHere, "\x16\x03\x01\x02\x00\x01\x00", "proxy", true},
		{"a v2 command that is none", fromHere, v2(7, 0x11, ipv4), "proxy", true},
		{"a v2 family that is none", fromHere, v2(1, 0x51, ipv4), "proxy", true},
		{"a v2 unix socket", fromHere, v2(1, 0x31, make([]byte, 216)), "proxy", true},
		{"a v2 datagram", fromHere, v2(1, 0x12, ipv4), "proxy", true},
		{"a v2 address that is short", fromHere, v2(1, 0x11, ipv4[:8]), "proxy", true},
		{"v2 extras without end", fromHere, v2(1, 0x11, append(ipv4[:12:12], 0xE0, 0xFF, 0xFF, 1)), "proxy", true},
		{"v2 extras of 60 KiB", fromHere, v2(1, 0x11, append(ipv4[:12:12], extra(60<<10)...)), "proxy", true},

		{"none, from elsewhere", fromElsewhere, "", "proxy", false},
		{"v1 from elsewhere", fromElsewhere, "PROXY TCP4 203.0.113.7 198.51.100.1 50000 443\r\n", "proxy", true},
		{"v2 from elsewhere", fromElsewhere, v2(1, 0x11, ipv4), "proxy", true},
		{"v2 local from elsewhere", fromElsewhere, v2(0, 0x00, nil), "proxy", true},
		{"nobody is trusted", nil, "PROXY TCP4 203.0.113.7 198.51.100.1 50000 443\r\n", "proxy", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxy, visitor := throughProxy(t, c.trusted, proxyHeaderTimeout)
			go func() {
				_, _ = io.WriteString(proxy, c.header+body)
				_ = proxy.CloseWrite()
			}()
			got, err := io.ReadAll(visitor)
			switch {
			case c.refused && (err == nil || len(got) > 0):
				t.Errorf("the server reads %q, error %v", got, err)
			case !c.refused && (err != nil || string(got) != body):
				t.Errorf("the server reads %q, error %v, want %q", got, err, body)
			}
			if _, err := visitor.Write([]byte("answer")); c.refused == (err == nil) {
				t.Errorf("refused %t, and the server writes: %v", c.refused, err)
			}
			want := c.from
			if want == "proxy" {
				want = proxy.LocalAddr().String()
			}
			if from := visitor.RemoteAddr().String(); from != want {
				t.Errorf("the visitor is %s, want %s", from, want)
			}
		})
	}
}

func TestAProxyThatSendsNoHeaderInTimeIsRefused(t *testing.T) {
	for name, part := range map[string]string{
		"nothing": "", "half of v1": "PROXY TCP4 203.0.1", "half of the signature": "\r\n\r\n\x00", "half of v2": v2(1, 0x11, make([]byte, 12))[:20],
	} {
		t.Run(name, func(t *testing.T) {
			proxy, visitor := throughProxy(t, fromHere, 50*time.Millisecond)
			if _, err := io.WriteString(proxy, part); err != nil {
				t.Fatal(err)
			}
			if n, err := visitor.Read(make([]byte, 10)); err == nil {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}

// A header that drips in has the time of one header, not of each of its bytes.
func TestADrippingHeaderDoesNotExtendItsTime(t *testing.T) {
	proxy, visitor := throughProxy(t, fromHere, 200*time.Millisecond)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for _, b := range []byte(v2(1, 0x11, append(make([]byte, 12), extra(3000)...))) {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if _, err := proxy.Write([]byte{b}); err != nil {
				return
			}
		}
	}()
	begin := time.Now()
	if _, err := visitor.Read(make([]byte, 10)); err == nil {
		t.Error("bytes were read")
	}
	if d := time.Since(begin); d > 5*time.Second { // all of it would take a minute
		t.Errorf("it was waited for during %s", d)
	}
}

// Somebody who comes directly may be silent for longer than a header may take.
func TestAVisitorWithoutProxyMayBeginLate(t *testing.T) {
	visitor, here := throughProxy(t, fromElsewhere, 20*time.Millisecond)
	time.AfterFunc(100*time.Millisecond, func() { _, _ = io.WriteString(visitor, "hello") })
	b := make([]byte, 5)
	if _, err := io.ReadFull(here, b); err != nil || string(b) != "hello" {
		t.Errorf("read %q: %v", b, err)
	}
}

func TestASlowProxyHoldsUpNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pl := proxyListener(ln, fromHere)
	defer pl.Close()
	for range 3 {
		silent, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	begin := time.Now()
	for range 3 {
		c, err := pl.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if d := time.Since(begin); d > proxyHeaderTimeout/2 {
		t.Errorf("three silent proxies were accepted after %s", d)
	}
}

func TestAConnectionThroughAProxyIsHalfClosed(t *testing.T) {
	proxy, visitor := throughProxy(t, fromHere, proxyHeaderTimeout)
	h := proxyproto.Header{
		Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 1}, DestinationAddr: &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 2},
	}
	if _, err := h.WriteTo(proxy); err != nil {
		t.Fatal(err)
	}
	if _, err := visitor.Write([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	if err := visitor.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(proxy); err != nil || string(b) != "bye" {
		t.Fatalf("the proxy reads %q: %v", b, err)
	}
	if _, err := proxy.Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(visitor, b); err != nil || !bytes.Equal(b, []byte("more")) {
		t.Errorf("after the half-close %q came: %v", b, err)
	}
	if visitor.(interface{ NetConn() net.Conn }).NetConn().RemoteAddr().String() != proxy.LocalAddr().String() {
		t.Error("the connection underneath is not the proxy's")
	}
}

func TestAProxiedListenerEnds(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pl := proxyListener(ln, fromHere)
	if err := pl.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := pl.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
	}
}
