package relay

import "time"

// Recorded is an exchange as the store keeps it: Head is all of it but its bodies, in a
// form that the store does not look into.
type Recorded struct {
	ID         string // unique among those of its user
	UserID     string
	EndpointID string
	Seq        uint64 // the order of arrival among those of its user
	Began      time.Time
	Head       []byte
	Request    []byte // what was kept of the body; of an event nothing, for that has it
	Response   []byte
	EventID    string
	Verified   string // read only: what the event's signature was found to be
}

// RecordedQuery chooses exchanges of one user, the newest first.
type RecordedQuery struct {
	UserID string
	Before uint64    // only those with a smaller Seq; 0 begins with the newest
	Since  time.Time // only those that began then or later
	Limit  int
	Bodies bool // with bodies, that of the event included
}

// RecordedUsage is what is kept of one user's exchanges.
type RecordedUsage struct {
	Count  int
	Bytes  int64
	Oldest uint64 // the Seq of the oldest; 0 without any
}
