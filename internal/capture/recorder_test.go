package capture_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

func TestRecorderKeepsWhatPassed(t *testing.T) {
	c := newClock()
	r := capture.New(capture.Options{Now: c.Now})
	req := request("POST", "/hook?a=%2f&b", `{"a":1}`, "Content-Type", "application/json", "Relay-Request-Id", "req_1",
		"X-Forwarded-Proto", "https", "X-Forwarded-For", "192.0.2.7, 10.0.0.1", "X-Forwarded-Host", "alice.example.com")
	req.Trailer = http.Header{"X-Sum": {"1"}}
	tap := r.Begin(req, "localhost:3000", "req_0")
	if tap.ID() != "req_1" {
		t.Errorf("id %q", tap.ID())
	}
	if x := get(t, r, "req_1"); x.State != capture.Live || x.Response != nil || x.Status() != 0 || x.Duration != 0 {
		t.Errorf("before its end: %+v", x)
	}
	body := tap.RequestBody(req.Body, req.ContentLength, func() http.Header { return req.Trailer })
	if got := pass(t, body); string(got) != `{"a":1}` {
		t.Errorf("passed: %s", got)
	}
	c.add(20 * time.Millisecond)
	res := response(201, "made\n", "Content-Type", "text/plain")
	res.Trailer = http.Header{"X-End": {"2"}}
	tap.Response(res)
	c.add(5 * time.Millisecond)
	if got := pass(t, res.Body); string(got) != "made\n" {
		t.Errorf("passed: %s", got)
	}
	tap.End(nil)
	tap.End(errors.New("late")) // only the first counts

	x := get(t, r, "req_1")
	if x.State != capture.Done || x.Error != "" || x.Seq != 1 || x.Visitor != "192.0.2.7" || x.Upstream != "localhost:3000" || !x.Replay || x.ReplayOf != "req_0" {
		t.Errorf("%+v", x)
	}
	if time.Duration(x.FirstByte) != 20*time.Millisecond || time.Duration(x.Duration) != 25*time.Millisecond {
		t.Errorf("first byte after %v, all after %v", time.Duration(x.FirstByte), time.Duration(x.Duration))
	}
	if x.Request.Target != "/hook?a=%2f&b" || x.URL() != "https://alice.example.com/hook?a=%2f&b" {
		t.Errorf("target %s, URL %s", x.Request.Target, x.URL())
	}
	if b := x.Request.Body; string(b.Kept) != `{"a":1}` || b.Size != 7 || b.Truncated || b.Type != "application/json" {
		t.Errorf("request body %+v", b)
	}
	if b := x.Response.Body; string(b.Kept) != "made\n" || b.Size != 5 || b.Truncated || x.Response.Status != 201 {
		t.Errorf("response %+v", x.Response)
	}
	if x.Request.Trailer.Get("X-Sum") != "1" || x.Response.Trailer.Get("X-End") != "2" {
		t.Errorf("trailers %v, %v", x.Request.Trailer, x.Response.Trailer)
	}
}

// Without a recorder everything passes as it is.
func TestNilRecorderDoesNothing(t *testing.T) {
	var r *capture.Recorder
	req := request("POST", "/", "body")
	tap := r.Begin(req, "", "")
	if tap != nil || tap.ID() != "" {
		t.Errorf("a tap of nothing: %v", tap)
	}
	if got := tap.RequestBody(req.Body, 4, nil); got != req.Body {
		t.Error("the request's body was wrapped")
	}
	res := response(200, "x")
	body := res.Body
	tap.Response(res)
	tap.End(nil)
	if res.Body != body {
		t.Error("the answer's body was wrapped")
	}
}

func TestRecorderIDs(t *testing.T) {
	r := capture.New(capture.Options{})
	begin := func(id string) string { return r.Begin(request("GET", "/", "", "Relay-Request-Id", id), "", "").ID() }
	ids := []string{begin("a-2"), begin("a"), begin("a"), begin("a"), begin(""), begin("")}
	seen := map[string]bool{}
	for i, id := range ids {
		if seen[id] || id == "" {
			t.Fatalf("ids %q", ids)
		}
		seen[id] = true
		if x := get(t, r, id); x.Seq != uint64(i+1) {
			t.Errorf("%s leads to the one of seq %d, not %d", id, x.Seq, i+1)
		}
	}
}

