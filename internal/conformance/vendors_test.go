package conformance

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
	judges "github.com/relaytunnel/relay/internal/signature/judge"
)

func mac(secret, content string) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(content))
	return h.Sum(nil)
}

func hexMAC(secret, content string) string { return hex.EncodeToString(mac(secret, content)) }

const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// vendors are senders whose own libraries judge. sign is for those whose library only
// verifies: it is written here after their documentation.
var vendors = []struct {
	judge, scheme string
	secret        string
	tolerance     time.Duration // of the library, which the relay shares; 0: it looks at no time
	local         bool          // the library checks the address, which is another behind the tunnel
	late          bool          // nobody can sign it anew, and the library refuses what is late
	body          string        // "" for any
	sign          func(secret, body string, at time.Time) map[string]string
}{
	{judge: "stripe", scheme: "stripe", secret: "whsec_stripe", tolerance: 5 * time.Minute},
	{judge: "svix", scheme: "svix", secret: whsec, tolerance: 5 * time.Minute},
	{judge: "standardwebhooks", scheme: "standard-webhooks", secret: whsec, tolerance: 5 * time.Minute},
	{judge: "@slack/bolt", scheme: "slack", secret: "8f742231b10e8888abcd99yyyzzz85a5", tolerance: 5 * time.Minute, sign: func(secret, body string, at time.Time) map[string]string {
		ts := strconv.FormatInt(at.Unix(), 10)
		return map[string]string{"X-Slack-Request-Timestamp": ts, "X-Slack-Signature": "v0=" + hexMAC(secret, "v0:"+ts+":"+body)}
	}},
	{judge: "@paddle/paddle-node-sdk", scheme: "paddle", secret: "pdl_ntfset_fake", tolerance: 5 * time.Second, sign: func(secret, body string, at time.Time) map[string]string {
		ts := strconv.FormatInt(at.Unix(), 10)
		return map[string]string{"Paddle-Signature": "ts=" + ts + ";h1=" + hexMAC(secret, ts+":"+body)}
	}},
	{judge: "@octokit/webhooks-methods", scheme: "github", secret: "It's a Secret to Everybody"},
	{judge: "@shopify/shopify-api", scheme: "shopify", secret: "shpss_fake", sign: func(secret, body string, _ time.Time) map[string]string {
		return map[string]string{
			"X-Shopify-Hmac-Sha256": base64.StdEncoding.EncodeToString(mac(secret, body)), "X-Shopify-Topic": "orders/create",
			"X-Shopify-Shop-Domain": "fake.myshopify.com", "X-Shopify-Api-Version": "2026-01", "X-Shopify-Webhook-Id": "b54557e4",
		}
	}},
	{judge: "hubspot v3", scheme: "hubspot", secret: "fake-client-secret", tolerance: 5 * time.Minute, local: true},
	{judge: "@linear/sdk", scheme: "linear", secret: "lin_wh_fake", tolerance: time.Minute, late: true, body: `{"type":"Issue","webhookTimestamp":%d}`, sign: func(secret, body string, _ time.Time) map[string]string {
		return map[string]string{"Linear-Signature": hexMAC(secret, body), "Linear-Event": "Issue", "Linear-Delivery": "234d1a4e"}
	}},
}

// sighted is what the vendors' app writes of a request.
type sighted struct {
	Judge, Error, SHA256, Event, Attempt, Received string
	OK                                             bool
	Original                                       *struct {
		OK    bool
		Error string
	}
}

