package relay

import "time"

// Audit is something that somebody did.
type Audit struct {
	ID      string // "aud_" and a ULID; sorts by time
	At      time.Time
	UserID  string
	Actor   string // the user's name then; "" when nobody was known
	Token   string // the name of the token
	Address string // from where
	Action  string // noun and verb, as in token.create
	Target  string // what it was done to, by name or id
	Result  string // ok, or the code of the problem
	Detail  string // more, for people; never a secret
}

// AuditQuery chooses entries, the newest first.
type AuditQuery struct {
	Actor  string    // of this user
	Action string    // of this kind: token.create, or token for all of tokens
	Since  time.Time // then or later
	Before string    // only ids before this one
	Limit  int
}
