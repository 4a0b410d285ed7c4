package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"

	"github.com/relaytunnel/relay/internal/socket"
	"github.com/relaytunnel/relay/protocol"
)

// Accept turns an upgrade request into a link; the server calls it. welcome is
// sent with the 101. After an error the response has been written.
func Accept(w http.ResponseWriter, r *http.Request, welcome http.Header, o Options) (*Link, error) {
	u := websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		// A buffer of its own lets go of net/http's connection with all its
		// buffers. It may be small: the socket reads ahead.
		ReadBufferSize:  512,
		WriteBufferPool: writeBuffers,
		WriteBufferSize: bufferSize,
		Subprotocols:    []string{protocol.Subprotocol},
		// An agent is no browser: one that sends Origin is refused.
		CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "" },
	}
	ws, err := u.Upgrade(w, r, welcome)
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	return start(ws, true, o)
}

// Refusal is an upgrade that the server answered with something else than 101.
type Refusal struct {
	Status int
	Body   []byte
	Header http.Header
}

// Error makes Refusal an error.
func (r *Refusal) Error() string { return fmt.Sprintf("the server answered %d", r.Status) }

// DialOptions say how an agent reaches the server.
type DialOptions struct {
	// URL is the ws or wss address of the link path.
	URL string
	// Header goes with the upgrade request.
	Header http.Header
	// DialContext opens the TCP connection; nil uses net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Proxy picks a proxy for the upgrade request, as in http.Transport.
	Proxy func(*http.Request) (*url.URL, error)
	// TLS is the configuration for a wss address; nil is Go's.
	TLS *tls.Config
}

// Dial opens a link; the agent calls it. The header of the 101 is returned.
// When the server refuses, the error is a *Refusal.
func Dial(ctx context.Context, d DialOptions, o Options) (*Link, http.Header, error) {
	dialer := websocket.Dialer{
		NetDialContext:   aheadOf(d.DialContext),
		Proxy:            d.Proxy,
		TLSClientConfig:  d.TLS,
		HandshakeTimeout: 15 * time.Second,
		ReadBufferSize:   512, // the socket reads ahead
		WriteBufferSize:  bufferSize,
		WriteBufferPool:  writeBuffers,
		Subprotocols:     []string{protocol.Subprotocol},
	}
	ws, resp, err := dialer.DialContext(ctx, d.URL, d.Header)
	if err != nil {
		if resp != nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, protocol.MaxMessage))
			_ = resp.Body.Close()
			return nil, nil, &Refusal{Status: resp.StatusCode, Body: body, Header: resp.Header}
		}
		return nil, nil, err
	}
	if got := ws.Subprotocol(); got != protocol.Subprotocol {
		_ = ws.Close()
		return nil, nil, fmt.Errorf("the server speaks %q, this agent %q", got, protocol.Subprotocol)
	}
	l, err := start(ws, false, o)
	if err != nil {
		return nil, nil, err
	}
	return l, resp.Header, nil
}

// aheadOf makes connections that read ahead.
func aheadOf(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return socket.New(c), nil
	}
}
