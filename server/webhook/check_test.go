package webhook_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
	"github.com/relaytunnel/relay/server/webhook"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// signed makes the headers of a request that a sender signs at a time.
func signed(t *testing.T, provider, url, body string, at time.Time, more ...string) []string {
	t.Helper()
	s, ok := signature.Lookup(provider)
	if !ok {
		t.Fatalf("no scheme %q", provider)
	}
	h := http.Header{}
	for i := 0; i+1 < len(more); i += 2 {
		h.Add(more[i], more[i+1])
	}
	r, err := signature.Sign(s, secret, signature.Request{Method: "POST", URL: url, Header: h, Body: []byte(body)}, at)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for name, values := range r.Header {
		for _, v := range values {
			all = append(all, name, v)
		}
	}
	return all
}

// verifies asks as the app would.
func (s seen) verifies(provider, url string, at time.Time) error {
	scheme, _ := signature.Lookup(provider)
	return signature.Verify(scheme, []string{secret}, signature.Request{Method: s.Method, URL: url, Header: s.Header, Body: s.body}, at)
}

func enforcing(provider string, mode relay.InboxMode) relay.Settings {
	return relay.Settings{Inbox: mode, Provider: provider}
}

func TestWrongSignaturesAreRefusedRecordedAndNeverDelivered(t *testing.T) {
	for _, mode := range []relay.InboxMode{relay.InboxAlways, relay.InboxFallback} {
		w := newWorld(t)
		e := w.endpoint("hooks", enforcing("github", mode), "old", secret)
		w.agent(true)
		w.start()
		body := strings.Repeat("x", 100_000)
		good := w.post("hooks", body, signed(t, "github", "", body, w.clock())...)
		if good.StatusCode >= 300 {
			t.Errorf("%s: a right signature gets %d %s", mode, good.StatusCode, good.body)
		}
		w.next()
		bad := w.post("hooks", body+"!", signed(t, "github", "", body, w.clock())...)
		if bad.StatusCode != 401 || bad.Header.Get("Relay-Error") != "bad_signature" || strings.Contains(bad.body, "evt_") {
			t.Errorf("%s: a wrong signature gets %d %s", mode, bad.StatusCode, bad.body)
		}
		rejected := w.events(relay.Filter{States: []relay.EventState{relay.EventRejected}})
		if len(rejected) != 1 {
			t.Fatalf("%d rejected", len(rejected))
		}
		r, err := w.store.Event(t.Context(), rejected[0].ID)
		if err != nil || r.Verified != "wrong_signature" || !r.Cut || len(r.Body) != 64<<10 || r.Size != 100_001 || strings.Contains(r.Reason, secret) {
			t.Errorf("recorded %+v, %v", r.Reason, err)
		}
		// Nothing gets it out of there.
		for _, do := range []func() (int, error){
			func() (int, error) { return w.inbox.Replay(t.Context(), relay.Filter{IDs: []string{r.ID}}, false) },
			func() (int, error) { return w.inbox.Retry(t.Context(), relay.Filter{IDs: []string{r.ID}}, false) },
			func() (int, error) {
				return w.inbox.Replay(t.Context(), relay.Filter{EndpointID: e.ID, States: []relay.EventState{relay.EventRejected}}, false)
			},
		} {
			if n, err := do(); n != 0 || err != nil {
				t.Errorf("%d rejected events are to be delivered, %v", n, err)
			}
		}
		w.halt()
		if n := len(w.calls()); n != 1 {
			t.Errorf("%s: the app was called %d times", mode, n)
		}
	}
}

func TestObservedSignaturesAreFlagged(t *testing.T) {
	w := newWorld(t)
	s := enforcing("stripe", relay.InboxAlways)
	s.Verify = relay.VerifyObserve
	w.endpoint("hooks", s, secret)
	w.start()
	r := w.post("hooks", "x", "Stripe-Signature", "t=1,v1=00")
	if r.StatusCode != 202 {
		t.Fatalf("answer %d", r.StatusCode)
	}
	w.pass(time.Hour)
	w.agent(true)
	got := w.next()
	if e := w.settled(r.id(), relay.EventDelivered); e.Verified != "wrong_signature" {
		t.Errorf("flag %q", e.Verified)
	}
	// The relay must not make a forgery good.
	if got.Header.Get("Stripe-Signature") != "t=1,v1=00" || got.verifies("stripe", "", w.clock()) == nil {
		t.Errorf("delivered with %v", got.Header)
	}
}

