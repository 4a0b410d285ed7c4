package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	// answerTimeout is how long a small request may take until it counts as lost.
	answerTimeout = 30 * time.Second
	// bulkTimeout is the same for a whole bulk transfer.
	bulkTimeout = 3 * time.Minute
)

// visitor is one keep-alive connection to the edge of a system. Requests are
// written as bytes: the cost of a client library is not what is measured here.
type visitor struct {
	sys  *system
	conn net.Conn
	br   *bufio.Reader
}

func (s *system) visitor() *visitor { return &visitor{sys: s} }

// request is a request in bytes, its body included.
func (s *system) request(method, target string, body []byte) []byte {
	b := s.head(method, target, int64(len(body)))
	return append(b, body...)
}

func (s *system) head(method, target string, length int64) []byte {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: relay-bench\r\n", method, target, s.host)
	if method == "POST" {
		b = fmt.Appendf(b, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", length)
	}
	return append(b, "\r\n"...)
}

// send dials when there is no connection, and writes the bytes.
func (v *visitor) send(b []byte, timeout time.Duration) error {
	if v.conn == nil {
		c, err := v.sys.dial()
		if err != nil {
			return err
		}
		v.conn = c
		if v.br == nil {
			v.br = bufio.NewReaderSize(c, 64<<10)
		} else {
			v.br.Reset(c)
		}
	}
	if err := v.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err := v.conn.Write(b)
	return err
}

// receive reads one answer, its body into to. Any status but 200 is an error,
// and so is a body that is shorter than announced or that only the end of the
// connection ends: nobody can tell whether that one is whole.
func (v *visitor) receive(to io.Writer) error {
	res, err := http.ReadResponse(v.br, nil)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text := make([]byte, 200)
		n, _ := io.ReadFull(res.Body, text)
		return fmt.Errorf("status %s: %s", res.Status, strings.Join(strings.Fields(string(text[:n])), " "))
	}
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{res.Body}, *bp); err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if res.ContentLength < 0 && len(res.TransferEncoding) == 0 {
		return errors.New("answer with neither length nor chunks")
	}
	if res.Close {
		v.close()
	}
	return nil
}

// exchange sends one request and reads its answer. After an error the next
// exchange begins on a new connection.
func (v *visitor) exchange(request []byte, to io.Writer) error {
	err := v.send(request, answerTimeout)
	if err == nil {
		err = v.receive(to)
	}
	if err != nil {
		v.close()
	}
	return err
}

// expect is exchange with an answer that is known beforehand.
func (v *visitor) expect(request, want []byte) error {
	var got bytes.Buffer
	got.Grow(len(want))
	if err := v.exchange(request, &got); err != nil {
		return err
	}
	if !bytes.Equal(got.Bytes(), want) {
		v.close()
		return fmt.Errorf("wrong answer: %d bytes instead of %d, or others", got.Len(), len(want))
	}
	return nil
}

func (v *visitor) close() {
	if v.conn != nil {
		v.conn.Close()
		v.conn = nil
	}
}
