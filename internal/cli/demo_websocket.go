package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 prescribes it for the handshake; nothing is kept secret by it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The few lines of WebSocket (RFC 6455) that an echo needs, by hand: what the
// demo shows should not be one library talking to itself through the tunnel.

const (
	opText, opBinary = 0x1, 0x2
	opClose          = 0x8
	opPing, opPong   = 0x9, 0xA
)

// maxFrame is the longest frame that is echoed.
const maxFrame = 1 << 20

// frame is one WebSocket frame. An echo keeps final and op, so that a message
// in many frames comes back in many.
type frame struct {
	final   bool
	op      byte
	payload []byte
}

// acceptKey answers Sec-WebSocket-Key.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// echoWebSocket sends every message back.
func echoWebSocket(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if key == "" || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || !headerHas(r.Header, "Connection", "upgrade") {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "This is a WebSocket: connect with one.", http.StatusUpgradeRequired)
		return
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", acceptKey(key))
	for rw.Flush() == nil {
		f, err := readFrame(rw.Reader, true)
		if err != nil {
			return
		}
		switch f.op {
		case opPing:
			f.op = opPong
		case opPong:
			continue
		}
		if writeFrame(rw.Writer, f, nil) != nil {
			return
		}
		if f.op == opClose {
			_ = rw.Flush()
			return
		}
	}
}

// readFrame reads a frame. What clients send is masked, what servers send is not.
func readFrame(r io.Reader, masked bool) (frame, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return frame{}, err
	}
	f := frame{final: head[0]&0x80 != 0, op: head[0] & 0x0f}
	if head[0]&0x70 != 0 || (head[1]&0x80 != 0) != masked {
		return f, errors.New("a frame that breaks RFC 6455")
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return f, err
		}
		n = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		if _, err := io.ReadFull(r, head[:8]); err != nil {
			return f, err
		}
		n = binary.BigEndian.Uint64(head[:8])
	}
	if n > maxFrame {
		return f, fmt.Errorf("a frame of %d bytes", n)
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(r, mask[:]); err != nil {
			return f, err
		}
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return f, err
	}
	applyMask(f.payload, mask)
	return f, nil
}

// writeFrame writes a frame, masked when a mask is given.
func writeFrame(w io.Writer, f frame, mask *[4]byte) error {
	b := []byte{f.op, 0}
	if f.final {
		b[0] |= 0x80
	}
	switch n := len(f.payload); {
	case n < 126:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	at := len(b)
	if mask != nil {
		b[1] |= 0x80
		b = append(b, mask[:]...)
		at = len(b)
	}
	b = append(b, f.payload...)
	if mask != nil {
		applyMask(b[at:], *mask)
	}
	_, err := w.Write(b)
	return err
}

func applyMask(p []byte, mask [4]byte) {
	for i := range p {
		p[i] ^= mask[i%4]
	}
}

// wsClient is the visitor's side.
type wsClient struct {
	conn net.Conn
	r    *bufio.Reader
	stop func() bool
}

// dialWebSocket opens a WebSocket. ctx bounds its whole life.
func dialWebSocket(ctx context.Context, dial func(ctx context.Context, network, addr string) (net.Conn, error), rawURL string) (*wsClient, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	conn, err := dial(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	c := &wsClient{conn: conn, r: bufio.NewReader(conn)}
	c.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if err := c.handshake(u); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *wsClient) handshake(u *url.URL) error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	_, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		u.RequestURI(), u.Host, key)
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return fmt.Errorf("no answer to the handshake: %w", err)
	}
	_ = res.Body.Close() // of a 101: nothing
	switch {
	case res.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("the handshake was answered with %s", answered(res.StatusCode, res.Header))
	case res.Header.Get("Sec-WebSocket-Accept") != acceptKey(key):
		return errors.New("the handshake has a wrong Sec-WebSocket-Accept")
	}
	return nil
}

// echo sends a frame and checks what comes back.
func (c *wsClient) echo(op byte, payload []byte, want byte) error {
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	if err := writeFrame(c.conn, frame{true, op, payload}, &mask); err != nil {
		return fmt.Errorf("send a message of %d bytes: %w", len(payload), err)
	}
	f, err := readFrame(c.r, false)
	switch {
	case err != nil:
		return fmt.Errorf("a message of %d bytes did not come back: %w", len(payload), err)
	case f.op != want || !f.final || !bytes.Equal(f.payload, payload):
		return fmt.Errorf("a message of %d bytes came back as another", len(payload))
	}
	return nil
}

// ended checks that the other side has closed the connection.
func (c *wsClient) ended() error {
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the connection did not end after the close: %w", err)
	}
	return nil
}

func (c *wsClient) close() {
	c.stop()
	_ = c.conn.Close()
}
