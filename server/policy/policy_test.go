package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/policy"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func parse(t testing.TB, d relay.Door, tokens relay.DoorTokens) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(d, tokens, lists(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lists are those that came with the program, which ask f for newer ones.
func lists(t testing.TB, f func(ctx context.Context, url string) ([]byte, error)) *policy.Lists {
	t.Helper()
	if f == nil {
		f = func(context.Context, string) ([]byte, error) { return nil, errors.New("there is no network in tests") }
	}
	l, err := policy.NewLists(policy.ListOptions{Fetch: f})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func request(target string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, http.NoBody)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

var anyone = netip.MustParseAddr("198.51.100.9")

func code(no *policy.Refusal) string {
	if no == nil {
		return ""
	}
	return fmt.Sprintf("%d %s", no.Status, no.Code)
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		door relay.Door
		addr string
		pass bool
	}{
		{relay.Door{AllowIP: []string{"203.0.113.7"}}, "203.0.113.7", true},
		{relay.Door{AllowIP: []string{"203.0.113.7"}}, "203.0.113.8", false},
		{relay.Door{AllowIP: []string{" 203.0.113.0/24 "}}, "203.0.113.255", true},
		{relay.Door{AllowIP: []string{"203.0.113.0/24"}}, "203.0.114.0", false},
		{relay.Door{AllowIP: []string{"203.0.113.77/24"}}, "203.0.113.1", true}, // the range that it lies in
		{relay.Door{AllowIP: []string{"203.0.113.0/24"}}, "::ffff:203.0.113.9", true},
		{relay.Door{AllowIP: []string{"::ffff:203.0.113.0/120"}}, "203.0.113.9", true},
		{relay.Door{AllowIP: []string{"::ffff:203.0.113.0/120"}}, "203.0.114.9", false},
		{relay.Door{AllowIP: []string{"::ffff:203.0.113.7"}}, "203.0.113.7", true},
		{relay.Door{AllowIP: []string{"2001:db8::/32"}}, "2001:db8:ffff::1", true},
		{relay.Door{AllowIP: []string{"2001:db8::/32"}}, "2001:db9::1", false},
		{relay.Door{AllowIP: []string{"fe80::/10"}}, "fe80::1%eth0", true},
		{relay.Door{AllowIP: []string{"0.0.0.0/0"}}, "2001:db8::1", false},
		{relay.Door{AllowIP: []string{"::/0"}}, "203.0.113.7", false},
		{relay.Door{AllowIP: []string{"::/0"}}, "2001:db8::1", true},
		{relay.Door{DenyIP: []string{"203.0.113.7"}}, "203.0.113.7", false},
		{relay.Door{DenyIP: []string{"203.0.113.7"}}, "::ffff:203.0.113.7", false},
		{relay.Door{DenyIP: []string{"203.0.113.7"}}, "203.0.113.8", true},
		{relay.Door{DenyIP: []string{"203.0.113.0/24"}, AllowIP: []string{"203.0.113.7"}}, "203.0.113.7", false}, // deny before allow
		{relay.Door{DenyIP: []string{"203.0.113.7"}, AllowIP: []string{"203.0.113.0/24"}}, "203.0.113.8", true},
		{relay.Door{AllowProviderIPs: []string{"github"}}, "192.30.252.44", true},
		{relay.Door{AllowProviderIPs: []string{"github"}}, "9.234.106.49", true},
		{relay.Door{AllowProviderIPs: []string{"github"}}, "::ffff:192.30.252.44", true},
		{relay.Door{AllowProviderIPs: []string{"github"}}, "2a0a:a440::1", true},
		{relay.Door{AllowProviderIPs: []string{"github"}}, "54.187.216.72", false},
		{relay.Door{AllowProviderIPs: []string{"GitHub", "stripe"}}, "54.187.216.72", true},
		{relay.Door{AllowProviderIPs: []string{"linear"}}, "34.38.87.206", true},
		{relay.Door{AllowProviderIPs: []string{"github"}, AllowIP: []string{"203.0.113.7"}}, "203.0.113.7", true},
		{relay.Door{AllowProviderIPs: []string{"github"}, DenyIP: []string{"192.30.252.0/24"}}, "192.30.252.44", false},
		{relay.Door{AllowIP: []string{"203.0.113.7"}}, "", false}, // who is not known comes through no rule
		{relay.Door{DenyIP: []string{"203.0.113.7"}}, "", false},
		{relay.Door{Rate: "10/s"}, "", true},
		{relay.Door{}, "203.0.113.7", true},
	} {
		addr, _ := netip.ParseAddr(tt.addr)
		no := parse(t, tt.door, nil).Admit(addr, request("/"), now)
		if tt.pass != (no == nil) || no != nil && code(no) != "403 ip_denied" {
			t.Errorf("%+v and %q: %v", tt.door, tt.addr, code(no))
		}
	}
}

