// Package signature knows how senders sign their webhooks. It says whether a
// request is signed right (Verify) and if not, why, in words for people
// (Explain); it signs a request anew, so that an event that had to wait is
// still accepted by the app behind (Sign); and it answers the questions with
// which senders try a new address (Handshake).
//
// A sender is a Scheme, which is data: the tables are in the files
// schemes_*.go. A sender without a line there is described by the user in the
// same words. Everything here is a pure function of its arguments: nothing is
// fetched, kept or logged, and the time is a parameter.
//
// A body is bytes. What is verified is what came, and what Sign returns carries
// the bytes it was given.
package signature

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Request is what of an HTTP request can be signed. Functions of this package
// never change one that they were given.
type Request struct {
	Method string
	// URL is the full public address with its query, as the sender has it in
	// its settings: several senders sign it.
	URL string
	// Header has canonical keys, as net/http makes them.
	Header http.Header
	Body   []byte
	// Signer is the key in the certificate at Scheme.CertURL, once somebody has
	// fetched it and found it to be the sender's. Other schemes need none.
	Signer *rsa.PublicKey
}

// Algorithm says how a signature is made.
type Algorithm string

// The algorithms.
const (
	HMACSHA1   Algorithm = "hmac-sha1"
	HMACSHA256 Algorithm = "hmac-sha256"
	HMACSHA512 Algorithm = "hmac-sha512"
	SHA256     Algorithm = "sha256"     // a plain hash; the secret is part of the content
	Ed25519    Algorithm = "ed25519"    // the sender's public key is given
	ECDSA      Algorithm = "ecdsa-p256" // over SHA-256, signature in ASN.1
	RSA        Algorithm = "rsa-sha256" // PKCS #1 v1.5, by a certificate that the sender publishes
	Token      Algorithm = "token"      // no signature: the secret itself is sent
	Basic      Algorithm = "basic"      // no signature: HTTP basic authentication, secret "user:password"
	JWS        Algorithm = "jws"        // a JSON Web Token with HS256 whose claim sha256 is that of the body
	None       Algorithm = "none"       // the sender signs nothing; it only has a handshake
)

// Encoding says how the bytes of a signature are written.
type Encoding string

// The encodings.
const (
	Hex       Encoding = "hex"
	Base64    Encoding = "base64"
	Base64URL Encoding = "base64url" // without padding
)

// Unit says how a time is written.
type Unit string

// The units of a timestamp.
const (
	Seconds Unit = "s"
	Millis  Unit = "ms"
	RFC3339 Unit = "rfc3339"
)

// Scheme describes how one sender signs. The zero value of each field means
// that the sender has no such thing; Check finds what does not fit together.
type Scheme struct {
	Name  string // what the user writes: "github"
	Title string // what people read: "GitHub"
	// Family is the provider, where several schemes are one provider's:
	// "hubspot". Empty means Name.
	Family string

	// Header are the names the signature may come under, of which a request
	// needs one. A name that ends in * stands for all that begin so.
	Header []string
	Split  string // what divides the parts of the header: "," in "t=1,v1=abc"
	Prefix string // what stands before a signature: "sha256=", "v1="

	Algorithm Algorithm
	Encoding  Encoding
	Key       Key // how the secret becomes a key

	// Content is what is signed, as a template. In braces may stand: body,
	// timestamp, id, method, url, url:decoded, url:port, url:noport, path (with
	// its query), form (fields sorted by name, each name followed by its
	// values), secret, crc32 (of the body, in decimal), header:NAME, item:PATH. Of
	// several templates any may
	// fit; Sign uses the first.
	Content []string

	Timestamp Source // where the time of signing is
	Unit      Unit
	Tolerance time.Duration // in both directions; 0: any time is good
	MessageID Source        // where {id} of the content is

	// Each, a path in the JSON body, is where the parts lie that are signed one
	// by one, each with its signature at the path Mark inside it. There is no
	// header then.
	Each, Mark string

	// BodyHash is where the hex SHA-256 of the body is, if the content covers
	// the body only through it.
	BodyHash Source

	// Cert is where the address of the sender's certificate is, for RSA, and
	// CertDomain the domain that this address and the certificate must be of.
	Cert       Source
	CertDomain string

	// Any names schemes of which one has to fit: a sender that signs in several
	// ways. The fields above are then empty.
	Any []string

	ID   []Source // the sender's own id of a delivery, best first
	Type []Source // what happened, best first

	// Signs are headers by which Detect knows the sender: "X-GitHub-Event", or
	// with a part of the value "User-Agent=intercom".
	Signs []string

	// Handshake names the way in which the sender tries an address, and Token
	// tells that it has a secret of its own, other than that of the signature.
	Handshake string
	Token     bool
}

// Lookup returns the scheme of a name as the user writes it, without regard to
// upper and lower case.
func Lookup(name string) (Scheme, bool) {
	s, ok := byName()[strings.ToLower(strings.TrimSpace(name))]
	return s, ok
}

