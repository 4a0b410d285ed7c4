package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/capture"
)

// What is in a file is told by what it says, not by its name.
func TestExchangesInFiles(t *testing.T) {
	const har = `{"log":{"entries":[
		{"startedDateTime":"2026-01-06T09:12:44.5Z",
		 "request":{"method":"POST","url":"https://a.example/x/%2F?q=1&r#frag","bodySize":3,
			"headers":[{"name":":authority","value":"a.example"},{"name":"content-type","value":"text/plain"}],
			"postData":{"mimeType":"text/plain","text":"AAEC","_encoding":"base64"}},
		 "response":{"status":200,"headers":[{"name":"Content-Encoding","value":"gzip"}],"content":{"size":2,"text":"ok"}}},
		{"request":{"method":"GET","url":"http://a.example"},"response":{"status":0}},
		{"request":{"method":"GET","url":"http://a.example/big"},"response":{"status":200,"content":{"size":9}}}]}}`
	for name, test := range map[string]struct {
		text  string
		count int
		err   string
		check func(t *testing.T, all []*capture.Exchange)
	}{
		"a HAR": {text: har, count: 3, check: func(t *testing.T, all []*capture.Exchange) {
			x := all[0]
			if r := x.Request; r.Target != "/x/%2F?q=1&r" || r.Host != "a.example" || r.Scheme != "https" || string(r.Body.Kept) != "\x00\x01\x02" || r.Body.Truncated ||
				len(r.Header) != 1 || r.Header.Get("Content-Type") != "text/plain" || x.Began.IsZero() {
				t.Errorf("the request is %+v", x.Request)
			}
			if r := x.Response; r.Status != 200 || string(r.Body.Kept) != "ok" || r.Body.Encoding != "" || r.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("the answer is %+v", x.Response)
			}
			if all[1].Response != nil || all[1].Request.Target != "/" {
				t.Errorf("the second is %+v", all[1])
			}
			if !all[2].Response.Body.Truncated {
				t.Error("a body that is not there is taken for one")
			}
		}},
		"a fixture": {text: `{"relay_fixture":1,"request":{"method":"GET","target":"/a","headers":[{"name":"x-a","value":"1"}]}}`, count: 1, check: func(t *testing.T, all []*capture.Exchange) {
			if all[0].Request.Header.Get("X-A") != "1" || !strings.HasSuffix(all[0].ID, "recorded.json") {
				t.Errorf("got %+v", all[0])
			}
		}},
		"several, on lines": {text: `{"relay_fixture":1,"request":{"method":"GET","target":"/a"}}` + "\n" + `{"relay_fixture":1,"request":{"method":"GET","target":"/b"}}`, count: 2, check: func(t *testing.T, all []*capture.Exchange) {
			if !strings.HasSuffix(all[1].ID, "recorded.json:2") {
				t.Errorf("the id is %s", all[1].ID)
			}
		}},
		"an export":         {text: `{"items":[{"state":"done","request":{"method":"GET","target":"/a"}}]}`, count: 1},
		"one exchange":      {text: `{"state":"done","request":{"method":"GET","target":"/a"}}`, count: 1},
		"nothing":           {text: ""},
		"a wrong fixture":   {text: `{"relay_fixture":1,"request":{"method":"GET","target":"a"}}`, err: "value 1: request.target"},
		"the second wrong":  {text: `{"relay_fixture":1,"request":{"method":"GET","target":"/a"}} {"relay_fixture":9}`, err: "value 2: relay_fixture is 9"},
		"a null item":       {text: `{"items":[null]}`, err: "null"},
		"a list":            {text: `[]`, err: "it is a list"},
		"something else":    {text: `{"a":1}`, err: "no recorded request"},
		"a number":          {text: `7`, err: "number"},
		"no JSON":           {text: `hello`, err: "invalid character"},
		"a URL that is bad": {text: `{"log":{"entries":[{"request":{"url":"/x"}}]}}`, err: `entry 1 of the HAR: "/x" is no URL`},
		"base64 that is bad": {
			text: `{"log":{"entries":[{"request":{"url":"http://a/","postData":{"text":"*","_encoding":"base64"}}}]}}`, err: "entry 1 of the HAR: its body is not base64",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "recorded.json")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			all, err := exchangesIn(path, nil)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q in it", err, test.err)
				}
				return
			}
			if err != nil || len(all) != test.count {
				t.Fatalf("got %d (%v)", len(all), err)
			}
			if test.check != nil {
				test.check(t, all)
			}
		})
	}
}
