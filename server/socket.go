package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// SocketName is the name of the socket in the data folder by which the operator asks the
// API without a token. Who may open the file is who may.
const SocketName = "admin.sock"

// operator is who calls by the socket.
func operator() relay.User { return relay.User{Name: "operator", Admin: true} }

type bySocketKey struct{}

// bySocket tells who calls by the socket; false for all other calls.
func bySocket(r *http.Request) (relay.User, bool) {
	if r.Context().Value(bySocketKey{}) == nil {
		return relay.User{}, false
	}
	return operator(), true
}

// serveSocket answers the operator until ctx ends. Where there can be no socket it says so
// in the log, and the server goes on: all of that can be done with a token too.
func (s *Server) serveSocket(ctx context.Context, h http.Handler) error {
	ln, err := listenSocket(filepath.Join(s.c.DataDir, SocketName))
	if err != nil {
		s.log.Warn("there is no socket for the operator", "err", err)
		return nil
	}
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return context.WithValue(ctx, bySocketKey{}, true) },
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		_ = srv.Close()
	}()
	_ = srv.Serve(ln) // ends with the server, which removes the file
	<-ended
	return nil
}

// listenSocket makes a socket that only its owner can open, in place of one that an
// earlier server has left.
func listenSocket(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s is another server's", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}
