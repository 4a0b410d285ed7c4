package capture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"
)

// fixtureVersion is what a fixture begins with.
const fixtureVersion = 1

// fixture is the file form of an exchange that is a test: what was sent and what was
// answered, without what tells of one day and one machine.
type fixture struct {
	Version  int       `json:"relay_fixture"`
	Recorded time.Time `json:"recorded"`
	Request  *Request  `json:"request"`
	Response *Response `json:"response,omitempty"`
}

// Fixture writes x as a fixture, on one line. Fields that the relay has added are left
// out.
func (x *Exchange) Fixture() ([]byte, error) {
	req := x.Request
	req.Header = Header{}
	for name, values := range x.Request.Header {
		if !strings.HasPrefix(name, "Relay-") && !strings.HasPrefix(name, "X-Forwarded-") && name != "Forwarded" {
			req.Header[name] = values
		}
	}
	unpacked(req.Header, &req.Body)
	answer := x.Response
	if answer != nil {
		c := *answer
		c.Header = maps.Clone(c.Header)
		unpacked(c.Header, &c.Body)
		answer = &c
	}
	b, err := json.Marshal(fixture{fixtureVersion, x.Began.UTC(), &req, answer})
	if err != nil {
		return nil, fmt.Errorf("write a fixture: %w", err)
	}
	return b, nil
}

// unpacked takes the Content-Encoding of a body that has none any more, since something
// in it is masked.
func unpacked(h Header, b *Body) {
	if b.Masked && b.Encoding == "" {
		delete(h, "Content-Encoding")
	}
}

// ReadFixture reads what Fixture has written. The errors are sentences for people, who
// may have changed it.
func ReadFixture(b []byte) (*Exchange, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var f fixture
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("this is no fixture: %w", plain(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the fixture")
	}
	switch r := f.Request; {
	case f.Version != fixtureVersion:
		return nil, fmt.Errorf("relay_fixture is %d, and this program knows %d", f.Version, fixtureVersion)
	case r == nil:
		return nil, errors.New("the fixture has no request")
	case r.Method == "" || strings.ContainsAny(r.Method, " \t\r\n"):
		return nil, fmt.Errorf("request.method %q is not a method", r.Method)
	case !strings.HasPrefix(r.Target, "/") || strings.ContainsAny(r.Target, " \t\r\n"):
		return nil, fmt.Errorf("request.target %q does not begin with a slash, or has spaces", r.Target)
	case f.Response != nil && (f.Response.Status < 100 || f.Response.Status > 599):
		return nil, fmt.Errorf("response.status %d is not a status", f.Response.Status)
	}
	x := &Exchange{State: Done, Began: f.Recorded, Request: *f.Request, Response: f.Response}
	for _, body := range []*Body{&x.Request.Body, answerBody(x)} {
		if body != nil && !body.Truncated && !body.Omitted {
			body.Size = int64(len(body.Kept)) // somebody may have edited it
		}
	}
	return x, nil
}

func answerBody(x *Exchange) *Body {
	if x.Response == nil {
		return nil
	}
	return &x.Response.Body
}

// plain takes the name of the package out of an error of encoding/json.
func plain(err error) error { return errors.New(strings.TrimPrefix(err.Error(), "json: ")) }
