package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/protocol"
)

// refuse answers an upgrade request with a status and an Error as JSON.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errAnswered) {
		return
	}
	e := asError(err)
	if e.Code == protocol.CodeInternal && e.RetryIn == 0 {
		g.log.Error("agent refused", "err", err)
	} else {
		g.log.Info("agent refused", "code", e.Code, "from", g.o.RemoteAddr(r), "reason", e.Message)
	}
	if e.RetryIn > 0 {
		w.Header().Set("Retry-After", fmt.Sprint((e.RetryIn+999)/1000))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Relay-Error", string(e.Code))
	w.WriteHeader(statusOf(e.Code))
	_ = json.NewEncoder(w).Encode(e)
}

// asError turns a kind of error into what the agent is told.
func asError(err error) *protocol.Error {
	var e *protocol.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, relay.ErrLimit):
		return &protocol.Error{Code: protocol.CodeLimit, Message: sentence(err), RetryIn: 60_000}
	case errors.Is(err, relay.ErrTaken):
		return &protocol.Error{Code: protocol.CodeTaken, Message: sentence(err)}
	case errors.Is(err, relay.ErrInvalid):
		return &protocol.Error{Code: protocol.CodeBadRequest, Message: sentence(err)}
	case errors.Is(err, relay.ErrDenied):
		return &protocol.Error{Code: protocol.CodeAuth, Message: "The token is not valid. Run: relay login SERVER --token TOKEN"}
	}
	return &protocol.Error{Code: protocol.CodeInternal, Message: "The server failed. Its log says why."}
}

func sentence(err error) string { return err.Error() }

func statusOf(c protocol.Code) int {
	switch c {
	case protocol.CodeBadRequest, protocol.CodeProtocol:
		return http.StatusBadRequest
	case protocol.CodeAuth:
		return http.StatusUnauthorized
	case protocol.CodeDenied, protocol.CodeRevoked:
		return http.StatusForbidden
	case protocol.CodeTaken, protocol.CodeReplaced:
		return http.StatusConflict
	case protocol.CodeVersion:
		return http.StatusUpgradeRequired
	case protocol.CodeLimit:
		return http.StatusTooManyRequests
	case protocol.CodeInternal:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
