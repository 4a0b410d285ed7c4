// Package capture records exchanges: requests and their answers, as they pass, within
// limits of number and memory.
//
// A Recorder is asked at the beginning of each exchange for a Tap, which copies what
// passes without delaying it: it never waits for a reader, a disk or a network, and
// never changes a byte. Who reads gets snapshots (List, Get) and is woken when there
// is news (Next). The same package parses the filter language and masks secrets, so
// that every page, export and command does both alike.
package capture

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"
)

// An Exchange is one request and its answer, as recorded. One that a Recorder has
// given is a snapshot: it does not change any more, and nobody may change what it
// points to.
type Exchange struct {
	ID        string    `json:"id"`
	RequestID string    `json:"request_id"` // its Relay-Request-Id; several tries may share one
	Seq       uint64    `json:"seq"`        // the order of arrival
	State     State     `json:"state"`
	Began     time.Time `json:"began"`
	FirstByte Millis    `json:"first_byte_ms"` // until the head of the answer; 0 before that
	Duration  Millis    `json:"duration_ms"`   // until the end; 0 while it is live
	Visitor   string    `json:"visitor"`
	Upstream  string    `json:"upstream,omitempty"`  // host:port of the app that has had it
	Endpoint  string    `json:"endpoint,omitempty"`  // the name that it came to, where the server has recorded it
	EventID   string    `json:"event_id,omitempty"`  // the event that an inbox made of it
	Verified  string    `json:"verified,omitempty"`  // its signature: ok, or why not; nothing when nobody looked
	Replay    bool      `json:"replay,omitempty"`    // it is no visitor's: somebody sent it again
	ReplayOf  string    `json:"replay_of,omitempty"` // the id of the exchange that it repeats, if that was here
	Error     string    `json:"error,omitempty"`     // why it did not end well, for people
	Request   Request   `json:"request"`
	Response  *Response `json:"response,omitempty"` // nil until its head has come

	// Frames are the messages of a WebSocket or an event stream, the newest of them.
	Frames        []Frame `json:"frames,omitempty"`
	FramesDropped int     `json:"frames_dropped,omitempty"` // how many older ones are gone
	FramesNote    string  `json:"frames_note,omitempty"`    // why frames could not be read any further
}

// State says how far an exchange is.
type State string

// The states of an exchange.
const (
	Live   State = "live"   // not over
	Done   State = "done"   // over, and complete
	Failed State = "failed" // over, and something was missing: see Exchange.Error
)

// Request is what the visitor sent.
type Request struct {
	Method  string `json:"method"`
	Target  string `json:"target"` // path and query, byte for byte
	Host    string `json:"host"`
	Scheme  string `json:"scheme"` // of the public URL: http or https
	Header  Header `json:"headers"`
	Trailer Header `json:"trailers,omitempty"`
	Body    Body   `json:"body"`
}

// Response is what the app answered.
type Response struct {
	Status  int    `json:"status"`
	Header  Header `json:"headers"`
	Trailer Header `json:"trailers,omitempty"`
	Body    Body   `json:"body"`
}

// Header is an http.Header whose JSON form is a list of fields, sorted by name.
type Header http.Header

// Get is that of http.Header.
func (h Header) Get(name string) string { return http.Header(h).Get(name) }

// Field is one line of a Header.
type Field struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Masked bool   `json:"masked,omitempty"` // Value is Mask, not what was sent
}

// Fields lists the header, sorted by name, values in the order in which they came.
func (h Header) Fields() []Field {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	fields := make([]Field, 0, len(names))
	for _, name := range names {
		for _, v := range h[name] {
			fields = append(fields, Field{name, v, v == Mask})
		}
	}
	return fields
}

// MarshalJSON writes the list of Fields.
func (h Header) MarshalJSON() ([]byte, error) { return json.Marshal(h.Fields()) }

// UnmarshalJSON reads it.
func (h *Header) UnmarshalJSON(b []byte) error {
	var fields []Field
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	*h = make(Header, len(fields))
	for _, f := range fields {
		(*h)[f.Name] = append((*h)[f.Name], f.Value)
	}
	return nil
}

