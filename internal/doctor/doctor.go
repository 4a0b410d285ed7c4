// Package doctor tries what must work, and says what does not and what to do about
// it: the way from an agent to its server (Agent), and the machine of a server
// (Server). Each check is independent of the others as far as it can be, so that one
// look shows all that is wrong.
package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Verdict is how a check ended.
type Verdict string

// The verdicts. Warn is what works today and may not tomorrow.
const (
	OK   Verdict = "ok"
	Warn Verdict = "warn"
	Fail Verdict = "fail"
)

// Check is one thing that was tried.
type Check struct {
	Name    string  // what: "dns", "certificate"
	Verdict Verdict // how it ended
	Detail  string  // what was seen
	Next    string  // what to do about it; empty when all is well
}

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// lookupTimeout is how long DNS may take.
const lookupTimeout = 5 * time.Second

// expiresSoon is when a certificate that should have been renewed is told of.
const expiresSoon = 14 * 24 * time.Hour

func ok(name, format string, args ...any) Check {
	return Check{Name: name, Verdict: OK, Detail: fmt.Sprintf(format, args...)}
}

func warn(name, detail, next string) Check {
	return Check{Name: name, Verdict: Warn, Detail: detail, Next: next}
}

func fail(name, detail, next string) Check {
	return Check{Name: name, Verdict: Fail, Detail: detail, Next: next}
}

// lookup gives the addresses of a host, sorted.
func lookup(ctx context.Context, r Resolver, host string) ([]netip.Addr, error) {
	if r == nil {
		r = net.DefaultResolver
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap().WithZone("")
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs), nil
}

func list(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}

// names checks that the base domain and a name below it lead to the same place.
func names(ctx context.Context, r Resolver, domain string) (base []netip.Addr, checks []Check) {
	base, err := lookup(ctx, r, domain)
	if err != nil {
		return nil, []Check{fail("dns", fmt.Sprintf("%s cannot be looked up: %v", domain, err),
			fmt.Sprintf("make an A or AAAA record for %s that leads to the server, or delegate it to the server with an NS record and run that with --dns", domain))}
	}
	checks = append(checks, ok("dns", "%s is %s", domain, list(base)))
	// Nobody has made this name: only a wildcard answers for it.
	some := "relay-doctor-" + fmt.Sprintf("%08x", uint32(time.Now().UnixNano())) + "." + domain
	below, err := lookup(ctx, r, some)
	switch {
	case err != nil:
		checks = append(checks, fail("wildcard dns", fmt.Sprintf("names below %s cannot be looked up", domain),
			fmt.Sprintf("make a record for *.%s like that of %s", domain, domain)))
	case !slices.Equal(base, below):
		checks = append(checks, warn("wildcard dns", fmt.Sprintf("names below %s lead to %s, and not where %s leads", domain, list(below), domain),
			fmt.Sprintf("let *.%s and %s lead to the same address, unless this is on purpose", domain, domain)))
	default:
		checks = append(checks, ok("wildcard dns", "*.%s leads there too", domain))
	}
	return base, checks
}

// clock compares this machine's time with another's.
func clock(here, there time.Time, whose string) Check {
	skew := here.Sub(there).Round(time.Second)
	direction := "ahead of"
	if skew < 0 {
		skew, direction = -skew, "behind"
	}
	detail := fmt.Sprintf("this machine's clock is %v %s that of %s", skew, direction, whose)
	next := "set the clock by NTP: signatures of webhooks and certificates depend on it"
	switch {
	case skew > 2*time.Minute:
		return fail("clock", detail, next)
	case skew > 5*time.Second:
		return warn("clock", detail, next)
	}
	return ok("clock", "the clock agrees with that of %s", whose)
}

// validity tells how long a certificate is good.
func validity(name, host string, notAfter, now time.Time) Check {
	left := notAfter.Sub(now)
	until := fmt.Sprintf("the certificate of %s is good until %s", host, notAfter.UTC().Format("2006-01-02"))
	switch {
	case left <= 0:
		return fail(name, fmt.Sprintf("the certificate of %s has expired on %s", host, notAfter.UTC().Format("2006-01-02")),
			"look into the server's log for why it was not renewed")
	case left < expiresSoon && left < 7*24*time.Hour:
		return warn(name, until, "it should have been renewed by now: look into the server's log")
	}
	return ok(name, "%s", until)
}
