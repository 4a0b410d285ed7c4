package webhook

import (
	"net/http"

	"github.com/relaytunnel/relay/internal/relay"
)

// always keeps the event, answers, and leaves the rest to the lane.
func (b *Inbox) always(w http.ResponseWriter, a *arrival) {
	defer a.release()
	e := a.endpoint
	kept, err := b.keep(a, b.newEvent(a))
	switch {
	case err != nil:
		b.cannotKeep(w, e, err)
	case kept.Event.State == relay.EventDuplicate:
		repeatAnswer(w, e, kept)
	default:
		b.wake(e.ID)
		acceptAs(w, e.Settings.Answer, kept.Event.ID)
	}
}
