package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// Certificate is the state of one of the server's certificates, as its API tells.
type Certificate struct {
	Host    string
	State   string
	Error   string
	NextTry time.Time `json:"next_try"`
}

// Quota is how many certificates the authority has issued in seven days.
type Quota struct {
	Zone        string
	Used, Limit int
}

// ErrNoAdmin is what AgentOptions.Certificates returns for a user who may not ask.
var ErrNoAdmin = fmt.Errorf("%w: only an admin may ask for the server's certificates", relay.ErrDenied)

// nearQuota is the share of the authority's limit above which it is told of.
const nearQuota = 0.8

// certificates tells of those of the server that are not as they should be.
func certificates(ctx context.Context, o AgentOptions) []Check {
	all, quota, err := o.Certificates(ctx)
	if errors.Is(err, ErrNoAdmin) {
		return nil
	}
	if err != nil {
		return []Check{warn("certificates", "the server does not tell of its certificates: "+err.Error(), "see the server's log")}
	}
	var checks []Check
	good := 0
	for _, c := range all {
		switch c.State {
		case "valid":
			good++
			if c.Error != "" {
				checks = append(checks, warn("certificates", fmt.Sprintf("%s is not renewed: %s", c.Host, c.Error), next(c)))
			}
		case "failed", "expired":
			why := c.Error
			if why == "" {
				why = "it has expired"
			}
			checks = append(checks, fail("certificates", fmt.Sprintf("%s: %s", c.Host, why), next(c)))
		}
	}
	if len(checks) == 0 && len(all) > 0 {
		checks = append(checks, ok("certificates", "%d of %d are in hand", good, len(all)))
	}
	for _, q := range quota {
		if float64(q.Used) >= nearQuota*float64(q.Limit) {
			checks = append(checks, warn("quota", fmt.Sprintf("%d of the %d certificates that the authority issues for %s in seven days are used", q.Used, q.Limit, q.Zone),
				"new names will be refused at the limit: get one certificate for all names with --dns or --dns-provider"))
		}
	}
	return checks
}

func next(c Certificate) string {
	if c.NextTry.IsZero() {
		return "see the server's log"
	}
	return "the server tries again at " + c.NextTry.UTC().Format("15:04:05 MST") + "; until then mend what it says"
}
