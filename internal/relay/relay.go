// Package relay holds the nouns of the product and their rules: users and
// their tokens, the public names they hold, the host a visitor asks for, and
// the kinds of error every room speaks of.
//
// It is a leaf. It does no I/O, starts nothing, and imports only the standard
// library, so that every other room may use it.
package relay

import "time"

// A User owns tokens and names.
type User struct {
	ID       string    // "usr_" and a ULID, never reused
	Name     string    // unique, follows the rules of a Name
	Admin    bool      // may do what an operator may do
	Disabled bool      // may do nothing until somebody changes that
	Rights   Rights    // what was set; see Rights.Defaults
	Created  time.Time // in UTC, to the millisecond

	// Only are patterns of the names that the token is good for with which the user has
	// come; none means all. It is not kept; see Narrow.
	Only []string
}

// A Token is what is known about a secret by which a user signs in. The
// secret itself is shown once, when it is made, and is kept nowhere.
type Token struct {
	ID       string    // "tok_" and a ULID, never reused
	UserID   string    // the owner
	Name     string    // what the owner calls it, for example "laptop"
	Prefix   string    // the first characters of the secret, to tell tokens apart
	Created  time.Time // in UTC, to the millisecond
	LastUsed time.Time // zero when never used; exact to about a minute
	LastAddr string    // from where it was used last
	Expires  time.Time // zero when it does not expire

	Scopes    []Scope  // what it is good for; none means all that the user may
	Endpoints []string // patterns of the names that it is good for; none means all
	Parent    string   // the id of the token with which it was made; "" when none was
}
