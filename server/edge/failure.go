package edge

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/relaytunnel/relay/internal/http1"
	"github.com/relaytunnel/relay/internal/relay"
)

// problemOf is the table from failures to what visitors get.
func problemOf(ctx context.Context, err error) *problem {
	var (
		failed *http1.Failed
		body   *http1.BodyError
		bad    *http1.BadAnswerError
	)
	switch {
	case errors.Is(context.Cause(ctx), errLate):
		return &appSlow
	case errors.As(err, &body):
		return bodyProblem(body.Err)
	case errors.As(err, &failed):
		return agentProblem(failed)
	case errors.Is(err, relay.ErrOffline):
		return &agentAway
	case errors.As(err, &bad):
		p := badAnswer
		p.Message = "The app behind the tunnel did not answer with valid HTTP: " + bad.Reason + "."
		return &p
	}
	return &appFailed
}

// agentProblem is what an agent tells of its service. Its words go to the
// visitor, who is most often its user too; the code must be one we know.
func agentProblem(f *http1.Failed) *problem {
	p := appFailed
	switch f.Code {
	case "upstream_refused", "upstream_failed", "upstream_invalid", "upstream_unreachable":
		p.Code = f.Code
	case "upstream_timeout":
		p = appSlow
	}
	if msg := strings.TrimSpace(f.Message); msg != "" && len(msg) < 1000 {
		p.Message = msg
	}
	return &p
}

// withInterim has f called for interim answers.
func withInterim(ctx context.Context, f func(int, http.Header) error) context.Context {
	return http1.WithInterim(ctx, f)
}

func cut(list string) (first, rest string, more bool) {
	first, rest, more = strings.Cut(list, ",")
	return strings.TrimSpace(first), rest, more
}
