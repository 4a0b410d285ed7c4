package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/relaytunnel/relay/internal/relay"
)

// Events are the operations on what inboxes have kept. A filter never reaches beyond
// the caller's own endpoints.
type Events struct {
	List    func(ctx context.Context, u relay.User, f EventFilter) ([]Event, error)
	Show    func(ctx context.Context, u relay.User, id string) (EventDetail, error)
	Explain func(ctx context.Context, u relay.User, id string) (string, error)
	// Replay, Retry, Cancel and Purge act on all that the filter chooses and return how
	// many that were; with dry they only count.
	Replay func(ctx context.Context, u relay.User, f EventFilter, dry bool) (int, error)
	Retry  func(ctx context.Context, u relay.User, f EventFilter, dry bool) (int, error)
	Cancel func(ctx context.Context, u relay.User, f EventFilter, dry bool) (int, error)
	Purge  func(ctx context.Context, u relay.User, f EventFilter, dry bool) (int, error)
}

// EventFilter chooses events; what it does not mention does not matter.
type EventFilter struct {
	Endpoint   string    `json:"endpoint,omitempty" query:"endpoint" doc:"A name, in full or in short"`
	IDs        []string  `json:"ids,omitempty" query:"id"`
	Status     []string  `json:"status,omitempty" query:"status" doc:"pending, delivered, closed, dead, cancelled, rejected, duplicate"`
	Provider   string    `json:"provider,omitempty" query:"provider"`
	ProviderID string    `json:"provider_id,omitempty" query:"provider_id" doc:"The sender's own id"`
	Type       string    `json:"type,omitempty" query:"type" doc:"What happened, in the sender's words"`
	Path       string    `json:"path,omitempty" query:"path" doc:"What the path begins with"`
	Grep       string    `json:"grep,omitempty" query:"grep" doc:"What header or body contain"`
	Since      time.Time `json:"since,omitzero" query:"since"`
	Until      time.Time `json:"until,omitzero" query:"until"`
}

// Event is one request that an inbox has kept.
type Event struct {
	ID         string    `json:"id"`
	Endpoint   string    `json:"endpoint"`
	Status     string    `json:"status" enum:"pending,delivered,closed,dead,cancelled,rejected,duplicate"`
	Reason     string    `json:"reason,omitempty"`
	Provider   string    `json:"provider,omitempty"`
	ProviderID string    `json:"provider_id,omitempty"`
	Type       string    `json:"type,omitempty"`
	AgainOf    string    `json:"again_of,omitempty" doc:"The first event with the same id of the sender"`
	Verified   string    `json:"verified,omitempty" doc:"ok, or why not; nothing when nobody looked"`
	Method     string    `json:"method"`
	Path       string    `json:"path" doc:"With the query"`
	URL        string    `json:"url"`
	Sender     string    `json:"sender" doc:"Address of the sender"`
	Received   time.Time `json:"received"`
	Size       int64     `json:"size" doc:"Of the body, in bytes"`
}

// EventDetail is an event with all that is known of it.
type EventDetail struct {
	Event
	Header     http.Header `json:"header"`
	Body       []byte      `json:"body" doc:"As base64"`
	Cut        bool        `json:"cut,omitempty" doc:"Only the beginning of the body is kept"`
	Deliveries []Delivery  `json:"deliveries" nullable:"false"`
}

// Delivery is an event on its way to the app.
type Delivery struct {
	ID       string     `json:"id"`
	Status   string     `json:"status" enum:"pending,sending,delivered,closed,dead,cancelled"`
	Reason   string     `json:"reason,omitempty"`
	Replay   bool       `json:"replay,omitempty"`
	Created  time.Time  `json:"created"`
	Next     *time.Time `json:"next,omitempty" doc:"When the next try is due"`
	Attempts []Attempt  `json:"attempts" nullable:"false"`
}

// Attempt is one try.
type Attempt struct {
	Began      time.Time   `json:"began"`
	DurationMS float64     `json:"duration_ms"`
	Status     int         `json:"status" doc:"Of the app's answer; 0 without one"`
	Reason     string      `json:"reason,omitempty"`
	Header     http.Header `json:"header,omitempty"`
	Body       []byte      `json:"body,omitempty" doc:"Of the answer, as base64"`
	Cut        bool        `json:"cut,omitempty"`
}

