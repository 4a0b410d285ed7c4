package inspector_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
)

const bulkPath = "/api/v1/requests/replay"

// failed is one of those that could not be sent.
type failed struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

type bulkResult struct {
	Count    int      `json:"count"`
	Skipped  int      `json:"skipped"`
	Replayed int      `json:"replayed"`
	Failed   []failed `json:"failed"`
}

func (a api) bulk(in map[string]any) bulkResult {
	a.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		a.t.Fatal(err)
	}
	var got bulkResult
	a.post(bulkPath, string(b), &got)
	return got
}

// several are four requests of which one cannot be sent again, and a replay.
func several(t *testing.T) *source {
	t.Helper()
	s := &source{Recorder: capture.New(capture.Options{Now: noon, BodyLimit: 10})}
	record(t, s.Recorder, exchange{id: "a", target: "/a", status: 500})
	record(t, s.Recorder, exchange{id: "b", target: "/b", method: "POST", body: "longer than is kept", status: 500})
	record(t, s.Recorder, exchange{id: "c", target: "/c"})
	record(t, s.Recorder, exchange{id: "d", target: "/d", method: "POST", body: "body", status: 500, header: fields("Authorization", "Bearer one")})
	record(t, s.Recorder, exchange{id: "e", target: "/a", status: 500, replayOf: "a"})
	return s
}

func sentTargets(list []capture.Again) []string {
	out := []string{}
	for _, a := range list {
		out = append(out, a.Target)
	}
	return out
}

func TestBulkReplay(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   map[string]any
		want bulkResult
		sent []string // in this order
	}{
		{"by filter", map[string]any{"filter": "status:500"}, bulkResult{3, 1, 2, []failed{}}, []string{"/a", "/d"}},
		{"all", map[string]any{"filter": ""}, bulkResult{4, 1, 3, []failed{}}, []string{"/a", "/c", "/d"}},
		{"none", map[string]any{"filter": "status:404"}, bulkResult{0, 0, 0, []failed{}}, nil},
		{"dry run", map[string]any{"filter": "status:500", "dry_run": true}, bulkResult{3, 1, 0, []failed{}}, nil},
		{"by ids, as given", map[string]any{"ids": []string{"d", "a", "b"}}, bulkResult{3, 1, 2, []failed{}}, []string{"/d", "/a"}},
		{"a replay that is named", map[string]any{"ids": []string{"e"}}, bulkResult{1, 0, 1, []failed{}}, []string{"/a"}},
		{"dry run of ids", map[string]any{"ids": []string{"d", "b"}, "dry_run": true}, bulkResult{2, 1, 0, []failed{}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := several(t)
			if diff := cmp.Diff(tt.want, newAPI(t, s).bulk(tt.in)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			equal(t, "sent", sentTargets(s.replays()), tt.sent)
		})
	}
}

