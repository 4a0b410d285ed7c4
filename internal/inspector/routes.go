package inspector

import (
	_ "embed"
	"net/http"
	"slices"
)

// openAPI describes the routes; a test holds the two to each other.
//
//go:embed openapi.json
var openAPI []byte

// OpenAPI is the OpenAPI 3.1 document of the API, in JSON: also for who mounts Handler
// beside an API of its own and joins the two documents. The caller may change the copy.
func OpenAPI() []byte { return slices.Clone(openAPI) }

// route is one call of the API.
type route struct {
	method, path string
	serve        http.HandlerFunc
}

func (h *handler) routes() []route {
	return []route{
		{http.MethodGet, "/api/v1/requests", h.list},
		{http.MethodGet, "/api/v1/requests/stream", h.stream},
		{http.MethodGet, "/api/v1/requests/export", h.exportList},
		{http.MethodPost, "/api/v1/requests/replay", h.replayMany},
		{http.MethodGet, "/api/v1/requests/{id}", h.show},
		{http.MethodGet, "/api/v1/requests/{id}/request-body", h.body},
		{http.MethodGet, "/api/v1/requests/{id}/response-body", h.body},
		{http.MethodGet, "/api/v1/requests/{id}/diff", h.diff},
		{http.MethodGet, "/api/v1/requests/{id}/export", h.export},
		{http.MethodPost, "/api/v1/requests/{id}/replay", h.replay},
		{http.MethodGet, "/api/v1/targets", h.targets},
		{http.MethodGet, "/api/v1/session", h.session},
		{http.MethodGet, "/api/v1/openapi.json", document},
	}
}

// document answers with the description of all this.
func document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(openAPI)
}
