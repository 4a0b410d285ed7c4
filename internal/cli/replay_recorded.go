package cli

import (
	"context"
	"errors"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/capture"
)

// recorded is a request that was chosen, to be loaded when it is its turn: all bodies
// together may be more than fits into memory.
type recorded struct {
	id   string // or the file that it is in
	load func(context.Context) (*capture.Exchange, error)
}

// recordedBy lists what ids or a filter choose of an agent or server, the oldest first:
// of a filter the newest limit ones; 0 is all.
func recordedBy(c *urfave.Context, ids []string, filter string, limit int) ([]recorded, error) {
	r, err := historyOf(c)
	if err != nil {
		return nil, err
	}
	found, err := r.summaries(c.Context, ids, filter, limit)
	if err != nil {
		return nil, err
	}
	list := make([]recorded, 0, len(found))
	for _, s := range found {
		list = append(list, recorded{s.ID, func(ctx context.Context) (*capture.Exchange, error) {
			x, err := r.exchange(ctx, s.ID, true)
			var gone *problemError
			if errors.As(err, &gone) && gone.Code == "not_found" {
				return nil, errSkipped("it is not kept any more")
			}
			return x, err
		}})
	}
	return list, nil
}

// errSkipped says why a request cannot be sent again.
type errSkipped string

func (e errSkipped) Error() string { return string(e) }
