package domain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

const (
	// proofLabel stands before the host in the name of the TXT record.
	proofLabel = "_relay-challenge."

	// checkWithin limits all look-ups of one check; a resolver gives up on a
	// server that is silent in about ten seconds.
	checkWithin = 20 * time.Second

	// maxChain is how many CNAMEs are followed, one after the other.
	maxChain = 5
)

// A Resolver asks DNS, as a *net.Resolver does. Its names end with a dot. That
// there is no such name or record is a *net.DNSError with IsNotFound; all other
// errors mean that it could not find out.
type Resolver interface {
	LookupCNAME(ctx context.Context, host string) (string, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// check looks whether the host of a domain is proved to be its user's and leads
// here. why is empty when it is so, else a sentence. An error means that it could
// not be found out; it says nothing about the domain.
func (d *Domains) check(ctx context.Context, dom relay.Domain) (why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	if d.o.Holder(dom.Name) != dom.UserID {
		return fmt.Sprintf("the name %s is not yours any more; choose another with relay domain add %s --name", dom.Name, dom.Host), nil
	}
	// When our own names cannot be found, none of a user that leads to them can.
	ours, err := d.o.Resolver.LookupNetIP(ctx, "ip", string(dom.Name)+"."+d.o.Domain+".")
	if err != nil {
		return "", fmt.Errorf("look up a name of this server: %w", err)
	}
	ours = append(ours, d.o.Addrs...)

	target, below, err := d.follow(ctx, dom.Host)
	switch {
	case missing(err) && target == dom.Host:
		return dom.Host + " has no address in DNS", nil
	case missing(err):
		return fmt.Sprintf("%s leads to %s, which has no address in DNS", dom.Host, target), nil
	case err != nil:
		return "", fmt.Errorf("look up %s: %w", target, err)
	case below != "" && d.o.Holder(relay.Name(below)) == dom.UserID:
		return "", nil
	}

	token, err := d.o.Store.DomainToken(dom.UserID, dom.Host)
	if err != nil {
		return "", err
	}
	texts, err := d.o.Resolver.LookupTXT(ctx, proofLabel+dom.Host+".")
	if err != nil && !missing(err) {
		return "", fmt.Errorf("look up %s%s: %w", proofLabel, dom.Host, err)
	}
	addrs, err := d.o.Resolver.LookupNetIP(ctx, "ip", dom.Host+".")
	if err != nil && !missing(err) {
		return "", fmt.Errorf("look up %s: %w", dom.Host, err)
	}
	proved := slices.ContainsFunc(texts, func(s string) bool { return strings.TrimSpace(s) == token })
	here := slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return slices.ContainsFunc(ours, func(o netip.Addr) bool { return a.Unmap() == o.Unmap() })
	})
	switch {
	case proved && here:
		return "", nil
	case below != "":
		return fmt.Sprintf("%s is a CNAME for %s, which is not a name of yours", dom.Host, target), nil
	case here:
		return fmt.Sprintf("%s leads to this server, but there is no TXT record %s%s with your token", dom.Host, proofLabel, dom.Host), nil
	default:
		return fmt.Sprintf("%s leads to %s and not to this server", dom.Host, elsewhere(dom.Host, target, addrs)), nil
	}
}

// follow goes from a host along its CNAMEs to the last name, or to the first that
// is below the base domain, and returns that, and what of it stands before the
// base domain. A resolver may tell the next one or the last one. After an error,
// target is the name that was looked up.
func (d *Domains) follow(ctx context.Context, host string) (target, below string, err error) {
	target = host
	for range maxChain {
		canonical, err := d.o.Resolver.LookupCNAME(ctx, target+".")
		if err != nil {
			return target, "", err
		}
		next := strings.ToLower(strings.TrimSuffix(canonical, "."))
		if below, ok := strings.CutSuffix(next, "."+d.o.Domain); ok {
			return next, below, nil
		}
		if next == target {
			break
		}
		target = next
	}
	return target, "", nil
}

// elsewhere says where a host leads, in a few words.
func elsewhere(host, target string, addrs []netip.Addr) string {
	if target != host {
		return target
	}
	if len(addrs) == 0 {
		return "nowhere"
	}
	return addrs[0].Unmap().String()
}

// missing tells whether DNS says that there is nothing, rather than that it does
// not know.
func missing(err error) bool {
	var de *net.DNSError
	return errors.As(err, &de) && de.IsNotFound && !de.IsTemporary && !de.IsTimeout
}
