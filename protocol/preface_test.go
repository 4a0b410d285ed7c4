package protocol_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/relaytunnel/relay/protocol"
)

func TestPrefaceInWireForm(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    protocol.Preface
		wire string
	}{
		{"no visitor", protocol.Preface{Tunnel: 1}, "01 05 00000001 00"},
		{"greatest tunnel", protocol.Preface{Tunnel: 4294967295}, "01 05 ffffffff 00"},
		{"IPv4", protocol.Preface{Tunnel: 258, Visitor: netip.MustParseAddrPort("192.0.2.1:443")}, "01 0b 00000102 04 c0000201 01bb"},
		{"IPv6", protocol.Preface{Tunnel: 3, Visitor: netip.MustParseAddrPort("[2001:db8::1]:65535")}, "01 17 00000003 10 20010db8000000000000000000000001 ffff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			if got := tt.p.Append([]byte("before")); string(got) != "before"+string(wire) {
				t.Errorf("written as %x, want %x", got, wire)
			}
			rest := strings.NewReader(string(wire) + "after")
			got, err := protocol.ReadPreface(iotest.OneByteReader(rest))
			if err != nil || got != tt.p {
				t.Errorf("read as %+v, %v", got, err)
			}
			if b, _ := io.ReadAll(rest); string(b) != "after" {
				t.Errorf("left %q to the stream, want all of it", b)
			}
		})
	}
}

// An address has one form on the wire, whatever the socket calls it.
func TestPrefaceWritesMappedAddressesAsIPv4(t *testing.T) {
	p := protocol.Preface{Tunnel: 1, Visitor: netip.MustParseAddrPort("[::ffff:192.0.2.1]:80")}
	got, err := protocol.ReadPreface(bytes.NewReader(p.Append(nil)))
	if err != nil || got.Visitor != netip.MustParseAddrPort("192.0.2.1:80") {
		t.Errorf("read %v, %v", got.Visitor, err)
	}
}

func TestPrefaceSkipsFieldsOfLaterVersions(t *testing.T) {
	r := bytes.NewReader(unhex(t, "01 08 00000009 00 aabbcc 48"))
	p, err := protocol.ReadPreface(r)
	if err != nil || p.Tunnel != 9 || p.Visitor.IsValid() {
		t.Errorf("read %+v, %v", p, err)
	}
	if b, _ := r.ReadByte(); b != 'H' {
		t.Errorf("the stream goes on with %q", b)
	}
}

func TestReadPrefaceRefuses(t *testing.T) {
	for _, tt := range []struct{ name, wire, want string }{
		{"nothing", "", "EOF"},
		{"half a head", "01", "EOF"},
		{"cut", "01 05 00000001", "EOF"},
		{"another version", "02 05 00000001 00", "version 2"},
		{"version 0", "00 05 00000001 00", "version 0"},
		{"too short", "01 04 00000001", "too short"},
		{"empty", "01 00", "too short"},
		{"odd address", "01 0c 00000001 05 c000020101 01bb", "address of 5"},
		{"address without port", "01 09 00000001 04 c0000201", "address of 4"},
		{"address longer than the preface", "01 0b 00000001 10 c0000201 01bb", "address of 16"},
		{"huge address", "01 05 00000001 ff", "address of 255"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := protocol.ReadPreface(bytes.NewReader(unhex(t, tt.wire)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("read %+v, %v; want an error with %q", p, err, tt.want)
			}
		})
	}
}

func TestReadPrefacePassesTheStreamsErrorOn(t *testing.T) {
	broken := errors.New("broken")
	for _, n := range []string{"", "01 05", "01 05 0000"} {
		r := io.MultiReader(bytes.NewReader(unhex(t, n)), iotest.ErrReader(broken))
		if _, err := protocol.ReadPreface(r); !errors.Is(err, broken) {
			t.Errorf("after %q the error is %v", n, err)
		}
	}
}

// FuzzReadPreface: whatever comes, no more is read than the preface says, and what
// was understood can be written and read again.
func FuzzReadPreface(f *testing.F) {
	f.Add([]byte{1, 5, 0, 0, 0, 1, 0})
	f.Add(protocol.Preface{Tunnel: 7, Visitor: netip.MustParseAddrPort("[2001:db8::1]:1")}.Append(nil))
	f.Add([]byte{1, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		p, err := protocol.ReadPreface(r)
		read := len(in) - r.Len()
		if len(in) >= 2 && in[0] == 1 && read > 2+int(in[1]) || len(in) >= 2 && in[0] != 1 && read > 2 {
			t.Fatalf("%d bytes were read of %x", read, in)
		}
		if err != nil {
			return
		}
		if read != 2+int(in[1]) {
			t.Fatalf("%d bytes were read of %x", read, in)
		}
		again, err := protocol.ReadPreface(bytes.NewReader(p.Append(nil)))
		if err != nil || again.Tunnel != p.Tunnel || again.Visitor.Port() != p.Visitor.Port() || again.Visitor.Addr().Unmap() != p.Visitor.Addr().Unmap() {
			t.Fatalf("%+v became %+v: %v", p, again, err)
		}
	})
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
