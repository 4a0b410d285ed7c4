package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

// inbox opens a store with one endpoint and a clock that the test moves.
func inbox(t *testing.T) (s *store.Store, e relay.Endpoint, now *time.Time) {
	t.Helper()
	s = open(t, t.TempDir())
	now = new(time.UnixMilli(1_800_000_000_000).UTC())
	s.Now = func() time.Time { return *now }
	return s, addEndpoint(t, s, addUser(t, s, "ann"), "hooks"), now
}

func addEndpoint(t *testing.T, s *store.Store, u relay.User, name relay.Name) relay.Endpoint {
	t.Helper()
	e, err := s.AddEndpoint(t.Context(), u.ID, name, relay.Settings{Inbox: relay.InboxAlways}, relay.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func addEvent(t *testing.T, s *store.Store, endpointID, body string) relay.Kept {
	t.Helper()
	kept, err := s.AddEvent(t.Context(), relay.NewEvent{Event: relay.Event{
		EndpointID: endpointID, Method: "POST", Target: "/", URL: "http://x/", Body: []byte(body), Size: int64(len(body)), Received: s.Now(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func claim(t *testing.T, s *store.Store, endpointID, owner string, now time.Time, n int, strict bool) []relay.Delivery {
	t.Helper()
	all, err := s.ClaimDeliveries(t.Context(), endpointID, relay.Claim{Owner: owner, Lease: now.Add(time.Minute)}, now, n, strict)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func finish(t *testing.T, s *store.Store, d relay.Delivery, r relay.Result, now time.Time) relay.Delivery {
	t.Helper()
	after := d.After(r, relay.DefaultSchedule(), now, 0.5)
	if err := s.FinishAttempt(t.Context(), d, after, relay.Attempt{Began: now, Ended: now, Status: r.Status}); err != nil {
		t.Fatal(err)
	}
	return after
}

func eventIDs(all []relay.Delivery) []string {
	ids := []string{}
	for _, d := range all {
		ids = append(ids, d.EventID)
	}
	return ids
}

func TestClaimsAreInOrderOfArrival(t *testing.T) {
	s, e, now := inbox(t)
	var ids []string
	for range 5 {
		ids = append(ids, addEvent(t, s, e.ID, "x").Event.ID)
		*now = now.Add(-time.Hour) // the clock is set back
	}
	other := addEndpoint(t, s, addUser(t, s, "bob"), "other")
	addEvent(t, s, other.ID, "x")

	first := claim(t, s, e.ID, "me", *now, 2, false)
	if diff := cmp.Diff(ids[:2], eventIDs(first)); diff != "" {
		t.Fatal(diff)
	}
	// What has failed comes back when it is due, before those that came later.
	finish(t, s, first[1], relay.Result{Status: 500}, *now)
	*now = now.Add(2 * time.Second)
	if diff := cmp.Diff(ids[2:3], eventIDs(claim(t, s, e.ID, "me", *now, 1, false))); diff != "" {
		t.Error(diff)
	}
	at, ok, err := s.NextDelivery(t.Context(), e.ID, false)
	if !at.IsZero() || !ok || err != nil {
		t.Errorf("next at %v, %v, %v", at, ok, err)
	}
	*now = now.Add(time.Second)
	if diff := cmp.Diff([]string{ids[1], ids[3], ids[4]}, eventIDs(claim(t, s, e.ID, "me", *now, 9, false))); diff != "" {
		t.Error(diff)
	}
	if _, ok, err := s.NextDelivery(t.Context(), e.ID, false); ok || err != nil {
		t.Errorf("something is due: %v, %v", ok, err)
	}
}

func TestStrictClaimsWaitForTheOldest(t *testing.T) {
	s, e, now := inbox(t)
	a, b := addEvent(t, s, e.ID, "a"), addEvent(t, s, e.ID, "b")
	got := claim(t, s, e.ID, "me", *now, 5, true)
	if diff := cmp.Diff([]string{a.Event.ID}, eventIDs(got)); diff != "" {
		t.Fatal(diff)
	}
	if got := claim(t, s, e.ID, "me", *now, 5, true); len(got) != 0 {
		t.Errorf("a second one while the first is under way: %v", eventIDs(got))
	}
	after := finish(t, s, got[0], relay.Result{Status: 500}, *now)
	if got := claim(t, s, e.ID, "me", *now, 5, true); len(got) != 0 {
		t.Errorf("one overtakes: %v", eventIDs(got))
	}
	if at, ok, err := s.NextDelivery(t.Context(), e.ID, true); !ok || err != nil || at.Sub(after.Next).Abs() > time.Millisecond {
		t.Errorf("next at %v, %v, %v; want %v", at, ok, err, after.Next)
	}
	*now = now.Add(time.Minute)
	got = claim(t, s, e.ID, "me", *now, 5, true)
	finish(t, s, got[0], relay.Result{Status: 200}, *now)
	if diff := cmp.Diff([]string{b.Event.ID}, eventIDs(claim(t, s, e.ID, "me", *now, 5, true))); diff != "" {
		t.Error(diff)
	}
}

func TestALateWorkerCannotFinishAnothersTry(t *testing.T) {
	s, e, now := inbox(t)
	kept := addEvent(t, s, e.ID, "x")
	late := claim(t, s, e.ID, "me", *now, 1, false)[0]
	*now = now.Add(time.Minute) // its lease is over
	if ids, err := s.ReleaseClaims(t.Context(), "me", *now); err != nil || !slices.Equal(ids, []string{e.ID}) {
		t.Fatal(ids, err)
	}
	fresh := claim(t, s, e.ID, "me", *now, 1, false)[0] // the same owner, another try
	err := s.FinishAttempt(t.Context(), late, late.After(relay.Result{Status: 404}, nil, *now, 0), relay.Attempt{})
	wantKind(t, "the late one", err, relay.ErrTaken)
	other := fresh
	other.Owner = "you"
	err = s.FinishAttempt(t.Context(), other, other.After(relay.Result{Status: 404}, nil, *now, 0), relay.Attempt{})
	wantKind(t, "another owner", err, relay.ErrTaken)
	finish(t, s, fresh, relay.Result{Status: 200}, *now)
	if got, err := s.Event(t.Context(), kept.Event.ID); err != nil || got.State != relay.EventDelivered {
		t.Errorf("%+v, %v", got.State, err)
	}
	err = s.FinishAttempt(t.Context(), fresh, fresh, relay.Attempt{})
	wantKind(t, "twice", err, relay.ErrTaken)
	if all, err := s.Attempts(t.Context(), kept.Event.ID); err != nil || len(all) != 1 {
		t.Errorf("%d attempts, %v", len(all), err)
	}
}

// Whatever agents, apps, servers and clocks do: an event that was kept is delivered,
// given up by the rules, or waits; and nobody finishes a try that is another's.
func TestNoDeliveryIsLostOrFinishedByAStaleOwner(t *testing.T) {
	s := open(t, t.TempDir())
	now := time.UnixMilli(1_800_000_000_000).UTC()
	s.Now = func() time.Time { return now }
	user := addUser(t, s, "ann")
	endpoints := 0
	ctx := context.Background()

	rapid.Check(t, func(rt *rapid.T) {
		endpoints++
		e := addEndpoint(t, s, user, relay.Name(fmt.Sprintf("hooks%d", endpoints)))
		schedule := relay.DefaultSchedule()[:rapid.IntRange(1, 4).Draw(rt, "tries")]
		strict := rapid.Bool().Draw(rt, "strict")
		owner := 0
		me := func() string { return fmt.Sprint("owner", owner) }

		state := map[string]relay.DeliveryState{} // of each event, as it has to be
		var held []relay.Delivery                 // every claim ever given out
		holds := map[string]relay.Delivery{}      // the one that counts, by event

		drop := func(stale func(relay.Delivery) bool) {
			for id, d := range holds {
				if stale(d) {
					delete(holds, id)
					state[id] = relay.DeliveryPending
				}
			}
		}
		release := func() {
			if _, err := s.ReleaseClaims(ctx, me(), now); err != nil {
				rt.Fatal(err)
			}
			drop(func(d relay.Delivery) bool { return d.Owner != me() || !now.Before(d.Lease) })
		}
		take := func(n int) []relay.Delivery {
			got, err := s.ClaimDeliveries(ctx, e.ID, relay.Claim{Owner: me(), Lease: now.Add(time.Minute)}, now, n, strict)
			if err != nil {
				rt.Fatal(err)
			}
			for _, d := range got {
				if state[d.EventID] != relay.DeliveryPending {
					rt.Fatalf("%s is %s and was claimed", d.EventID, state[d.EventID])
				}
				state[d.EventID], holds[d.EventID] = relay.DeliverySending, d
				held = append(held, d)
			}
			return got
		}
		end := func(d relay.Delivery, r relay.Result) {
			after := d.After(r, schedule, now, 0.5)
			err := s.FinishAttempt(ctx, d, after, relay.Attempt{Status: r.Status})
			if mine := holds[d.EventID]; mine.Owner == d.Owner && mine.Try == d.Try {
				if err != nil {
					rt.Fatal(err)
				}
				delete(holds, d.EventID)
				state[d.EventID] = after.State
			} else if !errors.Is(err, relay.ErrTaken) {
				rt.Fatalf("a stale owner has finished: %v", err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"arrive": func(rt *rapid.T) {
				n := relay.NewEvent{Event: relay.Event{EndpointID: e.ID, Received: now}, Strict: strict}
				if rapid.Bool().Draw(rt, "live") {
					n.Live = &relay.Claim{Owner: me(), Lease: now.Add(time.Minute)}
				}
				kept, err := s.AddEvent(ctx, n)
				if err != nil {
					rt.Fatal(err)
				}
				state[kept.Event.ID] = kept.Delivery.State
				if kept.Delivery.State == relay.DeliverySending {
					held = append(held, kept.Delivery)
					holds[kept.Event.ID] = kept.Delivery
				}
			},
			"claim":   func(rt *rapid.T) { take(rapid.IntRange(1, 3).Draw(rt, "n")) },
			"release": func(*rapid.T) { release() },
			"restart": func(*rapid.T) { owner++; release() },
			"time": func(rt *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(-5, 90).Draw(rt, "seconds")) * time.Second)
			},
			"finish": func(rt *rapid.T) {
				if len(held) == 0 {
					rt.Skip()
				}
				d := rapid.SampledFrom(held).Draw(rt, "claim")
				end(d, rapid.SampledFrom([]relay.Result{
					{Status: 200},
					{Status: 404},
					{Status: 500},
					{Status: 429, RetryAfter: time.Minute},
					{Offline: true},
					{Offline: true, Unsent: true},
					{Reason: "refused"},
				}).Draw(rt, "result"))
			},
			"": func(rt *rapid.T) {
				events, err := s.Events(ctx, relay.Filter{EndpointID: e.ID})
				if err != nil || len(events) != len(state) {
					rt.Fatalf("%d events of %d, %v", len(events), len(state), err)
				}
				for _, ev := range events {
					if ev.State != state[ev.ID].Event() {
						rt.Fatalf("%s is %s, want %s", ev.ID, ev.State, state[ev.ID])
					}
				}
			},
		})
		// In the end there is a server, an agent and an app for all that is open.
		owner++
		release()
		for range 3 * len(state) {
			now = now.Add(time.Hour)
			for _, d := range take(10) {
				end(d, relay.Result{Status: 200})
			}
		}
		for id, is := range state {
			if is == relay.DeliveryPending || is == relay.DeliverySending {
				rt.Fatalf("%s is still %s", id, is)
			}
		}
	})
}
