package signature_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
)

var now = time.Unix(1_800_000_000, 0)

// sample is a request of one sender with the secrets to sign and verify it.
type sample struct {
	sign, verify, wrong string
	signature.Request
}

// sampleOf makes an unsigned request as the scheme has it.
func sampleOf(t testing.TB, s signature.Scheme) sample {
	t.Helper()
	x := sample{
		sign: "fake-secret-for-tests", wrong: "fake-wrong-secret",
		Request: signature.Request{
			Method: http.MethodPost, URL: "https://hooks.example.test/in?a=1",
			Header: header("Content-Type", "application/json"), Body: []byte(`{"id":"evt_1","type":"thing.made","n":1}` + "\n"),
		},
	}
	x.verify = x.sign
	switch {
	case s.Algorithm == signature.Basic:
		x.sign, x.wrong = "fake-user:fake-password", "fake-user:another"
		x.verify = x.sign
	case s.Algorithm == signature.Ed25519:
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
		other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
		x.sign = hex.EncodeToString(key.Seed())
		x.verify = hex.EncodeToString(key.Public().(ed25519.PublicKey))
		x.wrong = hex.EncodeToString(other.Public().(ed25519.PublicKey))
		if s.Name == "standard-webhooks-ed25519" {
			x.sign = "whsk_" + base64.StdEncoding.EncodeToString(key)
			x.verify = "whpk_" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
		}
	case s.Algorithm == signature.ECDSA:
		x.sign, x.verify = ecdsaPair(t)
		_, x.wrong = ecdsaPair(t)
	case s.Key == signature.HexKey:
		x.sign, x.wrong = strings.Repeat("0f", 32), strings.Repeat("f0", 32)
		x.verify = x.sign
	case s.Key == signature.Whsec || len(s.Any) > 0:
		x.sign = "whsec_" + base64.StdEncoding.EncodeToString([]byte("fake-secret-for-tests-only"))
		x.wrong = "whsec_" + base64.StdEncoding.EncodeToString([]byte("fake-secret-that-is-another"))
		x.verify = x.sign
	}
	switch s.Name {
	case "adyen":
		x.Body = []byte(strings.Replace(adyenBody, "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0=", "", 1))
	case "mailgun":
		x.Body = []byte(`{"signature":{"timestamp":"1800000000","token":"fake","signature":""},"event-data":{"event":"opened"}}`)
	case "linear":
		x.Body = []byte(`{"type":"Issue","webhookTimestamp":1800000000000}`)
	case "mandrill":
		x.Header = header("Content-Type", "application/x-www-form-urlencoded")
		x.Body = []byte("mandrill_events=%5B%5D")
	case "microsoft-graph":
		x.Body = []byte(`{"value":[{"id":"1","clientState":"fake-secret-for-tests"},{"id":"2","clientState":"fake-secret-for-tests"}]}`)
	}
	return x
}

func ecdsaPair(t testing.TB) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(pkcs8), base64.StdEncoding.EncodeToString(spki)
}

// signed are the schemes with something to verify that can be signed here.
func signed() []signature.Scheme {
	var all []signature.Scheme
	for _, s := range signature.All() {
		if s.Algorithm != signature.None && s.Algorithm != signature.RSA {
			all = append(all, s)
		}
	}
	return all
}

// signedSample is the sample, signed; Graph's token is in its body already.
func signedSample(t testing.TB, s signature.Scheme) sample {
	t.Helper()
	x := sampleOf(t, s)
	if s.Name == "microsoft-graph" {
		return x
	}
	r, err := signature.Sign(s, x.sign, x.Request, now)
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	x.Request = r
	return x
}

func reason(t testing.TB, err error) signature.Reason {
	t.Helper()
	var e *signature.Error
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("%v is a %T, want a *signature.Error", err, err)
	}
	if e == nil {
		return ""
	}
	return e.Reason
}

func wantReason(t testing.TB, err error, want ...signature.Reason) {
	t.Helper()
	got := reason(t, err)
	for _, w := range want {
		if got == w {
			return
		}
	}
	t.Errorf("got %q (%v), want %q", got, err, want)
}

func TestTablesAreSound(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range signature.All() {
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		if s.Name == "" || s.Title == "" || seen[s.Name] || s.Name != strings.ToLower(s.Name) {
			t.Errorf("%q (%q) has no name or title of its own", s.Name, s.Title)
		}
		seen[s.Name] = true
	}
	if len(seen) != len(signature.Names()) {
		t.Errorf("Names has %d, All %d", len(signature.Names()), len(seen))
	}
}

