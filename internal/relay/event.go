package relay

import (
	"net/http"
	"time"
)

// An Event is one request that an inbox has kept, byte for byte as it came.
type Event struct {
	ID         string // "evt_" and a ULID; sorts by arrival
	EndpointID string
	State      EventState
	Reason     string // why it is rejected or dead, for people

	Provider   string // the sender's scheme, as configured or else as guessed
	ProviderID string // the sender's own id of it; "" when it gave none
	Type       string // what happened, in the sender's words
	AgainOf    string // id of the first event with the same ProviderID
	Verified   string // "ok", "" when it was not looked at, or the reason why not

	Method   string
	Target   string // path and query, as sent
	URL      string // the full public address
	Client   string // the address of the sender
	Received time.Time

	// Size is that of the body as it came; Cut tells that Body has only its
	// beginning. Header and Body are not there in lists.
	Size   int64
	Cut    bool
	Header http.Header
	Body   []byte
}

// EventState is what became of an event. It is that of its newest delivery.
type EventState string

// The states of an event.
const (
	EventPending   EventState = "pending"   // the relay owns it and delivers it
	EventDelivered EventState = "delivered" // the app took it
	EventClosed    EventState = "closed"    // the app itself has answered the sender
	EventDead      EventState = "dead"      // given up
	EventCancelled EventState = "cancelled" // somebody did not want it delivered
	EventRejected  EventState = "rejected"  // not signed right; never delivered
	EventDuplicate EventState = "duplicate" // a repeat that was dropped
)

// NewEvent is what the arrival of an event decides in one step.
type NewEvent struct {
	Event
	// State of the embedded event is EventRejected, or empty for what is to be
	// delivered.

	// Live is the claim of a delivery that begins at arrival, while the sender
	// waits; nil leaves it to others.
	Live *Claim
	// Strict refuses Live while an older delivery of the endpoint is open.
	Strict bool
	// DedupeSince drops the event as a duplicate if an earlier one with the same
	// ProviderID came since then and the sender was told that it is taken care of.
	DedupeSince time.Time
}

// Kept is what became of a NewEvent.
type Kept struct {
	Event Event // without header and body
	// Delivery is the one of the event; its State is DeliverySending when Live
	// was granted. It is empty for rejected and duplicate events.
	Delivery Delivery
	// First is the attempt that answered the sender of the original of a
	// duplicate, if the app did.
	First *Attempt
}

// Filter chooses events. Empty fields choose all.
type Filter struct {
	UserID      string // who owns the endpoint
	EndpointID  string
	EndpointIDs []string // one of these
	IDs         []string
	States      []EventState
	Provider    string
	ProviderID  string
	Type        string
	Path        string // what the target begins with
	Grep        string // what header or body contain, byte for byte
	Since       time.Time
	Until       time.Time
	After       string // only ids after this one, in the order of the list
	Newest      bool   // the newest first, else the oldest
	Limit       int    // 0: no limit
}

// Usage is what an endpoint keeps: all of it, what of that is not delivered yet, and
// what was given up.
type Usage struct {
	Events, Pending     int
	Dead                int
	Bytes, PendingBytes int64
}

// Purged is what one step of a purge did.
type Purged struct {
	Events  int // how many it removed
	Pending int // how many of them had not been delivered
}
