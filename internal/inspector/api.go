package inspector

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

func newEpoch() string { return rand.Text() }

// Summary is an exchange in a list.
type Summary struct {
	ID           string         `json:"id"`
	Seq          uint64         `json:"seq"`
	State        capture.State  `json:"state"`
	Began        time.Time      `json:"began"`
	Duration     capture.Millis `json:"duration_ms"`
	Method       string         `json:"method"`
	Target       string         `json:"target"`
	Host         string         `json:"host"`
	Visitor      string         `json:"visitor"`
	Status       int            `json:"status"`
	RequestSize  int64          `json:"request_size"`
	ResponseSize int64          `json:"response_size"`
	ResponseType string         `json:"response_type,omitempty"`
	Replay       bool           `json:"replay,omitempty"`
	ReplayOf     string         `json:"replay_of,omitempty"`
	Endpoint     string         `json:"endpoint,omitempty"`
	EventID      string         `json:"event_id,omitempty"`
	Verified     string         `json:"verified,omitempty"`
	Frames       int            `json:"frames,omitempty"`
	Error        string         `json:"error,omitempty"`
}

func summary(x *capture.Exchange) Summary {
	s := Summary{
		ID: x.ID, Seq: x.Seq, State: x.State, Began: x.Began, Duration: x.Duration, Method: x.Request.Method, Target: x.Request.Target,
		Host: x.Request.Host, Visitor: x.Visitor, Status: x.Status(), RequestSize: x.Request.Body.Size, Replay: x.Replay, ReplayOf: x.ReplayOf,
		Endpoint: x.Endpoint, EventID: x.EventID, Verified: x.Verified, Frames: len(x.Frames) + x.FramesDropped, Error: x.Error,
	}
	if x.Response != nil {
		s.ResponseSize, s.ResponseType = x.Response.Body.Size, x.Response.Body.Type
	}
	return s
}

// targets lists who can get a replay.
func (h *handler) targets(w http.ResponseWriter, r *http.Request) {
	list, err := h.Source.Targets(r.Context())
	if err != nil {
		h.broken(w, err)
		return
	}
	if list == nil {
		list = []capture.Target{}
	}
	answer(w, http.StatusOK, map[string][]capture.Target{"items": list})
}

// session tells the page where it is. An agent asks nobody to sign in.
func (h *handler) session(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"mode": "agent"})
}

// listing is a part of the list, the newest first.
type listing struct {
	Items []Summary `json:"items"`
	Next  string    `json:"next,omitempty"` // what to give as before for the next part
}

const (
	defaultLimit = 200
	maxLimit     = 2000
)

func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	q, ok := h.query(w, r)
	if !ok {
		return
	}
	list, more, err := h.Source.List(r.Context(), q)
	if err != nil {
		h.broken(w, err)
		return
	}
	out := listing{Items: make([]Summary, 0, len(list))}
	for _, x := range list {
		out.Items = append(out.Items, summary(x))
	}
	if more {
		out.Next = strconv.FormatUint(list[len(list)-1].Seq, 10)
	}
	answer(w, http.StatusOK, out)
}

// query reads filter, before and limit.
func (h *handler) query(w http.ResponseWriter, r *http.Request) (q capture.Query, ok bool) {
	f, ok := h.filter(w, r)
	if !ok {
		return q, false
	}
	q.Filter, q.Limit = f, defaultLimit
	if s := r.FormValue("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLimit {
			problem(w, http.StatusUnprocessableEntity, "invalid", "limit is a number from 1 to 2000.")
			return q, false
		}
		q.Limit = n
	}
	if s := r.FormValue("before"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			problem(w, http.StatusUnprocessableEntity, "invalid", "before is what next was in the part before.")
			return q, false
		}
		q.Before = n
	}
	return q, true
}

// filter reads the filter; nil is none.
func (h *handler) filter(w http.ResponseWriter, r *http.Request) (*capture.Filter, bool) {
	return h.parse(w, r.FormValue("filter"))
}

func (h *handler) parse(w http.ResponseWriter, text string) (*capture.Filter, bool) {
	f, err := capture.ParseFilter(text, h.Now())
	if err == nil {
		return f, true
	}
	p := newProblem(http.StatusUnprocessableEntity, "filter", err.Error())
	var fe *capture.FilterError
	if errors.As(err, &fe) {
		p.Filter = fe
	}
	p.write(w)
	return nil, false
}

// find gets the exchange that the path names, masked unless reveal is asked for.
func (h *handler) find(w http.ResponseWriter, r *http.Request, id string) *capture.Exchange {
	x, found, err := h.Source.Get(r.Context(), id)
	switch {
	case err != nil:
		h.broken(w, err)
		return nil
	case !found:
		problem(w, http.StatusNotFound, "not_found", "This request is not kept any more: only the newest are.")
		return nil
	}
	if r.FormValue("reveal") != "1" {
		x = h.masks.Apply(x)
	}
	return x
}

// detail is an exchange with what the page needs beside it.
type detail struct {
	capture.Exchange
	URL string `json:"url"` // the public one
}

func (h *handler) show(w http.ResponseWriter, r *http.Request) {
	if x := h.find(w, r, r.PathValue("id")); x != nil {
		answer(w, http.StatusOK, detail{x.WithoutBodies(), x.URL()})
	}
}

// decodeLimit bounds a body that is uncompressed to be looked at.
const decodeLimit = 4 << 20

// body answers with a body, byte for byte; with decode=1 without its
// Content-Encoding, as far as it is known.
func (h *handler) body(w http.ResponseWriter, r *http.Request) {
	x := h.find(w, r, r.PathValue("id"))
	if x == nil {
		return
	}
	b, name := &x.Request.Body, "request-body"
	if strings.HasSuffix(r.URL.Path, "/response-body") {
		name = "response-body"
		if x.Response == nil {
			problem(w, http.StatusNotFound, "not_found", "There was no answer.")
			return
		}
		b = &x.Response.Body
	}
	data, whole := b.Kept, !b.Truncated
	if r.FormValue("decode") == "1" {
		var ok bool
		if data, whole, ok = b.Decode(decodeLimit); !ok {
			w.Header().Set("Relay-Body-Encoded", "true")
		}
	}
	if !whole {
		w.Header().Set("Relay-Body-Truncated", "true")
	}
	download(w, x.ID+"-"+name+".bin", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data)
}

// download sets the headers of what a browser is to keep and not to show.
func download(w http.ResponseWriter, name, kind string) {
	safe := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' {
			return c
		}
		return '_'
	}, name)
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", `attachment; filename="`+safe+`"`)
	h.Set("Cache-Control", "no-store")
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		problem(w, http.StatusInternalServerError, "internal", "The answer cannot be written as JSON: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
