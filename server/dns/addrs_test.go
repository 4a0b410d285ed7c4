package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/relay"
)

func TestPublicAddresses(t *testing.T) {
	for _, tt := range []struct {
		have string
		want string // the addresses, or what the sentence says
	}{
		{"127.0.0.1/8 ::1/128 8.8.8.8/24", "[8.8.8.8]"},
		{"8.8.8.8/24 8.8.8.8/32 1.1.1.1/32 2600:1::2/64 fe80::1/64", "[1.1.1.1 8.8.8.8 2600:1::2]"},
		{"8.8.8.8/24 172.17.0.1/16 10.0.0.1/8", "[8.8.8.8]"},
		{"2600:1::2/64", "[2600:1::2]"},
		{"10.0.0.5/8 127.0.0.1/8", "only private ones (10.0.0.5); say by which address"},
		{"100.64.0.1/10 fd00::1/64", "only private ones (100.64.0.1, fd00::1)"},
		{"203.0.113.7/24 198.18.0.1/15 2001:db8::1/64 2002::1/16", "only private ones"},
		{"10.0.0.5/8 2600:1::2/64", "IPv6 is public (2600:1::2), but IPv4 is only private (10.0.0.5)"},
		{"127.0.0.1/8 ::1/128 fe80::1/64", "have none"},
		{"", "have none"},
	} {
		var have []net.Addr
		for _, a := range strings.Fields(tt.have) {
			ip, n, err := net.ParseCIDR(a)
			if err != nil {
				t.Fatal(err)
			}
			have = append(have, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		got, err := public(have)
		if err == nil {
			if fmt.Sprint(got) != tt.want {
				t.Errorf("%s: %v, want %s", tt.have, got, tt.want)
			}
			continue
		}
		if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "--public-ip") || !errors.Is(err, relay.ErrNotFound) {
			t.Errorf("%s: %v, want %s", tt.have, err, tt.want)
		}
	}
}

// Whatever this machine has, it is one of the two.
func TestPublicAddressesOfThisMachine(t *testing.T) {
	got, err := PublicAddrs()
	if (err == nil) == (len(got) == 0) {
		t.Errorf("%v, %v", got, err)
	}
	for _, a := range got {
		if !isPublic(a) || a == netip.MustParseAddr("127.0.0.1") {
			t.Errorf("%s is public", a)
		}
	}
}
