package conformance

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// A wire is a visitor who speaks bytes: it sends what no client library would, and sees what none would show.
type wire struct {
	*net.TCPConn
	r *bufio.Reader
}

func (r *road) wire(t *testing.T) *wire {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return &wire{TCPConn: c.(*net.TCPConn), r: bufio.NewReader(c)}
}

// send writes bytes; an edge that closes meanwhile is no failure of the test, its answer is what counts.
func (w *wire) send(s string) { io.WriteString(w, s) }

// ask sends a request head: the line without its version, and fields without their CRLF.
func (w *wire) ask(host, line string, fields ...string) {
	head := line + " HTTP/1.1\r\nHost: " + host + "\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	w.send(head + "\r\n")
}

// An answer is one response as it stood on the wire.
type answer struct {
	interim []*http.Response // 1xx answers before it, 101 excepted
	*http.Response
	body []byte
	err  error // of the body: io.ErrUnexpectedEOF when it was cut
}

// answer reads the next response. method is that of the request: an answer to HEAD has no body.
func (w *wire) answer(method string) (*answer, error) {
	a := new(answer)
	for {
		resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == 101 {
			a.Response = resp
			break
		}
		a.interim = append(a.interim, resp)
		if len(a.interim) > 1000 {
			return nil, errors.New("more than 1000 interim answers")
		}
	}
	if a.StatusCode != 101 {
		a.body, a.err = io.ReadAll(a.Body)
	}
	return a, nil
}

// mustAnswer is answer for tests that expect a whole one.
func (w *wire) mustAnswer(t *testing.T, method string) *answer {
	t.Helper()
	a, err := w.answer(method)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	if a.err != nil {
		t.Fatalf("answer %d: body: %v after %d bytes", a.StatusCode, a.err, len(a.body))
	}
	return a
}

// head reads one response head, byte for byte, without its body.
func (w *wire) head(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	for !bytes.HasSuffix(b.Bytes(), []byte("\r\n\r\n")) {
		c, err := w.r.ReadByte()
		if err != nil {
			t.Fatalf("head: %v after %q", err, b.String())
		}
		b.WriteByte(c)
	}
	return b.String()
}

// ended tells whether the other side closes within the time without sending anything more.
func (w *wire) ended(within time.Duration) error {
	w.SetReadDeadline(time.Now().Add(within))
	more, err := io.ReadAll(io.LimitReader(w.r, 64<<10))
	switch {
	case len(more) > 0:
		return fmt.Errorf("%d more bytes: %.200q", len(more), more)
	case err == nil || isReset(err):
		return nil
	default:
		return fmt.Errorf("still open: %w", err)
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
