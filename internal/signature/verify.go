package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // G505: several senders prescribe HMAC-SHA1
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"
)

// maxSignatures bounds the signatures of one request that are tried. A sender
// that changes its secret sends two; a stranger could send thousands.
const maxSignatures = 16

// Verify returns nil if one of the secrets made the signature of the request
// and its time is within the tolerance of now; otherwise an *Error. A secret
// that has not the form of the scheme does not stand in the way of another
// that fits.
func Verify(s Scheme, secrets []string, r Request, now time.Time) error {
	if err := (&message{Request: r}).verify(s, secrets, now); err != nil {
		return err
	}
	return nil
}

// verify tries the ways in which the sender signs. Of several failures the
// one that came furthest is told: who sends a wrong signature of one kind has
// no header of the other.
func (m *message) verify(s Scheme, secrets []string, now time.Time) *Error {
	secrets = slices.DeleteFunc(slices.Clone(secrets), func(secret string) bool { return secret == "" })
	var worst *Error
	for _, way := range s.ways() {
		err := m.verifyOne(way, secrets, now)
		if err == nil {
			return nil
		}
		if worst == nil || rank[err.Reason] > rank[worst.Reason] {
			worst = err
		}
	}
	if worst == nil { // a scheme that somebody wrote by hand and did not Check
		worst = &Error{Reason: NotSigned}
	}
	worst.Scheme = s.Name
	return worst
}

func (m *message) verifyOne(s Scheme, secrets []string, now time.Time) *Error {
	switch {
	case s.Algorithm == None || s.Algorithm == "":
		return &Error{Reason: NotSigned}
	case len(secrets) == 0:
		return &Error{Reason: NoSecret}
	case s.Algorithm == Token:
		return m.verifyToken(s, secrets)
	case s.Algorithm == Basic:
		return m.verifyBasic(s, secrets)
	case s.Algorithm == JWS:
		return m.verifyJWS(s, secrets)
	}
	p, err := m.parts(s)
	if err != nil {
		return err
	}
	if s.Algorithm == RSA {
		if err := m.certified(s); err != nil {
			return err
		}
	}
	if s.Each != "" {
		err = m.verifyEach(s, secrets)
	} else {
		err = m.fits(s, secrets, p, nil)
	}
	if err != nil {
		return err
	}
	if err := m.hashed(s); err != nil {
		return err
	}
	return inTime(s, p, now)
}

// parts are what a request brings along for its verification.
type parts struct {
	where      string // header of the signature
	signatures [][]byte
	timestamp  string
	time       time.Time
	id         string
}

// parts reads signatures, time and id from the request.
func (m *message) parts(s Scheme) (parts, *Error) {
	var p parts
	if s.Each == "" {
		lines, where := m.lines(s.Header)
		if len(lines) == 0 {
			return p, &Error{Reason: NoHeader, Where: where}
		}
		p.where = where
		var err *Error
		if p.signatures, err = signatures(s, where, lines); err != nil {
			return p, err
		}
	}
	var ok bool
	if s.MessageID != "" {
		if p.id, ok = m.one(s.MessageID); !ok {
			return p, &Error{Reason: NoTimestamp, Where: s.MessageID.String()}
		}
	}
	if s.Timestamp == "" {
		return p, nil
	}
	if prefix, isPart := strings.CutPrefix(string(s.Timestamp), "part:"); isPart {
		p.timestamp, ok = m.part(s, prefix)
	} else {
		p.timestamp, ok = m.one(s.Timestamp)
	}
	if !ok {
		return p, &Error{Reason: NoTimestamp, Where: s.timeAt()}
	}
	if s.Unit != "" {
		if p.time, ok = readTime(p.timestamp, s.Unit); !ok {
			return p, &Error{Reason: WrongTimestamp, Where: s.timeAt()}
		}
	}
	return p, nil
}

// lines are the values of the signature headers, and the name to call them by:
// that of the first which is there.
func (m *message) lines(names []string) (lines []string, where string) {
	for _, name := range names {
		before := len(lines)
		if stem, many := strings.CutSuffix(name, "*"); many {
			for key, values := range m.Header {
				if len(key) > len(stem) && strings.EqualFold(key[:len(stem)], stem) {
					lines = append(lines, values...)
				}
			}
		} else {
			lines = append(lines, m.Header.Values(name)...)
		}
		if before == 0 && len(lines) > 0 {
			where = name
		}
	}
	if where == "" && len(names) > 0 {
		where = names[0]
	}
	return lines, where
}

