package http1

import (
	"bufio"
	"context"
	"net"
	"net/http"
)

// ReadAnswer reads the answer to a request with method from br, to see how much of
// br it takes. The body is to be read; it is br's next bytes that count then.
func ReadAnswer(br *bufio.Reader, method string) (*http.Response, error) {
	x := &exchange{pool: &Pool{}, req: &http.Request{Method: method}, conn: &conn{Conn: nowhere{}, br: br}}
	res, err := x.readAnswer(false)
	if err == nil {
		res.Body.(*body).keep = false
	}
	return res, err
}

// ReadRequest reads a request from br in the way of a Server.
func ReadRequest(br *bufio.Reader) (*http.Request, error) {
	s := &serving{conn: nowhere{}, br: br}
	req, _, err := s.readRequest(context.Background())
	return req, err
}

// TrailerAllowed tells whether a trailer field is passed on.
var TrailerAllowed = trailerAllowed

// nowhere is the connection of what is read from a buffer.
type nowhere struct{ net.Conn }

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }
func (nowhere) RemoteAddr() net.Addr        { return &net.TCPAddr{} }
