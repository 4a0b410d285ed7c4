package capture_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

// hook is an exchange for filters to look at: at 11:50, 700 ms long.
func hook() *capture.Exchange {
	c := newClock()
	c.add(-10 * time.Minute)
	r := capture.New(capture.Options{Now: c.Now, BodyLimit: 4 << 10})
	req := request("POST", "/hooks/GitHub?x=1", `{"action":"opened","n":12345678901234567890,"ok":true,"tags":["a","b"],"user":{"login":"Ada","odd key":"o"},"Free":"Needle in a body"}`,
		"Content-Type", "application/json", "X-GitHub-Event", "push", "X-Empty", "", "Relay-Request-Id", "req_1", "X-Forwarded-For", "10.1.2.3")
	req.Host = "api.example.com"
	tap := r.Begin(req, "", "")
	body := tap.RequestBody(req.Body, -1, func() http.Header { return nil })
	_, _ = io.Copy(io.Discard, body)
	c.add(700 * time.Millisecond)
	res := response(503, strings.Repeat("busy ", 1000), "Retry-After", "10", "Content-Type", "text/plain")
	tap.Response(res)
	_, _ = io.Copy(io.Discard, res.Body)
	tap.End(errors.New("the visitor left"))
	xs, _, _ := r.List(req.Context(), capture.Query{})
	return xs[0]
}