// Names returns the names of all schemes, sorted.
func Names() []string {
	names := make([]string, 0, len(byName()))
	for name := range byName() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// All returns all schemes in the order of the tables: a sender that also sends
// the headers of another comes before it.
func All() []Scheme { return slices.Clone(table()) }

// HMAC returns the scheme of a sender that has no name here: an HMAC-SHA256 of
// the body in hex, in the header X-Signature. Change the fields for others.
func HMAC() Scheme {
	s, _ := Lookup("hmac")
	return s
}

// Fresh tells whether Sign can give a late delivery a new time, so that the
// app accepts it: the scheme has no time, or one that the secret signs.
// Without it an event is to be delivered as it came.
func (s Scheme) Fresh() bool {
	if len(s.Any) > 0 {
		return slices.ContainsFunc(s.ways(), Scheme.Fresh)
	}
	switch s.Algorithm {
	case Ed25519, ECDSA, RSA, None:
		return false // the private key is the sender's
	}
	return !strings.HasPrefix(string(s.Timestamp), "body:")
}

// Secret says in a word or two what the user has to give.
func (s Scheme) Secret() string {
	if len(s.Any) > 0 {
		var all []string
		for _, way := range s.ways() {
			if word := way.Secret(); !slices.Contains(all, word) {
				all = append(all, word)
			}
		}
		return strings.Join(all, " or ")
	}
	switch s.Algorithm {
	case None:
		return ""
	case Token:
		return "the token"
	case Basic:
		return "user:password"
	default:
		return s.Key.String()
	}
}

// Check finds what does not fit together in a scheme that a user has written.
func (s Scheme) Check() error {
	if len(s.Any) > 0 {
		for _, name := range s.Any {
			if way, ok := Lookup(name); !ok || len(way.Any) > 0 {
				return fmt.Errorf("there is no scheme %q", name)
			}
		}
		return nil
	}
	switch s.Algorithm {
	case HMACSHA1, HMACSHA256, HMACSHA512, SHA256, Ed25519, ECDSA, RSA:
		if s.Algorithm == RSA && (s.Cert == "" || s.CertDomain == "") {
			return errors.New("it does not say where the address of the certificate is and of which domain it must be")
		}
		if len(s.Content) == 0 {
			return errors.New("it does not say what is signed; for the body alone, write {body}")
		}
		switch s.Encoding {
		case Hex, Base64, Base64URL:
		default:
			return fmt.Errorf("the encoding %q is not known; it is one of hex, base64, base64url", s.Encoding)
		}
	case Token, Basic, JWS, None:
	default:
		return fmt.Errorf("the algorithm %q is not known; it is one of hmac-sha1, hmac-sha256, hmac-sha512, sha256, ed25519, ecdsa-p256, rsa-sha256, token, basic, jws", s.Algorithm)
	}
	if s.Algorithm != None && len(s.Header) == 0 && s.Each == "" && !(s.Algorithm == Token && s.Mark != "") {
		return errors.New("it does not say which header has the signature")
	}
	// A CRC-32 covers nothing that somebody wants to change; PayPal has no more.
	covered := s.Algorithm == RSA || s.BodyHash != "" || s.Each != "" || s.Algorithm == Token || s.Algorithm == Basic || s.Algorithm == JWS || s.Algorithm == None
	for _, template := range s.Content {
		fields, err := parse(template)
		if err != nil {
			return err
		}
		has := func(name string) bool {
			return slices.ContainsFunc(fields, func(f field) bool { return f.name == name })
		}
		switch {
		case has("timestamp") && s.Timestamp == "":
			return errors.New("{timestamp} is signed, but it does not say where the timestamp is")
		case s.Timestamp != "" && !has("timestamp") && !strings.HasPrefix(string(s.Timestamp), "body:"):
			return errors.New("the timestamp is not signed, so it proves nothing; add {timestamp} to what is signed")
		case has("id") && s.MessageID == "":
			return errors.New("{id} is signed, but it does not say where the id is")
		case s.Algorithm == SHA256 && !has("secret"):
			return errors.New("a plain hash without {secret} can be made by anyone")
		case !covered && !has("body") && !has("form"):
			return errors.New("the body is not signed: add {body}")
		}
	}
	for _, source := range append(append([]Source{s.Timestamp, s.MessageID, s.BodyHash, s.Cert}, s.ID...), s.Type...) {
		if err := source.check(); err != nil {
			return err
		}
	}
	switch s.Unit {
	case "", Seconds, Millis, RFC3339:
		return nil
	}
	return fmt.Errorf("the unit %q is not known; it is one of s, ms, rfc3339", s.Unit)
}

// family is the provider of the scheme.
func (s Scheme) family() string {
	if s.Family != "" {
		return s.Family
	}
	return s.Name
}

// ways are the schemes of which one has to fit; mostly that is s alone.
func (s Scheme) ways() []Scheme {
	if len(s.Any) == 0 {
		return []Scheme{s}
	}
	ways := make([]Scheme, 0, len(s.Any))
	for _, name := range s.Any {
		if way, ok := Lookup(name); ok && len(way.Any) == 0 {
			ways = append(ways, way)
		}
	}
	return ways
}
