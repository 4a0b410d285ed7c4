package capture_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/capture"
)

func TestFixture(t *testing.T) {
	for name, body := range map[string]string{"text": "a\nb", "binary": "\xff\x00", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			x := &capture.Exchange{
				ID: "x", State: capture.Done, Began: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Visitor: "192.0.2.1", Duration: 5,
				Request: capture.Request{
					Method: "POST", Target: "/hook?a=%20", Host: "a.test", Scheme: "https",
					Header: capture.Header{"X-A": {"1", "2"}, "X-Forwarded-For": {"192.0.2.1"}, "Relay-Request-Id": {"x"}, "Forwarded": {"x"}},
					Body:   capture.Body{Size: int64(len(body)), Kept: []byte(body), Type: "text/plain"},
				},
				Response: &capture.Response{Status: 201, Header: capture.Header{"B": {"c"}}, Body: capture.Body{Size: 2, Kept: []byte("ok")}},
			}
			text, err := x.Fixture()
			if err != nil || bytes.ContainsRune(text, '\n') {
				t.Fatalf("%s, %v", text, err)
			}
			if strings.Contains(string(text), "192.0.2.1") {
				t.Errorf("it tells of a visitor: %s", text)
			}
			got, err := capture.ReadFixture(text)
			if err != nil {
				t.Fatal(err)
			}
			want := &capture.Exchange{State: capture.Done, Began: x.Began, Request: x.Request, Response: x.Response}
			want.Request.Header = capture.Header{"X-A": {"1", "2"}}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBadFixtures(t *testing.T) {
	const ok = `{"relay_fixture":1,"recorded":"2026-01-02T03:04:05Z","request":{"method":"GET","target":"/","host":"","scheme":"http","headers":[],"body":{"size":0,"text":""}}}`
	if _, err := capture.ReadFixture([]byte(ok)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, now, says string }{
		{ok, ``, "no fixture"},
		{ok, `[]`, "no fixture"},
		{ok, ok + ok, "behind"},
		{`"relay_fixture":1`, `"relay_fixture":2`, "knows 1"},
		{`"relay_fixture":1,`, ``, "knows 1"},
		{`"recorded"`, `"recordet"`, `"recordet"`},
		{`"method":"GET"`, `"method":"G T"`, `request.method "G T"`},
		{`"method":"GET",`, ``, "request.method"},
		{`"target":"/"`, `"target":"x"`, `request.target "x"`},
		{`"text":""`, `"base64":"?"`, "base64"},
		{`"headers":[]`, `"headers":{}`, "headers"},
		{`}}}`, `}},"response":{"status":7,"headers":[],"body":{"size":0}}}`, "response.status 7"},
	} {
		text := strings.Replace(ok, c.old, c.now, 1)
		if _, err := capture.ReadFixture([]byte(text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", text, err, c.says)
		}
	}
	// A body that somebody has edited has the size that it has.
	x, err := capture.ReadFixture([]byte(strings.Replace(ok, `"text":""`, `"text":"longer"`, 1)))
	if err != nil || x.Request.Body.Size != 6 {
		t.Errorf("%+v, %v", x, err)
	}
}