// What every scheme has to do.
func TestEveryScheme(t *testing.T) {
	for _, s := range signed() {
		t.Run(s.Name, func(t *testing.T) {
			x := signedSample(t, s)
			verify := func(secrets []string, change func(*signature.Request)) error {
				r := x.Request
				r.Header = r.Header.Clone()
				r.Body = bytes.Clone(r.Body)
				if change != nil {
					change(&r)
				}
				return signature.Verify(s, secrets, r, now)
			}

			if err := verify([]string{x.verify}, nil); err != nil {
				t.Fatalf("signed right: %v", err)
			}
			if err := verify([]string{x.wrong, "", "?", x.verify}, nil); err != nil {
				t.Errorf("one of several secrets: %v", err)
			}
			wantReason(t, verify([]string{x.wrong}, nil), signature.WrongSignature)
			wantReason(t, verify(nil, nil), signature.NoSecret)
			wantReason(t, verify([]string{""}, nil), signature.NoSecret)

			token := s.Algorithm == signature.Token || s.Algorithm == signature.Basic || s.Name == "gitlab"
			if !token && s.Name != "mailgun" {
				err := verify([]string{x.verify}, func(r *signature.Request) {
					r.Body = bytes.Replace(r.Body, []byte("1"), []byte("2"), 1)
					r.Body = bytes.Replace(r.Body, []byte("events=%5B"), []byte("events=%5D"), 1)
				})
				wantReason(t, err, signature.WrongSignature, signature.BodyChanged)
			}
			if s.Each == "" {
				bare := func(r *signature.Request) {
					for name := range r.Header {
						if name != "Content-Type" {
							delete(r.Header, name)
						}
					}
				}
				wantReason(t, verify([]string{x.verify}, bare), signature.NoHeader)
			}
			if len(s.Header) == 1 && !token {
				name := strings.TrimSuffix(s.Header[0], "*")
				if name != s.Header[0] {
					name += "1"
				}
				for _, value := range []string{"", "=", ",;. ", s.Prefix, s.Prefix + "not/hex-or+base64!", "v9=abcd"} {
					err := verify([]string{x.verify}, func(r *signature.Request) { r.Header.Set(name, value) })
					wantReason(t, err, signature.Malformed, signature.Version, signature.WrongSignature, signature.NoTimestamp)
				}
				if s.Split != "" {
					right := x.Header.Get(name)
					for _, value := range []string{right + s.Split + s.Prefix + "abcd", "v9=abcd" + s.Split + right} {
						if err := verify([]string{x.verify}, func(r *signature.Request) { r.Header.Set(name, value) }); err != nil {
							t.Errorf("with other signatures beside it, %q: %v", value, err)
						}
					}
				}
			}
			if s.Tolerance > 0 {
				late := signature.Verify(s, []string{x.verify}, x.Request, now.Add(s.Tolerance+time.Second))
				wantReason(t, late, signature.TooOld)
				early := signature.Verify(s, []string{x.verify}, x.Request, now.Add(-s.Tolerance-time.Second))
				wantReason(t, early, signature.TooNew)
				if err := signature.Verify(s, []string{x.verify}, x.Request, now.Add(s.Tolerance)); err != nil {
					t.Errorf("at the end of the tolerance: %v", err)
				}
				wantReason(t, signature.Verify(s, []string{x.wrong}, x.Request, now.Add(s.Tolerance*3)), signature.WrongSignature)
			}
			if name, ok := strings.CutPrefix(string(s.Timestamp), "header:"); ok {
				wantReason(t, verify([]string{x.verify}, func(r *signature.Request) { r.Header.Del(name) }), signature.NoTimestamp)
				wantReason(t, verify([]string{x.verify}, func(r *signature.Request) { r.Header.Add(name, "1") }), signature.NoTimestamp)
				err := verify([]string{x.verify}, func(r *signature.Request) { r.Header.Set(name, "yesterday") })
				wantReason(t, err, signature.WrongTimestamp, signature.WrongSignature)
			}
		})
	}
}