func TestALateDeliveryIsSignedAnew(t *testing.T) {
	const body = `{"id":"evt_1","type":"invoice.paid"}`
	for _, tt := range []struct {
		provider string
		header   string
		fresh    bool // the app accepts it after an hour
	}{
		{"stripe", "Stripe-Signature", true},
		{"slack", "X-Slack-Signature", true},
		{"standard-webhooks", "Webhook-Signature", true},
		{"paddle", "Paddle-Signature", true},
		{"github", "X-Hub-Signature-256", true}, // has no time: nothing is to change
	} {
		t.Run(tt.provider, func(t *testing.T) {
			w := newWorld(t)
			w.endpoint("hooks", enforcing(tt.provider, relay.InboxAlways), "another", secret)
			w.start()
			headers := signed(t, tt.provider, "http://hooks.relay.test/hook?x=1", body, w.clock())
			r := w.post("hooks", body, headers...)
			if r.StatusCode != 202 {
				t.Fatalf("answer %d", r.StatusCode)
			}
			w.pass(time.Hour)
			w.agent(true)
			got := w.next()
			if err := got.verifies(tt.provider, "http://hooks.relay.test/hook?x=1", w.clock()); err != nil {
				t.Errorf("the app refuses it: %v", err)
			}
			w.settled(r.id(), relay.EventDelivered)
			original := got.Header.Get("Relay-Original-" + tt.header)
			kept, _ := w.store.Event(t.Context(), r.id())
			if changed := tt.provider != "github"; changed && original != kept.Header.Get(tt.header) || !changed && original != "" {
				t.Errorf("the original is %q of %q", original, kept.Header.Get(tt.header))
			}
			if string(got.body) != body {
				t.Errorf("body %q", got.body)
			}
			if n, err := w.inbox.Replay(t.Context(), relay.Filter{IDs: []string{r.id()}}, false); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			w.pass(time.Hour)
			again := w.next()
			if again.Header.Get("Relay-Replay") != "true" || again.id() != r.id() {
				t.Errorf("replayed with %v", again.Header)
			}
		})
	}
}

func TestWhatIsPassedOnLiveKeepsItsSignature(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", enforcing("stripe", relay.InboxFallback), secret)
	w.agent(true)
	w.start()
	headers := signed(t, "stripe", "", "x", w.clock().Add(-time.Minute))
	if r := w.post("hooks", "x", headers...); r.StatusCode != 200 {
		t.Fatalf("answer %d", r.StatusCode)
	}
	if got := w.next(); got.Header.Get("Stripe-Signature") != headers[1] {
		t.Errorf("delivered with %v", got.Header)
	}
}

func TestAddressesAreSignedForTheLocalOne(t *testing.T) {
	const local = "http://localhost:3000/base"
	for _, mode := range []relay.InboxMode{relay.InboxAlways, relay.InboxFallback} {
		w := newWorld(t)
		s := enforcing("square", mode)
		s.LocalURL = local + "/"
		w.endpoint("hooks", s, secret)
		w.agent(true)
		w.start()
		r := w.post("hooks", "{}", signed(t, "square", "http://hooks.relay.test/hook?x=1", "{}", w.clock())...)
		if r.StatusCode >= 300 {
			t.Fatalf("answer %d", r.StatusCode)
		}
		got := w.next()
		if err := got.verifies("square", local+"/hook?x=1", w.clock()); err != nil || got.RequestURI != "/hook?x=1" {
			t.Errorf("%s: %v for %s", mode, err, got.RequestURI)
		}
	}
}

func TestHandshakesAreAnsweredWithoutAnAgent(t *testing.T) {
	const question = `{"type":"url_verification","challenge":"c0ffee"}`
	w := newWorld(t)
	w.endpoint("slack", enforcing("slack", relay.InboxFallback), secret)
	off := enforcing("slack", relay.InboxAlways)
	off.NoHandshake = true
	w.endpoint("off", off, secret)
	w.endpoint("github", relay.Settings{Inbox: relay.InboxAlways, Provider: "github"})
	w.endpoint("dropbox", relay.Settings{Inbox: relay.InboxFallback, Provider: "dropbox"}, secret)
	w.start()
	if r := w.post("slack", question); r.StatusCode != 200 || r.body != "c0ffee" {
		t.Errorf("slack: %d %q", r.StatusCode, r.body)
	}
	if r := w.post("off", question); r.StatusCode != 401 {
		t.Errorf("switched off: %d", r.StatusCode)
	}
	if r := w.post("github", question); r.StatusCode != 202 {
		t.Errorf("of another provider: %d", r.StatusCode)
	}
	if r := w.send("GET", "dropbox", "/?challenge=abc", ""); r.StatusCode != 200 || r.body != "abc" {
		t.Errorf("dropbox: %d %q", r.StatusCode, r.body)
	}
	if r := w.send("GET", "dropbox", "/page", ""); r.body != "live" {
		t.Errorf("a page: %d %q", r.StatusCode, r.body)
	}
}