func TestRecorderForgetsTheOldest(t *testing.T) {
	r := capture.New(capture.Options{MaxExchanges: 3})
	var ids []string
	for i := range 5 {
		ids = append(ids, record(t, r, request("GET", fmt.Sprintf("/%d", i), ""), response(200, "")))
	}
	if got := list(t, r, capture.Query{}); !slices.Equal(got, []string{"/4", "/3", "/2"}) {
		t.Errorf("kept %v", got)
	}
	if _, found, err := r.Get(t.Context(), ids[1]); found || err != nil {
		t.Errorf("the second is still there: %v, %v", found, err)
	}
	c, err := r.Next(t.Context(), 0)
	if err != nil || c.Oldest != 3 || c.Stats.Kept != 3 || c.Stats.Seen != 5 || c.Stats.Dropped != 2 {
		t.Errorf("changes %+v, %v", c, err)
	}
}

// However large the bodies are, memory is bounded; what is live is dropped too, and
// goes on to pass.
func TestRecorderBoundsMemory(t *testing.T) {
	const limit = 1 << 20
	r := capture.New(capture.Options{MaxBytes: limit, BodyLimit: 300 << 10})
	long := r.Begin(request("GET", "/long", ""), "", "")
	res := response(200, strings.Repeat("x", 200<<10))
	long.Response(res)
	for i := range 20 {
		record(t, r, request("POST", fmt.Sprintf("/%d", i), strings.Repeat("a", 100<<10)), response(200, strings.Repeat("b", 100<<10)))
		if c, _ := r.Next(t.Context(), 0); c.Stats.Bytes > limit+16<<10 {
			t.Fatalf("after %d: %d bytes", i, c.Stats.Bytes)
		}
	}
	if got := len(pass(t, res.Body)); got != 200<<10 {
		t.Errorf("%d bytes passed of the one that was dropped", got)
	}
	long.End(nil)
	kept := list(t, r, capture.Query{})
	if len(kept) < 3 || len(kept) > 10 || kept[0] != "/19" {
		t.Errorf("kept %v", kept)
	}
	// One that is too large by itself leaves nothing, and nothing is lost of the sum.
	record(t, r, request("POST", "/huge", strings.Repeat("a", 300<<10), "X", strings.Repeat("h", limit)), response(200, ""))
	if c, _ := r.Next(t.Context(), 0); c.Stats.Kept != 0 || c.Stats.Bytes != 0 {
		t.Errorf("%+v", c.Stats)
	}
}

func TestRecorderTruncatesBodies(t *testing.T) {
	r := capture.New(capture.Options{BodyLimit: 10})
	id := record(t, r, request("POST", "/", strings.Repeat("a", 10)), response(200, strings.Repeat("b", 11)))
	x := get(t, r, id)
	if b := x.Request.Body; b.Truncated || len(b.Kept) != 10 || b.Size != 10 {
		t.Errorf("10 bytes: %+v", b)
	}
	if b := x.Response.Body; !b.Truncated || len(b.Kept) != 10 || b.Size != 11 {
		t.Errorf("11 bytes: %+v", b)
	}
}

