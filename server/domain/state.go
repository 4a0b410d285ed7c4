package domain

import (
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// keepFailing is how long a domain is kept that no longer leads here: long enough
// for a mistake in DNS to be seen and put right over a holiday.
const keepFailing = 7 * 24 * time.Hour

// next returns the domain after a check at the time now that found why, and
// whether it is to be dropped.
func next(dom relay.Domain, why string, now time.Time) (_ relay.Domain, drop bool) {
	dom.Checked, dom.Reason = now, why
	state := dom.State
	switch {
	case why == "":
		state = relay.DomainActive
	case dom.State == relay.DomainActive:
		state = relay.DomainFailing
	case dom.State == relay.DomainFailing && now.Sub(dom.Since) >= keepFailing:
		return dom, true
	}
	if state != dom.State {
		dom.State, dom.Since = state, now
	}
	return dom, false
}

// Dropped is when a failing domain is dropped, unless its DNS is put right; zero
// for one that is not failing.
func Dropped(dom relay.Domain) time.Time {
	if dom.State != relay.DomainFailing {
		return time.Time{}
	}
	return dom.Since.Add(keepFailing)
}
