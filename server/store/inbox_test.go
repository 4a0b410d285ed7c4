package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

func TestEndpoints(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir)
	ann := addUser(t, s, "ann")
	settings := relay.Settings{
		Inbox: relay.InboxFallback, AnswerWithin: relay.Duration(3 * time.Second), Schedule: []relay.Duration{0, relay.Duration(time.Minute)},
		Answer: &relay.Answer{Status: 201, Header: http.Header{"X": {"1", "2"}}, Body: "ok"}, Provider: "github",
		Keep: relay.Retention{Count: 5},
	}
	secrets := relay.Secrets{Signing: []string{"very secret", "older secret"}, Handshake: "token"}
	e, err := s.AddEndpoint(ctx, ann.ID, "hooks", settings, secrets)
	if err != nil || !strings.HasPrefix(e.ID, "end_") {
		t.Fatal(e.ID, err)
	}
	if got, err := s.EndpointByName(ctx, "hooks"); err != nil || cmp.Diff(e, got) != "" {
		t.Error(err, cmp.Diff(e, got))
	}
	for _, text := range []string{fmt.Sprint(e), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e)} {
		if strings.Contains(text, "very secret") {
			t.Errorf("the secret shows in %s", text)
		}
	}
	_, err = s.AddEndpoint(ctx, ann.ID, "hooks", settings, secrets)
	wantKind(t, "the same name", err, relay.ErrTaken)
	_, err = s.AddEndpoint(ctx, "usr_x", "more", settings, secrets)
	wantKind(t, "nobody's", err, relay.ErrNotFound)
	_, err = s.AddEndpoint(ctx, ann.ID, "more", relay.Settings{Inbox: "x"}, secrets)
	wantKind(t, "bad settings", err, relay.ErrInvalid)

	e.Settings.Inbox, e.Secrets = relay.InboxAlways, relay.Secrets{Signing: []string{"new"}}
	if err := s.SetEndpoint(ctx, e); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Endpoints(ctx); err != nil || cmp.Diff([]relay.Endpoint{e}, all) != "" {
		t.Error(err, cmp.Diff([]relay.Endpoint{e}, all))
	}
	_, err = s.LearnSecret(ctx, e.ID, "a stranger's")
	wantKind(t, "a secret that nobody waits for", err, relay.ErrTaken)

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "relay.db*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil || bytes.Contains(b, []byte("very secret")) || bytes.Contains(b, []byte("older secret")) {
			t.Errorf("%s has the secret in clear, %v", file, err)
		}
	}
	s = open(t, dir)
	addEvent(t, s, e.ID, "x")
	if err := s.DeleteEndpoint(ctx, e.ID); err != nil {
		t.Fatal(err)
	}
	if n, err := s.CountEvents(ctx, relay.Filter{}); n != 0 || err != nil {
		t.Errorf("%d events are left, %v", n, err)
	}
}

