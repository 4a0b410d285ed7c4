package trigger

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/relaytunnel/relay/internal/signature"
)

// Written is the moment at which the samples happen.
var Written = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)

// near is how far from Written a time of a sample may be to move with it. What is
// further away is older than the event, like the year in which a repository was
// made.
const near = 120 * 24 * time.Hour

// ids says what has a new value in each event, of what form it is too. Wherever
// else in the sample the same value is, it changes there as well.
var ids = map[string][]signature.Source{
	"github push":         {"header:X-GitHub-Delivery", "body:after"},
	"github pull_request": {"header:X-GitHub-Delivery", "body:pull_request.id", "body:pull_request.head.sha"},
	"github issues":       {"header:X-GitHub-Delivery", "body:issue.id"},
	"github ping":         {"header:X-GitHub-Delivery"},

	"stripe payment_intent.succeeded":   {"body:id", "body:request.id", "body:request.idempotency_key", "body:data.object.id", "body:data.object.latest_charge"},
	"stripe invoice.paid":               {"body:id", "body:request.id", "body:request.idempotency_key", "body:data.object.id", "body:data.object.lines.data.0.id"},
	"stripe checkout.session.completed": {"body:id", "body:request.id", "body:request.idempotency_key", "body:data.object.id", "body:data.object.payment_intent"},
	"stripe charge.refunded":            {"body:id", "body:request.id", "body:request.idempotency_key", "body:data.object.id", "body:data.object.payment_intent"},

	"slack url_verification": {"body:challenge"},
	"slack event_callback":   {"body:event_id", "body:event.client_msg_id"},
	"slack slash_command":    {"form:trigger_id"},

	"shopify orders/create": {"header:X-Shopify-Webhook-Id", "header:X-Shopify-Event-Id", "body:id", "body:line_items.0.id"},
	"gitlab push":           {"header:X-Gitlab-Event-UUID", "header:Idempotency-Key", "body:after"},
	"standard-webhooks any": {"body:data.id"},
	"twilio message":        {"header:I-Twilio-Idempotency-Token", "form:MessageSid"},
}

// freshen gives the event new ids and moves its times to now.
func (e *Event) freshen(ids []signature.Source, now time.Time, random io.Reader) error {
	for _, source := range ids {
		old := e.value(source)
		if len(old) < 8 {
			return fmt.Errorf("the sample has no id at %s", source)
		}
		id, err := alike(old, random)
		if err != nil {
			return err
		}
		e.replace(old, id)
	}
	e.move(now.Sub(Written))
	return nil
}

// value is what is at a place in the event; empty if nothing is.
func (e *Event) value(source signature.Source) string {
	kind, name, _ := strings.Cut(string(source), ":")
	switch kind {
	case "header":
		return e.Header.Get(name)
	case "body":
		return gjson.GetBytes(e.Body, name).String()
	case "form":
		form, _ := url.ParseQuery(string(e.Body)) // what could be read
		return form.Get(name)
	}
	return ""
}

// replace changes a text wherever it is. Ids need no escaping in JSON or forms.
func (e *Event) replace(old, id string) {
	e.Body = bytes.ReplaceAll(e.Body, []byte(old), []byte(id))
	for _, values := range e.Header {
		for i := range values {
			values[i] = strings.ReplaceAll(values[i], old, id)
		}
	}
}

var (
	hexText = regexp.MustCompile(`^[0-9a-f-]+$`)
	uuid    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
)

// alike returns another id of the same form: the same length, digits where there
// are digits, and what says of what kind it is stays: all before the last
// underscore, the first two letters, or the first digit of a number.
func alike(old string, random io.Reader) (string, error) {
	keep := strings.LastIndexByte(old, '_') + 1
	switch {
	case keep > 0:
	case strings.Trim(old, "0123456789") == "":
		keep = 1
	case !hexText.MatchString(old):
		keep = 2
	}
	tail := old[keep:]
	isUUID := uuid.MatchString(old)
	isHex := hexText.MatchString(tail) && strings.Trim(tail, "0123456789") != ""
	chance := make([]byte, len(old))
	if _, err := io.ReadFull(random, chance); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	id := []byte(old)
	for i := keep; i < len(id); i++ {
		from := ""
		switch c := id[i]; {
		case isUUID && (i == 14 || i == 19): // version and variant
		case isHex && c != '-':
			from = "0123456789abcdef"
		case c >= '0' && c <= '9':
			from = "0123456789"
		case c >= 'a' && c <= 'z':
			from = "abcdefghijklmnopqrstuvwxyz"
		case c >= 'A' && c <= 'Z':
			from = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		}
		if from != "" {
			id[i] = from[int(chance[i])%len(from)]
		}
	}
	return string(id), nil
}

// moment finds times: RFC 3339, and seconds or milliseconds since 1970 with the
// fraction that some senders add.
var moment = regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)|\b1[67]\d{8}(?:\d{3})?\b`)

// move moves every time of the event that is near Written.
func (e *Event) move(by time.Duration) {
	shift := func(text string) string {
		return moment.ReplaceAllStringFunc(text, func(was string) string { return moved(was, by) })
	}
	e.Body = []byte(shift(string(e.Body)))
	for _, values := range e.Header {
		for i := range values {
			values[i] = shift(values[i])
		}
	}
}

func moved(was string, by time.Duration) string {
	var at time.Time
	unit := time.Second
	n, err := strconv.ParseInt(was, 10, 64)
	if err != nil {
		if at, err = time.Parse(time.RFC3339Nano, was); err != nil {
			return was
		}
	} else {
		if len(was) > 10 {
			unit = time.Millisecond
		}
		at = time.UnixMilli(n * unit.Milliseconds())
	}
	if at.Sub(Written).Abs() > near {
		return was
	}
	at = at.Add(by)
	if !strings.Contains(was, "T") {
		return strconv.FormatInt(at.UnixMilli()/unit.Milliseconds(), 10)
	}
	layout := "2006-01-02T15:04:05"
	if _, fraction, ok := strings.Cut(was, "."); ok {
		layout += "." + strings.Repeat("0", len(fraction)-len(strings.TrimLeft(fraction, "0123456789")))
	}
	return at.Format(layout + "Z07:00")
}
