package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// verifyToken is for senders that do not sign but send the secret along, in a
// header or, as Microsoft, in each item of the body.
func (m *message) verifyToken(s Scheme, secrets []string) *Error {
	var sent []string
	where := s.Mark
	if s.Mark != "" {
		items := walk(m.body(), s.Each)
		sent = make([]string, 0, len(items))
		for _, item := range items {
			if found := at(item, s.Mark); len(found) == 1 {
				sent = append(sent, found[0])
			}
		}
		if len(sent) != len(items) {
			sent = nil // an item without a token would ride along
		}
		where += " in the body"
	} else {
		sent, where = m.lines(s.Header)
	}
	if len(sent) == 0 {
		return &Error{Reason: NoHeader, Where: where}
	}
	for _, token := range sent {
		if !oneOf(secrets, strings.TrimPrefix(token, s.Prefix)) {
			return &Error{Reason: WrongSignature, Where: where}
		}
	}
	return nil
}

// verifyBasic is for senders that know a user and a password.
func (m *message) verifyBasic(s Scheme, secrets []string) *Error {
	const where = "Authorization"
	line, ok := m.one("header:" + where)
	if !ok {
		return &Error{Reason: NoHeader, Where: where}
	}
	kind, text, _ := strings.Cut(line, " ")
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if !strings.EqualFold(kind, "Basic") || err != nil {
		return &Error{Reason: Malformed, Where: where, Detail: "it should be Basic and base64"}
	}
	if !oneOf(secrets, string(plain)) {
		return &Error{Reason: WrongSignature, Where: where}
	}
	return nil
}

// oneOf tells whether the token is one of the secrets. The time it takes says
// nothing about them, not even their length.
func oneOf(secrets []string, token string) bool {
	got := sha256.Sum256([]byte(token))
	good := 0
	for _, secret := range secrets {
		want := sha256.Sum256([]byte(secret))
		good |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return good == 1
}

// jwsHeader is the one header of a token that is accepted and written: there
// is nothing to choose, so nobody can choose "none".
type jwsHeader struct {
	Alg string `json:"alg"`
	Typ string `json:"typ,omitempty"`
}

type jwsClaims struct {
	Issuer string `json:"iss,omitempty"`
	SHA256 string `json:"sha256"`
}

// verifyJWS is for senders that sign the hash of the body in a JSON Web Token.
func (m *message) verifyJWS(s Scheme, secrets []string) *Error {
	lines, where := m.lines(s.Header)
	if len(lines) == 0 {
		return &Error{Reason: NoHeader, Where: where}
	}
	segments := strings.Split(lines[0], ".")
	if len(segments) != 3 || len(lines) > 1 {
		return &Error{Reason: Malformed, Where: where, Detail: "it should be one JSON Web Token"}
	}
	var header jwsHeader
	var claims jwsClaims
	sig, err := Base64URL.decode(segments[2])
	if err != nil || !fromSegment(segments[0], &header) || !fromSegment(segments[1], &claims) {
		return &Error{Reason: Malformed, Where: where, Detail: "it should be a JSON Web Token"}
	}
	if header.Alg != "HS256" {
		return &Error{Reason: Version, Where: where}
	}
	good := false
	for _, secret := range secrets {
		good = hmac.Equal(sig, tokenMAC(secret, segments[0]+"."+segments[1])) || good
	}
	if !good || s.Prefix != "" && claims.Issuer != s.Prefix {
		return &Error{Reason: WrongSignature, Where: where}
	}
	sum := sha256.Sum256(m.Body)
	if got, err := hex.DecodeString(claims.SHA256); err != nil || !hmac.Equal(got, sum[:]) {
		return &Error{Reason: BodyChanged, Where: where}
	}
	return nil
}

func fromSegment(segment string, v any) bool {
	text, err := Base64URL.decode(segment)
	return err == nil && json.Unmarshal(text, v) == nil
}

func tokenMAC(secret, text string) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(text))
	return h.Sum(nil)
}

// token makes the JSON Web Token for a body. Prefix is the issuer.
func (s Scheme) token(secret string, body []byte) (string, error) {
	header, err := json.Marshal(jwsHeader{Alg: "HS256", Typ: "JWT"})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	claims, err := json.Marshal(jwsClaims{Issuer: s.Prefix, SHA256: hex.EncodeToString(sum[:])})
	if err != nil {
		return "", err
	}
	text := Base64URL.encode(header) + "." + Base64URL.encode(claims)
	return text + "." + Base64URL.encode(tokenMAC(secret, text)), nil
}