// signatures are those in the lines of the header.
func signatures(s Scheme, where string, lines []string) ([][]byte, *Error) {
	var found [][]byte
	var prefixed, others bool
	for _, line := range lines {
		pieces := []string{line}
		if s.Split != "" {
			pieces = strings.Split(line, s.Split)
		}
		for _, piece := range pieces {
			text, ok := strings.CutPrefix(strings.TrimSpace(piece), s.Prefix)
			if !ok {
				others = others || strings.ContainsAny(piece, "=,")
				continue
			}
			prefixed = true
			if b, err := s.Encoding.decode(text); err == nil && len(b) > 0 && len(found) < maxSignatures {
				found = append(found, b)
			}
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case !prefixed && others:
		return nil, &Error{Reason: Version, Where: where}
	}
	return nil, &Error{Reason: Malformed, Where: where, Detail: s.wants()}
}

// wants says how a signature of the scheme looks.
func (s Scheme) wants() string {
	return fmt.Sprintf("it should be %q and %s", s.Prefix+"…", s.Encoding)
}

// part returns the one part of the signature header that begins with prefix.
func (m *message) part(s Scheme, prefix string) (string, bool) {
	lines, _ := m.lines(s.Header)
	found := ""
	for _, line := range lines {
		for _, piece := range strings.Split(line, s.Split) {
			text, ok := strings.CutPrefix(strings.TrimSpace(piece), prefix)
			if !ok {
				continue
			}
			if found != "" && text != found {
				return "", false
			}
			found = text
		}
	}
	return found, found != ""
}

// timeAt names the place of the timestamp for people.
func (s Scheme) timeAt() string {
	if prefix, ok := strings.CutPrefix(string(s.Timestamp), "part:"); ok && len(s.Header) > 0 {
		return prefix + " in " + s.Header[0]
	}
	return s.Timestamp.String()
}

// String names the place for people.
func (s Source) String() string {
	kind, name, _ := strings.Cut(string(s), ":")
	if kind == "header" {
		return name
	}
	return name + " in the " + map[string]string{"body": "body", "form": "form", "query": "address"}[kind]
}

// fits tells whether one of the secrets made one of the signatures.
func (m *message) fits(s Scheme, secrets []string, p parts, item any) *Error {
	var bad error
	usable := false
	for _, template := range s.Content {
		fields, err := parse(template)
		if err != nil {
			return &Error{Reason: BadSecret, Detail: err.Error()}
		}
		for _, secret := range secrets {
			good, err := s.made(secret, m.Signer, m.content(fields, p, secret, item), p.signatures)
			if good {
				return nil
			}
			if err != nil {
				bad = err
				continue
			}
			usable = true
		}
	}
	if !usable && bad != nil {
		return &Error{Reason: BadSecret, Detail: bad.Error()}
	}
	return &Error{Reason: WrongSignature, Where: p.where}
}

// made tells whether the secret, or the private key of this public one or of the
// signer, made one of the signatures of the content.
func (s Scheme) made(secret string, signer *rsa.PublicKey, content, signatures [][]byte) (bool, error) {
	if s.Algorithm == RSA {
		sum := digest(sha256.New(), content)
		return slices.ContainsFunc(signatures, func(sig []byte) bool {
			return rsa.VerifyPKCS1v15(signer, crypto.SHA256, sum, sig) == nil
		}), nil
	}
	if s.Algorithm == Ed25519 || s.Algorithm == ECDSA {
		key, err := public(s.Algorithm, secret)
		if err != nil {
			return false, err
		}
		good := false
		switch key := key.(type) {
		case ed25519.PublicKey:
			text := slices.Concat(content...)
			for _, sig := range signatures {
				good = good || ed25519.Verify(key, text, sig)
			}
		case *ecdsa.PublicKey:
			sum := digest(sha256.New(), content)
			for _, sig := range signatures {
				good = good || ecdsa.VerifyASN1(key, sum, sig)
			}
		}
		return good, nil
	}
	want, err := s.mac(secret, content)
	if err != nil {
		return false, err
	}
	good := 0
	for _, sig := range signatures {
		good |= subtle.ConstantTimeCompare(sig, want)
	}
	return good == 1, nil
}

// mac is the signature that the secret makes.
func (s Scheme) mac(secret string, content [][]byte) ([]byte, error) {
	key, err := s.Key.symmetric(secret)
	if err != nil {
		return nil, err
	}
	switch s.Algorithm {
	case HMACSHA1:
		return digest(hmac.New(sha1.New, key), content), nil
	case HMACSHA512:
		return digest(hmac.New(sha512.New, key), content), nil
	case HMACSHA256:
		return digest(hmac.New(sha256.New, key), content), nil
	case SHA256:
		return digest(sha256.New(), content), nil
	}
	return nil, fmt.Errorf("the algorithm %q is not known", s.Algorithm)
}

func digest(h hash.Hash, content [][]byte) []byte {
	for _, piece := range content {
		h.Write(piece)
	}
	return h.Sum(nil)
}

// verifyEach verifies the parts of the body that are signed one by one. All
// have to fit.
func (m *message) verifyEach(s Scheme, secrets []string) *Error {
	items := walk(m.body(), s.Each)
	if len(items) == 0 {
		return &Error{Reason: NoHeader, Where: "signed item in the body"}
	}
	for _, item := range items {
		marks := at(item, s.Mark)
		if len(marks) == 0 {
			return &Error{Reason: NoHeader, Where: s.Mark + " in the body"}
		}
		signatures, err := signatures(s, s.Mark+" in the body", marks)
		if err != nil {
			return err
		}
		if err := m.fits(s, secrets, parts{where: s.Mark, signatures: signatures}, item); err != nil {
			return err
		}
	}
	return nil
}

// hashed tells whether the body is that whose hash is signed, where a scheme
// covers it so. A body that is neither a form, which is signed itself, nor
// has a hash is not covered at all.
func (m *message) hashed(s Scheme) *Error {
	if s.BodyHash == "" {
		return nil
	}
	want, ok := m.one(s.BodyHash)
	if !ok {
		if len(m.Body) == 0 || m.isForm() {
			return nil
		}
		return &Error{Reason: BodyUnsigned, Where: s.BodyHash.String()}
	}
	sum := sha256.Sum256(m.Body)
	if got, err := hex.DecodeString(want); err != nil || subtle.ConstantTimeCompare(got, sum[:]) == 0 {
		return &Error{Reason: BodyChanged, Where: s.BodyHash.String()}
	}
	return nil
}

// inTime tells whether the request is of now. It is asked after the signature
// was found right, so that the answer is worth something.
func inTime(s Scheme, p parts, now time.Time) *Error {
	if s.Tolerance == 0 || p.time.IsZero() {
		return nil
	}
	switch age := now.Sub(p.time); {
	case age > s.Tolerance:
		return &Error{Reason: TooOld, By: age}
	case age < -s.Tolerance:
		return &Error{Reason: TooNew, By: age}
	}
	return nil
}
