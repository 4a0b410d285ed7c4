package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/api"
)

// eventFilter makes the store's filter of one that a user gives. It never reaches
// beyond the user's endpoints.
func (s *Server) eventFilter(ctx context.Context, u relay.User, f api.EventFilter) (relay.Filter, error) {
	out := relay.Filter{
		UserID: u.ID, IDs: f.IDs, Provider: f.Provider, ProviderID: f.ProviderID, Type: f.Type, Path: f.Path, Grep: f.Grep,
		Since: f.Since, Until: f.Until,
	}
	for _, state := range f.Status {
		switch st := relay.EventState(state); st {
		case relay.EventPending, relay.EventDelivered, relay.EventClosed, relay.EventDead, relay.EventCancelled, relay.EventRejected, relay.EventDuplicate:
			out.States = append(out.States, st)
		default:
			return out, fmt.Errorf("%w status %q: it is one of pending, delivered, closed, dead, cancelled, rejected, duplicate", relay.ErrInvalid, state)
		}
	}
	if f.Endpoint != "" {
		e, err := s.ownEndpoint(ctx, u, f.Endpoint)
		if err != nil {
			return out, err
		}
		out.EndpointID = e.ID
		return out, nil
	}
	return out, s.onlyUsable(ctx, u, &out)
}

// onlyUsable narrows a filter to the endpoints that the user's token is good for.
func (s *Server) onlyUsable(ctx context.Context, u relay.User, f *relay.Filter) error {
	if len(u.Only) == 0 {
		return nil
	}
	names, err := s.endpointNames(ctx)
	if err != nil {
		return err
	}
	f.EndpointIDs = []string{"none"} // so that it is not empty, which would mean all
	for id, name := range names {
		if u.MayUse(name) {
			f.EndpointIDs = append(f.EndpointIDs, id)
		}
	}
	return nil
}

// eventsAPI is what the API calls for events.
func (s *Server) eventsAPI() *api.Events {
	bulk := func(do func(ctx context.Context, f relay.Filter, dry bool) (int, error)) func(context.Context, relay.User, api.EventFilter, bool) (int, error) {
		return func(ctx context.Context, u relay.User, f api.EventFilter, dry bool) (int, error) {
			filter, err := s.eventFilter(ctx, u, f)
			if err != nil {
				return 0, err
			}
			return do(ctx, filter, dry)
		}
	}
	return &api.Events{
		List:    s.listEvents,
		Show:    s.showEvent,
		Explain: s.explainEvent,
		Replay:  bulk(func(ctx context.Context, f relay.Filter, dry bool) (int, error) { return s.inbox.Replay(ctx, f, dry) }),
		Retry:   bulk(func(ctx context.Context, f relay.Filter, dry bool) (int, error) { return s.inbox.Retry(ctx, f, dry) }),
		Cancel:  bulk(func(ctx context.Context, f relay.Filter, dry bool) (int, error) { return s.inbox.Cancel(ctx, f, dry) }),
		Purge:   bulk(s.purgeEvents),
	}
}

func (s *Server) listEvents(ctx context.Context, u relay.User, f api.EventFilter) ([]api.Event, error) {
	filter, err := s.eventFilter(ctx, u, f)
	if err != nil {
		return nil, err
	}
	p := api.PageOf(ctx)
	filter.Limit, filter.After, filter.Newest = p.Limit, p.After, p.Newest
	all, err := s.store.Events(ctx, filter)
	if err != nil {
		return nil, err
	}
	names, err := s.endpointNames(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]api.Event, 0, len(all))
	for _, e := range all {
		out = append(out, eventOf(e, names))
	}
	return out, nil
}

// endpointNames are the names of endpoints by their ids.
func (s *Server) endpointNames(ctx context.Context) (map[string]relay.Name, error) {
	all, err := s.store.Endpoints(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[string]relay.Name, len(all))
	for _, e := range all {
		names[e.ID] = e.Name
	}
	return names, nil
}

func eventOf(e relay.Event, names map[string]relay.Name) api.Event {
	return api.Event{
		ID: e.ID, Endpoint: string(names[e.EndpointID]), Status: string(e.State), Reason: e.Reason, Provider: e.Provider,
		ProviderID: e.ProviderID, Type: e.Type, AgainOf: e.AgainOf, Verified: e.Verified, Method: e.Method, Path: e.Target,
		URL: e.URL, Sender: e.Client, Received: e.Received, Size: e.Size,
	}
}

// ownEvent finds an event of the user. Others' do not exist.
func (s *Server) ownEvent(ctx context.Context, u relay.User, id string) (relay.Event, error) {
	none := fmt.Errorf("%w: you have no event %s", relay.ErrNotFound, id)
	f := relay.Filter{UserID: u.ID, IDs: []string{id}}
	if err := s.onlyUsable(ctx, u, &f); err != nil {
		return relay.Event{}, err
	}
	all, err := s.store.Events(ctx, f)
	if err != nil {
		return relay.Event{}, err
	}
	if len(all) == 0 {
		return relay.Event{}, none
	}
	e, err := s.store.Event(ctx, id)
	if errors.Is(err, relay.ErrNotFound) {
		return relay.Event{}, none
	}
	return e, err
}

func (s *Server) showEvent(ctx context.Context, u relay.User, id string) (api.EventDetail, error) {
	e, err := s.ownEvent(ctx, u, id)
	if err != nil {
		return api.EventDetail{}, err
	}
	names, err := s.endpointNames(ctx)
	if err != nil {
		return api.EventDetail{}, err
	}
	deliveries, err := s.store.Deliveries(ctx, id)
	if err != nil {
		return api.EventDetail{}, err
	}
	attempts, err := s.store.Attempts(ctx, id)
	if err != nil {
		return api.EventDetail{}, err
	}
	out := api.EventDetail{Event: eventOf(e, names), Header: e.Header, Body: e.Body, Cut: e.Cut, Deliveries: []api.Delivery{}}
	for _, d := range deliveries {
		one := api.Delivery{
			ID: d.ID, Status: string(d.State), Reason: d.Reason, Replay: d.Replay, Created: d.Created, Attempts: []api.Attempt{},
		}
		if d.State == relay.DeliveryPending {
			one.Next = some(d.Next)
		}
		for _, a := range attempts {
			if a.DeliveryID == d.ID {
				one.Attempts = append(one.Attempts, api.Attempt{
					Began: a.Began, DurationMS: float64(a.Ended.Sub(a.Began)) / float64(time.Millisecond), Status: a.Status,
					Reason: a.Reason, Header: a.Header, Body: a.Body, Cut: a.Cut,
				})
			}
		}
		out.Deliveries = append(out.Deliveries, one)
	}
	return out, nil
}

func (s *Server) explainEvent(ctx context.Context, u relay.User, id string) (string, error) {
	if _, err := s.ownEvent(ctx, u, id); err != nil {
		return "", err
	}
	return s.inbox.Explain(ctx, id)
}

// purgeEvents removes events, a part at a time.
func (s *Server) purgeEvents(ctx context.Context, f relay.Filter, dry bool) (int, error) {
	if dry {
		if len(f.States) == 0 { // as the store does it: what is not delivered stays
			f.States = []relay.EventState{relay.EventDelivered, relay.EventClosed, relay.EventDead, relay.EventCancelled, relay.EventRejected, relay.EventDuplicate}
		}
		return s.store.CountEvents(ctx, f)
	}
	total := 0
	for {
		p, err := s.store.PurgeEvents(ctx, f)
		total += p.Events
		if err != nil || p.Events == 0 {
			return total, err
		}
	}
}
