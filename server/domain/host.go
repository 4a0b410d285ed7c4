package domain

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/relaytunnel/relay/internal/relay"
)

// parse returns the host in the form of relay.ParseHost if it can be a domain of
// a user's own, else an error of kind ErrInvalid that says why not.
func parse(s, base string) (string, error) {
	host, err := relay.ParseHost(s)
	if err != nil {
		return "", fmt.Errorf("%w; give a host like hooks.acme.com, and one of other letters in its form with xn--", err)
	}
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("%w domain: %s", relay.ErrInvalid, why)
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return bad("an address has no DNS; give a host like hooks.acme.com")
	}
	if strings.Contains(s, ":") {
		return bad("give the host without a port")
	}
	switch {
	case host == base:
		return bad(host + " is the base domain of this server")
	case strings.HasSuffix(host, "."+base):
		return bad("hosts below " + base + " are names; take one with --name")
	case !strings.Contains(host, "."):
		return bad("give the whole host, with its domain, like hooks.acme.com")
	}
	if suffix, _ := publicsuffix.PublicSuffix(host); suffix == host {
		return bad("below " + host + " others have their domains; give your own, like hooks.acme." + host)
	}
	return host, nil
}
