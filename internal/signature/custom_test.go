package signature_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
)

func TestParseScheme(t *testing.T) {
	s, err := signature.ParseScheme([]byte(`{"header":["X-Acme-Signature"],"prefix":"v1=","algorithm":"hmac-sha512","encoding":"base64",
		"content":["{timestamp}.{body}"],"timestamp":"header:X-Acme-Time","tolerance":"5m"}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Tolerance != 5*time.Minute || s.Unit != signature.Seconds {
		t.Errorf("read %+v", s)
	}
	r, err := signature.Sign(s, "x", signature.Request{Method: http.MethodPost, Body: []byte("{}")}, now)
	if err != nil || !strings.HasPrefix(r.Header.Get("X-Acme-Signature"), "v1=") {
		t.Fatalf("signed %v, %v", r.Header, err)
	}
	if err := signature.Verify(s, []string{"x"}, r, now); err != nil {
		t.Error(err)
	}
	if got := reason(t, signature.Verify(s, []string{"x"}, r, now.Add(6*time.Minute))); got != signature.TooOld {
		t.Errorf("six minutes later: %q", got)
	}
	plain, err := signature.ParseScheme([]byte("{}"))
	if err != nil || plain.Header[0] != "X-Signature" || plain.Algorithm != signature.HMACSHA256 {
		t.Errorf("an empty one is %+v, %v", plain, err)
	}
	for text, want := range map[string]string{
		`[`:                               "read the scheme",
		`{"heder":["X"]}`:                 `unknown field "heder"`,
		`{"tolerance":300}`:               "tolerance",
		`{"tolerance":"5"}`:               "write it like 5m",
		`{"tolerance":"-5m"}`:             "write it like 5m",
		`{"tolerance":"5m"}`:              "needs a timestamp",
		`{"timestamp":"header:X-Time"}`:   "not signed",
		`{"algorithm":"rot13"}`:           "not known",
		`{"algorithm":"rsa-sha256"}`:      "not for a scheme of one's own",
		`{"algorithm":"none"}`:            "not for a scheme of one's own",
		`{"key":"webhook id"}`:            "not known",
		`{"content":["{nobody}"]}`:        "{nobody} is not known",
		`{"content":["{crc32}"]}`:         "add {body}",
		`{"content":["x"]}`:               "add {body}",
		`{"cert":"header:X-Cert"}`:        "unknown field",
		`{"CertDomain":"internal.test"}`:  "unknown field",
		`{"handshake":"slack"}`:           "unknown field",
		`{"any":["github"]}`:              "unknown field",
		`{"header":["X"],"encoding":"x"}`: "encoding",
	} {
		if _, err := signature.ParseScheme([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
