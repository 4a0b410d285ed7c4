package relay

import (
	"net/http"
	"time"
)

// A Delivery is one event on its way to the app.
type Delivery struct {
	ID         string // "dlv_" and a ULID; sorts by when it was asked for
	EventID    string
	EndpointID string
	State      DeliveryState
	Replay     bool // somebody asked for it once more
	Live       bool // the sender waits, or waited, for its outcome

	// Try numbers every claim, so that who holds an old one can change nothing.
	Try int64
	// Attempt is how many tries count, with the one that is under way.
	Attempt int
	// Lost is how many tries do not count because the agent or the server went
	// away in the middle.
	Lost int

	Owner string    // who tries
	Lease time.Time // until when nobody else may
	Next  time.Time // when the next try is due; zero for at once
	// Reason is why it is not delivered yet, or never will be.
	Reason  string
	Created time.Time
}

// DeliveryState says where a delivery stands.
type DeliveryState string

// The states of a delivery: pending and sending are open, the others final
// until somebody retries it.
const (
	DeliveryPending   DeliveryState = "pending"
	DeliverySending   DeliveryState = "sending"
	DeliveryDelivered DeliveryState = "delivered"
	DeliveryClosed    DeliveryState = "closed"
	DeliveryDead      DeliveryState = "dead"
	DeliveryCancelled DeliveryState = "cancelled"
)

// Event is the state of an event whose newest delivery has state s.
func (s DeliveryState) Event() EventState {
	if s == DeliverySending {
		return EventPending
	}
	return EventState(s)
}

// A Claim takes deliveries for an owner until a point in time.
type Claim struct {
	Owner string
	Lease time.Time
}

// An Attempt is one try of a delivery, after it has ended.
type Attempt struct {
	DeliveryID string
	Try        int64
	Began      time.Time
	Ended      time.Time
	Status     int    // of the app's answer; 0 when there was none
	Reason     string // why there was none, or what was wrong with it
	// Header and Body are of the answer; Cut tells that Body has only its
	// beginning.
	Header http.Header
	Body   []byte
	Cut    bool
}

// A Result is how one try ended.
type Result struct {
	// Offline: the agent was away, or went away before an answer came. Unsent:
	// nothing of the event had left by then.
	Offline, Unsent bool
	// Status of the app's answer; 0 when there was none.
	Status int
	// RetryAfter is how long the app wants to be left alone.
	RetryAfter time.Duration
	Reason     string
}

// maxLost is how many tries may be lost for nothing. Beyond it they count: an
// event that makes the agent fall over each time must not do so for ever.
const maxLost = 10

// maxRetryAfter bounds what an app may ask for: the longest wait of the default
// schedule and a bit.
const maxRetryAfter = 24 * time.Hour

// OK tells whether the app took the event.
func (r Result) OK() bool { return r.Status >= 200 && r.Status < 300 }

// Final tells whether another try makes no sense: the app has answered that it
// does not want the event.
func (r Result) Final() bool {
	switch r.Status {
	case 0, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return r.Status < 500
}

// After returns the delivery as it stands after its try has ended in r. random
// is in [0, 1) and spreads the waits: an app that comes back must not get
// everything at once.
func (d Delivery) After(r Result, schedule []Duration, now time.Time, random float64) Delivery {
	d.Owner, d.Lease, d.Next, d.Reason = "", time.Time{}, time.Time{}, r.Reason
	switch {
	case r.OK():
		d.State, d.Reason = DeliveryDelivered, ""
		return d
	case r.Unsent:
		d.Lost-- // not even that
		return d.lose()
	case r.Offline && d.Lost < maxLost:
		return d.lose()
	case r.Final():
		d.State = DeliveryDead
		return d
	case d.Attempt >= len(schedule):
		d.State = DeliveryDead
		return d
	}
	wait := time.Duration(float64(schedule[d.Attempt]) * random)
	wait = max(wait, min(r.RetryAfter, maxRetryAfter), 0)
	d.State = DeliveryPending
	d.Next = now.Add(wait)
	return d
}

// Released returns the delivery as it stands when its owner has vanished.
func (d Delivery) Released() Delivery {
	d.Owner, d.Lease, d.Next = "", time.Time{}, time.Time{}
	if d.Lost < maxLost {
		return d.lose()
	}
	d.State = DeliveryPending
	return d
}

// lose gives the try back.
func (d Delivery) lose() Delivery {
	d.State = DeliveryPending
	d.Attempt--
	d.Lost++
	return d
}