type eventsInput struct {
	EventFilter
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	After string `query:"after" doc:"The id of the last event of the page before"`
	Order string `query:"order" enum:"newest,oldest" default:"newest"`
}

// eventsPage is a part of a list.
type eventsPage struct {
	Items []Event `json:"items" nullable:"false"`
	Next  string  `json:"next,omitempty" doc:"What to give as after for the next page"`
}

type idInput struct {
	ID string `path:"id"`
}

type explanation struct {
	Text string `json:"text"`
}

type bulkInput struct {
	Body struct {
		Filter EventFilter `json:"filter"`
		DryRun bool        `json:"dry_run,omitempty" doc:"Only count"`
	}
}

type counted struct {
	Count int `json:"count"`
}

// EventPage is the part of a list that EventFilter alone does not choose.
type EventPage struct {
	Limit  int
	After  string
	Newest bool
}

type pageKey struct{}

// PageOf gives the page that a caller of List wants.
func PageOf(ctx context.Context) EventPage {
	p, _ := ctx.Value(pageKey{}).(EventPage)
	return p
}

func (a *api) events() {
	e := a.o.Events
	if e == nil {
		return
	}
	operation(a, http.MethodGet, "/events", "list-events", "Events of one's inboxes",
		func(ctx context.Context, c Caller, in *eventsInput) (*body[eventsPage], error) {
			ctx = context.WithValue(ctx, pageKey{}, EventPage{in.Limit, in.After, in.Order == "newest"})
			items, err := e.List(ctx, c.User, in.EventFilter)
			if err != nil {
				return nil, err
			}
			out := eventsPage{Items: items}
			if out.Items == nil {
				out.Items = []Event{}
			}
			if len(items) == in.Limit {
				out.Next = items[len(items)-1].ID
			}
			return &body[eventsPage]{out}, nil
		})
	operation(a, http.MethodGet, "/events/{id}", "show-event", "One event, with its body, deliveries and attempts",
		func(ctx context.Context, c Caller, in *idInput) (*body[EventDetail], error) {
			out, err := e.Show(ctx, c.User, in.ID)
			return &body[EventDetail]{out}, err
		})
	operation(a, http.MethodGet, "/events/{id}/explanation", "explain-event", "Why it was taken for signed right, or not",
		func(ctx context.Context, c Caller, in *idInput) (*body[explanation], error) {
			text, err := e.Explain(ctx, c.User, in.ID)
			return &body[explanation]{explanation{text}}, err
		})
	a.eventBody()
	for _, bulk := range []struct {
		verb, summary string
		do            func(context.Context, relay.User, EventFilter, bool) (int, error)
	}{
		{"replay", "Deliver events once more", e.Replay},
		{"retry", "Begin again with dead or cancelled events, and at once with those that wait", e.Retry},
		{"cancel", "Give up pending events", e.Cancel},
		{"purge", "Remove events for good", e.Purge},
	} {
		operation(a, http.MethodPost, "/events/"+bulk.verb, bulk.verb+"-events", bulk.summary,
			func(ctx context.Context, c Caller, in *bulkInput) (*body[counted], error) {
				n, err := bulk.do(ctx, c.User, in.Body.Filter, in.Body.DryRun)
				return &body[counted]{counted{n}}, err
			})
	}
}

// eventBody gives the body of an event as it came. A browser only saves it: whatever
// it is, it is no page of ours.
func (a *api) eventBody() {
	huma.Register(a, huma.Operation{
		OperationID: "event-body", Method: http.MethodGet, Path: Prefix + "/events/{id}/body", Summary: "The body of an event, byte for byte",
		Responses: map[string]*huma.Response{"200": {Description: "The body", Content: map[string]*huma.MediaType{"application/octet-stream": {}}}},
	}, func(ctx context.Context, in *idInput) (*huma.StreamResponse, error) {
		out, err := a.o.Events.Show(ctx, caller(ctx).User, in.ID)
		if err != nil {
			return nil, a.problem(err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			hc.SetHeader("Content-Type", "application/octet-stream")
			hc.SetHeader("Content-Disposition", `attachment; filename="`+out.ID+`.bin"`)
			_, _ = hc.BodyWriter().Write(out.Body)
		}}, nil
	})
}
