package cert

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// lease is how long a lock outlives a process that has died with it.
const lease = time.Minute

// lockEvery is how often a lock that another has is asked for again.
const lockEvery = 500 * time.Millisecond

// lock waits for the lock and keeps it until unlock is called. The context that
// it returns ends when the lock is lost.
func (k *Keeper) lock(ctx context.Context, name string) (_ context.Context, unlock func(), err error) {
	// Goroutines of one process are strangers to each other here.
	owner := fmt.Sprintf("%s/%d", k.owner, k.turn.Add(1))
	for {
		err := k.o.Store.Lock(ctx, name, owner, lease)
		if err == nil {
			break
		}
		if !errors.Is(err, relay.ErrTaken) {
			return nil, nil, err
		}
		if err := sleep(ctx, lockEvery); err != nil {
			return nil, nil, err
		}
	}
	ctx, lost := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sleep(ctx, lease/3) == nil {
			if err := k.o.Store.Lock(ctx, name, owner, lease); err != nil {
				lost(fmt.Errorf("keep the lock: %w", err))
			}
		}
	}()
	return ctx, func() {
		lost(context.Canceled)
		<-ended
		ctx, cancel := k.late(ctx)
		defer cancel()
		_ = k.o.Store.Unlock(ctx, name, owner) // the lease ends in any case
	}, nil
}

// late returns a context for what must be written down after ctx has ended.
func (k *Keeper) late(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}

// sleep waits, and returns an error when ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
