package http1_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/http1"
)

// An agent that cannot reach its service says so while the visitor is still
// uploading. That its upload was broken off then is not the visitor's fault.
func TestFailureOfTheAppIsNotBlamedOnTheUpload(t *testing.T) {
	a := newApp(t, func(_ int, p *peer) {
		p.head()
		p.say("HTTP/1.1 900 Relay\r\nConnection: close\r\nRelay-Error: upstream_refused\r\nContent-Length: 7\r\n\r\nno app.")
		p.gone()
	})
	p := a.pool()
	p.Agent = true
	body := newStuckBody("begin")
	_, err := p.RoundTrip(request(t, "POST", body))
	var failed *http1.Failed
	if !errors.As(err, &failed) || failed.Code != "upstream_refused" || failed.Message != "no app." {
		t.Errorf("got %v, want the agent's *Failed", err)
	}
}

func TestFaultOfTheUploadIsABodyError(t *testing.T) {
	errBroken := errors.New("broken")
	for name, body := range map[string]struct {
		r      io.Reader
		length int64
		want   error
	}{
		"fails at once":        {errReader{errBroken}, -1, errBroken},
		"fails on the way":     {io.MultiReader(strings.NewReader("begin"), errReader{errBroken}), -1, errBroken},
		"fails, length known":  {io.MultiReader(strings.NewReader("begin"), errReader{errBroken}), 100_000, errBroken},
		"shorter than said":    {strings.NewReader("short"), 100_000, io.ErrUnexpectedEOF},
		"small, fails":         {errReader{errBroken}, 100, errBroken},
		"small, shorter":       {strings.NewReader("short"), 100, io.ErrUnexpectedEOF},
		"in memory, but short": {inMemory{strings.NewReader("short")}, 100, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(_ int, p *peer) {
				if req, _ := p.request(); req != nil {
					t.Error("the app took a broken request for a whole one")
				}
			})
			req := request(t, "POST", body.r)
			req.ContentLength = body.length
			_, err := a.pool().RoundTrip(req)
			var be *http1.BodyError
			if !errors.As(err, &be) || !errors.Is(err, body.want) {
				t.Errorf("got %v, want a *BodyError with %v", err, body.want)
			}
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// inMemory is a body that can be taken as a whole.
type inMemory struct{ *strings.Reader }

func (inMemory) Bytes() []byte { return []byte("short") }
func (inMemory) Close() error  { return nil }

// A status of 900 means something only when an agent says it.
func TestFailedAnswerCountsOnlyFromAnAgent(t *testing.T) {
	answer := "HTTP/1.1 900 Relay\r\nConnection: close\r\nRelay-Error: upstream_refused\r\nContent-Length: 2\r\n\r\nno"
	for _, agent := range []bool{true, false} {
		a := newApp(t, func(_ int, p *peer) {
			p.request()
			p.say(answer)
			p.gone()
		})
		p := a.pool()
		p.Agent = agent
		_, err := p.RoundTrip(request(t, "GET", nil))
		var failed *http1.Failed
		var bad *http1.BadAnswerError
		if agent && !errors.As(err, &failed) || !agent && !errors.As(err, &bad) {
			t.Errorf("agent=%v: got %v", agent, err)
		}
	}
}

// What the agent says at length is cut, not kept.
func TestFailedAnswerIsBounded(t *testing.T) {
	a := newApp(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 900 Relay\r\nRelay-Error: x\r\n\r\n")
		for range 1000 {
			p.say(strings.Repeat("a", 1000))
		}
		p.gone()
	})
	p := a.pool()
	p.Agent = true
	_, err := p.RoundTrip(request(t, "GET", nil))
	var failed *http1.Failed
	if !errors.As(err, &failed) || len(failed.Message) > 4<<10 {
		t.Errorf("got %T with %d bytes", err, len(err.Error()))
	}
}

func TestNothingWasSentWhenThereIsNoConnection(t *testing.T) {
	errNoWay := errors.New("no way")
	body := &closeCounter{Reader: strings.NewReader("hello")}
	p := &http1.Pool{Dial: func(context.Context) (net.Conn, error) { return nil, errNoWay }}
	defer p.Close()
	_, err := p.RoundTrip(request(t, "POST", body))
	var dial *http1.DialError
	if !errors.As(err, &dial) || !errors.Is(err, errNoWay) {
		t.Errorf("got %v, want a *DialError", err)
	}
	if body.Len() != 5 || body.closed != 1 {
		t.Errorf("%d bytes of the body were read, it was closed %d times", 5-body.Len(), body.closed)
	}
}

type closeCounter struct {
	*strings.Reader
	closed int
}

func (c *closeCounter) Close() error {
	c.closed++
	return nil
}

// What would break out of its line is never written.
func TestRequestThatCannotBeSaidIsNotSent(t *testing.T) {
	tests := map[string]func(*http1.Pool) error{}
	add := func(name string, method, target, host, key, value string) {
		tests[name] = func(p *http1.Pool) error {
			req := request(t, "GET", nil)
			req.Method, req.RequestURI, req.Host = method, target, host
			if key != "" {
				req.Header[key] = []string{value}
			}
			_, err := p.RoundTrip(req)
			return err
		}
	}
	add("method with a space", "GET /x", "/", "a.test", "", "")
	add("target with a space", "GET", "/ HTTP/1.1", "a.test", "", "")
	add("target with a line break", "GET", "/\r\nX: y", "a.test", "", "")
	add("host with a line break", "GET", "/", "a.test\r\nX: y", "", "")
	add("value with a line break", "GET", "/", "a.test", "X", "a\r\nY: b")
	add("value with a bare LF", "GET", "/", "a.test", "X", "a\nY: b")
	add("value with a bare CR", "GET", "/", "a.test", "X", "a\rb")
	add("value with a NUL", "GET", "/", "a.test", "X", "a\x00b")
	add("name with a colon", "GET", "/", "a.test", "X: y\r\nZ", "b")
	for name, send := range tests {
		t.Run(name, func(t *testing.T) {
			p := &http1.Pool{Dial: func(context.Context) (net.Conn, error) {
				t.Error("it was sent")
				return nil, net.ErrClosed
			}}
			defer p.Close()
			if err := send(p); err == nil {
				t.Error("no error")
			}
		})
	}
}
