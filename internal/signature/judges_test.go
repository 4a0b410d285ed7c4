package signature_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
	"github.com/relaytunnel/relay/internal/signature/judge"
)

var judges = []struct {
	judge, scheme string
	signs         bool
}{
	{"@octokit/webhooks-methods", "github", true},
	{"stripe", "stripe", true},
	{"standardwebhooks", "standard-webhooks", true},
	{"standardwebhooks", "gitlab", true},
	{"svix", "svix-headers", true},
	{"svix", "clerk", true},
	{"twilio", "twilio", false},
	{"twilio", "mandrill", false}, // the same content under another header
	{"hubspot v1", "hubspot-v1", true},
	{"hubspot v2", "hubspot-v2", true},
	{"hubspot v3", "hubspot", true},
	{"adyen", "adyen", true},
	{"adyen platform", "adyen-platform", true},
	{"discord-interactions", "discord", true},
	{"@slack/bolt", "slack", false},
	{"@shopify/shopify-api", "shopify", false},
	{"square", "square", false},
	{"@paddle/paddle-node-sdk", "paddle", false},
	{"@linear/sdk", "linear", false},
	{"@sendgrid/eventwebhook", "sendgrid", true},
	{"@line/bot-sdk", "line", false},
	{"box-node-sdk", "box", false},
	{"razorpay", "razorpay", false},
	{"@mux/mux-node", "mux", false},
	{"@workos-inc/node", "workos", false},
	{"webflow-api", "webflow", false},
	{"gocardless-nodejs", "gocardless", false},
	{"@notionhq/client", "notion", true},
	{"@contentful/node-apps-toolkit", "contentful", true},
	{"jsonwebtoken", "netlify", true},
}

// bodyFor is a JSON body with what makes re-writing visible, which the judge
// takes.
func bodyFor(scheme string, x sample, now time.Time) []byte {
	switch scheme {
	case "adyen", "mandrill":
		return x.Body
	case "linear":
		return []byte(`{"type":"Issue","title":"Grüße \/ ☃","webhookTimestamp":` + jsonNumber(now.UnixMilli()) + "}")
	case "workos": // reads the body and writes it again before it verifies
		return []byte(`{"id":"evt_1","event":"user.created","data":{"name":"Grüße"}}`)
	}
	return []byte("{\"id\":\"evt_1\",\"type\":\"thing.made\",\n \"name\": \"Grüße \\/ ☃ <&>\", \"events\": [], \"n\":1.50}\n")
}

func jsonNumber(n int64) string {
	text, _ := json.Marshal(n) // an int64 always has a text
	return string(text)
}

func TestVendorsAgree(t *testing.T) {
	j := judge.New(t)
	for _, tt := range judges {
		t.Run(tt.judge+" "+tt.scheme, func(t *testing.T) {
			s, ok := signature.Lookup(tt.scheme)
			if !ok {
				t.Skipf("%s is not in the tables", tt.scheme)
			}
			x, now := sampleOf(t, s), time.Now()
			x.Body = bodyFor(tt.scheme, x, now)
			x.Header.Set("X-Shopify-Topic", "orders/create")
			for _, name := range []string{"Shop-Domain", "Api-Version", "Webhook-Id"} {
				x.Header.Set("X-Shopify-"+name, "fake")
			}

			t.Run("accepts what we sign", func(t *testing.T) {
				r, err := signature.Sign(s, x.sign, x.Request, now)
				if err != nil {
					t.Fatal(err)
				}
				if tt.scheme == "mandrill" {
					r.Header.Set("X-Twilio-Signature", r.Header.Get("X-Mandrill-Signature"))
				}
				if v := j.Ask(t, "verify", tt.judge, x.verify, x.verify, r); !v.OK {
					t.Errorf("it does not: %s\n%v", v.Error, r.Header)
				}
				changed := r
				changed.Body = bytes.Replace(r.Body, []byte("1"), []byte("2"), 1)
				if tt.scheme == "mandrill" {
					changed.Body = []byte("mandrill_events=%5B1%5D")
				}
				if v := j.Ask(t, "verify", tt.judge, x.verify, x.verify, changed); v.OK {
					t.Error("it accepts another body too, so it proves nothing")
				}
			})
			if !tt.signs {
				return
			}
			t.Run("signs what we accept", func(t *testing.T) {
				v := j.Ask(t, "sign", tt.judge, x.sign, x.verify, x.Request)
				if v.Error != "" {
					t.Fatal(v.Error)
				}
				r := x.Request
				r.Header = r.Header.Clone()
				for name, value := range v.Headers {
					if name == "body" {
						r.Body, _ = base64.StdEncoding.DecodeString(value)
						continue
					}
					r.Header.Set(name, value)
				}
				if err := signature.Verify(s, []string{x.verify}, r, time.Now()); err != nil {
					t.Errorf("we do not: %v\n%v", err, r.Header)
				}
				wantReason(t, signature.Verify(s, []string{x.wrong}, r, time.Now()), signature.WrongSignature)
			})
		})
	}
	t.Run("twilio form", func(t *testing.T) {
		s := lookup(t, "twilio")
		r := signature.Request{
			Method: http.MethodPost, URL: "https://hooks.example.test/sms?a=b&c=%27",
			Header: header("Content-Type", "application/x-www-form-urlencoded"), Body: []byte("To=%2B1&Body=Gr%C3%BC%C3%9Fe+%26&List=b&List=a&List=a&Empty="),
		}
		v := j.Ask(t, "sign", "twilio", "fake-token", "", r)
		r.Header.Set("X-Twilio-Signature", v.Headers["x-twilio-signature"])
		if err := signature.Verify(s, []string{"fake-token"}, r, time.Now()); err != nil {
			t.Error(err)
		}
		ours, err := signature.Sign(s, "fake-token", r, time.Now())
		if err != nil || !j.Ask(t, "verify", "twilio", "fake-token", "", ours).OK {
			t.Errorf("it does not accept ours: %v", err)
		}
	})
}

// Each example event of GitHub's is signed here and there, both agree, and the
// bytes stay what they are.
func TestOctokitExamples(t *testing.T) {
	j := judge.New(t)
	s := lookup(t, "github")
	const secret = "fake-github-secret"
	examples := judge.GitHubExamples(t)
	for _, x := range examples {
		r := signature.Request{Method: http.MethodPost, URL: "https://hooks.example.test/", Header: header("X-GitHub-Event", x.Event, "X-GitHub-Delivery", x.ID), Body: x.Body}
		r.Header.Set("X-Hub-Signature-256", j.Ask(t, "sign", "@octokit/webhooks-methods", secret, "", r).Headers["x-hub-signature-256"])
		if err := signature.Verify(s, []string{secret}, r, time.Now()); err != nil {
			t.Errorf("%s: %v", x.ID, err)
		}
		ours, err := signature.Sign(s, secret, r, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ours.Body, x.Body) || ours.Header.Get("X-Hub-Signature-256") != r.Header.Get("X-Hub-Signature-256") {
			t.Errorf("%s: we sign it otherwise", x.ID)
		}
	}
	t.Logf("%d examples", len(examples))
}