func TestFilterTerms(t *testing.T) {
	x := hook()
	now := newClock().now
	for filter, want := range map[string]bool{
		"": true, "   \t ": true,
		"status:503": true, "status:5xx": true, "STATUS:5XX": true, "status:2xx": false, "status:500": false, "status:none": false,
		"method:post": true, "method:P*T": true, "method:PO": false,
		"path:/hooks": true, "path:/HOOKS/github": true, "path:/other": false, "path:*x=1": true, "path:*x=2": false, "path:/h*g*t*": true, "path:ooks": false,
		"host:api.": true, "host:*.example.com": true, "host:example.com": false, "visitor:10.1": true, "visitor:10.2": false,
		"id:req_1": true, "id:req": false,
		"header:x-github-event": true, "header:X-GitHub-Event=PUSH": true, "header:x-github-event=pu*": true, "header:x-github-event=pull": false,
		"header:retry-after=10": true, "header:x-nothing": false, "header:x-empty=": true, "header:x-github-event=": false,
		"json:.action=opened": true, "json:.action=Opened": false, "json:.action": true, "json:.nothing": false, "json:.action=open*": true,
		"json:.n=12345678901234567890": true, "json:.n=12345678901234567891": false, "json:.ok=true": true, "json:.ok=false": false,
		"json:.tags[1]=b": true, "json:.tags[0]=b": false, "json:.tags[*]=b": true, "json:.user.login=Ada": true, "json:.*.login=Ada": true, "json:.login=Ada": false,
		`json:.user["odd key"]=o`: true, `json:.user["odd key"]=p`: false, `json:.user["odd key"]`: true, `"json:.action=closed"`: false,
		`json:.Free="Needle in a body"`: true,
		"duration:>500ms":               true, "duration:<500ms": false, "duration:>1s": false, "duration:<1m": true,
		"size:>4kb": true, "size:>5kb": false, "size:<5001b": true, "size:>4kib": true, "size:>1mb": false, "size:<1mib": true, "size:>4999": true,
		"is:failed": true, "is:live": false, "is:replay": false, "is:websocket": false, "is:truncated": true,
		"after:11m": true, "after:9m": false, "before:9m": true, "before:11m": false, "after:0": false,
		"after:2026-01-31T11:49": true, "after:2026-01-31T11:51:00Z": false, "after:2026-01-31": true, "before:2026-01-31": false,
		"after:11:49": true, "after:11:51": false, "before:11:50:01": true, "after:2026-01-31T11:51:00z": false,
		"needle": true, "NEEDLE": true, `"needle in"`: true, `"needle out"`: false, "busy": true, "retry-after": true, "github": true, "example.com": true,
		"http://nowhere": false, `"say \"x\""`: false, "left": true,
		"-status:2xx": true, "-status:5xx": false, "-needle": false, "-nothing": true,
		"status:5xx method:POST path:/hooks needle": true, "status:5xx method:GET": false,
	} {
		f, err := capture.ParseFilter(filter, now)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		if got := f.Match(x); got != want {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
}

// A request without an answer, and those that a replay, a WebSocket or nothing yet is.
func TestFilterStates(t *testing.T) {
	for filter, x := range map[string]*capture.Exchange{
		"status:none -status:5xx is:live size:<1": {State: capture.Live},
		"is:replay":              {Replay: true},
		"is:websocket":           {Request: capture.Request{Header: capture.Header{"Upgrade": {"WebSocket"}}}},
		"-duration:>0s":          {State: capture.Live},
		"-json:.a -needle":       {},
		"-header:x -header:x=1":  {Response: &capture.Response{}},
		"is:truncated":           {Response: &capture.Response{Body: capture.Body{Truncated: true}}},
		"json:.a=1":              {Response: &capture.Response{Body: capture.Body{Kept: []byte("\ufeff [0,{\"a\":2}]\n{\"a\":1}")}}},
		"json:[1].a=2 -json:[0]": {Request: capture.Request{Body: capture.Body{Kept: []byte(`[]`)}}, Response: &capture.Response{Body: capture.Body{Kept: []byte(`{}`)}}},
	} {
		f, err := capture.ParseFilter(filter, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := f.Match(x), filter != "json:[1].a=2 -json:[0]"; got != want {
			t.Errorf("%s: %v", filter, got)
		}
	}
	var none *capture.Filter
	if !none.Match(&capture.Exchange{}) {
		t.Error("no filter does not take all")
	}
}

func TestFilterErrorsSayWhere(t *testing.T) {
	for _, c := range []struct {
		filter string
		at     int
		term   string
		why    string
	}{
		{"status:9", 0, "status:9", "give a status like 404"},
		{"path:/a  status:x", 9, "status:x", "give a status like 404"},
		{"path:/a -status:x", 8, "-status:x", "give a status like 404"},
		{"status:99", 0, "status:99", "404"},
		{"status:6xx", 0, "status:6xx", "5xx"},
		{"method:", 0, "method:", "nothing follows the colon"},
		{`path:""`, 0, `path:""`, "nothing follows"},
		{`a ""`, 2, `""`, "nothing is between the quotes"},
		{`a "b c`, 2, `"b c`, "not closed"},
		{`path:"b c`, 5, `"b c`, "not closed"},
		{`json:.a["b`, 8, `"b`, "not closed"},
		{"header:=x", 0, "header:=x", "name of a header field"},
		{`header:"a b=x"`, 0, `header:"a b=x"`, "name of a header field"},
		{"json:action", 0, "json:action", "not a path"},
		{"json:.", 0, "json:.", "not a path"},
		{"json:.a..b", 0, "json:.a..b", "not a path"},
		{"json:.a[x]", 0, "json:.a[x]", "not a path"},
		{"json:.a[1", 0, "json:.a[1", "not a path"},
		{"duration:500ms", 0, "duration:500ms", "more or less"},
		{"duration:>5", 0, "duration:>5", "more or less"},
		{"duration:>-5s", 0, "duration:>-5s", "more or less"},
		{"size:10", 0, "size:10", "more or less"},
		{"size:>x", 0, "size:>x", "more or less"},
		{"size:>10tb", 0, "size:>10tb", "more or less"},
		{"is:good", 0, "is:good", "known are"},
		{"after:soon", 0, "after:soon", "how long ago"},
		{"before:-5m", 0, "before:-5m", "how long ago"},
	} {
		_, err := capture.ParseFilter(c.filter, time.Now())
		var fe *capture.FilterError
		if !errors.As(err, &fe) {
			t.Errorf("%s: %v", c.filter, err)
			continue
		}
		if fe.At != c.at || fe.Term != c.term || !strings.Contains(fe.Why, c.why) || !strings.Contains(fe.Error(), fe.Why) {
			t.Errorf("%s: at %d %s: %s", c.filter, fe.At, fe.Term, fe.Why)
		}
	}
}

// Whatever is typed, it is a filter or an error that points into what was typed.
func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{`status:5xx -method:POST`, `json:.a["b c"]=x "y z`, `after:10m header:a=b`, `json:[`, `-`, `- -"`, `size:>1kb "\"" path:*`} {
		f.Add(s)
	}
	x := hook()
	now := newClock().now
	f.Fuzz(func(t *testing.T, s string) {
		filter, err := capture.ParseFilter(s, now)
		if err == nil {
			filter.Match(x)
			filter.Match(&capture.Exchange{})
			return
		}
		var fe *capture.FilterError
		if !errors.As(err, &fe) || fe.At < 0 || fe.At >= len(s) || fe.Term == "" || !strings.HasPrefix(s[fe.At:], fe.Term) || fe.Why == "" {
			t.Errorf("%q: %v", s, err)
		}
	})
}