// Apps with the vendors' own libraries, whose agents come only when the libraries would
// not accept the events any more. The time is a true one, and the libraries have the
// tolerance that they always have: an event that was signed nearly five minutes before it
// arrived is still good then, which they confirm, and not a few seconds later.
func TestVendorsAcceptWhatHadToWait(t *testing.T) {
	needsBinary(t)
	j := judges.New(t)
	r := openServer(t)
	l := r.lane(t, false)
	const localURL = "http://localhost:3000"
	secrets := map[string]string{}
	for _, v := range vendors {
		secrets[v.judge] = v.secret
	}
	env, err := json.Marshal(secrets)
	if err != nil {
		t.Fatal(err)
	}
	app := startApp(t, []string{"SECRETS=" + string(env), "LOCAL_URL=" + localURL}, "node", "testdata/vendors/app.mjs")

	// While the agent is away.
	hosts, hashes := make([]string, len(vendors)), make([]string, len(vendors))
	var stale time.Time // when the libraries refuse what was sent
	for n, v := range vendors {
		args := []string{"--inbox", "always", "--verify", v.scheme}
		if v.local {
			args = append(args, "--local-url", localURL)
		}
		hosts[n] = r.endpoint(t, fmt.Sprint("hooks", n), v.secret, args...)
		target := "/" + url.PathEscape(v.judge)
		// signed is an event that is good for five seconds more.
		signed := func() (map[string]string, string) {
			at := time.Now().Truncate(time.Second)
			if v.tolerance > 0 {
				at = at.Add(5*time.Second - v.tolerance)
				if later := at.Add(v.tolerance); later.After(stale) {
					stale = later
				}
			}
			body := "{\"id\":\"evt_1\",\"type\":\"thing.made\",\n \"name\": \"Grüße \\/ ☃ <&>\", \"n\":1.50}\n"
			if v.body != "" {
				body = fmt.Sprintf(v.body, at.UnixMilli())
			}
			if v.sign != nil {
				return v.sign(v.secret, body, at), body
			}
			return j.SignAt(t, v.judge, v.secret, signature.Request{Method: "POST", URL: "http://" + hosts[n] + target, Body: []byte(body)}, at), body
		}
		signed() // loads the library, which may take longer than an event is good for
		header, body := signed()
		var got sighted
		direct := (&road{addr: app.addr}).lane(t, false).post(t, app.addr, target, header, []byte(body))
		if app.next(t, &got); got.OK == v.local || direct.StatusCode != map[bool]int{true: 200, false: 403}[got.OK] {
			t.Errorf("%s: without the relay the library says %t of it: %s", v.judge, got.OK, got.Error)
		}
		if resp := l.post(t, hosts[n], target, header, []byte(strings.Replace(body, "\"", "\" ", 1))); resp.StatusCode != 401 || resp.Header.Get("Relay-Error") != "bad_signature" {
			t.Errorf("%s: another body with this signature gets %s %s, want 401 bad_signature", v.judge, resp.Status, resp.Header.Get("Relay-Error"))
		}
		if resp := l.post(t, hosts[n], target, header, []byte(body)); resp.StatusCode != 202 {
			t.Errorf("%s: an event that is signed right gets %s %s, want 202", v.judge, resp.Status, resp.Header.Get("Relay-Error"))
		}
		sum := sha256.Sum256([]byte(body))
		hashes[n] = hex.EncodeToString(sum[:])
	}
	time.Sleep(time.Until(stale.Add(2 * time.Second))) // the very thing that is judged

	for n, v := range vendors {
		t.Run(v.judge, func(t *testing.T) {
			r.agent = r.startAgent(t, app.addr, "--name", fmt.Sprint("hooks", n))
			var got sighted
			app.next(t, &got)
			switch {
			case got.Judge != v.judge:
				t.Fatalf("the app got one of %s", got.Judge)
			case got.SHA256 != hashes[n]:
				t.Error("the body is another than was sent")
			case got.Attempt != "1" || !strings.HasPrefix(got.Event, "evt_") || got.Received == "":
				t.Errorf("event %q, attempt %q, received at %q", got.Event, got.Attempt, got.Received)
			}
			if v.late {
				if got.OK || got.Original != nil {
					t.Errorf("nobody can sign this anew, and the library has accepted it: %v", got)
				}
				return
			}
			if !got.OK {
				t.Errorf("the library does not accept it: %s", got.Error)
			}
			anew := v.tolerance > 0 || v.local
			switch {
			case anew && got.Original == nil:
				t.Error("it was not signed anew")
			case anew && got.Original.OK:
				t.Error("the library would have accepted the original as well, so this proves nothing")
			case anew:
				t.Logf("of the original it says: %s", got.Original.Error)
			case got.Original != nil:
				t.Error("it was signed anew without need")
			}
		})
	}
	app.quiet(t)
	if rejected := strings.Count(r.relay(t, "events", "list", "--status", "rejected", "--json"), "\n"); rejected != len(vendors) {
		t.Errorf("%d rejected events are recorded, want %d", rejected, len(vendors))
	}
}
