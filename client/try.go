package client

import (
	"context"
	"errors"
	"time"

	"github.com/relaytunnel/relay/protocol"
)

// Try connects as Run would, but asks for no name, and disconnects. It returns how
// long it took until the server had accepted the agent. The errors are those of Run.
func (c *Client) Try(ctx context.Context) (time.Duration, error) {
	s := &session{c: c, bulk: make(chan struct{}, 1), drain: make(chan protocol.Drain, 1), ended: make(chan error, 1)}
	began := time.Now()
	l, err := s.dial(ctx, protocol.Hello{Agent: NewAgentID(), Software: c.o.Software, Hostname: c.o.Hostname}, &s.welcome)
	if err != nil {
		var stranger *strangerError
		if errors.As(err, &stranger) {
			return 0, stranger.refusal()
		}
		return 0, err
	}
	took := time.Since(began)
	return took, l.Close()
}
