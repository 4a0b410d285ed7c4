package dns

import (
	"net/netip"
	"testing"
	"time"
)

func TestQuotaOfANetwork(t *testing.T) {
	q, now := newQuota(), time.Unix(1_800_000_000, 0)
	count := func(addr string, n int) (full, blanks, none int) {
		for range n {
			how, ok := q.take(netip.MustParseAddr(addr), now)
			switch {
			case !ok:
				none++
			case how == blank:
				blanks++
			default:
				full++
			}
		}
		return full, blanks, none
	}
	want := func(what string, f, b, n, wf, wb, wn int) {
		t.Helper()
		if f != wf || b != wb || n != wn {
			t.Errorf("%s: %d answers, %d blank, %d none; want %d, %d, %d", what, f, b, n, wf, wb, wn)
		}
	}
	f, b, n := count("192.0.2.1", 150)
	want("the first", f, b, n, 150, 0, 0)
	f, b, n = count("192.0.2.99", 300)
	want("the same network", f, b, n, 50, 200, 50)
	f, b, n = count("::ffff:192.0.2.7", 1)
	want("the same network, in the form of IPv6", f, b, n, 0, 0, 1)

	now = now.Add(time.Second)
	f, b, n = count("192.0.2.1", 60)
	want("a second later", f, b, n, 0, 50, 10)
	now = now.Add(-time.Hour)
	f, b, n = count("192.0.2.1", 1)
	want("when the clock is set back", f, b, n, 0, 0, 1)
	now = now.Add(6 * time.Second)
	f, b, n = count("192.0.2.1", 101)
	want("six seconds later", f, b, n, 100, 1, 0)
	now = now.Add(time.Hour)
	f, b, n = count("192.0.2.1", 200)
	want("an hour later", f, b, n, 200, 0, 0)
}

func TestNetworks(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":            "192.0.2.0/24",
		"::ffff:192.0.2.1":     "192.0.2.0/24",
		"2001:db8:1:2345:6::7": "2001:db8:1:2300::/56",
		"fe80::1%eth0":         "fe80::/56",
	} {
		if got := network(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("network(%s) = %s, want %s", addr, got, want)
		}
	}
	if got := network(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("network of no address = %v", got)
	}
}

// A flood from all networks there are leaves most of the others alone, and takes
// no memory.
func TestQuotaIsSharedByFew(t *testing.T) {
	q, now := newQuota(), time.Unix(1_800_000_000, 0)
	for range 500 { // one network floods
		q.take(netip.MustParseAddr("192.0.2.1"), now)
	}
	refused := 0
	for i := range 2000 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		if how, ok := q.take(addr, now); !ok || how != short {
			refused++
		}
	}
	if refused > 5 { // each shares its counter once in 16384 times
		t.Errorf("%d of 2000 other networks are refused", refused)
	}
	if n := testing.AllocsPerRun(100, func() { q.take(netip.MustParseAddr("198.51.100.1"), now) }); n > 0 {
		t.Errorf("counting allocates %v times", n)
	}
}
