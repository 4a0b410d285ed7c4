package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
)

// hopByHop are headers for one connection only (RFC 9110, 7.6.1).
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Http2-Settings", "Expect",
}

// endToEnd are headers that Connection cannot take away: a sender must not remove
// what was checked.
var endToEnd = map[string]bool{
	"Authorization": true, "Cookie": true, "Content-Length": true, "Content-Type": true, "Content-Encoding": true, "Set-Cookie": true,
}

// dropHopByHop removes what was meant for the connection that it came on.
func dropHopByHop(h http.Header) {
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); !endToEnd[name] && !ours(name) {
				delete(h, name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// ours tells whether only the relay says this.
func ours(name string) bool {
	return strings.HasPrefix(http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")), "Relay-")
}

// delivered makes the header of a request to the app from that which came. Of what
// comes from the relay, whatever a sender wrote is gone.
func delivered(came http.Header, e relay.Event, d relay.Delivery) http.Header {
	h := came.Clone()
	if h == nil {
		h = http.Header{}
	}
	for name := range h {
		if ours(name) {
			delete(h, name)
		}
	}
	dropHopByHop(h)
	delete(h, "Content-Length")
	h["Relay-Event-Id"] = []string{e.ID}
	h["Relay-Attempt"] = []string{strconv.FormatInt(d.Try, 10)}
	h["Relay-Received-At"] = []string{e.Received.UTC().Format("2006-01-02T15:04:05.000Z07:00")}
	if d.Replay {
		h["Relay-Replay"] = []string{"true"}
	}
	return h
}

// passHeader copies the header of an app's answer to the sender's.
func passHeader(dst, src http.Header) {
	src = src.Clone()
	dropHopByHop(src)
	for name, values := range src {
		if name != "Relay-Error" && name != "Relay-Request-Id" {
			dst[name] = values
		}
	}
	if _, ok := dst["Content-Type"]; !ok {
		dst["Content-Type"] = nil // net/http would guess one
	}
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return time.Duration(min(n, 1<<30)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
