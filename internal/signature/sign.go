package signature

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Sign returns the request as the sender would have signed it at now: with a
// new signature and, where the scheme has one, a new time. A message id that
// is there stays, so that the app still sees a repeat. Of a scheme with public
// keys the secret is a private key, which only tests have.
//
// The body is the very bytes of r, with one exception: a scheme that has its
// signature inside the body gets it put there, in place of the one it had.
// Where the time is in the body, it stays what it was: see Scheme.Fresh.
func Sign(s Scheme, secret string, r Request, now time.Time) (Request, error) {
	if secret == "" {
		return Request{}, fmt.Errorf("sign as %s: no secret is given", s.Name)
	}
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = make(map[string][]string)
	}
	var firstErr error
	signed := false
	for _, way := range s.waysOf(r) {
		next, err := way.sign(secret, r, now)
		if err == nil {
			r, signed = next, true
		} else if firstErr == nil {
			firstErr = err
		}
	}
	switch {
	case signed:
		return r, nil
	case firstErr == nil:
		firstErr = errors.New("this sender does not sign")
	}
	return Request{}, fmt.Errorf("sign as %s: %w", s.Name, firstErr)
}

// waysOf are the ways in which the request is signed already, or else the one
// that the sender uses first.
func (s Scheme) waysOf(r Request) []Scheme {
	ways := s.ways()
	if len(ways) < 2 {
		return ways
	}
	m := message{Request: r}
	present := slices.DeleteFunc(slices.Clone(ways), func(way Scheme) bool {
		lines, _ := m.lines(way.Header)
		return len(lines) == 0
	})
	if len(present) > 0 {
		return present
	}
	return ways[:1]
}

func (s Scheme) sign(secret string, r Request, now time.Time) (Request, error) {
	m := &message{Request: r}
	switch s.Algorithm {
	case None, "":
		return r, errors.New("this sender does not sign")
	case RSA:
		return r, fmt.Errorf("%s signs with a certificate of its own, which nobody else has", s.Title)
	case Token:
		if s.Mark != "" {
			return r, errors.New("the token is inside the body; write it there")
		}
		r.Header.Set(s.header(r), s.Prefix+secret)
		return r, nil
	case Basic:
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(secret)))
		return r, nil
	case JWS:
		token, err := s.token(secret, r.Body)
		if err == nil {
			r.Header.Set(s.header(r), token)
		}
		return r, err
	}
	if s.Each != "" {
		return s.signEach(m, secret)
	}
	p, err := s.stamp(m, now)
	if err != nil {
		return r, err
	}
	sig, err := s.signature(m, p, secret, nil)
	if err != nil {
		return r, err
	}
	value := s.Prefix + s.Encoding.encode(sig)
	if prefix, ok := strings.CutPrefix(string(s.Timestamp), "part:"); ok {
		value = prefix + p.timestamp + s.Split + value
	}
	name := s.header(m.Request)
	m.drop(s.Header)
	m.Header.Set(name, value)
	return m.Request, nil
}

// stamp gives the request its time and id, and puts the hash of the body into
// the address where the scheme covers the body so.
func (s Scheme) stamp(m *message, now time.Time) (parts, error) {
	var p parts
	if name, ok := strings.CutPrefix(string(s.MessageID), "header:"); ok {
		if p.id, ok = m.one(s.MessageID); !ok {
			sum := sha256.Sum256(fmt.Appendf(slices.Clone(m.Body), "\n%d", now.UnixNano()))
			p.id = "msg_" + hex.EncodeToString(sum[:12])
			m.Header.Set(name, p.id)
		}
	}
	kind, name, _ := strings.Cut(string(s.Timestamp), ":")
	switch kind {
	case "header":
		p.timestamp = writeTime(now, s.Unit)
		m.Header.Set(name, p.timestamp)
	case "part":
		p.timestamp = writeTime(now, s.Unit)
	case "":
	default:
		p.timestamp, _ = m.one(s.Timestamp)
	}
	if name, ok := strings.CutPrefix(string(s.BodyHash), "query:"); ok && len(m.Body) > 0 && !m.isForm() {
		u, err := url.Parse(m.URL)
		if err != nil {
			return p, errors.New("the address of the request cannot be read")
		}
		sum := sha256.Sum256(m.Body)
		pieces := slices.DeleteFunc(strings.Split(u.RawQuery, "&"), func(piece string) bool {
			return piece == "" || strings.HasPrefix(piece, name+"=")
		})
		u.RawQuery = strings.Join(append(pieces, name+"="+hex.EncodeToString(sum[:])), "&")
		m.URL = u.String()
	}
	return p, nil
}