// Allowing and denying agree with looking through the lists one by one.
func TestAddressesAgreeWithTheSimpleWay(t *testing.T) {
	// Few bits vary, so that ranges meet addresses.
	address := rapid.Custom(func(t *rapid.T) netip.Addr {
		n := rapid.IntRange(0, 63).Draw(t, "n")
		four := netip.AddrFrom4([4]byte{10, byte(n >> 4), 0, byte(n & 15)})
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			return four
		case 1:
			return netip.AddrFrom16(four.As16())
		}
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(n >> 4), 15: byte(n & 15)})
	})
	rule := rapid.Custom(func(t *rapid.T) string {
		a := address.Draw(t, "address")
		if rapid.Bool().Draw(t, "single") {
			return a.String()
		}
		least := 0
		if a.Is4In6() {
			least = 96
		}
		return fmt.Sprintf("%s/%d", a, rapid.IntRange(least, a.BitLen()).Draw(t, "bits"))
	})
	in := func(rules []string, a netip.Addr) bool {
		for _, r := range rules {
			if !strings.Contains(r, "/") {
				r += fmt.Sprintf("/%d", netip.MustParseAddr(r).BitLen())
			}
			p := netip.MustParsePrefix(r)
			if p.Addr().Is4In6() {
				p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
			}
			if p.Contains(a.Unmap()) {
				return true
			}
		}
		return false
	}
	rapid.Check(t, func(rt *rapid.T) {
		d := relay.Door{
			AllowIP: rapid.SliceOfN(rule, 0, 8).Draw(rt, "allow"),
			DenyIP:  rapid.SliceOfN(rule, 0, 8).Draw(rt, "deny"),
		}
		p, err := policy.Parse(d, nil, nil)
		if err != nil {
			rt.Fatal(err)
		}
		a := address.Draw(rt, "visitor")
		want := !in(d.DenyIP, a) && (len(d.AllowIP) == 0 || in(d.AllowIP, a))
		if got := p.Admit(a, request("/"), now) == nil; got != want {
			rt.Errorf("%v at %+v: %v, want %v", a, d, got, want)
		}
	})
}

