// Package protocol is the agreement between agent and server: what they say
// when a link opens, what they say while it lives, and the few bytes that begin
// every stream. spec.md beside this file tells it in prose, so that an agent can
// be written in another language.
//
// The flow. The agent sends one WebSocket upgrade request to LinkPath on the
// server's control host. It carries the token, the version (as WebSocket
// subprotocol) and a Hello with the first binds. A refusal is a plain HTTP
// status with an Error as JSON. Otherwise the 101 carries a Welcome, and the
// tunnels in it are live: one round trip to a working URL. From then on binary
// WebSocket messages carry yamux frames and text messages carry a Message each.
// Only the server opens streams; each begins with a Preface.
package protocol

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Version is the number of this agreement. Agent and server of different
// versions refuse each other in the upgrade, with a sentence.
const Version = 1

const (
	// Subprotocol is the WebSocket subprotocol that names the version.
	Subprotocol = "relay.v1"
	// LinkPath is where the server accepts links, on its control host.
	LinkPath = "/_relay/link"
	// HelloHeader carries the encoded Hello in the upgrade request.
	HelloHeader = "Relay-Hello"
	// WelcomeHeader carries the encoded Welcome in the 101 answer.
	WelcomeHeader = "Relay-Welcome"
)

const (
	// MaxHello is the most bytes an encoded Hello may have. The server reads it
	// before it knows the agent, so it is small.
	MaxHello = 16 << 10
	// MaxWelcome is the most bytes an encoded Welcome may have: MaxBinds tunnels
	// with the longest names and URLs.
	MaxWelcome = 64 << 10
	// MaxMessage is the most bytes a control message may have.
	MaxMessage = 64 << 10
	// MaxLinks is the most links one session may have.
	MaxLinks = 4
	// MaxBinds is the most tunnels one session may have.
	MaxBinds = 100
)

const (
	// PingInterval is how often an agent that has nothing else to say sends a
	// WebSocket ping.
	PingInterval = 5 * time.Second
	// DeadAfter is the silence after which either side gives a link up: two
	// pings may be lost.
	DeadAfter = 15 * time.Second
)

// Kind is what a tunnel carries.
type Kind string

// KindHTTP tunnels carry HTTP/1.1 exchanges, one after another on each stream.
const KindHTTP Kind = "http"

// Hello is what an agent says first.
type Hello struct {
	// Agent is a random id the agent made for itself. It stays the same over
	// reconnects and restarts of the same command.
	Agent string `json:"agent"`
	// Software names the program and its version, for people.
	Software string `json:"software,omitempty"`
	// Hostname is the machine's name, shown to the user when two agents meet.
	Hostname string `json:"hostname,omitempty"`
	// Resume is the secret of the last Welcome, so that the agent takes its
	// names over at once. Single use.
	Resume string `json:"resume,omitempty"`
	// Join is set on a further link of a live session: the session's id and
	// its join secret. Such a Hello has no binds.
	Join *Join `json:"join,omitempty"`
	// Binds are the tunnels the agent wants. All succeed or the link is refused.
	Binds []Bind `json:"binds,omitempty"`
}

// Join makes a link a further link of a session.
type Join struct {
	Session string `json:"session"`
	Secret  string `json:"secret"`
}

// Bind asks for a tunnel.
type Bind struct {
	// ID is the agent's number for the tunnel, unique in the session. Prefaces
	// carry it.
	ID   uint32 `json:"id"`
	Kind Kind   `json:"kind"`
	// Name is the wanted name; empty for the user's default.
	Name string `json:"name,omitempty"`
	// Hint says what is served ("http:8080"), so that the same command gets the
	// same default name again.
	Hint string `json:"hint,omitempty"`
	// Takeover ends another agent of the same user that holds the name.
	Takeover bool `json:"takeover,omitempty"`
	// HostHeader replaces the Host that the service sees; empty leaves the
	// public host. The server applies it, because the agent may not parse HTTP.
	HostHeader string `json:"host_header,omitempty"`
	// Settings and Secrets change how the name works from now on, as in the API's
	// PATCH of an endpoint: JSON objects of which each field replaces the one that is
	// kept. Empty changes nothing.
	Settings json.RawMessage `json:"settings,omitempty"`
	Secrets  json.RawMessage `json:"secrets,omitempty"`
}

