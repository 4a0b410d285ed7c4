package cli

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/client/forward"
	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/internal/signature"
)

// hooked is an app that keeps what it gets.
type hooked struct {
	*httptest.Server
	got chan signature.Request
}

func newHooked(t *testing.T) *hooked {
	t.Helper()
	h := &hooked{got: make(chan signature.Request, 10)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		h.got <- signature.Request{Method: r.Method, URL: "https://" + r.Host + r.RequestURI, Header: r.Header, Body: b}
	}))
	t.Cleanup(h.Close)
	return h
}

// last is what came; a replay that is over has come, or never will.
func (h *hooked) last(t *testing.T) signature.Request {
	t.Helper()
	select {
	case r := <-h.got:
		return r
	default:
		t.Fatal("nothing came")
		return signature.Request{}
	}
}

func (h *hooked) addr() string { return h.Listener.Addr().String() }

// leads is a tunnel to an app whose hooks are signed; provider "" is not.
func leads(t *testing.T, to *hooked, provider, secret string, inspect bool) tunnel {
	t.Helper()
	out := tunnel{forward: forward.Options{Addr: to.addr()}, inspect: inspect}
	if provider != "" {
		out.spec = client.Spec{Settings: asJSON(t, relay.Settings{Provider: provider})}
	}
	if secret != "" {
		out.spec.Secrets = asJSON(t, relay.Secrets{Signing: []string{secret, "an older one"}})
	}
	return out
}