func TestTokens(t *testing.T) {
	tokens := relay.DoorTokens{"header:x-token": {"right one", "older"}, "query:to ken": {"s=cr&t"}, "bearer": {"abc"}, "header:X-Unused": {"zzz"}}
	all := []string{"header:x-token", "query:to ken", "bearer"}
	for _, tt := range []struct {
		places []string
		r      *http.Request
		pass   bool
	}{
		{all, request("/"), false},
		{all, request("/", "X-Token", "right one"), true},
		{all, request("/", "X-Token", "older"), true},
		{all, request("/", "X-Token", "right one "), false},
		{all, request("/", "X-Token", "Right One"), false},
		{all, request("/", "X-Token", ""), false},
		{all, request("/", "X-Token", "wrong", "X-Token", "older"), true},
		{all, request("/", "X-Unused", "zzz"), false},
		{all, request("/?to+ken=s%3Dcr%26t"), true},
		{all, request("/?a=1&to%20ken=s=cr%26t&b"), true},
		{all, request("/?to+ken=s%3Dcr"), false},
		{all, request("/?to+ken"), false},
		{all, request("/?to+ken=%zz"), false},
		{all, request("/", "Authorization", "Bearer abc"), true},
		{all, request("/", "Authorization", "bearer  abc"), true},
		{all, request("/", "Authorization", "Basic abc"), false},
		{all, request("/", "Authorization", "abc"), false},
		{[]string{"bearer"}, request("/", "X-Token", "right one"), false}, // not a place any more
		{nil, request("/"), true},
	} {
		p := parse(t, relay.Door{RequireToken: tt.places}, tokens)
		no := p.Admit(anyone, tt.r, now)
		if tt.pass != (no == nil) || no != nil && (code(no) != "401 token_required" || no.Challenge != "Bearer") {
			t.Errorf("%v %v: %v", tt.r.URL, tt.r.Header, code(no))
		}
	}
	if no := parse(t, relay.Door{RequireToken: all[:1]}, tokens).Admit(anyone, request("/"), now); no.Challenge != "" {
		t.Errorf("it asks for %s, which it does not take", no.Challenge)
	}
}

func TestStrip(t *testing.T) {
	tokens := relay.DoorTokens{"header:X-Token": {"abc"}, "query:token": {"abc"}, "bearer": {"abc"}}
	places := []string{"header:X-Token", "query:token", "bearer"}
	for target, want := range map[string]string{
		"/in?token=abc":               "/in",
		"/in?a=%7e&token=abc&b=+&a":   "/in?a=%7e&b=+&a",
		"/in?tok%65n=abc&token=2&x=1": "/in?x=1",
		"/in?tokens=1":                "/in?tokens=1",
		"/in":                         "/in",
		"/in?":                        "/in",
	} {
		r := request(target, "X-Token", "abc", "Authorization", "Bearer abc", "Authorization", "Basic eHg6eA==", "X-Other", "1")
		was := r.URL
		parse(t, relay.Door{RequireToken: places, Strip: true}, tokens).Strip(r)
		if got := r.URL.RequestURI(); got != want || r.RequestURI != want {
			t.Errorf("%s became %s, and %s as it is sent; want %s", target, got, r.RequestURI, want)
		}
		if r.Header.Get("X-Token") != "" || r.Header.Get("X-Other") != "1" || fmt.Sprint(r.Header["Authorization"]) != "[Basic eHg6eA==]" {
			t.Errorf("%v is left", r.Header)
		}
		if was.RequestURI() != target {
			t.Error("an address that others hold was changed")
		}
		kept := request(target, "X-Token", "abc")
		parse(t, relay.Door{RequireToken: places}, tokens).Strip(kept)
		if kept.RequestURI != target || kept.Header.Get("X-Token") == "" {
			t.Error("it is taken out although nobody asked")
		}
	}
}

func TestRate(t *testing.T) {
	for _, tt := range []struct {
		door  relay.Door
		burst int
		wait  int // seconds until the next may come
		gap   time.Duration
	}{
		{relay.Door{Rate: "10/s"}, 10, 1, 100 * time.Millisecond},
		{relay.Door{Rate: "100/s", Burst: 3}, 3, 1, 10 * time.Millisecond},
		{relay.Door{Rate: "600/m"}, 10, 1, 100 * time.Millisecond},
		{relay.Door{Rate: "6/m"}, 6, 10, 10 * time.Second},
		{relay.Door{Rate: "2/h", Burst: 1}, 1, 1800, 30 * time.Minute},
	} {
		p := parse(t, tt.door, nil)
		at := now
		for i := range tt.burst {
			if no := p.Admit(anyone, request("/"), at); no != nil {
				t.Fatalf("%+v: request %d of %d gives %s", tt.door, i+1, tt.burst, code(no))
			}
		}
		for range 3 { // what is refused does not make the wait longer
			if no := p.Admit(anyone, request("/"), at); code(no) != "429 rate_limited" || no.RetryAfter != tt.wait {
				t.Fatalf("%+v: one more gives %+v, want a wait of %d", tt.door, no, tt.wait)
			}
		}
		if no := p.Admit(anyone, request("/"), at.Add(tt.gap)); no != nil {
			t.Errorf("%+v: after %v it gives %s", tt.door, tt.gap, code(no))
		}
	}
}

