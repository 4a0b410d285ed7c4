package inspector

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/relaytunnel/relay/internal/capture"
)

// maxExport bounds how many exchanges one export has.
const maxExport = 10_000

// collection is the JSON form of several exchanges.
type collection struct {
	Items []*capture.Exchange `json:"items"`
}

// export answers with one exchange in another form. Secrets are masked in it, unless
// reveal is asked for.
func (h *handler) export(w http.ResponseWriter, r *http.Request) {
	x := h.find(w, r, r.PathValue("id"))
	if x == nil {
		return
	}
	const text = "text/plain; charset=utf-8"
	switch format := r.FormValue("format"); format {
	case "curl", "httpie", "fetch":
		if x.Request.Body.Truncated {
			problem(w, http.StatusConflict, "truncated", "Only the beginning of its body was kept, so it cannot be written as a command.")
			return
		}
		as := map[string]func(*capture.Exchange) string{"curl": curl, "httpie": httpie, "fetch": fetch}[format]
		download(w, x.ID+"-"+format+".txt", text)
		_, _ = w.Write([]byte(as(x)))
	case "har":
		h.save(w, x.ID+".har", harOf([]*capture.Exchange{x}))
	case "json":
		h.save(w, x.ID+".json", x)
	default:
		problem(w, http.StatusUnprocessableEntity, "invalid", "format is curl, httpie, fetch, har or json.")
	}
}

// exportList is the same for all that a filter chooses.
func (h *handler) exportList(w http.ResponseWriter, r *http.Request) {
	f, ok := h.filter(w, r)
	if !ok {
		return
	}
	list, _, err := h.Source.List(r.Context(), capture.Query{Filter: f, Limit: maxExport})
	if err != nil {
		h.broken(w, err)
		return
	}
	if r.FormValue("reveal") != "1" {
		for i, x := range list {
			list[i] = h.masks.Apply(x)
		}
	}
	switch r.FormValue("format") {
	case "har":
		h.save(w, "requests.har", harOf(list))
	case "json":
		if list == nil {
			list = []*capture.Exchange{}
		}
		h.save(w, "requests.json", collection{list})
	default:
		problem(w, http.StatusUnprocessableEntity, "invalid", "format is har or json.")
	}
}

func (h *handler) save(w http.ResponseWriter, name string, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		h.broken(w, err)
		return
	}
	download(w, name, "application/json")
	_, _ = w.Write(append(b, '\n'))
}

// sent lists the fields that the visitor sent: not those that the relay has added,
// and not those that the next client makes by itself.
func sent(x *capture.Exchange) []capture.Field {
	var fields []capture.Field
	for _, f := range x.Request.Header.Fields() {
		if !strings.HasPrefix(f.Name, "Relay-") && !strings.HasPrefix(f.Name, "X-Forwarded-") && f.Name != "Forwarded" && !isPerConnection(f.Name) {
			fields = append(fields, f)
		}
	}
	return fields
}

func isPerConnection(name string) bool {
	for _, n := range perConnection() {
		if n == name {
			return true
		}
	}
	return false
}