// signature signs the content with a secret or a private key.
func (s Scheme) signature(m *message, p parts, secret string, item any) ([]byte, error) {
	if len(s.Content) == 0 {
		return nil, errors.New("the scheme does not say what is signed")
	}
	fields, err := parse(s.Content[0])
	if err != nil {
		return nil, err
	}
	content := m.content(fields, p, secret, item)
	if s.Algorithm != Ed25519 && s.Algorithm != ECDSA {
		return s.mac(secret, content)
	}
	key, err := private(s.Algorithm, secret)
	if err != nil {
		return nil, err
	}
	if s.Algorithm == Ed25519 {
		return key.Sign(nil, slices.Concat(content...), crypto.Hash(0))
	}
	return key.Sign(rand.Reader, digest(sha256.New(), content), crypto.SHA256)
}

// header is the name to put the signature under: that which is there already,
// or the first.
func (s Scheme) header(r Request) string {
	m := message{Request: r}
	_, name := m.lines(s.Header)
	if stem, many := strings.CutSuffix(name, "*"); many {
		return stem + "1"
	}
	return name
}

// drop removes the signatures that are there. One that is left could be taken
// for the right one.
func (m *message) drop(names []string) {
	for _, name := range names {
		stem, many := strings.CutSuffix(name, "*")
		for key := range m.Header {
			if strings.EqualFold(key, name) || many && len(key) > len(stem) && strings.EqualFold(key[:len(stem)], stem) {
				delete(m.Header, key)
			}
		}
	}
}

// signEach puts its signature into each item of the body.
func (s Scheme) signEach(m *message, secret string) (Request, error) {
	items := walk(m.body(), s.Each)
	key := s.Mark[strings.LastIndexByte(s.Mark, '.')+1:]
	places := valuesOf(m.Body, key)
	if len(items) == 0 || len(places) != len(items) {
		return m.Request, fmt.Errorf("each signed item of the body needs a %q, even an empty one, to put the signature there", key)
	}
	var body []byte
	done := 0
	for i, item := range items {
		sig, err := s.signature(m, parts{}, secret, item)
		if err != nil {
			return m.Request, err
		}
		text, err := json.Marshal(s.Prefix + s.Encoding.encode(sig))
		if err != nil {
			return m.Request, err
		}
		body = append(append(body, m.Body[done:places[i].start]...), text...)
		done = places[i].end
	}
	m.Body = append(body, m.Body[done:]...)
	return m.Request, nil
}

type span struct{ start, end int }

// valuesOf finds where in a JSON text the string values of a key are, with
// their quotes.
func valuesOf(text []byte, key string) []span {
	d := json.NewDecoder(bytes.NewReader(text))
	var found []span
	var open []bool // of each bracket that is open, whether it is an object
	name, isName := "", false
	for {
		token, err := d.Token()
		if err != nil {
			return found
		}
		inObject := len(open) > 0 && open[len(open)-1]
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{', '[':
				open = append(open, token == '{')
				isName = token == '{'
				continue
			default:
				open = open[:len(open)-1]
			}
		case string:
			if inObject && isName {
				name, isName = token, false
				continue
			}
			if inObject && name == key {
				end := int(d.InputOffset())
				if start := openingQuote(text, end); start >= 0 {
					found = append(found, span{start, end})
				}
			}
		}
		isName = len(open) > 0 && open[len(open)-1]
	}
}

// openingQuote finds where the string that ends before end begins: the last
// quote before it that no backslash stands before.
func openingQuote(text []byte, end int) int {
	for i := end - 2; i >= 0; i-- {
		if text[i] != '"' {
			continue
		}
		slashes := 0
		for i-1-slashes >= 0 && text[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
	return -1
}