func TestWhatIsRefusedUsesNothingUp(t *testing.T) {
	p := parse(t, relay.Door{Rate: "1/m", Burst: 1, DenyIP: []string{"203.0.113.7"}, RequireToken: []string{"bearer"}, MaxBody: 10}, relay.DoorTokens{"bearer": {"abc"}})
	good := func() *http.Request { return request("/", "Authorization", "Bearer abc") }
	big := good()
	big.ContentLength = 11
	for _, tt := range []struct {
		addr netip.Addr
		r    *http.Request
		want string
	}{
		{netip.MustParseAddr("203.0.113.7"), good(), "403 ip_denied"},
		{anyone, request("/"), "401 token_required"},
		{anyone, big, "413 body_too_large"},
		{anyone, good(), ""},
		{anyone, good(), "429 rate_limited"},
	} {
		if got := code(p.Admit(tt.addr, tt.r, now)); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestACountGoesOnWhenSettingsChange(t *testing.T) {
	old := parse(t, relay.Door{Rate: "1/m", Burst: 1}, nil)
	if no := old.Admit(anyone, request("/"), now); no != nil {
		t.Fatal(code(no))
	}
	same := parse(t, relay.Door{Rate: "1/m", Burst: 1, MaxBody: 5}, nil)
	same.Follow(old)
	if no := same.Admit(anyone, request("/"), now); code(no) != "429 rate_limited" {
		t.Errorf("the count began anew: %q", code(no))
	}
	for _, d := range []relay.Door{{Rate: "2/m", Burst: 1}, {Rate: "1/m", Burst: 2}} {
		other := parse(t, d, nil)
		other.Follow(old)
		other.Follow(nil)
		if no := other.Admit(anyone, request("/"), now); no != nil {
			t.Errorf("%+v gives %s at once", d, code(no))
		}
	}
}

func TestNoDoorIsNoPolicy(t *testing.T) {
	p := parse(t, relay.Door{}, relay.DoorTokens{"bearer": {"x"}})
	if p != nil || p.Admit(netip.Addr{}, request("/"), now) != nil || p.MaxBody() != 0 {
		t.Error("an open door is not open")
	}
	p.Strip(request("/"))
	p.Follow(nil)
	if got := parse(t, relay.Door{MaxBody: 7}, nil).MaxBody(); got != 7 {
		t.Errorf("the largest body is %d", got)
	}
}

func TestWrongSettings(t *testing.T) {
	const secret = "very-secret"
	for _, tt := range []struct {
		door   relay.Door
		tokens relay.DoorTokens
		want   string
	}{
		{door: relay.Door{AllowIP: []string{"203.0.113.300"}}, want: `allow_ip: "203.0.113.300" is not an address`},
		{door: relay.Door{DenyIP: []string{"example.com"}}, want: "deny_ip: "},
		{door: relay.Door{DenyIP: []string{""}}, want: "deny_ip: "},
		{door: relay.Door{AllowIP: []string{"fe80::1%eth0"}}, want: "allow_ip: "},
		{door: relay.Door{AllowIP: []string{"::ffff:0:0/95"}}, want: "allow_ip: "},
		{door: relay.Door{AllowIP: []string{"10.0.0.0/33"}}, want: "allow_ip: "},
		{door: relay.Door{AllowIP: make([]string, 5001)}, want: "5000 are the most"},
		{door: relay.Door{AllowProviderIPs: []string{"nobody"}}, want: "there are lists of github, linear, stripe"},
		{door: relay.Door{RequireToken: []string{"bearer"}}, want: "there is no token for bearer"},
		{door: relay.Door{RequireToken: []string{"bearer"}}, tokens: relay.DoorTokens{"bearer": {""}}, want: "there is no token for bearer"},
		{door: relay.Door{RequireToken: []string{"cookie:a"}}, want: "is no place"},
		{door: relay.Door{RequireToken: []string{"header:"}}, want: "is no place"},
		{door: relay.Door{RequireToken: []string{"header:a b"}}, want: "is no place"},
		{door: relay.Door{RequireToken: []string{"header:host"}}, tokens: relay.DoorTokens{"header:host": {"a"}}, want: "is no place"},
		{door: relay.Door{RequireToken: []string{"header:X-Token=" + secret}}, want: "is no place"},
		{door: relay.Door{RequireToken: []string{"bearer:" + secret}}, want: "is no place"},
		{door: relay.Door{Strip: true}, want: "strip: "},
		{door: relay.Door{Rate: "fast"}, want: "rate "},
		{door: relay.Door{Rate: "10"}, want: "rate "},
		{door: relay.Door{Rate: "0/s"}, want: "rate "},
		{door: relay.Door{Rate: "1/d"}, want: "rate "},
		{door: relay.Door{Rate: "1e3/s"}, want: "rate "},
		{door: relay.Door{Rate: "1/s", Burst: -1}, want: "burst "},
		{door: relay.Door{Burst: 5}, want: "burst "},
		{door: relay.Door{MaxBody: -1}, want: "max_body "},
	} {
		_, err := policy.Parse(tt.door, tt.tokens, lists(t, nil))
		if !errors.Is(err, relay.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.door, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a token: %v", err)
		}
	}
}

func TestTokensAreNotShown(t *testing.T) {
	const secret = "very-secret"
	tokens := relay.DoorTokens{"bearer": {secret}}
	p := parse(t, relay.Door{RequireToken: []string{"bearer"}}, tokens)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", p, p, p), fmt.Sprintf("%v %+v %#v %s", tokens, tokens, tokens, tokens), fmt.Sprintf("%+v", *p)} {
		if strings.Contains(text, secret) {
			t.Errorf("it shows a token: %s", text)
		}
	}
	for written, want := range map[string]string{
		"header:X-Token=a=b": "header:X-Token a=b", "query:token=x": "query:token x", "bearer:x:y": "bearer x:y",
		secret: "", "header:" + secret: "", "header:=" + secret: "", "cookie:a=" + secret: "", "bearer:": "", "query:token=": "",
	} {
		place, token, err := relay.ParseDoorToken(written)
		if want == "" {
			if !errors.Is(err, relay.ErrInvalid) || strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %v", written, err)
			}
			continue
		}
		if err != nil || place+" "+token != want {
			t.Errorf("%q is %q %q (%v)", written, place, token, err)
		}
	}
}

func TestADoorIsJSON(t *testing.T) {
	text, err := json.Marshal(relay.Door{
		AllowIP: []string{"a"}, DenyIP: []string{"b"}, AllowProviderIPs: []string{"github"}, RequireToken: []string{"bearer"},
		Strip: true, Rate: "10/s", Burst: 5, MaxBody: 9,
	})
	want := `{"allow_ip":["a"],"deny_ip":["b"],"allow_provider_ips":["github"],"require_token":["bearer"],"strip":true,"rate":"10/s","burst":5,"max_body":9}`
	if err != nil || string(text) != want {
		t.Errorf("%s (%v)", text, err)
	}
	if text, _ := json.Marshal(relay.Door{}); string(text) != "{}" {
		t.Errorf("an open door is %s", text)
	}
}
