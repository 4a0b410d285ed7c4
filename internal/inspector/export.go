package inspector

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/relaytunnel/relay/internal/capture"
)

const (
	// maxExport bounds how many exchanges one export has.
	maxExport = 10_000
	// maxExportBytes bounds their bodies: they are in memory together.
	maxExportBytes = 64 << 20
)

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
		if why := writable(x, format); why != "" {
			problem(w, http.StatusConflict, "cannot_write", why)
			return
		}
		as := map[string]func(*capture.Exchange) string{"curl": curl, "httpie": httpie, "fetch": fetch}[format]
		download(w, x.ID+"-"+format+".txt", text)
		_, _ = w.Write([]byte(as(x)))
	case "har":
		h.save(w, x.ID+".har", harOf([]*capture.Exchange{x}))
	case "json":
		h.save(w, x.ID+".json", x)
	case "fixture":
		h.saveFixtures(w, x.ID+".json", []*capture.Exchange{x})
	default:
		problem(w, http.StatusUnprocessableEntity, "invalid", "format is curl, httpie, fetch, har, json or fixture.")
	}
}

// exportList is the same for several: those that are named, or all that a filter
// chooses.
func (h *handler) exportList(w http.ResponseWriter, r *http.Request) {
	list, ok := h.exported(w, r)
	if !ok {
		return
	}
	switch r.FormValue("format") {
	case "har":
		h.save(w, "requests.har", harOf(list))
	case "json":
		h.save(w, "requests.json", collection{list})
	case "fixture":
		h.saveFixtures(w, "fixtures.jsonl", list)
	default:
		problem(w, http.StatusUnprocessableEntity, "invalid", "format is har, json or fixture.")
	}
}

// exported are the exchanges that an export is to have: those that are named, in that
// order, or what the filter chooses, the newest first.
func (h *handler) exported(w http.ResponseWriter, r *http.Request) ([]*capture.Exchange, bool) {
	chosen, ok := h.choice(w, r)
	if !ok {
		return nil, false
	}
	list, size := []*capture.Exchange{}, 0
	for _, c := range chosen {
		x, found := c.x, true
		if x == nil {
			var err error
			if x, found, err = h.Source.Get(r.Context(), c.id); err != nil {
				h.broken(w, err)
				return nil, false
			}
		}
		switch {
		case !found && c.named:
			problem(w, http.StatusNotFound, "not_found", "The request "+c.id+" is not kept.")
			return nil, false
		case !found: // it went meanwhile
			continue
		}
		if r.FormValue("reveal") != "1" {
			x = h.masks.Apply(x)
		}
		list = append(list, x)
		if size += len(x.Request.Body.Kept); x.Response != nil {
			size += len(x.Response.Body.Kept)
		}
		if size > maxExportBytes {
			problem(w, http.StatusUnprocessableEntity, "too_large", "The bodies of these are more than 64 MiB: choose fewer.")
			return nil, false
		}
	}
	return list, true
}

// pick is one exchange of a choice.
type pick struct {
	id    string
	named bool              // by the caller
	x     *capture.Exchange // nil until somebody gets it
}

// choice reads which exchanges are wanted.
func (h *handler) choice(w http.ResponseWriter, r *http.Request) (picks []pick, ok bool) {
	if ids := r.URL.Query()["id"]; len(ids) > 0 {
		if len(ids) > maxBulk {
			problem(w, http.StatusUnprocessableEntity, "too_many", "These are more than 1000 requests: choose fewer.")
			return nil, false
		}
		for _, id := range ids {
			picks = append(picks, pick{id: id, named: true})
		}
		return picks, true
	}
	f, ok := h.filter(w, r)
	if !ok {
		return nil, false
	}
	list, more, err := h.Source.List(r.Context(), capture.Query{Filter: f, Limit: maxExport})
	if err != nil {
		h.broken(w, err)
		return nil, false
	}
	if more {
		problem(w, http.StatusUnprocessableEntity, "too_many", "These are more than 10000 requests: choose fewer.")
		return nil, false
	}
	for _, x := range list {
		p := pick{id: x.ID, x: x}
		if x.Request.Body.Omitted { // the list of a store has no bodies
			p.x = nil
		}
		picks = append(picks, p)
	}
	return picks, true
}

// saveFixtures writes one fixture on each line.
func (h *handler) saveFixtures(w http.ResponseWriter, name string, list []*capture.Exchange) {
	var out []byte
	for _, x := range list {
		b, err := x.Fixture()
		if err != nil {
			h.broken(w, err)
			return
		}
		out = append(append(out, b...), '\n')
	}
	download(w, name, "application/jsonl")
	_, _ = w.Write(out)
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
		switch {
		case strings.HasPrefix(f.Name, "Relay-") || strings.HasPrefix(f.Name, "X-Forwarded-") || f.Name == "Forwarded":
		case isPerConnection(f.Name):
		case f.Name == "Content-Encoding" && x.Request.Body.Masked && x.Request.Body.Encoding == "": // a mask unpacks
		default:
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
