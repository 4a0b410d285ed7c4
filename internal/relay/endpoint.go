package relay

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// An Endpoint is a name with its settings.
type Endpoint struct {
	ID       string // "end_" and a ULID, never reused
	UserID   string // the owner
	Name     Name
	Settings Settings
	Secrets  Secrets
	Created  time.Time // in UTC, to the millisecond
}

// Secrets are what an endpoint shares with its sender. They are never logged.
type Secrets struct {
	// Signing are the secrets of signatures. The first is the newest; during a
	// rotation there are several, and any of them is good.
	Signing []string `json:"signing,omitempty"`
	// Handshake is the token of a sender that has one of its own for trying an
	// address.
	Handshake string `json:"handshake,omitempty"`
	// Door are the tokens of Settings.Door.
	Door DoorTokens `json:"door,omitempty"`
	// Lost tells that there were secrets which the server key does not open: a store
	// was restored without its own. What needs them lets nobody through.
	Lost bool `json:"-"`
}

// String keeps secrets out of logs and messages.
func (s Secrets) String() string { return fmt.Sprintf("%d secrets", len(s.Signing)) }

// GoString does the same for %#v.
func (s Secrets) GoString() string { return s.String() }

// InboxMode says who answers a sender, and when.
type InboxMode string

// The modes of an inbox.
const (
	// InboxOff: a plain live tunnel, nothing is kept.
	InboxOff InboxMode = "off"
	// InboxFallback: the app answers if it can in time; otherwise the relay
	// answers, and delivers later.
	InboxFallback InboxMode = "fallback"
	// InboxAlways: the relay keeps and answers at once, and delivers then.
	InboxAlways InboxMode = "always"
)

// VerifyMode says what becomes of a request that is not signed right.
type VerifyMode string

// The modes of verification.
const (
	// VerifyEnforce: it is refused, recorded and never delivered.
	VerifyEnforce VerifyMode = "enforce"
	// VerifyObserve: it is flagged and delivered like others.
	VerifyObserve VerifyMode = "observe"
)

// Settings say how an endpoint works. The zero value of each field means the
// default, which Defaults fills in. They are kept as JSON.
type Settings struct {
	Inbox InboxMode `json:"inbox,omitempty"` // default off
	// Path limits the inbox to targets whose path begins so; what is outside of
	// it goes live.
	Path string `json:"path,omitempty"`
	// AnswerWithin is how long the sender waits for the app's own answer in
	// fallback mode; default 2 s.
	AnswerWithin Duration `json:"answer_within,omitzero"`
	// Answer is what a sender gets in always mode; default 202 with the id.
	Answer *Answer `json:"answer,omitempty"`
	// MaxBody is the largest body that is kept, in bytes; default 25 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// InFlight is how many deliveries may be under way at a time; default 8. With
	// 1 the order is strict: what fails holds up what came after it.
	InFlight int `json:"in_flight,omitempty"`
	// Schedule are the longest waits before each try, the first included. When
	// it is used up the delivery is dead. The default lasts about 32 hours.
	Schedule []Duration `json:"schedule,omitempty"`
	// Timeout is how long one try may take; default 30 s.
	Timeout Duration `json:"timeout,omitzero"`
	// Dedupe is the time in which a repeat of the provider's id is not delivered
	// again; 0 delivers every repeat.
	Dedupe Duration `json:"dedupe,omitzero"`

	// Provider names the scheme of the sender: "github". Scheme describes one
	// that has no name, as JSON of a signature.Scheme, and comes before it.
	Provider string          `json:"provider,omitempty"`
	Scheme   json.RawMessage `json:"scheme,omitempty"`
	// Verify is what happens to wrong signatures; default enforce, when there are
	// secrets or one is awaited, and else nobody looks.
	Verify VerifyMode `json:"verify,omitempty"`
	// NoHandshake lets the sender's first request through to the app.
	NoHandshake bool `json:"no_handshake,omitempty"`
	// AwaitSecret takes the secret that a sender tells in its handshake, once,
	// while there is none.
	AwaitSecret bool `json:"await_secret,omitempty"`
	// LocalURL is the base address by which the app knows itself, for senders
	// that sign the address: "http://localhost:3000".
	LocalURL string `json:"local_url,omitempty"`

	Keep Retention `json:"keep,omitzero"`

	// Record tells whether requests and answers are kept to be looked at; default: with
	// an inbox.
	Record *bool `json:"record,omitempty"`

	// Door says who may come at all, whether there is an inbox or not.
	Door Door `json:"door,omitzero"`
}