// Body is what was kept of a body.
type Body struct {
	Size      int64  // how much of it has passed
	Kept      []byte // its beginning, or all of it
	Truncated bool   // Kept is less than has passed
	Omitted   bool   // Kept was left out of this copy
	Masked    bool   // Kept has a Mask in the place of something
	Type      string // its Content-Type
	Encoding  string // its Content-Encoding
}

type bodyJSON struct {
	Size      int64   `json:"size"`
	Truncated bool    `json:"truncated,omitempty"`
	Masked    bool    `json:"masked,omitempty"` // secrets in it are hidden
	Type      string  `json:"type,omitempty"`
	Encoding  string  `json:"encoding,omitempty"`
	Text      *string `json:"text,omitempty"`   // what was kept, if it is UTF-8
	Base64    *string `json:"base64,omitempty"` // what was kept, if it is not
}

// MarshalJSON writes what was kept as text, or in base64 where it is no UTF-8.
func (b Body) MarshalJSON() ([]byte, error) {
	j := bodyJSON{Size: b.Size, Truncated: b.Truncated, Masked: b.Masked, Type: b.Type, Encoding: b.Encoding}
	if !b.Omitted {
		s := string(b.Kept)
		if utf8.ValidString(s) {
			j.Text = &s
		} else {
			s = base64.StdEncoding.EncodeToString(b.Kept)
			j.Base64 = &s
		}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads it.
func (b *Body) UnmarshalJSON(in []byte) error {
	var j bodyJSON
	if err := json.Unmarshal(in, &j); err != nil {
		return err
	}
	*b = Body{Size: j.Size, Truncated: j.Truncated, Masked: j.Masked, Type: j.Type, Encoding: j.Encoding}
	switch {
	case j.Text != nil:
		b.Kept = []byte(*j.Text)
	case j.Base64 != nil:
		var err error
		if b.Kept, err = base64.StdEncoding.DecodeString(*j.Base64); err != nil {
			return fmt.Errorf("body: %w", err)
		}
	default:
		b.Omitted = true
	}
	return nil
}

// Millis is a time that in JSON is a number of milliseconds, to the microsecond.
type Millis time.Duration

// MarshalJSON writes the number.
func (m Millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(math.Round(float64(m)/1e3) / 1e3)
}

// UnmarshalJSON reads it.
func (m *Millis) UnmarshalJSON(b []byte) error {
	var ms float64
	if err := json.Unmarshal(b, &ms); err != nil {
		return err
	}
	*m = Millis(ms * 1e6)
	return nil
}

// WithoutBodies returns a copy that has the bodies' sizes but not their bytes.
func (x Exchange) WithoutBodies() Exchange {
	x.Request.Body.Kept, x.Request.Body.Omitted = nil, true
	if x.Response != nil {
		r := *x.Response
		r.Body.Kept, r.Body.Omitted = nil, true
		x.Response = &r
	}
	return x
}

// URL is the public one that the visitor asked for.
func (x *Exchange) URL() string {
	host := x.Request.Header.Get("X-Forwarded-Host")
	if host == "" {
		host = x.Request.Host
	}
	return x.Request.Scheme + "://" + host + x.Request.Target
}

// Again is a request to be sent once more, ready to go: Header has nothing that is
// for one connection only.
type Again struct {
	Of string // the id of the exchange that it repeats
	// Upstream is host:port of the app that is to get it.
	Upstream string
	To       string // the id of a Target that is to get it instead; "" for who has had it
	Sign     bool   // put a new signature in the place of the old one
	Method   string
	Target   string
	Host     string
	Header   http.Header
	Body     []byte
}

// A Target is who can get a replay: an app or an endpoint of the same user.
type Target struct {
	ID    string `json:"id"`
	Name  string `json:"name"`  // for people
	Live  bool   `json:"live"`  // somebody is there to answer
	Signs bool   `json:"signs"` // a secret is known, so that Again.Sign can be
}

// Status is that of the answer, 0 without one.
func (x *Exchange) Status() int {
	if x.Response == nil {
		return 0
	}
	return x.Response.Status
}
