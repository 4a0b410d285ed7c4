package auth

import (
	"net/netip"
	"testing"
	"time"
)

func TestTriesFromManyAddressesAreBounded(t *testing.T) {
	var tr tries
	now := time.UnixMilli(1_800_000_000_000)
	for i := range triesKept + 500 {
		if !tr.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now) {
			t.Fatalf("the first try from address %d is refused", i)
		}
		if len(tr.from) > triesKept {
			t.Fatalf("%d addresses are kept", len(tr.from))
		}
	}
	// Two minutes later none of them matters.
	tr.allow(netip.MustParseAddr("192.0.2.1"), now.Add(2*time.Minute))
	if len(tr.from) != 1 {
		t.Errorf("%d addresses are kept", len(tr.from))
	}
}

func TestSourceOfTries(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":         "192.0.2.1/32",
		"::ffff:192.0.2.1":  "192.0.2.1/32",
		"2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"fe80::1%eth0":      "fe80::/64",
	} {
		if got := source(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("source(%s) = %s, want %s", addr, got, want)
		}
	}
	if got := source(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("source of no address = %v", got)
	}
}
