package inspector_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
)

// A huge body, as a strange sender can make one, makes no huge diff.
func TestADiffIsBounded(t *testing.T) {
	rec := capture.New(capture.Options{BodyLimit: 20 << 20})
	body := []byte("[" + strings.Repeat("1,", 5<<20) + "1]")
	for range 2 {
		tap := rec.Begin(httptest.NewRequest(http.MethodGet, "/", nil), "", "")
		tap.Answered(200, http.Header{"Content-Type": {"application/json"}})
		tap.Body(body)
		tap.End(nil)
	}
	list, _, _ := rec.List(t.Context(), capture.Query{})
	h, err := inspector.Handler(inspector.Options{Source: &source{Recorder: rec}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/requests/"+list[0].ID+"/diff?with="+list[1].ID, nil))
	if w.Code != 200 || w.Body.Len() > 8<<20 {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
}
