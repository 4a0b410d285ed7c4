package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

// harLog is as much of an HTTP archive (HAR 1.2) as a replay needs.
type harLog struct {
	Entries []struct {
		Started string `json:"startedDateTime"`
		Request struct {
			Method   string     `json:"method"`
			URL      string     `json:"url"`
			Headers  []harField `json:"headers"`
			BodySize int64      `json:"bodySize"`
			PostData *struct {
				Text     string `json:"text"`
				Encoding string `json:"_encoding"` // of our own: the format has none here
			} `json:"postData"`
		} `json:"request"`
		Response struct {
			Status  int        `json:"status"`
			Headers []harField `json:"headers"`
			Content struct {
				Size     int64   `json:"size"`
				Text     *string `json:"text"`
				Encoding string  `json:"encoding"`
				Comment  string  `json:"comment"`
			} `json:"content"`
		} `json:"response"`
	} `json:"entries"`
}

type harField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// exchangesOfHAR reads the entries of an archive.
func exchangesOfHAR(log json.RawMessage) ([]*capture.Exchange, error) {
	var h harLog
	if err := json.Unmarshal(log, &h); err != nil {
		return nil, fmt.Errorf("read the HAR: %w", err)
	}
	var all []*capture.Exchange
	for i, entry := range h.Entries {
		bad := func(err error) error { return fmt.Errorf("entry %d of the HAR: %w", i+1, err) }
		u, err := url.Parse(entry.Request.URL)
		if err != nil || u.Host == "" {
			return nil, bad(fmt.Errorf("%q is no URL", entry.Request.URL))
		}
		_, target, _ := strings.Cut(strings.TrimPrefix(entry.Request.URL, u.Scheme+"://"), "/")
		target, _, _ = strings.Cut("/"+target, "#")
		x := &capture.Exchange{State: capture.Done, Request: capture.Request{
			Method: entry.Request.Method, Target: target, Host: u.Host, Scheme: u.Scheme, Header: harHeader(entry.Request.Headers),
		}}
		x.Began, _ = time.Parse(time.RFC3339Nano, entry.Started) // only a filter asks for it
		if p := entry.Request.PostData; p != nil {
			if x.Request.Body, err = harBody(p.Text, p.Encoding, x.Request.Header); err != nil {
				return nil, bad(err)
			}
		}
		x.Request.Body.Truncated = entry.Request.BodySize > x.Request.Body.Size
		if r := entry.Response; r.Status > 0 {
			x.Response = &capture.Response{Status: r.Status, Header: harHeader(r.Headers)}
			text := ""
			if r.Content.Text != nil {
				text = *r.Content.Text
			}
			if x.Response.Body, err = harBody(text, r.Content.Encoding, x.Response.Header); err != nil {
				return nil, bad(err)
			}
			x.Response.Body.Encoding = "" // the format has bodies of answers without it
			x.Response.Body.Truncated = r.Content.Text == nil && r.Content.Size > 0 || r.Content.Comment != ""
		}
		all = append(all, x)
	}
	return all, nil
}

// harHeader leaves out what browsers note of HTTP/2 as if it were fields.
func harHeader(fields []harField) capture.Header {
	h := http.Header{}
	for _, f := range fields {
		if !strings.HasPrefix(f.Name, ":") {
			h.Add(f.Name, f.Value)
		}
	}
	return capture.Header(h)
}

func harBody(text, encoding string, h capture.Header) (capture.Body, error) {
	kept := []byte(text)
	if encoding == "base64" {
		var err error
		if kept, err = base64.StdEncoding.DecodeString(text); err != nil {
			return capture.Body{}, fmt.Errorf("its body is not base64: %w", err)
		}
	}
	return capture.Body{Size: int64(len(kept)), Kept: kept, Type: h.Get("Content-Type"), Encoding: h.Get("Content-Encoding")}, nil
}
