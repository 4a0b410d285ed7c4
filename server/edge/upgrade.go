package edge

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"

	"github.com/relaytunnel/relay/internal/pipe"
)

// switchProtocols hands the visitor's connection over after a 101.
func (c *call) switchProtocols(res *http.Response) {
	up, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		c.refuse(&badAnswer)
		return
	}
	nc, brw, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		_ = up.Close()
		c.refuse(&badAnswer)
		return
	}
	h := http.Header{}
	up101 := res.Header["Upgrade"]
	c.answerHeader(h, res)
	if h["Content-Type"] == nil {
		delete(h, "Content-Type")
	}
	h["Connection"] = []string{"Upgrade"}
	h["Upgrade"] = up101
	head := bytes.NewBufferString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(head)
	head.WriteString("\r\n")
	if _, err := nc.Write(head.Bytes()); err != nil {
		_ = nc.Close()
		_ = up.Close()
		return
	}
	// net/http's context ends with this handler, and would with the server's
	// Shutdown not end at all: the tunnel's end ends the conversation.
	_, _, err = pipe.Join(context.WithoutCancel(c.r.Context()), newHijacked(nc, brw.Reader), up)
	if err != nil {
		c.edge.log.Debug("upgraded connection broke off", "id", c.id, "host", c.host, "err", err)
	}
}

// hijacked is a visitor's connection with what net/http had read ahead.
type hijacked struct {
	net.Conn
	ahead []byte
}

// newHijacked takes what was read ahead. net/http's reader is not used any
// further: at the end of what the visitor sends it would end the request's
// context, and with it the way back.
func newHijacked(c net.Conn, r *bufio.Reader) *hijacked {
	ahead, _ := r.Peek(r.Buffered())
	return &hijacked{Conn: c, ahead: bytes.Clone(ahead)}
}

func (h *hijacked) Read(p []byte) (int, error) {
	if len(h.ahead) == 0 {
		return h.Conn.Read(p)
	}
	n := copy(p, h.ahead)
	h.ahead = h.ahead[n:]
	return n, nil
}

// CloseWrite ends the direction to the visitor.
func (h *hijacked) CloseWrite() error {
	if cw, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return h.Close()
}
