package store_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/store"
)

func TestRecorded(t *testing.T) {
	ctx := t.Context()
	s := open(t, t.TempDir())
	ann, bob := addUser(t, s, "ann"), addUser(t, s, "bob")
	e, err := s.AddEndpoint(ctx, ann.ID, "hooks", relay.Settings{}, relay.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := s.AddEvent(ctx, relay.NewEvent{Event: relay.Event{EndpointID: e.ID, Verified: "ok", Method: "POST", Target: "/", Body: []byte("of the event"), Received: time.Now()}})
	if err != nil {
		t.Fatal(err)
	}
	began := time.UnixMilli(1_700_000_000_000).UTC()
	one := func(n int) relay.Recorded {
		return relay.Recorded{
			ID: fmt.Sprint("x", n), UserID: ann.ID, EndpointID: e.ID, Seq: uint64(n), Began: began.Add(time.Duration(n) * time.Minute),
			Head: []byte(`{"n":1}`), Request: []byte("question"), Response: []byte("answer"),
		}
	}
	event := one(3)
	event.EventID, event.Request = kept.Event.ID, nil
	bare := one(2)
	bare.Request, bare.Response = nil, nil
	strange := one(4)
	strange.UserID = bob.ID // the endpoint is ann's
	if err := s.AddRecorded(ctx, []relay.Recorded{one(1), bare, event, strange, one(3)}); err != nil {
		t.Fatal(err)
	}
	event.Verified, event.Request = "ok", []byte("of the event")
	want := []relay.Recorded{event, bare, one(1)}
	got, err := s.Recorded(ctx, relay.RecordedQuery{UserID: ann.ID, Limit: 10, Bodies: true})
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Fatal(err, d)
	}
	got, err = s.Recorded(ctx, relay.RecordedQuery{UserID: ann.ID, Limit: 1, Before: 3})
	if err != nil || len(got) != 1 || got[0].ID != "x2" || got[0].Request != nil {
		t.Error(err, got)
	}
	if got, err = s.Recorded(ctx, relay.RecordedQuery{UserID: ann.ID, Limit: 10, Since: event.Began}); err != nil || len(got) != 1 {
		t.Error(err, got)
	}
	if got, err = s.Recorded(ctx, relay.RecordedQuery{UserID: bob.ID, Limit: 10}); err != nil || len(got) != 0 {
		t.Error("bob sees", got, err)
	}
	if got, err := s.RecordedByID(ctx, ann.ID, "x3"); err != nil || cmp.Diff(event, got) != "" {
		t.Error(err, cmp.Diff(event, got))
	}
	_, err = s.RecordedByID(ctx, bob.ID, "x3")
	wantKind(t, "of another", err, relay.ErrNotFound)
	u, err := s.RecordedUsage(ctx, ann.ID)
	if err != nil || u.Count != 3 || u.Oldest != 1 || u.Bytes != int64(3*7+14+6) {
		t.Error(err, u)
	}
	if users, err := s.RecordedUsers(ctx); err != nil || len(users) != 1 || users[0] != ann.ID {
		t.Error(err, users)
	}

	// The event goes, the exchange stays.
	if _, err := s.PurgeEvents(ctx, relay.Filter{UserID: ann.ID, States: []relay.EventState{relay.EventPending}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.RecordedByID(ctx, ann.ID, "x3"); err != nil || got.Request != nil || got.Verified != "" {
		t.Error(err, got)
	}

	all := relay.Retention{Age: relay.Duration(time.Hour), Count: 10, Bytes: 1 << 20}
	for _, c := range []struct {
		what string
		keep relay.Retention
		now  time.Time
		gone int
		left int
	}{
		{"nothing", all, began, 0, 3},
		{"too old", all, began.Add(61*time.Minute + time.Second), 1, 2},
		{"too many", relay.Retention{Age: all.Age, Count: 1, Bytes: 1 << 20}, began, 1, 1},
		{"too much", relay.Retention{Age: all.Age, Count: 9, Bytes: 3}, began, 1, 0},
	} {
		n, err := s.PurgeRecorded(ctx, ann.ID, c.keep, c.now)
		u, _ := s.RecordedUsage(ctx, ann.ID)
		if err != nil || n != c.gone || u.Count != c.left {
			t.Errorf("%s: %d gone, %d left, %v", c.what, n, u.Count, err)
		}
	}
	if err := s.AddRecorded(ctx, []relay.Recorded{one(9)}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteEndpoint(ctx, e.ID); err != nil {
		t.Fatal(err)
	}
	if u, err := s.RecordedUsage(ctx, ann.ID); err != nil || u.Count != 0 {
		t.Error("the endpoint is gone, its exchanges are not:", u, err)
	}
}

func TestTraffic(t *testing.T) {
	ctx := t.Context()
	s := open(t, t.TempDir())
	ann := addUser(t, s, "ann")
	at := time.UnixMilli(1_700_000_000_000).UTC()
	for range 2 {
		err := s.AddTraffic(ctx, []store.Traffic{{ann.ID, at, 5, 1}, {ann.ID, at.Add(time.Hour), 1, 0}, {"usr_gone", at, 1, 1}})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []store.Traffic{{ann.ID, at, 10, 2}, {ann.ID, at.Add(time.Hour), 2, 0}}
	if got, err := s.TrafficSince(ctx, ann.ID, at); err != nil || cmp.Diff(want, got) != "" {
		t.Error(err, cmp.Diff(want, got))
	}
	if err := s.PurgeTraffic(ctx, at.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.TrafficSince(ctx, ann.ID, time.Time{}); err != nil || cmp.Diff(want[1:], got) != "" {
		t.Error(err, cmp.Diff(want[1:], got))
	}
}

func TestSessions(t *testing.T) {
	ctx := t.Context()
	s := open(t, t.TempDir())
	now := time.UnixMilli(1_700_000_000_000).UTC()
	s.Now = func() time.Time { return now }
	ann := addUser(t, s, "ann")
	token := func(name string, expires time.Time) relay.Token {
		sum := sha256.Sum256([]byte(name))
		tok, err := s.AddToken(ctx, ann.ID, name, sum[:], "rly_"+name, expires)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	begin := func(tok relay.Token, cookie string) []byte {
		sum := sha256.Sum256([]byte(cookie))
		if err := s.AddSession(ctx, tok.ID, sum[:], now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		return sum[:]
	}
	ends := func(what string, hash []byte) {
		t.Helper()
		_, _, _, err := s.UserBySession(ctx, hash)
		wantKind(t, what, err, relay.ErrNotFound)
	}
	lasting := token("lasting", time.Time{})
	a := begin(lasting, "a")
	u, tok, until, err := s.UserBySession(ctx, a)
	if err != nil || u.ID != ann.ID || tok.ID != lasting.ID || !until.Equal(now.Add(time.Hour)) {
		t.Fatal(u, tok, until, err)
	}
	ends("a cookie that was never given", make([]byte, 32))
	if err := s.DeleteSession(ctx, a); err != nil {
		t.Fatal(err)
	}
	ends("signed out", a)
	b := begin(lasting, "b")
	if err := s.DeleteToken(ctx, lasting.ID); err != nil {
		t.Fatal(err)
	}
	ends("the token is gone", b)
	c := begin(token("short", now.Add(time.Minute)), "c")
	d := begin(token("long", time.Time{}), "d")
	now = now.Add(2 * time.Minute)
	ends("the token has expired", c)
	if _, _, _, err := s.UserBySession(ctx, d); err != nil {
		t.Error(err)
	}
	now = now.Add(time.Hour)
	ends("the session is over", d)
}