// Retention bounds what is kept of an endpoint. 0 means the default.
type Retention struct {
	Age   Duration `json:"age,omitzero"`   // default 7 days
	Count int      `json:"count,omitzero"` // events; default 10 000
	Bytes int64    `json:"bytes,omitzero"` // of bodies and headers; default 1 GiB
}

// Answer is a configured answer to a sender.
type Answer struct {
	Status int         `json:"status,omitempty"` // default 202
	Header http.Header `json:"header,omitempty"`
	Body   string      `json:"body,omitempty"`
}

// Duration is a length of time that is written like "2s" or "168h0m0s".
type Duration time.Duration

// MarshalText writes it as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration takes.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w duration %q: write it like 30s or 2h", ErrInvalid, text)
	}
	*d = Duration(v)
	return nil
}

// DefaultSchedule are the waits before each try: soon for an app that restarts,
// and then for as long as people sleep.
func DefaultSchedule() []Duration {
	const s, m, h = Duration(time.Second), Duration(time.Minute), Duration(time.Hour)
	return []Duration{0, 5 * s, 30 * s, 2 * m, 10 * m, 30 * m, 2 * h, 5 * h, 10 * h, 14 * h}
}

// Defaults returns the settings with every default filled in.
func (s Settings) Defaults() Settings {
	or(&s.Inbox, InboxOff)
	or(&s.AnswerWithin, Duration(2*time.Second))
	or(&s.MaxBody, 25<<20) // the most that GitHub sends
	or(&s.InFlight, 8)
	or(&s.Timeout, Duration(30*time.Second))
	or(&s.Keep.Age, Duration(7*24*time.Hour))
	or(&s.Keep.Count, 10_000)
	or(&s.Keep.Bytes, 1<<30)
	if len(s.Schedule) == 0 {
		s.Schedule = DefaultSchedule()
	}
	if s.Record == nil {
		records := s.Inbox != InboxOff
		s.Record = &records
	}
	return s
}

// Records tells whether requests and answers are kept to be looked at.
func (s Settings) Records() bool { return *s.Defaults().Record }

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Strict tells whether deliveries keep the order of arrival whatever happens.
func (s Settings) Strict() bool { return s.InFlight == 1 }

// Verifies returns what happens to wrong signatures; empty when nobody looks.
func (e Endpoint) Verifies() VerifyMode {
	s := e.Settings
	switch {
	case s.Provider == "" && len(s.Scheme) == 0:
		return ""
	case s.Verify == "" && (len(e.Secrets.Signing) > 0 || s.AwaitSecret || e.Secrets.Lost):
		return VerifyEnforce
	}
	return s.Verify
}

// Check finds what can never be right, in words for whoever wrote it
// (ErrInvalid). It does not know the providers.
func (s Settings) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w settings: "+format, append([]any{ErrInvalid}, args...)...)
	}
	switch s.Inbox {
	case "", InboxOff, InboxFallback, InboxAlways:
	default:
		return bad("inbox %q is not known; it is one of off, fallback, always", s.Inbox)
	}
	switch s.Verify {
	case "", VerifyEnforce, VerifyObserve:
	default:
		return bad("verify mode %q is not known; it is one of enforce, observe", s.Verify)
	}
	if s.Path != "" && !strings.HasPrefix(s.Path, "/") {
		return bad("path %q does not begin with a slash", s.Path)
	}
	if len(s.Schedule) > 50 {
		return bad("the schedule has %d tries; 50 is the most", len(s.Schedule))
	}
	for _, d := range append([]Duration{s.AnswerWithin, s.Timeout, s.Dedupe, s.Keep.Age}, s.Schedule...) {
		if d < 0 {
			return bad("a time is negative")
		}
	}
	if s.MaxBody < 0 || s.InFlight < 0 || s.Keep.Count < 0 || s.Keep.Bytes < 0 {
		return bad("a number is negative")
	}
	if a := s.Answer; a != nil && a.Status != 0 && (a.Status < 200 || a.Status > 599) {
		return bad("the answer's status %d is not from 200 to 599", a.Status)
	}
	if s.Answer != nil {
		for name := range s.Answer.Header {
			if notForAnswers(http.CanonicalHeaderKey(name)) {
				return bad("the answer cannot have the header %s", name)
			}
		}
	}
	return nil
}

// notForAnswers tells of a header that the connection or the relay makes, or that
// would reach other names of the domain, as cookies do.
func notForAnswers(name string) bool {
	switch name {
	case "Set-Cookie", "Connection", "Content-Length", "Keep-Alive", "Trailer", "Transfer-Encoding", "Upgrade", "Strict-Transport-Security", "Clear-Site-Data":
		return true
	}
	return strings.HasPrefix(name, "Relay-")
}
