package policy

import (
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"
)

// maxAddresses bounds what a user can write into one list. Lists of whole countries
// are longer; they belong into a firewall.
const maxAddresses = 5000

// addresses is a set of addresses and ranges. It does not change.
type addresses struct{ table bart.Lite }

// has tells whether the address is in the set; the nil set is empty.
func (a *addresses) has(addr netip.Addr) bool { return a != nil && a.table.Lookup(addr) }

// addressPasses tells whether the address may come. Denying comes before allowing,
// and who has no address that is known comes through no rule.
func (p *Policy) addressPasses(client netip.Addr) bool {
	limited := p.allow != nil || len(p.providers) > 0
	if !limited && p.deny == nil {
		return true
	}
	client = plain(client)
	if !client.IsValid() || p.deny.has(client) {
		return false
	}
	if !limited || p.allow.has(client) {
		return true
	}
	for _, name := range p.providers {
		if p.lists.Contains(name, client) {
			return true
		}
	}
	return false
}

// plain is the one form in which addresses are compared: IPv4 as IPv4, without zones.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// parseAddresses makes a set of what a user has written; nil of nothing.
func parseAddresses(field string, lines []string) (*addresses, error) {
	if len(lines) == 0 {
		return nil, nil //nolint:nilnil // the nil set is empty
	}
	if len(lines) > maxAddresses {
		return nil, invalid("%s has %d entries; %d are the most", field, len(lines), maxAddresses)
	}
	set := &addresses{}
	for _, line := range lines {
		p, ok := parsePrefix(line)
		if !ok {
			return nil, invalid("%s: %q is not an address or range; write 203.0.113.7 or 2001:db8::/32", field, line)
		}
		set.table.Insert(p)
	}
	return set, nil
}

// setOf makes a set of ranges; nil of none.
func setOf(prefixes []netip.Prefix) *addresses {
	if len(prefixes) == 0 {
		return nil
	}
	set := &addresses{}
	for _, p := range prefixes {
		set.table.Insert(p)
	}
	return set
}

// parsePrefix reads an address or a range. A range of IPv4 addresses that is written
// in IPv6 becomes one of IPv4, because visitors are compared so.
func parsePrefix(s string) (netip.Prefix, bool) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, false // it would mean a part of IPv6 and all of IPv4
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}
