package dns

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/relaytunnel/relay/internal/relay"
)

// reserved are networks that look like public ones and are not (RFC 6890).
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // behind the NAT of a provider
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), // examples in documents
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/23"), // Teredo and other protocols
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4
}

// public6 is the part of IPv6 that is given out.
var public6 = netip.MustParsePrefix("2000::/3")

// PublicAddrs returns the addresses of this machine by which the world reaches
// it, as far as its interfaces show them.
//
// They do not where a provider translates addresses, as many clouds do: then
// only private ones are there, and the error (ErrNotFound) says to name the
// public ones. The same when IPv6 is public and IPv4 is not: visitors with
// IPv4 would be lost without a word.
func PublicAddrs() ([]netip.Addr, error) {
	have, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("look for the addresses of this machine: %w", err)
	}
	return public(have)
}

func public(have []net.Addr) ([]netip.Addr, error) {
	var found, private4, private6 []netip.Addr
	has4 := false
	for _, h := range have {
		p, err := netip.ParsePrefix(h.String())
		if err != nil {
			continue
		}
		switch a := p.Addr().Unmap().WithZone(""); {
		case a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified():
		case isPublic(a):
			has4 = has4 || a.Is4()
			found = append(found, a)
		case a.Is4():
			private4 = append(private4, a)
		default:
			private6 = append(private6, a)
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	found = slices.Compact(found)
	switch {
	case len(found) > 0 && (has4 || len(private4) == 0):
		return found, nil
	case len(found) > 0:
		return nil, fmt.Errorf("public addresses of this machine: %w: IPv6 is public (%s), but IPv4 is only private (%s); say by which addresses the world reaches it, with --public-ip",
			relay.ErrNotFound, list(found), list(private4))
	case len(private4)+len(private6) > 0:
		return nil, fmt.Errorf("public addresses of this machine: %w: its interfaces have only private ones (%s); say by which address the world reaches it, with --public-ip",
			relay.ErrNotFound, list(append(private4, private6...)))
	default:
		return nil, fmt.Errorf("public addresses of this machine: %w: its interfaces have none; say by which address the world reaches it, with --public-ip",
			relay.ErrNotFound)
	}
}

func isPublic(a netip.Addr) bool {
	if a.IsPrivate() || a.Is6() && !public6.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}

func list(addrs []netip.Addr) string {
	var b strings.Builder
	for i, a := range addrs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return b.String()
}