func asJSON(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sourceOf is what an agent with these tunnels has to show.
func sourceOf(t *testing.T, tunnels ...tunnel) source {
	t.Helper()
	w := &wiring{run: &agentRun{tunnels: tunnels, recorder: capture.New(capture.Options{})}}
	w.forward(nil)
	t.Cleanup(w.close)
	return w.source()
}

func TestTargetsAreTheAppsThatAreServed(t *testing.T) {
	signed, plain, unseen := newHooked(t), newHooked(t), newHooked(t)
	s := sourceOf(t,
		leads(t, signed, "github", "s3cret", true), leads(t, signed, "", "", true), // under another name
		leads(t, plain, "github", "", true), leads(t, unseen, "", "", false))
	got, err := s.Targets(t.Context())
	want := []capture.Target{
		{ID: signed.addr(), Name: signed.addr(), Live: true, Signs: true},
		{ID: plain.addr(), Name: plain.addr(), Live: true},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestReplayGoesToTheAppThatIsNamed(t *testing.T) {
	first, second, unseen := newHooked(t), newHooked(t), newHooked(t)
	s := sourceOf(t, leads(t, first, "", "", true), leads(t, second, "", "", true), leads(t, unseen, "", "", false))
	again := func(to string) capture.Again {
		return capture.Again{Upstream: first.addr(), To: to, Method: "POST", Target: "/a?b=c", Host: "alice.relay.test", Header: http.Header{"X-A": {"b"}}, Body: []byte("body")}
	}
	for to, app := range map[string]*hooked{"": first, first.addr(): first, second.addr(): second} {
		id, err := s.Replay(t.Context(), again(to))
		if err != nil || id == "" {
			t.Fatalf("to %q: %q, %v", to, id, err)
		}
		if len(app.got) != 1 {
			t.Fatalf("to %q: %d requests came there", to, len(app.got))
		}
		if r := app.last(t); r.Method != "POST" || !strings.HasSuffix(r.URL, "/a?b=c") || r.Header.Get("X-A") != "b" || string(r.Body) != "body" || r.Header.Get(capture.ReplayHeader) != "true" {
			t.Errorf("to %q: got %+v", to, r)
		}
		if x, ok, err := s.Get(t.Context(), id); err != nil || !ok || !x.Replay || x.Status() != 200 || x.Upstream != app.addr() {
			t.Errorf("to %q: recorded %+v, %v, %v", to, x, ok, err)
		}
	}
	for _, to := range []string{"127.0.0.1:1", "hooks", unseen.addr(), "http://" + first.addr(), " "} {
		if _, err := s.Replay(t.Context(), again(to)); !errors.Is(err, relay.ErrNotFound) {
			t.Errorf("to %q: %v", to, err)
		}
	}
	gone := again("")
	gone.Upstream = "127.0.0.1:1" // of an app that an earlier agent has served
	if _, err := s.Replay(t.Context(), gone); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("to who has had it: %v", err)
	}
	if n := len(first.got) + len(second.got) + len(unseen.got); n != 0 {
		t.Errorf("%d requests came that were refused", n)
	}
}

// aged is a hook as it came some days ago, when its signature was right.
func aged(t *testing.T, provider, secret string) capture.Again {
	t.Helper()
	scheme, ok := signature.Lookup(provider)
	if !ok {
		t.Fatalf("there is no scheme %s", provider)
	}
	r, err := signature.Sign(scheme, secret, signature.Request{
		Method: "POST", URL: "https://alice.relay.test/hooks?a=b", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"id":"evt_1"}`),
	}, time.Now().Add(-100*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return capture.Again{Method: r.Method, Target: "/hooks?a=b", Host: "alice.relay.test", Header: r.Header, Body: r.Body}
}

func verify(t *testing.T, provider, secret string, r signature.Request) error {
	t.Helper()
	scheme, _ := signature.Lookup(provider)
	return signature.Verify(scheme, []string{secret}, r, time.Now())
}

// An edited body gets the signature that belongs to it, and an old one its new time;
// without being asked nothing is signed.
func TestReplayIsSignedAnew(t *testing.T) {
	for provider, secret := range map[string]string{"github": "s3cret", "stripe": "whsec_s3cret", "twilio": "0123456789abcdef"} {
		t.Run(provider, func(t *testing.T) {
			app := newHooked(t)
			s := sourceOf(t, leads(t, app, provider, secret, true))
			a := aged(t, provider, secret)
			a.Upstream, a.Body = app.addr(), []byte(`{"id":"evt_1","edited":true}`)
			if provider == "twilio" { // signs the fields of a form
				a.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				a.Body = []byte("From=%2B1&To=%2B2")
			}
			a.Header = a.Header.Clone()
			if _, err := s.Replay(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			if err := verify(t, provider, secret, app.last(t)); err == nil {
				t.Fatal("it is right before it is signed: this shows nothing")
			}
			a.Sign, a.Header = true, a.Header.Clone()
			if _, err := s.Replay(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			got := app.last(t)
			if err := verify(t, provider, secret, got); err != nil {
				t.Errorf("the new signature: %v; %v", err, got.Header)
			}
			if err := verify(t, provider, "an older one", got); err == nil {
				t.Error("it is signed with the older secret")
			}
			if string(got.Body) != string(a.Body) {
				t.Errorf("the body is now %q", got.Body)
			}
		})
	}
}

// Who signs an address signs the public one of the request, or the one by which the app
// knows itself.
func TestReplaySignsTheAddressThatTheAppKnows(t *testing.T) {
	const secret = "0123456789abcdef"
	for local, want := range map[string]string{"": "https://public.example/hooks?a=b", "http://localhost:3000": "http://localhost:3000/hooks?a=b"} {
		app := newHooked(t)
		tun := leads(t, app, "twilio", secret, true)
		tun.spec.Settings = asJSON(t, relay.Settings{Provider: "twilio", LocalURL: local})
		s := sourceOf(t, tun)
		req := &http.Request{Method: "POST", RequestURI: "/hooks?a=b", Host: "inner.test", Header: http.Header{"X-Forwarded-Host": {"public.example"}, "X-Forwarded-Proto": {"https"}}}
		tap := s.Begin(req, app.addr(), "")
		tap.End(nil)
		a := aged(t, "twilio", secret)
		a.Of, a.Upstream, a.Sign = tap.ID(), app.addr(), true
		a.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		a.Body = []byte("From=%2B1")
		if _, err := s.Replay(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		got := app.last(t)
		got.URL = want
		if err := verify(t, "twilio", secret, got); err != nil {
			t.Errorf("local URL %q: %v", local, err)
		}
		got.URL = "https://alice.relay.test/hooks?a=b"
		if verify(t, "twilio", secret, got) == nil {
			t.Errorf("local URL %q: any address is right: this shows nothing", local)
		}
	}
}

// A sender that no table has is signed as its own scheme says.
func TestReplayIsSignedByAnOwnScheme(t *testing.T) {
	app := newHooked(t)
	tun := leads(t, app, "", "s3cret", true)
	own := json.RawMessage(`{"header":["X-Own-Signature"]}`)
	scheme, err := signature.ParseScheme(own)
	if err != nil {
		t.Fatal(err)
	}
	tun.spec.Settings = asJSON(t, relay.Settings{Scheme: own})
	s := sourceOf(t, tun)
	if _, err := s.Replay(t.Context(), capture.Again{Upstream: app.addr(), Sign: true, Method: "POST", Target: "/", Host: "alice.relay.test", Header: http.Header{}, Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	got := app.last(t)
	if err := signature.Verify(scheme, []string{"s3cret"}, got, time.Now()); err != nil {
		t.Errorf("%v: %v", err, got.Header)
	}
}

// Two names may lead to one app, each with a sender of its own.
func TestReplayIsSignedAsItsSenderDoes(t *testing.T) {
	app := newHooked(t)
	s := sourceOf(t, leads(t, app, "github", "s3cret", true), leads(t, app, "stripe", "whsec_s3cret", true))
	for provider, secret := range map[string]string{"github": "s3cret", "stripe": "whsec_s3cret"} {
		a := aged(t, provider, secret)
		a.Upstream, a.Sign = app.addr(), true
		if provider == "github" {
			a.Header.Set("X-Github-Event", "push")
		}
		if _, err := s.Replay(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if err := verify(t, provider, secret, app.last(t)); err != nil {
			t.Errorf("%s: %v", provider, err)
		}
	}
}

// Without a secret that fits nothing is sent: the app would refuse it.
func TestReplayThatCannotBeSigned(t *testing.T) {
	for name, tt := range map[string]struct{ provider, secret string }{
		"no sender":        {"", "s3cret"},
		"no secret":        {"github", ""},
		"unknown sender":   {"nobody", "s3cret"},
		"secret of no use": {"standard-webhooks", "whsec_???"},
	} {
		t.Run(name, func(t *testing.T) {
			app := newHooked(t)
			s := sourceOf(t, leads(t, app, tt.provider, tt.secret, true))
			_, err := s.Replay(t.Context(), capture.Again{Upstream: app.addr(), Sign: true, Method: "POST", Target: "/", Host: "alice.relay.test", Header: http.Header{}})
			if !errors.Is(err, relay.ErrInvalid) {
				t.Errorf("got %v", err)
			}
			if len(app.got) != 0 {
				t.Error("it was sent")
			}
		})
	}
}
