package inspector

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

// The HTTP Archive format 1.2, as far as there is something to say.
type (
	harFile struct {
		Log harLog `json:"log"`
	}
	harLog struct {
		Version string     `json:"version"`
		Creator harCreator `json:"creator"`
		Entries []harEntry `json:"entries"`
	}
	harCreator struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	harEntry struct {
		Started  string      `json:"startedDateTime"`
		Time     float64     `json:"time"`
		Request  harRequest  `json:"request"`
		Response harResponse `json:"response"`
		Cache    struct{}    `json:"cache"`
		Timings  harTimings  `json:"timings"`
		Comment  string      `json:"comment,omitempty"`
	}
	harRequest struct {
		Method      string    `json:"method"`
		URL         string    `json:"url"`
		HTTPVersion string    `json:"httpVersion"`
		Cookies     []harPair `json:"cookies"`
		Headers     []harPair `json:"headers"`
		QueryString []harPair `json:"queryString"`
		PostData    *harPost  `json:"postData,omitempty"`
		HeadersSize int       `json:"headersSize"`
		BodySize    int64     `json:"bodySize"`
	}
	harResponse struct {
		Status      int        `json:"status"`
		StatusText  string     `json:"statusText"`
		HTTPVersion string     `json:"httpVersion"`
		Cookies     []harPair  `json:"cookies"`
		Headers     []harPair  `json:"headers"`
		Content     harContent `json:"content"`
		RedirectURL string     `json:"redirectURL"`
		HeadersSize int        `json:"headersSize"`
		BodySize    int64      `json:"bodySize"`
	}
	harPair struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	harPost struct {
		MimeType string    `json:"mimeType"`
		Text     string    `json:"text"`
		Params   []harPair `json:"params"`
		Encoding string    `json:"_encoding,omitempty"` // the format has none for requests
		Comment  string    `json:"comment,omitempty"`
	}
	harContent struct {
		Size     int64  `json:"size"`
		MimeType string `json:"mimeType"`
		Text     string `json:"text,omitempty"`
		Encoding string `json:"encoding,omitempty"`
		Comment  string `json:"comment,omitempty"`
	}
	harTimings struct {
		Send    float64 `json:"send"`
		Wait    float64 `json:"wait"`
		Receive float64 `json:"receive"`
	}
)

const cut = "Only the beginning was kept."

// harOf makes an archive, the oldest entry first as the format wants it.
func harOf(list []*capture.Exchange) harFile {
	entries := make([]harEntry, 0, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		entries = append(entries, entryOf(list[i]))
	}
	return harFile{harLog{Version: "1.2", Creator: harCreator{"relay", "1"}, Entries: entries}}
}

func entryOf(x *capture.Exchange) harEntry {
	whole, first := millis(x.Duration), millis(x.FirstByte)
	e := harEntry{
		Started: x.Began.Format(time.RFC3339Nano), Time: whole, Comment: x.Error,
		Timings: harTimings{0, first, max(0, whole-first)},
		Request: harRequest{
			Method: x.Request.Method, URL: x.URL(), HTTPVersion: "HTTP/1.1", Cookies: []harPair{}, Headers: pairs(x.Request.Header),
			QueryString: queryOf(x.Request.Target), HeadersSize: -1, BodySize: x.Request.Body.Size,
		},
		Response: harResponse{HTTPVersion: "HTTP/1.1", Cookies: []harPair{}, Headers: []harPair{}, HeadersSize: -1, BodySize: -1},
	}
	if b := &x.Request.Body; b.Size > 0 {
		e.Request.PostData = &harPost{MimeType: b.Type, Params: []harPair{}}
		e.Request.PostData.Text, e.Request.PostData.Encoding = harText(b.Kept)
		if b.Truncated {
			e.Request.PostData.Comment = cut
		}
	}
	if x.Response == nil {
		return e
	}
	b := &x.Response.Body
	e.Response.Status, e.Response.StatusText = x.Response.Status, http.StatusText(x.Response.Status)
	e.Response.Headers, e.Response.BodySize = pairs(x.Response.Header), b.Size
	e.Response.RedirectURL = x.Response.Header.Get("Location")
	data, complete, _ := b.Decode(decodeLimit)
	e.Response.Content = harContent{Size: int64(len(data)), MimeType: b.Type}
	e.Response.Content.Text, e.Response.Content.Encoding = harText(data)
	if !complete {
		e.Response.Content.Comment = cut
	}
	return e
}

func millis(m capture.Millis) float64 { return float64(time.Duration(m).Microseconds()) / 1e3 }

func harText(b []byte) (text, encoding string) {
	if isText(b) {
		return string(b), ""
	}
	return base64.StdEncoding.EncodeToString(b), "base64"
}

func pairs(h capture.Header) []harPair {
	list := []harPair{}
	for _, f := range h.Fields() {
		list = append(list, harPair{f.Name, f.Value})
	}
	return list
}

func queryOf(target string) []harPair {
	list := []harPair{}
	_, query, _ := strings.Cut(target, "?")
	for _, part := range strings.Split(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		list = append(list, harPair{unescaped(name), unescaped(value)})
	}
	return list
}

func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