// A late delivery is signed anew, and nothing else of it changes.
func TestSignMakesALateDeliveryFresh(t *testing.T) {
	for _, s := range signed() {
		if !s.Fresh() || s.Name == "microsoft-graph" {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			x := signedSample(t, s)
			x.Header.Set("X-Other", "stays")
			before := x.Header.Clone()
			later := now.Add(3 * time.Hour)
			r, err := signature.Sign(s, x.sign, x.Request, later)
			if err != nil {
				t.Fatal(err)
			}
			if err := signature.Verify(s, []string{x.verify}, r, later); err != nil {
				t.Errorf("signed anew: %v", err)
			}
			if !bytes.Equal(r.Body, x.Body) || r.Header.Get("X-Other") != "stays" || len(r.Header) != len(before) {
				t.Errorf("more than the signature changed: %v, was %v", r.Header, before)
			}
			if got := signature.EventID(s, r); got != signature.EventID(s, x.Request) {
				t.Errorf("the id changed to %q", got)
			}
			for name := range before {
				if strings.Join(before[name], "|") != strings.Join(x.Header[name], "|") {
					t.Errorf("the header of the given request changed")
				}
			}
		})
	}
}

func TestSignSaysWhatItCannot(t *testing.T) {
	for name, secret := range map[string]string{"github": "", "discord": "fake", "sendgrid": "fake", "adyen": "fake", "strava": "fake", "microsoft-graph": "fake", "standard-webhooks": "!"} {
		x := sampleOf(t, lookup(t, name))
		if _, err := signature.Sign(lookup(t, name), secret, x.Request, now); err == nil {
			t.Errorf("%s: signed with %q", name, secret)
		}
	}
}

// Sign must not change the maps and slices of the caller, who still needs the
// request as it came.
func TestSignWorksOnACopy(t *testing.T) {
	s := lookup(t, "adyen")
	x := sampleOf(t, s)
	body := bytes.Clone(x.Body)
	if _, err := signature.Sign(s, x.sign, x.Request, now); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(body, x.Body) {
		t.Error("the given body changed")
	}
}

