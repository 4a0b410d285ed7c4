package signature

import (
	"fmt"
	"time"
)

// Reason is why a verification failed.
type Reason string

// The reasons.
const (
	NoSecret       Reason = "no_secret"           // none was given
	BadSecret      Reason = "bad_secret"          // none that was given has the form of this scheme
	NotSigned      Reason = "not_signed"          // this sender does not sign
	NoHeader       Reason = "no_header"           // the signature is missing
	Malformed      Reason = "malformed"           // the signature is not written as this sender writes it
	Version        Reason = "unsupported_version" // it is of a version that is not known
	WrongSignature Reason = "wrong_signature"
	NoTimestamp    Reason = "no_timestamp" // the time or id that is signed is missing
	WrongTimestamp Reason = "wrong_timestamp"
	TooOld         Reason = "too_old" // signed right, but earlier than the tolerance
	TooNew         Reason = "too_new" // signed right, but in the future
	BodyChanged    Reason = "body_changed"
	BodyUnsigned   Reason = "body_unsigned" // the signature does not cover this kind of body
	ForeignCert    Reason = "foreign_cert"  // the certificate is not at an address of the sender
	NoCert         Reason = "no_cert"       // it could not be fetched, or is not the sender's: see Request.Signer
)

// Error says why a request did not verify. It never has a secret or the right
// signature in it.
type Error struct {
	Reason Reason
	Scheme string        // name of the scheme
	Where  string        // header or place that it is about, if one
	By     time.Duration // TooOld, TooNew: age of the request; negative in the future
	Detail string        // of BadSecret and others, for people
}

func (e *Error) Error() string {
	var what string
	switch e.Reason {
	case NoSecret:
		what = "no secret is configured"
	case BadSecret:
		what = "the configured secret cannot be used"
	case NotSigned:
		what = "this sender does not sign its requests"
	case NoHeader:
		what = "there is no " + e.Where
	case Malformed:
		what = e.Where + " is malformed"
	case Version:
		what = e.Where + " has no signature of a version that is known here"
	case WrongSignature:
		what = "the signature is wrong"
	case NoTimestamp:
		what = e.Where + " is missing or given twice"
	case WrongTimestamp:
		what = e.Where + " is not a time"
	case TooOld:
		what = fmt.Sprintf("the signature is right but %v old", e.By.Round(time.Second))
	case TooNew:
		what = fmt.Sprintf("the signature is right but %v in the future", -e.By.Round(time.Second))
	case BodyChanged:
		what = "the body is not the one that was signed"
	case BodyUnsigned:
		what = "the signature does not cover the body"
	case ForeignCert:
		what = e.Where + " is not an address of the sender"
	case NoCert:
		what = "the certificate of the sender could not be had"
	default:
		what = string(e.Reason)
	}
	if e.Detail != "" {
		what += ": " + e.Detail
	}
	return e.Scheme + ": " + what
}

// rank orders the reasons by how far a request came.
var rank = map[Reason]int{
	NoHeader: 1, BadSecret: 2, Version: 3, Malformed: 4, NoTimestamp: 5, WrongTimestamp: 6, ForeignCert: 7, NoCert: 8,
	WrongSignature: 9, BodyUnsigned: 10, BodyChanged: 11, TooNew: 12, TooOld: 13,
}
