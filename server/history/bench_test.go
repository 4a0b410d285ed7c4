package history_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/history"
	"github.com/relaytunnel/relay/server/store"
)

// What the way of a request costs, and what keeping it costs the writer.
func BenchmarkRecord(b *testing.B) {
	st, err := store.Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	u, err := st.AddUser(b.Context(), "ann", false)
	if err != nil {
		b.Fatal(err)
	}
	yes := true
	e, err := st.AddEndpoint(b.Context(), u.ID, "a", relay.Settings{Record: &yes}, relay.Secrets{})
	if err != nil {
		b.Fatal(err)
	}
	h := history.New(history.Options{Store: st})
	h.Set(e)
	req := httptest.NewRequest("GET", "/x", nil)
	head := http.Header{"User-Agent": {"x"}, "Accept": {"*/*"}, "X-A": {"1"}}
	answer := http.Header{"Content-Type": {"text/plain"}, "Date": {"x"}, "Content-Length": {"5"}}
	b.Run("pass", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			tap := h.Recorder("a").Open(req, capture.Opening{RequestID: fmt.Sprint("req_", i), Endpoint: "a", Header: head.Clone()})
			tap.Answered(200, answer)
			tap.Body([]byte("hello"))
			tap.End(nil)
		}
	})
	b.Run("keep", func(b *testing.B) {
		b.ReportAllocs()
		rows := make([]relay.Recorded, 100)
		for i := range b.N {
			for j := range rows {
				n := i*100 + j
				rows[j] = relay.Recorded{
					ID: fmt.Sprint("req_", n), UserID: u.ID, EndpointID: e.ID, Seq: uint64(n + 1), Began: time.Now(), Head: make([]byte, 900), Response: []byte("hello"),
				}
			}
			if err := st.AddRecorded(b.Context(), rows); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*100), "µs/row")
	})
}