func TestBulkReplayGoesWhereItIsTold(t *testing.T) {
	s := several(t)
	newAPI(t, s).bulk(map[string]any{"ids": []string{"d"}, "to": "hooks", "sign": true})
	want := []capture.Again{{
		Of: "d", Upstream: "127.0.0.1:3000", To: "hooks", Sign: true, Method: "POST", Target: "/d", Host: "alice.relay.test",
		Header: fields("Authorization", "Bearer one"), Body: []byte("body"),
	}}
	if diff := cmp.Diff(want, s.replays()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBulkReplayThatCannotBe(t *testing.T) {
	s := several(t)
	a := newAPI(t, s)
	many := make([]string, 1001)
	for i := range many {
		many[i] = `"a"`
	}
	for in, code := range map[string]string{
		``:                          "invalid",
		`{`:                         "invalid",
		`{}`:                        "invalid",
		`{"ids":[]}`:                "invalid",
		`{"filter":"","ids":["a"]}`: "invalid",
		`{"filter":"status:x"}`:     "filter",
		`{"ids":[` + strings.Join(many, ",") + `]}`:      "too_many",
		`{"ids":["` + strings.Repeat("x", 1<<20) + `"]}`: "invalid",
	} {
		w := a.call(http.MethodPost, bulkPath, in)
		if f := a.fails(w); w.Code != 422 || f.Code != code {
			t.Errorf("%.40s: %d %+v", in, w.Code, f)
		}
	}
	if sent := s.replays(); len(sent) != 0 {
		t.Errorf("sent %v", sent)
	}
}

// An id that is not here stops all before anything is sent.
func TestBulkReplayOfAnUnknownID(t *testing.T) {
	s := several(t)
	a := newAPI(t, s)
	for _, in := range []string{`{"ids":["a","nobody"]}`, `{"ids":["a","nobody"],"dry_run":true}`} {
		w := a.call(http.MethodPost, bulkPath, in)
		if f := a.fails(w); w.Code != 404 || f.Detail != "The request nobody is not kept." {
			t.Errorf("%s: %d %+v", in, w.Code, f)
		}
	}
	if sent := s.replays(); len(sent) != 0 {
		t.Errorf("sent %v, and then said that it is not there", sentTargets(sent))
	}
}

func TestBulkReplayOfMoreThanAllowed(t *testing.T) {
	s := &source{Recorder: capture.New(capture.Options{Now: noon, MaxExchanges: 3000})}
	for i := range 1001 {
		record(t, s.Recorder, exchange{id: fmt.Sprint("r", i), method: "POST", target: "/a"})
	}
	a := newAPI(t, s)
	w := a.call(http.MethodPost, bulkPath, `{"filter":"path:/a","dry_run":true}`)
	if f := a.fails(w); w.Code != 422 || f.Code != "too_many" {
		t.Errorf("%d %+v", w.Code, f)
	}
	if got := a.bulk(map[string]any{"filter": "path:/a -id:r0"}); got.Count != 1000 || got.Replayed != 1000 {
		t.Errorf("got %+v", got)
	}
	// Replays do not count, however many there are.
	for range 1500 {
		record(t, s.Recorder, exchange{target: "/b", replayOf: "r1"})
	}
	record(t, s.Recorder, exchange{target: "/b"})
	if got := a.bulk(map[string]any{"filter": "path:/b", "dry_run": true}); got.Count != 1 {
		t.Errorf("got %+v", got)
	}
}

// What would be the same for all is said at once; what happens to one, of that one.
func TestBulkReplayWithFailures(t *testing.T) {
	s := several(t)
	a := newAPI(t, s)
	s.answer = func(context.Context, capture.Again) (string, error) {
		return "", fmt.Errorf("%w: no agent serves hooks just now", relay.ErrOffline)
	}
	w := a.call(http.MethodPost, bulkPath, `{"filter":"","to":"hooks"}`)
	if f := a.fails(w); w.Code != 409 || f.Code != "offline" || len(s.replays()) != 1 {
		t.Errorf("%d %+v", w.Code, f)
	}
	// Where each goes to its own endpoint, the first says nothing about the next.
	s.answer = func(_ context.Context, again capture.Again) (string, error) {
		if again.Target == "/a" {
			return "", fmt.Errorf("%w: no agent serves hooks just now", relay.ErrOffline)
		}
		return "x", nil
	}
	own := bulkResult{4, 1, 2, []failed{{"a", "No agent serves hooks just now."}}}
	if diff := cmp.Diff(own, a.bulk(map[string]any{"filter": ""})); diff != "" {
		t.Errorf("each to its own (-want +got):\n%s", diff)
	}
	s.answer = func(_ context.Context, again capture.Again) (string, error) {
		switch again.Target {
		case "/c":
			return "", fmt.Errorf("%w: no agent serves hooks just now", relay.ErrOffline)
		case "/d":
			return "", errors.New("a secret of ours")
		}
		return "x", nil
	}
	want := bulkResult{4, 1, 1, []failed{{"c", "No agent serves hooks just now."}, {"d", "That failed; the log says why."}}}
	if diff := cmp.Diff(want, a.bulk(map[string]any{"filter": ""})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// vanishing forgets a request after it was looked at once.
type vanishing struct {
	*source
	id   string
	seen bool
}

func (v *vanishing) Get(ctx context.Context, id string) (*capture.Exchange, bool, error) {
	if id == v.id {
		if v.seen {
			return nil, false, nil
		}
		v.seen = true
	}
	return v.source.Get(ctx, id)
}

// The store makes room while the replays go on.
func TestBulkReplayOfWhatGoesMeanwhile(t *testing.T) {
	s := several(t)
	want := bulkResult{2, 0, 1, []failed{{"c", "This request is not kept any more."}}}
	if diff := cmp.Diff(want, newAPI(t, &vanishing{s, "c", false}).bulk(map[string]any{"ids": []string{"a", "c"}})); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
	want = bulkResult{1, 0, 1, []failed{}}
	if diff := cmp.Diff(want, newAPI(t, &vanishing{s, "c", true}).bulk(map[string]any{"filter": "id:a"})); diff != "" {
		t.Errorf("chosen (-want +got):\n%s", diff)
	}
}

// All together take no longer than is bearable, and what was not reached is told.
func TestBulkReplayHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource()
		for i := range 20 {
			record(t, s.Recorder, exchange{id: fmt.Sprint("r", i)})
		}
		s.answer = func(ctx context.Context, _ capture.Again) (string, error) {
			select {
			case <-ctx.Done(): // of the ninth: it has been sent
			case <-time.After(29 * time.Second):
			}
			return "slow", ctx.Err()
		}
		start := time.Now()
		got := newAPI(t, s).bulk(map[string]any{"filter": ""})
		if d := time.Since(start); d != 4*time.Minute {
			t.Errorf("it took %v", d)
		}
		if got.Count != 20 || got.Replayed+len(got.Failed) != 20 || got.Replayed != 9 {
			t.Errorf("got %+v", got)
		}
		for _, f := range got.Failed {
			if f.Error != "There was no time left for it." {
				t.Errorf("got %+v", f)
			}
		}
		if n := len(s.replays()); n != 9 {
			t.Errorf("%d were begun", n)
		}
	})
}

// Who leaves ends it.
func TestBulkReplayEndsWithItsCaller(t *testing.T) {
	s := several(t)
	ctx, leave := context.WithCancel(t.Context())
	s.answer = func(ctx context.Context, _ capture.Again) (string, error) {
		leave()
		return "", ctx.Err()
	}
	a := newAPI(t, s)
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, bulkPath, strings.NewReader(`{"filter":""}`))
	r.Host = "127.0.0.1:4040"
	a.ServeHTTP(httptest.NewRecorder(), r)
	if n := len(s.replays()); n != 1 {
		t.Errorf("%d were sent", n)
	}
}