func TestListGoesInParts(t *testing.T) {
	r := capture.New(capture.Options{})
	for i := range 7 {
		record(t, r, request("GET", fmt.Sprintf("/%d", i), ""), response(200+i%2, ""))
	}
	var got []string
	q := capture.Query{Limit: 3}
	for {
		xs, more, err := r.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range xs {
			got, q.Before = append(got, x.Request.Target), x.Seq
		}
		if !more {
			break
		}
	}
	if !slices.Equal(got, []string{"/6", "/5", "/4", "/3", "/2", "/1", "/0"}) {
		t.Errorf("got %v", got)
	}
	f, err := capture.ParseFilter("status:201", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got := list(t, r, capture.Query{Filter: f, Before: 5, Limit: 1}); !slices.Equal(got, []string{"/3"}) {
		t.Errorf("filtered: %v", got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.List(gone, capture.Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a list that nobody waits for: %v", err)
	}
}

func TestNextWaitsForNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := capture.New(capture.Options{})
		first, err := r.Next(t.Context(), 0)
		if err != nil || len(first.Changed) != 0 || first.Oldest != 1 {
			t.Fatalf("%+v, %v", first, err)
		}
		var got capture.Changes
		done := make(chan struct{})
		go func() {
			defer close(done)
			got, err = r.Next(t.Context(), first.Version)
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it did not wait")
		default:
		}
		tap := r.Begin(request("GET", "/1", ""), "", "")
		<-done
		if err != nil || len(got.Changed) != 1 || got.Changed[0].Request.Target != "/1" || got.Version <= first.Version {
			t.Fatalf("%+v, %v", got, err)
		}
		// Several changes are one answer, with only what has changed.
		tap.Response(response(204, ""))
		tap.End(nil)
		r.Begin(request("GET", "/2", ""), "", "")
		next, err := r.Next(t.Context(), got.Version)
		if err != nil || len(next.Changed) != 2 || next.Changed[0].State != capture.Done || next.Changed[1].Seq != 2 {
			t.Fatalf("%+v, %v", next, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Next(ctx, next.Version); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing came, and %v", err)
		}
	})
}

// Of a body that goes on is told while it does, and not with every piece of it.
func TestNextTellsOfGrowingBodies(t *testing.T) {
	r := capture.New(capture.Options{})
	tap := r.Begin(request("GET", "/", ""), "", "")
	res := response(200, strings.Repeat("x", 1<<20))
	tap.Response(res)
	told, at := 0, uint64(0)
	buf := make([]byte, 512)
	for {
		c, err := r.Next(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if c.Version != at {
			told, at = told+1, c.Version
		}
		if _, err := res.Body.Read(buf); errors.Is(err, io.EOF) {
			break
		}
	}
	if told < 10 || told > 30 {
		t.Errorf("told %d times", told)
	}
}

// A watcher that only ever asks for what is new ends up knowing the last state of
// all, however its questions fall between the changes.
func TestWatcherMissesNothing(t *testing.T) {
	r := capture.New(capture.Options{MaxExchanges: 10_000})
	const workers, each = 8, 200
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				tap := r.Begin(request("POST", "/", "body"), "", "")
				res := response(200+rand.IntN(100), "answer")
				tap.Response(res)
				_, _ = io.Copy(io.Discard, res.Body)
				tap.End(nil)
			}
		})
	}
	ended := map[uint64]bool{}
	var version uint64
	for len(ended) < workers*each {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		c, err := r.Next(ctx, version)
		cancel()
		if err != nil {
			t.Fatalf("%d of %d seen to end: %v", len(ended), workers*each, err)
		}
		version = c.Version
		for _, x := range c.Changed {
			if x.State == capture.Done {
				ended[x.Seq] = true
			}
		}
	}
	wg.Wait()
}

// Everything at once; for the race detector.
func TestRecorderFromManySides(t *testing.T) {
	r := capture.New(capture.Options{MaxExchanges: 20, MaxBytes: 64 << 10, BodyLimit: 8 << 10})
	f, err := capture.ParseFilter(`json:.a=1 body`, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	masks, err := capture.NewMasks(".a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for v := uint64(0); ; {
				c, err := r.Next(ctx, v)
				if err != nil {
					return
				}
				v = c.Version
				for _, x := range c.Changed {
					masks.Apply(x)
					f.Match(x)
				}
				_, _, _ = r.List(ctx, capture.Query{Filter: f})
			}
		})
	}
	for range 4 {
		writers.Go(func() {
			for range 100 {
				req := request("POST", "/", `{"a":1,"b":"body"}`, "Content-Type", "application/json")
				tap := r.Begin(req, "", "")
				body := tap.RequestBody(req.Body, -1, func() http.Header { return nil })
				_, _ = io.Copy(io.Discard, body)
				res := response(200, "event: e\ndata: {\"a\":1}\n\n", "Content-Type", "text/event-stream")
				tap.Response(res)
				_, _ = io.Copy(io.Discard, res.Body)
				tap.End(nil)
			}
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
}
