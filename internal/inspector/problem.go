package inspector

import (
	"encoding/json"
	"net/http"

	"github.com/relaytunnel/relay/internal/capture"
)

// failure is how a call fails: problem+json of RFC 9457 with a code for programs, as
// the server's API has it.
type failure struct {
	Title  string               `json:"title"`
	Status int                  `json:"status"`
	Detail string               `json:"detail"`
	Code   string               `json:"code"`
	Filter *capture.FilterError `json:"filter,omitempty"` // where a filter is wrong
}

func newProblem(status int, code, detail string) *failure {
	return &failure{Title: http.StatusText(status), Status: status, Detail: detail, Code: code}
}

func (p *failure) write(w http.ResponseWriter) {
	b, _ := json.Marshal(p) // of strings and numbers only
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(b)
}

func problem(w http.ResponseWriter, status int, code, detail string) {
	newProblem(status, code, detail).write(w)
}

// failed is for failures of ours.
func (h *handler) failed(err error) *failure {
	h.log.Error("inspector", "err", err)
	return newProblem(http.StatusInternalServerError, "internal", "That failed; the log says why.")
}

func (h *handler) broken(w http.ResponseWriter, err error) { h.failed(err).write(w) }