func TestEventsAreKeptByteForByte(t *testing.T) {
	s, e, now := inbox(t)
	rapid.Check(t, func(rt *rapid.T) {
		h := http.Header{}
		for name, values := range rapid.MapOf(
			rapid.StringMatching(`[!#$%&'*+.^_|~0-9A-Za-z-]{1,20}`),
			rapid.SliceOfN(rapid.SliceOf(rapid.Byte().Filter(func(b byte) bool { return b != '\n' && b != '\r' && b != 0 })), 1, 3),
		).Draw(rt, "header") {
			for _, v := range values {
				h[name] = append(h[name], string(v))
			}
		}
		body := rapid.SliceOf(rapid.Byte()).Draw(rt, "body")
		kept, err := s.AddEvent(context.Background(), relay.NewEvent{Event: relay.Event{
			EndpointID: e.ID, Method: "POST", Target: "/?a=%zz&\xff", Header: h, Body: body, Size: int64(len(body)), Received: *now,
		}})
		if err != nil {
			rt.Fatal(err)
		}
		got, err := s.Event(context.Background(), kept.Event.ID)
		if err != nil || !bytes.Equal(got.Body, body) || got.Target != "/?a=%zz&\xff" {
			rt.Fatalf("%q of %q, %q, %v", got.Body, body, got.Target, err)
		}
		if diff := cmp.Diff(h, got.Header); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func TestFilters(t *testing.T) {
	s, e, now := inbox(t)
	var ids []string
	for i, provider := range []string{"github", "stripe", "github"} {
		kept, err := s.AddEvent(t.Context(), relay.NewEvent{Event: relay.Event{
			EndpointID: e.ID, Provider: provider, ProviderID: fmt.Sprint(i % 2), Type: "push", Target: fmt.Sprintf("/%%_%d", i), Received: *now,
		}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, kept.Event.ID)
		*now = now.Add(time.Hour)
	}
	for _, tt := range []struct {
		name string
		f    relay.Filter
		want []string
	}{
		{"all", relay.Filter{}, ids},
		{"endpoint", relay.Filter{EndpointID: "end_x"}, nil},
		{"provider", relay.Filter{Provider: "github"}, []string{ids[0], ids[2]}},
		{"provider's id", relay.Filter{ProviderID: "1"}, ids[1:2]},
		{"type", relay.Filter{Type: "pull"}, nil},
		{"ids", relay.Filter{IDs: []string{ids[2], ids[0]}}, []string{ids[0], ids[2]}},
		{"states", relay.Filter{States: []relay.EventState{relay.EventDead, relay.EventPending}}, ids},
		{"no such state", relay.Filter{States: []relay.EventState{relay.EventDead}}, nil},
		{"path", relay.Filter{Path: "/%_1"}, ids[1:2]},
		{"no pattern", relay.Filter{Path: "/%%"}, nil},
		{"since", relay.Filter{Since: now.Add(-2 * time.Hour)}, ids[1:]},
		{"until", relay.Filter{Until: now.Add(-2 * time.Hour)}, ids[:1]},
		{"newest", relay.Filter{Newest: true, Limit: 2}, []string{ids[2], ids[1]}},
		{"after", relay.Filter{After: ids[0]}, ids[1:]},
		{"after, newest", relay.Filter{After: ids[1], Newest: true}, ids[:1]},
		{"several", relay.Filter{Provider: "github", Path: "/", Since: now.Add(-time.Hour), Limit: 5}, ids[2:]},
	} {
		events, err := s.Events(t.Context(), tt.f)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		var got []string
		for _, ev := range events {
			got = append(got, ev.ID)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		f := tt.f
		if f.Limit = 0; len(tt.want) != 2 || !tt.f.Newest {
			if n, err := s.CountEvents(t.Context(), f); n != len(tt.want) || err != nil {
				t.Errorf("%s: counted %d, %v", tt.name, n, err)
			}
		}
	}
}

func TestRejectedEventsHaveABoundOfTheirOwn(t *testing.T) {
	s, e, _ := inbox(t)
	addEvent(t, s, e.ID, "good")
	for range 510 {
		_, err := s.AddEvent(t.Context(), relay.NewEvent{Event: relay.Event{EndpointID: e.ID, State: relay.EventRejected, ProviderID: "1"}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.CountEvents(t.Context(), relay.Filter{States: []relay.EventState{relay.EventRejected}}); n != 500 || err != nil {
		t.Errorf("%d rejected, %v", n, err)
	}
	if n, err := s.CountEvents(t.Context(), relay.Filter{States: []relay.EventState{relay.EventPending}}); n != 1 || err != nil {
		t.Errorf("%d pending, %v", n, err)
	}
	if ids, err := s.OpenEndpoints(t.Context()); err != nil || len(ids) != 1 {
		t.Errorf("open: %v, %v", ids, err)
	}
}

// purge removes all that may go.
func purge(t *testing.T, s *store.Store, id string, keep relay.Retention, now time.Time) (all relay.Purged) {
	t.Helper()
	for {
		p, err := s.Purge(t.Context(), id, keep, now)
		if err != nil {
			t.Fatal(err)
		}
		if p.Events == 0 {
			return all
		}
		all.Events += p.Events
		all.Pending += p.Pending
	}
}

func TestRetention(t *testing.T) {
	s, e, now := inbox(t)
	var ids []string
	for i := range 300 {
		ids = append(ids, addEvent(t, s, e.ID, strings.Repeat("x", 1000)).Event.ID)
		if i%3 > 0 { // two of three are delivered
			d := claim(t, s, e.ID, "me", *now, 1, false)
			finish(t, s, d[0], relay.Result{Status: 200}, *now)
		}
		*now = now.Add(time.Second)
	}
	keep := relay.Retention{Age: relay.Duration(time.Hour), Count: 1000, Bytes: 1 << 30}
	if p := purge(t, s, e.ID, keep, *now); p != (relay.Purged{}) {
		t.Errorf("with nothing to do: %+v", p)
	}
	keep.Count = 250
	if p := purge(t, s, e.ID, keep, *now); p != (relay.Purged{Events: 50}) {
		t.Errorf("by count: %+v", p)
	}
	keep.Bytes = 200_000
	if p := purge(t, s, e.ID, keep, *now); p != (relay.Purged{Events: 50}) {
		t.Errorf("by bytes: %+v", p)
	}
	keep.Count = 1 // what is not delivered stays
	if p := purge(t, s, e.ID, keep, *now); p != (relay.Purged{Events: 100}) {
		t.Errorf("all that is delivered: %+v", p)
	}
	u, err := s.Usage(t.Context(), e.ID)
	if want := (relay.Usage{Events: 100, Pending: 100, Bytes: 100_000, PendingBytes: 100_000}); u != want || err != nil {
		t.Errorf("usage %+v, %v", u, err)
	}
	*now = now.Add(time.Hour - 50*time.Second)
	if p := purge(t, s, e.ID, keep, *now); p != (relay.Purged{Events: 50, Pending: 50}) {
		t.Errorf("by age: %+v", p)
	}
	if _, err := s.Event(t.Context(), ids[0]); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("the oldest: %v", err)
	}
}

func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	for _, name := range []string{"relay.db", "relay.db-wal"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

func TestAPurgeGivesDiskBack(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("database of an older version: %v", old), func(t *testing.T) {
			dir := t.TempDir()
			if old { // one that was made without the form that can shrink
				open(t, dir).Close()
				db, err := sql.Open("sqlite", filepath.Join(dir, "relay.db"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := db.Exec(`pragma auto_vacuum = none; vacuum`); err != nil {
					t.Fatal(err)
				}
				var mode int
				if err := db.QueryRow(`pragma auto_vacuum`).Scan(&mode); mode != 0 || err != nil {
					t.Fatal(mode, err)
				}
				db.Close()
			}
			s := open(t, dir)
			now := time.UnixMilli(1_800_000_000_000)
			s.Now = func() time.Time { return now }
			e := addEndpoint(t, s, addUser(t, s, "ann"), "hooks")
			body := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
			for range 60 {
				addEvent(t, s, e.ID, body)
			}
			full := size(t, dir)
			if full < 60<<20 {
				t.Fatalf("%d bytes are not the events", full)
			}
			if p := purge(t, s, e.ID, relay.Retention{Age: 1, Count: 1, Bytes: 1}, now.Add(time.Hour)); p.Events != 60 {
				t.Fatalf("%+v", p)
			}
			for more := true; more; {
				var err error
				if more, err = s.FreeDisk(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if rest := size(t, dir); rest > 24<<20 {
				t.Errorf("%d MiB of %d are still taken", rest>>20, full>>20)
			}
			b, err := os.ReadFile(filepath.Join(dir, "relay.db"))
			if err != nil || bytes.Contains(b, []byte("0123456789abcdef0123456789abcdef")) {
				t.Errorf("what was purged can still be read, %v", err)
			}
		})
	}
}
