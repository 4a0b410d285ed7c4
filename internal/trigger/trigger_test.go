package trigger_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
	"github.com/relaytunnel/relay/internal/signature/judge"
	"github.com/relaytunnel/relay/internal/trigger"
)

const address = "https://hooks.example.test/in?a=1"

var now = time.Date(2027, 3, 9, 14, 30, 5, 0, time.UTC)

// each calls f for every sample.
func each(t *testing.T, f func(t *testing.T, provider, event string)) {
	t.Helper()
	for _, provider := range trigger.Providers() {
		for _, event := range trigger.Events(provider) {
			t.Run(provider+" "+event, func(t *testing.T) { f(t, provider, event) })
		}
	}
}

func sample(t *testing.T, provider, event string, at time.Time) trigger.Event {
	t.Helper()
	e, err := trigger.Sample(provider, event, at, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// secretOf is a secret of the form that the provider wants.
func secretOf(provider string) string {
	switch provider {
	case "standard-webhooks", "svix", "gitlab":
		return "whsec_" + base64.StdEncoding.EncodeToString([]byte("fake-secret-for-tests-only"))
	}
	return "fake-secret-for-tests"
}

func TestThePromisedSamplesAreThere(t *testing.T) {
	for provider, events := range map[string][]string{
		"github": {"push", "pull_request", "issues", "ping"}, "gitlab": {"push"}, "shopify": {"orders/create"},
		"stripe": {"payment_intent.succeeded", "invoice.paid", "checkout.session.completed", "charge.refunded"},
		"slack":  {"url_verification", "event_callback"}, "standard-webhooks": {"invoice.paid", "whatever.happened"},
	} {
		for _, event := range events {
			e := sample(t, provider, event, now)
			got := signature.EventType(e.Scheme, e.Request(address))
			if provider != "gitlab" && provider != "slack" && got != event {
				t.Errorf("%s %s is a %q", provider, event, got)
			}
		}
	}
}

func TestSamplesAreWholeAndOfTheirProvider(t *testing.T) {
	each(t, func(t *testing.T, provider, event string) {
		e := sample(t, provider, event, now)
		if strings.Contains(string(e.Body), "{{") {
			t.Error("it has a place to be filled in")
		}
		if strings.HasPrefix(e.Header.Get("Content-Type"), "application/json") && !json.Valid(e.Body) {
			t.Error("its body is not JSON")
		}
		r, err := e.Sign(address, secretOf(provider), now)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Body, e.Body) {
			t.Error("signing changes the body")
		}
		found, ok := signature.Detect(r)
		if !ok || found.Name != provider {
			t.Errorf("it looks like one of %q", found.Name)
		}
		if signature.EventType(e.Scheme, r) == "" {
			t.Error("it does not say what happened")
		}
		if id := e.ID(e.Request(address)); event != "url_verification" && (id == "" || id != e.ID(r) && provider != "gitlab") { // which has one more when it signs
			t.Errorf("its id is %q, and %q when it is signed", id, e.ID(r))
		}
	})
}

func TestSignedSamplesVerify(t *testing.T) {
	each(t, func(t *testing.T, provider, event string) {
		e, secret := sample(t, provider, event, now), secretOf(provider)
		r, err := e.Sign(address, secret, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := signature.Verify(e.Scheme, []string{secret}, r, now); err != nil {
			t.Errorf("it does not verify: %v", err)
		}
		bad, err := e.Forge(address, now, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		var why *signature.Error
		if err := signature.Verify(e.Scheme, []string{secret}, bad, now); !errors.As(err, &why) || why.Reason != signature.WrongSignature {
			t.Errorf("a forged one gives %v, want a wrong signature", err)
		}
		old, err := e.Sign(address, secret, now.Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		err = signature.Verify(e.Scheme, []string{secret}, old, now)
		if timed := e.Scheme.Tolerance > 0 || len(e.Scheme.Any) > 0; timed != (errors.As(err, &why) && why.Reason == signature.TooOld) {
			t.Errorf("one of an hour ago gives %v", err)
		}
	})
}

// Any scheme can be signed and forged, with a body of the user's own.
func TestEverySchemeCanBeTriggered(t *testing.T) {
	for _, s := range signature.All() {
		t.Run(s.Name, func(t *testing.T) {
			body := []byte(`{"n": 1.50}`)
			switch s.Name {
			case "adyen":
				body = []byte(`{"notificationItems":[{"NotificationRequestItem":{"pspReference":"1","additionalData":{"hmacSignature":""}}}]}`)
			case "mailgun":
				body = []byte(`{"signature":{"timestamp":"1800000000","token":"fake","signature":""}}`)
			case "linear":
				body = []byte(`{"webhookTimestamp":1800000000000}`)
			}
			e, err := trigger.Custom(s, http.Header{"Content-Type": {"application/json"}}, body, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			r, err := e.Forge(address, now, rand.Reader)
			if !e.Signs() || s.Name == "microsoft-graph" {
				if err == nil {
					t.Error("it was forged, but there is nothing to forge in it")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.Name != "adyen" && s.Name != "mailgun" && !bytes.Equal(r.Body, body) {
				t.Errorf("the body became %s", r.Body)
			}
			again, err := e.Forge(address, now, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(again.Body, r.Body) && again.URL == r.URL && sameHeader(again.Header, r.Header) {
				t.Error("it is forged with the same secret twice, which somebody could have")
			}
		})
	}
}

func sameHeader(a, b http.Header) bool {
	for name := range a {
		if a.Get(name) != b.Get(name) {
			return false
		}
	}
	return len(a) == len(b)
}

func TestEachSendHasIDsOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, provider, event string) {
		one, two := sample(t, provider, event, now), sample(t, provider, event, now)
		if len(one.Body) != len(two.Body) {
			t.Error("ids have changed their length")
		}
		a, b := one.ID(one.Request(address)), two.ID(two.Request(address))
		if a != "" && a == b {
			t.Errorf("both have the id %s", a)
		}
		if bytes.Equal(one.Body, two.Body) && event != "ping" {
			t.Error("both have the same body")
		}
	})
	e := sample(t, "github", "push", now)
	var push struct {
		After      string
		HeadCommit struct{ ID, URL string } `json:"head_commit"`
		Commits    []struct{ ID string }
	}
	if err := json.Unmarshal(e.Body, &push); err != nil {
		t.Fatal(err)
	}
	if len(push.After) != 40 || push.HeadCommit.ID != push.After || push.Commits[0].ID != push.After || !strings.HasSuffix(push.HeadCommit.URL, push.After) {
		t.Errorf("the commit has several ids: %+v", push)
	}
}

func TestTimesAreNow(t *testing.T) {
	written := regexp.MustCompile(`2026-01-0|17676\d{5}\b|17677\d{5}\b`)
	each(t, func(t *testing.T, provider, event string) {
		e := sample(t, provider, event, now)
		for _, left := range written.FindAllString(string(e.Body), -1) {
			t.Errorf("the time %s stayed", left)
		}
	})
	var got struct {
		Created int64
		Data    struct{ Object struct{ Created int64 } }
	}
	if err := json.Unmarshal(sample(t, "stripe", "payment_intent.succeeded", now).Body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Created != now.Unix() || got.Data.Object.Created != now.Unix()-3 {
		t.Errorf("the times are %+v, want %d and three seconds before", got, now.Unix())
	}
	body := string(sample(t, "github", "push", now).Body)
	for _, want := range []string{`"timestamp":"2027-03-09T15:28:46+01:00"`, `"pushed_at":1804602605`, `"created_at":1581674400`} {
		if !strings.Contains(body, want) {
			t.Errorf("the push has no %s", want)
		}
	}
	if at := sample(t, "shopify", "orders/create", now).Header.Get("X-Shopify-Triggered-At"); at != "2027-03-09T14:30:05.218374651Z" {
		t.Errorf("triggered at %s", at)
	}
}

func TestSet(t *testing.T) {
	for _, tt := range []struct {
		form              bool
		body, path, value string
		want              string // empty: an error
	}{
		{false, `{"a": {"b" :1 , "c":2}}`, "a.b", "5", `{"a": {"b" :5 , "c":2}}`},
		{false, `{"a":1}`, "a", "text", `{"a":"text"}`},
		{false, `{"a":1}`, "a", `"5"`, `{"a":"5"}`},
		{false, `{"a":1}`, "a", `{"x":[1,true]}`, `{"a":{"x":[1,true]}}`},
		{false, `{"a":1}`, "a", "", `{"a":""}`},
		{false, `{"a":1}`, "b.c", "x<&>", `{"a":1,"b":{"c":"x<&>"}}`},
		{false, `{"l":[1,2]}`, "l.1", "3", `{"l":[1,3]}`},
		{false, `{"l":[1,2]}`, "l.-1", "3", `{"l":[1,2,3]}`},
		{false, `{"a.b":1}`, `a\.b`, "2", `{"a.b":2}`},
		{false, `{"a":1}`, "a.b", "2", ``},
		{false, `{"l":[1,2]}`, "l.x", "3", ``},
		{false, `{"l":[1,2]}`, "l.#.x", "3", ``},
		{false, `{"a":1}`, "", "2", ``},
		{false, `not json`, "a", "2", ``},
		{true, "a=1&b=2+3&a=9", "b", "x &", "a=1&b=x+%26&a=9"},
		{true, "a=1&a=9", "a", "2", "a=2&a=9"},
		{true, "a=%2B", "c d", "e", "a=%2B&c+d=e"},
		{true, "", "a", "1", "a=1"},
	} {
		e := trigger.Event{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(tt.body)}
		if tt.form {
			e.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		}
		err := e.Set(tt.path, tt.value)
		switch got := string(e.Body); {
		case tt.want == "" && (err == nil || got != tt.body):
			t.Errorf("set %s of %s to %s: %s (%v), want an error and no change", tt.path, tt.body, tt.value, got, err)
		case tt.want != "" && (err != nil || strings.ReplaceAll(got, `\u003c\u0026\u003e`, "<&>") != tt.want):
			t.Errorf("set %s of %s to %s: %s (%v), want %s", tt.path, tt.body, tt.value, got, err, tt.want)
		}
	}
}

func TestUnknownSamples(t *testing.T) {
	for _, tt := range [][2]string{{"nobody", "push"}, {"github", "nothing"}, {"github", ""}, {"github", "any"}, {"standard-webhooks", ""}, {"linear", "issue"}} {
		if _, err := trigger.Sample(tt[0], tt[1], now, rand.Reader); !errors.Is(err, trigger.ErrUnknown) {
			t.Errorf("%v: %v", tt, err)
		}
	}
}

func TestGitLabHasTwoWays(t *testing.T) {
	e := sample(t, "gitlab", "push", now)
	r, err := e.Sign(address, "plain-token", now)
	if err != nil {
		t.Fatal(err)
	}
	if r.Header.Get("X-Gitlab-Token") != "plain-token" || r.Header.Get("Webhook-Signature") != "" {
		t.Errorf("a plain token gives %v", r.Header)
	}
	if err := signature.Verify(e.Scheme, []string{"plain-token"}, r, now); err != nil {
		t.Error(err)
	}
}

// The vendors' own libraries accept every sample, and no forged one.
func TestVendorsAcceptTheSamples(t *testing.T) {
	libraries := map[string]string{
		"github": "@octokit/webhooks-methods", "stripe": "stripe", "slack": "@slack/bolt", "shopify": "@shopify/shopify-api",
		"gitlab": "standardwebhooks", "standard-webhooks": "standardwebhooks", "svix": "svix", "twilio": "twilio",
	}
	j := judge.New(t)
	at := time.Now() // the libraries have clocks of their own
	each(t, func(t *testing.T, provider, event string) {
		library, ok := libraries[provider]
		if !ok {
			t.Fatalf("nobody judges %s", provider)
		}
		e, secret := sample(t, provider, event, at), secretOf(provider)
		r, err := e.Sign(address, secret, at)
		if err != nil {
			t.Fatal(err)
		}
		if v := j.Ask(t, "verify", library, secret, "", r); !v.OK {
			t.Errorf("%s does not accept it: %s\n%v", library, v.Error, r.Header)
		}
		if provider == "gitlab" {
			return // forged, it has a token, of which this library does not know
		}
		bad, err := e.Forge(address, at, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if v := j.Ask(t, "verify", library, secret, "", bad); v.OK {
			t.Errorf("%s accepts a forged one too, so it proves nothing", library)
		}
	})
}
