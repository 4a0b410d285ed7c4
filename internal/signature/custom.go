package signature

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// custom is a Scheme as a user writes it, in JSON. What needs a certificate from
// some address, or a handshake, is not among it.
type custom struct {
	Header    []string  `json:"header,omitempty"`
	Split     string    `json:"split,omitempty"`
	Prefix    string    `json:"prefix,omitempty"`
	Algorithm Algorithm `json:"algorithm,omitempty"`
	Encoding  Encoding  `json:"encoding,omitempty"`
	Key       Key       `json:"key,omitempty"`
	Content   []string  `json:"content,omitempty"`
	Timestamp Source    `json:"timestamp,omitempty"`
	Unit      Unit      `json:"unit,omitempty"`
	Tolerance string    `json:"tolerance,omitempty"` // like "5m"
	MessageID Source    `json:"message_id,omitempty"`
	Each      string    `json:"each,omitempty"`
	Mark      string    `json:"mark,omitempty"`
	BodyHash  Source    `json:"body_hash,omitempty"`
	ID        []Source  `json:"id,omitempty"`
	Type      []Source  `json:"type,omitempty"`
}

// ParseScheme reads a scheme of one's own: a JSON object with the fields of Scheme,
// in small letters with _ between words, and the tolerance like "5m". What it leaves
// out is as in HMAC. The errors are for people.
func ParseScheme(text []byte) (Scheme, error) {
	base := HMAC()
	c := custom{Algorithm: base.Algorithm, Encoding: base.Encoding}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Scheme{}, fmt.Errorf("read the scheme: %w", err)
	}
	// Not before: lists that are there would be read into, and these are the table's.
	orList(&c.Header, base.Header)
	orList(&c.Content, base.Content)
	orList(&c.ID, base.ID)
	orList(&c.Type, base.Type)
	s := Scheme{
		Name: "custom", Title: "the sender", Header: c.Header, Split: c.Split, Prefix: c.Prefix, Algorithm: c.Algorithm,
		Encoding: c.Encoding, Key: c.Key, Content: c.Content, Timestamp: c.Timestamp, Unit: c.Unit, MessageID: c.MessageID,
		Each: c.Each, Mark: c.Mark, BodyHash: c.BodyHash, ID: c.ID, Type: c.Type,
	}
	if c.Tolerance != "" {
		var err error
		if s.Tolerance, err = time.ParseDuration(c.Tolerance); err != nil || s.Tolerance < 0 {
			return Scheme{}, fmt.Errorf("the tolerance %q is not a time: write it like 5m", c.Tolerance)
		}
	}
	if s.Timestamp != "" && s.Unit == "" {
		s.Unit = Seconds
	}
	switch s.Key {
	case Text, HexKey, Whsec, HTMLText, PublicKey:
	default:
		return Scheme{}, fmt.Errorf("the key %q is not known; it is one of hex, whsec, html, public key, or nothing for text", s.Key)
	}
	if s.Algorithm == RSA || s.Algorithm == None {
		return Scheme{}, fmt.Errorf("the algorithm %q is not for a scheme of one's own", s.Algorithm)
	}
	if s.Tolerance > 0 && s.Timestamp == "" {
		return Scheme{}, fmt.Errorf("a tolerance of %v needs a timestamp: say where it is", s.Tolerance)
	}
	return s, s.Check()
}

// orList gives the list a default.
func orList[T any](list *[]T, base []T) {
	if len(*list) == 0 {
		*list = base
	}
}