func TestASecretIsLearnedOnceAndOnlyWhereItIsAwaited(t *testing.T) {
	w := newWorld(t)
	s := enforcing("asana", relay.InboxAlways)
	s.AwaitSecret = true
	w.endpoint("hooks", s)
	s.AwaitSecret = false
	s.Verify = relay.VerifyEnforce
	w.endpoint("other", s)
	w.start()
	if r := w.post("hooks", "{}"); r.StatusCode != 401 {
		t.Errorf("unsigned before the handshake: %d", r.StatusCode)
	}
	if r := w.post("other", "{}", "X-Hook-Secret", "stranger"); r.StatusCode != 401 {
		t.Errorf("where nobody waits for it: %d", r.StatusCode)
	}
	if r := w.post("hooks", "{}", "X-Hook-Secret", secret); r.StatusCode != 200 || r.Header.Get("X-Hook-Secret") != secret {
		t.Errorf("handshake: %d %v", r.StatusCode, r.Header)
	}
	if r := w.post("hooks", "{}", "X-Hook-Secret", "stranger"); r.StatusCode != 401 {
		t.Errorf("a second handshake: %d", r.StatusCode)
	}
	if r := w.post("hooks", "{}", signed(t, "asana", "", "{}", w.clock())...); r.StatusCode != 202 {
		t.Errorf("signed: %d", r.StatusCode)
	}
	w.crash()
	if r := w.post("hooks", "{}", signed(t, "asana", "", "{}", w.clock())...); r.StatusCode != 202 {
		t.Errorf("signed, after a restart: %d", r.StatusCode)
	}
}

func TestASchemeOfOnesOwn(t *testing.T) {
	w := newWorld(t)
	s := relay.Settings{Inbox: relay.InboxAlways, Scheme: []byte(`{"header":["X-Signature"],"algorithm":"hmac-sha256","encoding":"hex","content":["{body}"]}`)}
	w.endpoint("hooks", s, secret)
	w.start()
	if r := w.post("hooks", "x", signed(t, "hmac", "", "x", w.clock())...); r.StatusCode != 202 {
		t.Errorf("right: %d", r.StatusCode)
	}
	if r := w.post("hooks", "y", signed(t, "hmac", "", "x", w.clock())...); r.StatusCode != 401 {
		t.Errorf("wrong: %d", r.StatusCode)
	}
	for _, bad := range []relay.Settings{
		{Provider: "nobody"}, {Scheme: []byte(`{"algorithm":"rot13"}`)}, {Scheme: []byte(`{"Cert":"header:X-Cert"}`)}, {Scheme: []byte(`[`)}, {Inbox: "sometimes"},
	} {
		if err := w.inbox.Set(relay.Endpoint{ID: "end_x", Name: "x", Settings: bad}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestAFailureIsExplainedOnDemand(t *testing.T) {
	w := newWorld(t)
	w.endpoint("hooks", enforcing("stripe", relay.InboxAlways), secret)
	w.start()
	w.post("hooks", "x", signed(t, "stripe", "", "x", w.clock().Add(-time.Hour))...)
	w.post("hooks", strings.Repeat("x", 70_000), "Stripe-Signature", "t=1,v1=00")
	w.pass(48 * time.Hour) // it is about the time of arrival
	all := w.events(relay.Filter{})
	for i, want := range []string{"made 60 minutes ago", "Only the beginning of the body was kept"} {
		why, err := w.inbox.Explain(t.Context(), all[i].ID)
		if err != nil || !strings.Contains(why, want) {
			t.Errorf("%q, %v; want %q in it", why, err, want)
		}
	}
}

func TestStrangersFillNeitherDiskNorLog(t *testing.T) {
	var mu sync.Mutex
	var log bytes.Buffer
	w := newWorld(t)
	w.endpoint("hooks", enforcing("github", relay.InboxAlways), secret)
	w.opts = func(o *webhook.Options) {
		o.Log = slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(p)
		}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w.start()
	for range 60 {
		if r := w.post("hooks", "x", "X-Hub-Signature-256", "sha256=00"); r.StatusCode != 401 {
			t.Fatalf("answer %d", r.StatusCode)
		}
	}
	if n := len(w.events(relay.Filter{})); n != 20 {
		t.Errorf("%d recorded in one second", n)
	}
	w.pass(time.Second)
	w.post("hooks", "x", "X-Hub-Signature-256", "sha256=00")
	if n := len(w.events(relay.Filter{})); n != 21 {
		t.Errorf("%d recorded, a second later", n)
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(log.String(), secret) {
		t.Error("the secret is in the log")
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
