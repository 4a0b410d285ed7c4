package inspector

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
)

// edit is what a replay changes. What is not there stays as it was.
type edit struct {
	Method  *string          `json:"method"`
	Path    *string          `json:"path"` // with the query
	Headers *[]capture.Field `json:"headers"`
	Body    *string          `json:"body"`
	Base64  *string          `json:"body_base64"` // the same, for bytes that are no text
	To      string           `json:"to"`          // id of a target; "" for who has had it
	Sign    bool             `json:"sign"`        // with a new signature
}

const (
	// maxEdit bounds the JSON of an edit.
	maxEdit = 16 << 20
	// replayWithin bounds a replay: an event stream has no end of its own.
	replayWithin = 30 * time.Second
)

// badEdit is a sentence that says what is wrong with an edit, to people.
type badEdit string

func (e badEdit) Error() string { return string(e) }

// replayed is the answer to a replay.
type replayed struct {
	ID    string `json:"id"`
	Ended bool   `json:"ended"` // false: it took too long and was broken off
}

func (h *handler) replay(w http.ResponseWriter, r *http.Request) {
	x, found, err := h.Source.Get(r.Context(), r.PathValue("id"))
	switch {
	case err != nil:
		h.broken(w, err)
		return
	case !found:
		problem(w, http.StatusNotFound, "not_found", "This request is not kept any more: only the newest are.")
		return
	}
	var e edit
	in, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEdit))
	if err == nil && len(in) > 0 {
		err = unmarshal(in, &e)
	}
	if err != nil {
		problem(w, http.StatusUnprocessableEntity, "invalid", "The edit cannot be read: "+err.Error()+".")
		return
	}
	again, err := e.apply(x)
	if err != nil {
		problem(w, http.StatusUnprocessableEntity, "invalid", err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), replayWithin)
	defer cancel()
	id, err := h.Source.Replay(ctx, again)
	if err != nil && (!errors.Is(err, context.DeadlineExceeded) || id == "") {
		h.refusal(err, e.Sign).write(w)
		return
	}
	answer(w, http.StatusOK, replayed{id, err == nil})
}

// unmarshal reads JSON that has no other fields than v: one that would be ignored is a
// mistake of whoever wrote it.
func unmarshal(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the JSON")
	}
	return nil
}

// refusal says why a replay could not be. An error of no kind is ours.
func (h *handler) refusal(err error, sign bool) *failure {
	switch {
	case errors.Is(err, relay.ErrOffline):
		return newProblem(http.StatusConflict, "offline", sentence(err, relay.ErrOffline))
	case errors.Is(err, relay.ErrNotFound):
		return newProblem(http.StatusNotFound, "not_found", sentence(err, relay.ErrNotFound))
	case errors.Is(err, relay.ErrInvalid) && sign:
		return newProblem(http.StatusUnprocessableEntity, "cannot_sign", sentence(err, relay.ErrInvalid))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return newProblem(http.StatusGatewayTimeout, "timeout", "It was not sent within 30 seconds.")
	}
	h.log.Error("inspector: replay", "err", err)
	return newProblem(http.StatusInternalServerError, "internal", "That failed; the log says why.")
}

// sentence makes one of an error whose kind the code tells.
func sentence(err, kind error) string {
	s := strings.TrimSuffix(strings.TrimPrefix(err.Error(), kind.Error()+": "), ".")
	if s == "" {
		s = kind.Error()
	}
	first, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[n:] + "."
}

// Again makes the request that repeats x as it was. The errors are sentences for
// people.
func Again(x *capture.Exchange) (capture.Again, error) { return (&edit{}).apply(x) }

// apply makes the request to send. The errors are sentences for people.
func (e *edit) apply(x *capture.Exchange) (capture.Again, error) {
	a := capture.Again{Of: x.ID, Upstream: x.Upstream, To: e.To, Sign: e.Sign, Method: x.Request.Method, Target: x.Request.Target, Host: x.Request.Host}
	if e.Method != nil {
		a.Method = *e.Method
	}
	if e.Path != nil && *e.Path != asText(x.Request.Target) {
		a.Target = *e.Path
	}
	if !isToken(a.Method) || a.Method == http.MethodConnect {
		return a, badEdit("That is not a method that can be sent.")
	}
	if !isTarget(a.Target) {
		return a, badEdit("A path begins with / and has no spaces: write %20 for one.")
	}
	var err error
	if a.Header, err = e.header(x); err != nil {
		return a, err
	}
	switch {
	case e.Body != nil && e.Base64 != nil:
		return a, badEdit("Give body or body_base64, not both.")
	case e.Body != nil:
		a.Body = []byte(*e.Body)
	case e.Base64 != nil:
		if a.Body, err = base64.StdEncoding.DecodeString(*e.Base64); err != nil {
			return a, badEdit("body_base64 is not base64.")
		}
	case x.State == capture.Live && x.Request.Header.Get("Upgrade") == "" && x.Response == nil:
		return a, badEdit("This request is still coming in: wait for its end.")
	case x.Request.Body.Truncated && x.Request.Header.Get("Upgrade") == "":
		return a, badEdit("Only the beginning of its body was kept, so it cannot be sent again as it was. Edit it to send another body.")
	default:
		a.Body = x.Request.Body.Kept
		return a, nil
	}
	// What was typed is not compressed.
	a.Header.Del("Content-Encoding")
	return a, nil
}

// asText is how JSON shows a string: what is no UTF-8 in it becomes U+FFFD.
func asText(s string) string { return string([]rune(s)) }

// header is what is sent: as edited, without what was for one connection. A masked
// value of the edit stands for the one that it masks, and one that JSON could not show
// for the one that it was.
func (e *edit) header(x *capture.Exchange) (http.Header, error) {
	h := http.Header(x.Request.Header).Clone()
	if h == nil {
		h = http.Header{}
	}
	if e.Headers != nil {
		old := h
		h = http.Header{}
		for _, f := range *e.Headers {
			name := http.CanonicalHeaderKey(f.Name)
			if !isToken(name) || strings.ContainsAny(f.Value, "\r\n\x00") {
				return nil, badEdit(fmt.Sprintf("A header field has a name that cannot be, or a line break in its value: %q.", f.Name))
			}
			value := strings.TrimSpace(f.Value)
			if n := len(h[name]); n < len(old[name]) && (value == capture.Mask || value == asText(old[name][n])) {
				value = old[name][n]
			}
			h[name] = append(h[name], value)
		}
	}
	for _, v := range h["Connection"] {
		for _, name := range strings.Split(v, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range perConnection() {
		h.Del(name)
	}
	return h, nil
}

// perConnection are fields that frame a message or are for one hop.
func perConnection() []string {
	return []string{
		"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Connection", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade",
	}
}

// isToken tells whether s can be a method or the name of a field (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isTarget tells whether s can be a request's target here.
func isTarget(s string) bool {
	return strings.HasPrefix(s, "/") && !slices.ContainsFunc([]byte(s), func(c byte) bool { return c <= ' ' || c == 0x7f })
}
