// Package http1 carries HTTP/1.1 exchanges over connections that are kept and
// reused: streams of a link on the server, local connections on the agent. It
// exists beside net/http because a tunnel needs what http.Transport does not
// give: no goroutine hand-off for small requests, targets and bodies byte for
// byte, and the rule that a connection is used again only after an exchange
// that was provably complete in both directions.
//
// The client half is Pool (an http.RoundTripper); the server half is Serve.
// What comes from the other end is parsed strictly: what could be understood
// in two ways is refused, because the next visitor's answer would be at stake.
package http1

import (
	"errors"
	"fmt"
	"net/http"
)

const (
	// MaxHead is the most bytes the head of an answer may have.
	MaxHead = 256 << 10
	// MaxLines is the most header lines a head may have.
	MaxLines = 1000
	// max1xx and max1xxBytes bound interim answers.
	max1xx      = 10
	max1xxBytes = 64 << 10
	// smallBody is the largest request body that is read into memory and sent
	// with the head in one write. Larger ones are streamed.
	smallBody = 32 << 10
	// readSize is the buffer of a connection. A head that fits is parsed in place.
	readSize = 8 << 10
)

// StatusFailed is the status of an answer that the agent itself makes on a
// stream, when the local service gave none. It is outside of what HTTP allows a
// service to send, so the two cannot be confused. The header Relay-Error bears
// the code, the body the sentence.
const StatusFailed = 900

// FailedHeader bears the code of a StatusFailed answer.
const FailedHeader = "Relay-Error"

// Failed is an answer with StatusFailed, as an error.
type Failed struct {
	Code    string
	Message string
}

// Error makes Failed an error.
func (f *Failed) Error() string { return f.Message }

// BadAnswerError says that the other end did not answer with valid HTTP/1.
type BadAnswerError struct{ Reason string }

// Error makes BadAnswerError an error.
func (e *BadAnswerError) Error() string { return "invalid answer: " + e.Reason }

func badAnswer(format string, args ...any) error {
	return &BadAnswerError{fmt.Sprintf(format, args...)}
}

// BodyError says that the body of the request could not be read: the fault is
// the sender's, not the receiver's.
type BodyError struct{ Err error }

// Error makes BodyError an error.
func (e *BodyError) Error() string { return "read request body: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *BodyError) Unwrap() error { return e.Err }

// DialError says that no connection to the other end could be had; nothing of
// the request has left.
type DialError struct{ Err error }

// Error makes DialError an error.
func (e *DialError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *DialError) Unwrap() error { return e.Err }

var (
	errClosedPool = errors.New("pool closed")
	// errTruncated is an answer that ended before it was complete.
	errTruncated = errors.New("the answer ended before it was complete")
)

// bodyless tells whether an answer to method with status never has a body.
func bodyless(method string, status int) bool {
	return method == http.MethodHead || status == http.StatusNoContent ||
		status == http.StatusNotModified || status >= 100 && status < 200
}
