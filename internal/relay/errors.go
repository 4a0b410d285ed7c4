package relay

import "errors"

// The kinds of error. Rooms wrap one of them with the step that failed; the
// answer to a kind is decided in one table per audience: visitor, API, command
// line. An error of no kind is a failure of ours.
var (
	// ErrNotFound means that there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrOffline means that the thing is known but its agent is away.
	ErrOffline = errors.New("offline")
	// ErrTaken means that somebody else holds it.
	ErrTaken = errors.New("taken")
	// ErrDenied means that the caller may not.
	ErrDenied = errors.New("denied")
	// ErrLimit means that a limit is reached; the same call may succeed later.
	ErrLimit = errors.New("limit reached")
	// ErrInvalid means that what was given can never be right.
	ErrInvalid = errors.New("invalid")
)
