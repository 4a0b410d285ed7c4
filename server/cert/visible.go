package cert

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxHops is how many CNAMEs are followed, as resolvers do.
const maxHops = 8

var errNoKey = errors.New("this provider makes the record itself")

// visible waits until the name servers of a zone show a record. It asks them and
// no resolver, whose cache would remember that there was none.
type visible struct {
	// servers finds the name servers, host:port, of the zone of a name.
	servers func(ctx context.Context, fqdn string) ([]string, error)
	every   time.Duration // between questions
	most    time.Duration // after which it is an error
	blind   time.Duration // the wait when no name server can be asked
}

// worldwide asks the name servers of the internet. Hosters need some seconds
// until all of theirs have a new record, and two minutes on bad days.
func worldwide() visible {
	return visible{servers: nameServers, every: 2 * time.Second, most: 3 * time.Minute, blind: 30 * time.Second}
}

func (v visible) settle(ctx context.Context, fqdn string, values []string) error {
	limited, cancel := context.WithTimeout(ctx, v.most)
	defer cancel()
	var missing error
	for hops := 0; ; {
		asked, lacking, target := 0, "", ""
		servers, _ := v.servers(limited, fqdn) // an error is like none
		for _, server := range servers {
			has, leads, err := ask(limited, server, fqdn)
			if err != nil {
				continue // it is down, or cannot be asked from here
			}
			asked++
			if target = leads; target != "" {
				break
			}
			if slices.ContainsFunc(values, func(value string) bool { return !slices.Contains(has, value) }) {
				lacking = server
			}
		}
		switch {
		case target != "" && hops == maxHops:
			return fmt.Errorf("the CNAMEs of the TXT record lead in a circle, through %s", fqdn)
		case target != "":
			hops++
			fqdn = target
			continue
		case asked == 0 && missing != nil:
			return missing
		case asked == 0:
			return sleep(ctx, v.blind)
		case lacking == "":
			return nil
		}
		missing = fmt.Errorf("the TXT record %s was set, and the name server %s does not show it; is it the right account, and does the zone belong to it?", fqdn, lacking)
		if sleep(limited, v.every) != nil {
			return missing
		}
	}
}

// ask returns the TXT records that a name server has for a name, or where a CNAME
// leads. An answer that is not its own is an error.
func ask(ctx context.Context, server, fqdn string) (texts []string, target string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m := new(dns.Msg).SetQuestion(fqdn, dns.TypeTXT)
	m.RecursionDesired = false
	answer, _, err := (&dns.Client{}).ExchangeContext(ctx, m, server)
	if err != nil {
		return nil, "", err
	}
	if !answer.Authoritative {
		return nil, "", fmt.Errorf("%s does not serve %s", server, fqdn)
	}
	for _, rr := range answer.Answer {
		switch rr := rr.(type) {
		case *dns.TXT:
			texts = append(texts, strings.Join(rr.Txt, ""))
		case *dns.CNAME:
			if strings.EqualFold(rr.Hdr.Name, fqdn) && !strings.EqualFold(rr.Target, fqdn) {
				target = rr.Target
			}
		}
	}
	if len(texts) > 0 {
		target = "" // it serves the target as well
	}
	return texts, target, nil
}

// nameServers walks up from a name to the first that has name servers, and
// returns their addresses.
func nameServers(ctx context.Context, fqdn string) ([]string, error) {
	for name := strings.TrimSuffix(fqdn, "."); strings.Contains(name, "."); _, name, _ = strings.Cut(name, ".") {
		found, err := net.DefaultResolver.LookupNS(ctx, name)
		if err != nil || len(found) == 0 {
			continue
		}
		var servers []string
		for _, ns := range found {
			addrs, err := net.DefaultResolver.LookupHost(ctx, ns.Host)
			if err == nil && len(addrs) > 0 {
				servers = append(servers, net.JoinHostPort(addrs[0], "53"))
			}
		}
		return servers, nil
	}
	return nil, fmt.Errorf("no name server of %s was found", fqdn)
}
