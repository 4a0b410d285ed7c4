package webhook

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/relaytunnel/relay/internal/relay"
)

// problem is an answer of the inbox itself that refuses a request. The codes stand
// in docs/errors.md.
type problem struct {
	Status     int    `json:"status"`
	Code       string `json:"error"`
	Message    string `json:"message"`
	RetryAfter int    `json:"-"` // seconds; 0 for none
	Close      bool   `json:"-"` // end the connection: its body was not read
}

var (
	bodyTooLarge = problem{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: "The body of the request is larger than this endpoint takes.", Close: true}
	bodyStalled  = problem{Status: http.StatusRequestTimeout, Code: "body_timeout", Message: "The body of the request did not arrive in time.", Close: true}
	badBody      = problem{Status: http.StatusBadRequest, Code: "bad_body", Message: "The body of the request could not be read.", Close: true}
	badSignature = problem{Status: http.StatusUnauthorized, Code: "bad_signature", Message: "The request is not signed right. The owner of the endpoint can see why."}
	notChecked   = problem{Status: http.StatusServiceUnavailable, Code: "not_checked", Message: "The certificate of the signature could not be fetched, so it could not be checked. Send it again later.", RetryAfter: 60}
	serverFull   = problem{Status: http.StatusServiceUnavailable, Code: "inbox_busy", Message: "Too much is arriving at once. Send it again in a moment.", RetryAfter: 5, Close: true}
	notKept      = problem{Status: http.StatusServiceUnavailable, Code: "not_kept", Message: "The event could not be stored, so it is not accepted. Send it again later.", RetryAfter: 30}
	inboxFull    = problem{Status: http.StatusServiceUnavailable, Code: "inbox_full", Message: "The endpoint holds as many undelivered events as it may. Send it again later.", RetryAfter: 300}
)

// refuse answers with a problem.
func refuse(w http.ResponseWriter, p problem) {
	h := w.Header()
	h.Set("Relay-Error", p.Code)
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if p.Close {
		h.Set("Connection", "close")
	}
	inJSON(w, p.Status, p)
}

func inJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil { // of strings and numbers: cannot be
		status, text = http.StatusInternalServerError, nil
	}
	text = append(text, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// accept tells the sender that the relay owns the event.
func accept(w http.ResponseWriter, id string) {
	inJSON(w, http.StatusAccepted, map[string]string{"id": id})
}

// acceptAs is accept with the answer that the endpoint's owner has chosen, if any.
func acceptAs(w http.ResponseWriter, a *relay.Answer, id string) {
	if a == nil {
		accept(w, id)
		return
	}
	h := w.Header()
	h.Set("Relay-Event-Id", id)
	for name, values := range a.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	status := a.Status
	if status == 0 {
		status = http.StatusAccepted
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(a.Body))
}

// repeatAnswer gives the sender of a duplicate what it got before.
func repeatAnswer(w http.ResponseWriter, e *endpoint, kept relay.Kept) {
	first := kept.First
	if first == nil || first.Cut {
		if e.Settings.Inbox == relay.InboxAlways {
			acceptAs(w, e.Settings.Answer, kept.Event.AgainOf)
			return
		}
		accept(w, kept.Event.AgainOf)
		return
	}
	passHeader(w.Header(), first.Header)
	w.Header().Del("Content-Length")
	w.WriteHeader(first.Status)
	_, _ = w.Write(first.Body)
}
