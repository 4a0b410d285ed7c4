package relay_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/relaytunnel/relay/internal/relay"
)

func TestAfterATry(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	schedule := []relay.Duration{0, relay.Duration(10 * time.Second), relay.Duration(time.Minute)}
	claimed := relay.Delivery{ID: "dlv_1", State: relay.DeliverySending, Owner: "me", Lease: now, Try: 7, Attempt: 1}
	for _, tt := range []struct {
		name    string
		attempt int
		lost    int
		r       relay.Result
		state   relay.DeliveryState
		wait    time.Duration // 0: at once
		counts  int           // attempts that count afterwards
		losses  int
	}{
		{"taken", 1, 0, relay.Result{Status: 204}, relay.DeliveryDelivered, 0, 1, 0},
		{"refused for good", 1, 0, relay.Result{Status: 410}, relay.DeliveryDead, 0, 1, 0},
		{"moved", 1, 0, relay.Result{Status: 302}, relay.DeliveryDead, 0, 1, 0},
		{"failed", 1, 0, relay.Result{Status: 500}, relay.DeliveryPending, 5 * time.Second, 1, 0},
		{"failed again", 2, 0, relay.Result{Reason: "refused"}, relay.DeliveryPending, 30 * time.Second, 2, 0},
		{"failed for the last time", 3, 0, relay.Result{Status: 500}, relay.DeliveryDead, 0, 3, 0},
		{"asked to wait", 1, 0, relay.Result{Status: 429, RetryAfter: time.Hour}, relay.DeliveryPending, time.Hour, 1, 0},
		{"asked to wait for a year", 1, 0, relay.Result{Status: 503, RetryAfter: 9000 * time.Hour}, relay.DeliveryPending, 24 * time.Hour, 1, 0},
		{"asked to wait less", 2, 0, relay.Result{Status: 503, RetryAfter: time.Second}, relay.DeliveryPending, 30 * time.Second, 2, 0},
		{"agent lost", 3, 2, relay.Result{Offline: true}, relay.DeliveryPending, 0, 2, 3},
		{"agent away", 3, 2, relay.Result{Offline: true, Unsent: true}, relay.DeliveryPending, 0, 2, 2},
		{"agent lost each time", 1, 10, relay.Result{Offline: true}, relay.DeliveryPending, 5 * time.Second, 1, 10},
		{"agent lost each time, to the end", 3, 10, relay.Result{Offline: true}, relay.DeliveryDead, 0, 3, 10},
		{"agent away, for ever", 3, 10, relay.Result{Offline: true, Unsent: true}, relay.DeliveryPending, 0, 2, 10},
	} {
		d := claimed
		d.Attempt, d.Lost = tt.attempt, tt.lost
		want := relay.Delivery{ID: "dlv_1", State: tt.state, Try: 7, Attempt: tt.counts, Lost: tt.losses}
		if tt.wait > 0 {
			want.Next = now.Add(tt.wait)
		}
		if diff := cmp.Diff(want, d.After(tt.r, schedule, now, 0.5), cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Reason" }, cmp.Ignore())); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// The waits never go over the schedule, unless the app asks, and every delivery ends.
func TestEveryDeliveryEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.UnixMilli(1_800_000_000_000)
		schedule := relay.DefaultSchedule()
		d := relay.Delivery{State: relay.DeliveryPending}
		for tries := 0; d.State == relay.DeliveryPending; tries++ {
			if tries > len(schedule)+10 {
				t.Fatalf("after %d tries: %+v", tries, d)
			}
			d.State, d.Attempt = relay.DeliverySending, d.Attempt+1
			r := rapid.SampledFrom([]relay.Result{{Status: 500}, {Reason: "refused"}, {Offline: true}}).Draw(t, "result")
			attempt := d.Attempt
			d = d.After(r, schedule, now, rapid.Float64Range(0, 0.999999).Draw(t, "random"))
			if d.State == relay.DeliveryPending && !d.Next.IsZero() && d.Next.Sub(now) > time.Duration(schedule[attempt]) {
				t.Fatalf("try %d waits %v", attempt, d.Next.Sub(now))
			}
		}
		if d.State != relay.DeliveryDead || d.Attempt != len(schedule) {
			t.Fatalf("%+v", d)
		}
	})
}

func TestSettings(t *testing.T) {
	var s relay.Settings
	text := `{"inbox":"fallback","answer_within":"1.5s","schedule":["0s","2h"],"keep":{"age":"24h","count":5},"scheme":{"Name":"x"}}`
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back relay.Settings
	if err := json.Unmarshal(again, &back); err != nil || cmp.Diff(s, back) != "" {
		t.Errorf("%s: %v %s", again, err, cmp.Diff(s, back))
	}
	if text, err := json.Marshal(relay.Settings{}); string(text) != "{}" || err != nil {
		t.Errorf("no settings are %s, %v", text, err)
	}
	d := s.Defaults()
	if d.AnswerWithin != relay.Duration(1500*time.Millisecond) || d.MaxBody != 25<<20 || d.InFlight != 8 || len(d.Schedule) != 2 || d.Keep.Count != 5 || d.Keep.Bytes != 1<<30 {
		t.Errorf("defaults %+v", d)
	}
	total := time.Duration(0)
	for _, wait := range relay.DefaultSchedule() {
		total += time.Duration(wait)
	}
	if total.Round(time.Hour) != 32*time.Hour {
		t.Errorf("the default schedule lasts %v", total)
	}
	for _, bad := range []relay.Settings{
		{Inbox: "x"},
		{Verify: "x"},
		{Path: "x"},
		{AnswerWithin: -1},
		{MaxBody: -1},
		{InFlight: -1},
		{Dedupe: -1},
		{Schedule: make([]relay.Duration, 51)},
		{Answer: &relay.Answer{Status: 100}},
		{Keep: relay.Retention{Count: -1}},
		{Answer: &relay.Answer{Header: http.Header{"Set-Cookie": {"a=b; Domain=relay.test"}}}},
		{Answer: &relay.Answer{Header: http.Header{"set-cookie": {"a=b"}}}},
		{Answer: &relay.Answer{Header: http.Header{"Relay-Error": {"x"}}}},
		{Answer: &relay.Answer{Header: http.Header{"Content-Length": {"7"}}}},
	} {
		if err := bad.Check(); !errors.Is(err, relay.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	good := relay.Settings{Path: "/", Answer: &relay.Answer{Header: http.Header{}}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}

func TestWhoVerifies(t *testing.T) {
	for _, tt := range []struct {
		s       relay.Settings
		secrets []string
		want    relay.VerifyMode
	}{
		{relay.Settings{}, []string{"x"}, ""},
		{relay.Settings{Provider: "github"}, nil, ""}, // only its handshake and its ids count
		{relay.Settings{Provider: "github"}, []string{"x"}, relay.VerifyEnforce},
		{relay.Settings{Provider: "github", Verify: relay.VerifyEnforce}, nil, relay.VerifyEnforce},
		{relay.Settings{Provider: "github", Verify: relay.VerifyObserve}, []string{"x"}, relay.VerifyObserve},
		{relay.Settings{Provider: "asana", AwaitSecret: true}, nil, relay.VerifyEnforce},
		{relay.Settings{Scheme: []byte("{}")}, []string{"x"}, relay.VerifyEnforce},
	} {
		if got := (relay.Endpoint{Settings: tt.s, Secrets: relay.Secrets{Signing: tt.secrets}}).Verifies(); got != tt.want {
			t.Errorf("%+v with %d secrets: %q, want %q", tt.s, len(tt.secrets), got, tt.want)
		}
	}
}