func TestTwilioBodiesAreCovered(t *testing.T) {
	s := lookup(t, "twilio")
	x := signedSample(t, s)
	if !strings.Contains(x.URL, "?a=1&bodySHA256=") {
		t.Errorf("the address %q has not the hash of the body", x.URL)
	}
	// A signature of an address alone, as of a GET, must not carry a body.
	get := signature.Request{Method: http.MethodGet, URL: "https://hooks.example.test/in", Header: header()}
	get, err := signature.Sign(s, x.sign, get, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := signature.Verify(s, []string{x.verify}, get, now); err != nil {
		t.Errorf("without a body: %v", err)
	}
	get.Body = []byte(`{"forged":true}`)
	wantReason(t, signature.Verify(s, []string{x.verify}, get, now), signature.BodyUnsigned)
	// The sender leaves the port out or puts it in.
	x.URL = strings.Replace(x.URL, "example.test/", "example.test:443/", 1)
	if err := signature.Verify(s, []string{x.verify}, x.Request, now); err != nil {
		t.Errorf("with the port: %v", err)
	}
}

func TestEachSignedItemHasToFit(t *testing.T) {
	s := lookup(t, "adyen")
	item := strings.TrimSuffix(strings.TrimPrefix(adyenBody, `{"live":"false","notificationItems":[`), "]}")
	key := "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
	forged := strings.Replace(item, "1130", "9130", 1)
	unsigned := strings.Replace(item, "hmacSignature", "other", 1)
	for body, want := range map[string]signature.Reason{
		item + "," + item:     "",
		item + "," + forged:   signature.WrongSignature,
		item + "," + unsigned: signature.NoHeader,
		"":                    signature.NoHeader,
	} {
		r := signature.Request{Body: []byte(`{"live":"false","notificationItems":[` + body + "]}"), Header: header()}
		wantReason(t, signature.Verify(s, []string{key}, r, now), want)
	}
	graph := lookup(t, "microsoft-graph")
	r := signature.Request{Body: []byte(`{"value":[{"clientState":"fake"},{"id":"rides along"}]}`)}
	wantReason(t, signature.Verify(graph, []string{"fake"}, r, now), signature.NoHeader)
}

// A signature of one way must not be taken for one of another that was not asked for.
func TestSchemesDoNotStandInForEachOther(t *testing.T) {
	x := signedSample(t, lookup(t, "hubspot-v1"))
	wantReason(t, signature.Verify(lookup(t, "hubspot"), []string{x.verify}, x.Request, now), signature.NoHeader)
	wantReason(t, signature.Verify(lookup(t, "hubspot-v2"), []string{x.verify}, x.Request, now), signature.WrongSignature)
	sha1 := signedSample(t, lookup(t, "intercom"))
	wantReason(t, signature.Verify(lookup(t, "bitbucket"), []string{x.verify}, sha1.Request, now), signature.Version)
}

func TestGitLabTakesItsTokenOrItsSignature(t *testing.T) {
	s := lookup(t, "gitlab")
	r := signature.Request{Method: http.MethodPost, Header: header("X-Gitlab-Token", "fake-token", "X-Gitlab-Event", "Push Hook"), Body: []byte(`{}`)}
	if err := signature.Verify(s, []string{"fake-token"}, r, now); err != nil {
		t.Errorf("token: %v", err)
	}
	wantReason(t, signature.Verify(s, []string{"fake-other"}, r, now), signature.WrongSignature)
	x := signedSample(t, s)
	if x.Header.Get("Webhook-Signature") == "" {
		t.Error("a new request is not signed in the better way")
	}
	late, err := signature.Sign(s, "fake-token", r, now)
	if err != nil || late.Header.Get("Webhook-Signature") != "" || late.Header.Get("X-Gitlab-Token") != "fake-token" {
		t.Errorf("a request with a token is signed as %v, %v", late.Header, err)
	}
}

func TestNetlifyTokenHasNoOtherAlgorithm(t *testing.T) {
	s := lookup(t, "netlify")
	x := signedSample(t, s)
	segments := strings.Split(x.Header.Get("X-Webhook-Signature"), ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	x.Header.Set("X-Webhook-Signature", none+"."+segments[1]+".")
	wantReason(t, signature.Verify(s, []string{x.verify}, x.Request, now), signature.Version, signature.Malformed)
	x.Header.Set("X-Webhook-Signature", none+"."+segments[1]+"."+segments[2])
	wantReason(t, signature.Verify(s, []string{x.verify}, x.Request, now), signature.Version)
}

func TestSchemeOfOnesOwn(t *testing.T) {
	own := signature.Scheme{
		Name: "own", Title: "Our own", Header: []string{"X-Sig"}, Prefix: "sha512=", Split: ",",
		Algorithm: signature.HMACSHA512, Encoding: signature.Base64URL, Content: []string{"{method} {path}\n{header:X-Tenant}\n{timestamp}\n{body}"},
		Timestamp: "part:t=", Unit: signature.Millis, Tolerance: time.Minute,
	}
	if err := own.Check(); err != nil {
		t.Fatal(err)
	}
	r := signature.Request{Method: http.MethodPut, URL: "https://hooks.example.test/a/b?c=d", Header: header("X-Tenant", "one"), Body: []byte{0, 1, 0xff}}
	r, err := signature.Sign(own, "fake", r, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := signature.Verify(own, []string{"fake"}, r, now); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Tenant", "two")
	wantReason(t, signature.Verify(own, []string{"fake"}, r, now), signature.WrongSignature)

	for want, change := range map[string]func(*signature.Scheme){
		"algorithm":              func(s *signature.Scheme) { s.Algorithm = "md5" },
		"encoding":               func(s *signature.Scheme) { s.Encoding = "base32" },
		"which header":           func(s *signature.Scheme) { s.Header = nil },
		"what is signed":         func(s *signature.Scheme) { s.Content = nil },
		"{bodi}":                 func(s *signature.Scheme) { s.Content = []string{"{bodi}"} },
		"has no }":               func(s *signature.Scheme) { s.Content = []string{"{body"} },
		"where the timestamp is": func(s *signature.Scheme) { s.Timestamp = "" },
		"proves nothing":         func(s *signature.Scheme) { s.Content = []string{"{body}"} },
		"body is not signed":     func(s *signature.Scheme) { s.Content = []string{"{timestamp}{url}"} },
		"where the id is":        func(s *signature.Scheme) { s.Content = []string{"{id}{timestamp}{body}"} },
		"made by anyone":         func(s *signature.Scheme) { s.Algorithm = signature.SHA256 },
		"unit":                   func(s *signature.Scheme) { s.Unit = "weeks" },
		"no place":               func(s *signature.Scheme) { s.ID = []signature.Source{"cookie:x"} },
		"no scheme":              func(s *signature.Scheme) { s.Any = []string{"nobody"} },
	} {
		s := own
		change(&s)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a sentence with %q", err, want)
		}
	}
}