// Welcome is what the server answers to a Hello it accepts.
type Welcome struct {
	Session string `json:"session"`
	User    string `json:"user"`
	// Resume is a new resume secret. It replaces the one before.
	Resume string `json:"resume,omitempty"`
	// Join is the secret with which the agent opens further links.
	Join    string  `json:"join,omitempty"`
	Tunnels []Bound `json:"tunnels,omitempty"`
}

// Bound tells that a tunnel is live.
type Bound struct {
	ID   uint32 `json:"id"`
	Name string `json:"name"`
	URL  string `json:"url"`
}

// Unbind ends a tunnel. The agent sends it; the server does too when the
// user's right to the name ends.
type Unbind struct {
	ID     uint32 `json:"id"`
	Reason string `json:"reason,omitempty"`
}

// Drain tells an agent that the server stops: no new streams will come, and
// the agent should connect again after RetryIn milliseconds.
type Drain struct {
	Reason  string `json:"reason"`
	RetryIn int64  `json:"retry_in_ms"`
}

// Message is one control message; exactly one field is set.
type Message struct {
	Bind   *Bind   `json:"bind,omitempty"`
	Bound  *Bound  `json:"bound,omitempty"`
	Unbind *Unbind `json:"unbind,omitempty"`
	Drain  *Drain  `json:"drain,omitempty"`
	Error  *Error  `json:"error,omitempty"`
}

// Code is the machine-readable reason of an Error.
type Code string

// The codes of an Error.
const (
	CodeBadRequest Code = "bad_request" // a Hello or message that cannot be read
	CodeAuth       Code = "auth"        // no token, or one that is not valid
	CodeDenied     Code = "denied"      // valid token, but no right to this
	CodeTaken      Code = "taken"       // the name belongs to or is served by another
	CodeVersion    Code = "version"     // no version in common
	CodeLimit      Code = "limit"       // too many tries, links or tunnels
	CodeReplaced   Code = "replaced"    // another agent of the user took over
	CodeRevoked    Code = "revoked"     // the token or name was taken away
	CodeProtocol   Code = "protocol"    // the other side broke the rules
	CodeInternal   Code = "internal"    // the server's fault
)

// Error is a refusal or the reason why a session ends. Message is a sentence
// for a person. Bind, when not 0, is the tunnel that it is about.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Bind    uint32 `json:"bind,omitempty"`
	// RetryIn is set when trying again later makes sense, in milliseconds.
	RetryIn int64 `json:"retry_in_ms,omitempty"`
}

// Error makes Error an error.
func (e *Error) Error() string { return e.Message }

// Retry tells whether the same request may succeed later without anybody
// changing anything.
func (e *Error) Retry() bool {
	switch e.Code {
	case CodeLimit, CodeInternal:
		return true
	case CodeBadRequest, CodeAuth, CodeDenied, CodeTaken, CodeVersion, CodeReplaced, CodeRevoked, CodeProtocol:
		return false
	}
	return true
}

// Encode renders a Hello or Welcome for its header.
func Encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// Decode reads a Hello or Welcome from its header. Unknown fields are ignored,
// so that either side may learn new ones.
func Decode(s string, v any) error {
	if s == "" {
		return errors.New("missing")
	}
	most := MaxHello
	if _, ok := v.(*Welcome); ok {
		most = MaxWelcome
	}
	if len(s) > most {
		return fmt.Errorf("%d bytes, %d are allowed", len(s), most)
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return fmt.Errorf("not base64url: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return nil
}

// Marshal renders a control message.
func Marshal(m Message) ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("control message: %w", err)
	}
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("control message of %d bytes, %d are allowed", len(b), MaxMessage)
	}
	return b, nil
}

// Unmarshal reads a control message. A message of a kind this version does not
// know comes back empty and without an error: it is to be ignored.
func Unmarshal(b []byte) (Message, error) {
	var m Message
	if len(b) > MaxMessage {
		return m, fmt.Errorf("control message of %d bytes, %d are allowed", len(b), MaxMessage)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("control message: %w", err)
	}
	return m, nil
}
