package http1

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// buffers hold a head with a small body, or a piece of a large body with its
// chunk line before it.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, copySize+64); return &b }}

const (
	copySize = 32 << 10
	// chunkRoom is kept free before a piece of a body for its chunk line.
	chunkRoom = 16
)

var errHeader = errors.New("a header field with a line break or NUL cannot be sent")

// appendFields adds header lines, except those that say how the message is framed.
func appendFields(b []byte, h http.Header) ([]byte, error) {
	for k, vs := range h {
		switch k {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
			continue
		}
		if !token(k) {
			return b, errHeader
		}
		for _, v := range vs {
			if !safe(v) {
				return b, errHeader
			}
			b = append(b, k...)
			b = append(b, ": "...)
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	}
	return b, nil
}

// safe tells whether a value stays within its line.
func safe(v string) bool {
	return strings.IndexByte(v, '\n') < 0 && strings.IndexByte(v, '\r') < 0 && strings.IndexByte(v, 0) < 0
}

func appendTrailerNames(b []byte, t http.Header) []byte {
	if len(t) == 0 {
		return b
	}
	b = append(b, "Trailer: "...)
	first := true
	for k := range t {
		if !token(k) || !trailerAllowed(k) {
			continue
		}
		if !first {
			b = append(b, ", "...)
		}
		first = false
		b = append(b, k...)
	}
	return append(b, "\r\n"...)
}

// appendRequestHead renders the head of a request; framing follows
// req.ContentLength and req.Body.
func appendRequestHead(b []byte, req *http.Request, hasBody bool) ([]byte, error) {
	target := req.RequestURI
	if target == "" {
		target = req.URL.RequestURI()
	}
	host := req.Host
	if host == "" && req.URL != nil {
		host = req.URL.Host
	}
	if !token(req.Method) || !plain(target) || !plain(host) {
		return b, errors.New("a method, target or host with a space or control character cannot be sent")
	}
	b = append(b, req.Method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	b, err := appendFields(b, req.Header)
	if err != nil {
		return b, err
	}
	switch {
	case hasBody && req.ContentLength >= 0:
		b = appendLength(b, req.ContentLength)
	case hasBody:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		b = appendTrailerNames(b, req.Trailer)
	case req.Header["Content-Length"] != nil:
		b = appendLength(b, 0)
	case req.Method == http.MethodPost || req.Method == http.MethodPut || req.Method == http.MethodPatch:
		b = appendLength(b, 0)
	}
	return append(b, "\r\n"...), nil
}

func appendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

// plain tells whether s can stand in a request line or Host line.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// writeBody copies a body. With length -1 it is chunked and ends with the
// trailer that body has filled by then. The sender's faults come back as
// *BodyError. A body that is shorter than length is such a fault.
func writeBody(w io.Writer, body io.Reader, length int64, trailer func() http.Header) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := (*buf)[:cap(*buf)]
	left := length
	for {
		max := chunkRoom + copySize
		if length >= 0 {
			max = int(min(int64(max), chunkRoom+left))
		}
		n, err := body.Read(b[chunkRoom:max])
		if n > 0 {
			if werr := writePiece(w, b, n, length < 0); werr != nil {
				return werr
			}
			left -= int64(n)
		}
		switch {
		case length >= 0 && left == 0:
			return nil
		case errors.Is(err, io.EOF) && length >= 0:
			return &BodyError{io.ErrUnexpectedEOF}
		case errors.Is(err, io.EOF):
			return writeLastChunk(w, trailer)
		case err != nil:
			return &BodyError{err}
		}
	}
}

// writePiece writes b[chunkRoom:chunkRoom+n], as a chunk or as it is, in one write.
func writePiece(w io.Writer, b []byte, n int, chunk bool) error {
	if !chunk {
		_, err := w.Write(b[chunkRoom : chunkRoom+n])
		return err
	}
	var line [chunkRoom]byte
	l := strconv.AppendInt(line[:0], int64(n), 16)
	l = append(l, "\r\n"...)
	start := chunkRoom - len(l)
	copy(b[start:], l)
	b = append(b[:chunkRoom+n], "\r\n"...)
	_, err := w.Write(b[start:])
	return err
}

func writeLastChunk(w io.Writer, trailer func() http.Header) error {
	b := append(make([]byte, 0, 64), "0\r\n"...)
	if trailer != nil {
		for k, vs := range trailer() {
			if !token(k) || !trailerAllowed(k) {
				continue
			}
			for _, v := range vs {
				if !safe(v) {
					continue
				}
				b = append(b, k...)
				b = append(b, ": "...)
				b = append(b, v...)
				b = append(b, "\r\n"...)
			}
		}
	}
	_, err := w.Write(append(b, "\r\n"...))
	return err
}
