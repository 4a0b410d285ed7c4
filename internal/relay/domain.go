package relay

import "time"

// A Domain is a host of a user's own, as hooks.acme.com, that leads to one of
// the user's names.
type Domain struct {
	Host    string // as ParseHost writes it
	UserID  string // who has added it
	Name    Name   // where its requests go
	State   DomainState
	Created time.Time // in UTC, to the millisecond, as all of them
	Since   time.Time // since when it has been in its state
	Checked time.Time // when its DNS was last seen; zero: never
	Reason  string    // what was wrong then, a sentence for its user; empty: nothing
}

// Held reports whether the domain is the user's: requests for it are served, and
// it may have a certificate.
func (d Domain) Held() bool { return d.State == DomainActive || d.State == DomainFailing }

// A DomainState is how far a domain has come.
type DomainState string

// The states of a domain. One that has failed for too long is gone.
const (
	DomainPending DomainState = "pending" // added, and not proved yet; others may add it too
	DomainActive  DomainState = "active"  // proved, and leads here
	DomainFailing DomainState = "failing" // was active; its DNS says something else since
)
