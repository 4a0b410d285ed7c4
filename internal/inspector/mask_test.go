package inspector_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/relaytunnel/relay/internal/capture"
)

// secrets are what nobody may see unasked. Each is in another place.
func secrets() []string {
	return []string{
		"s3cret-authorization", "s3cret-cookie", "s3cret-set-cookie", "s3cret-gitlab", "s3cret-internal", "s3cret-json", "s3cret-answer",
	}
}

// withSecrets has an exchange with all of them, and one that is like it.
func withSecrets(t *testing.T) (a api, id, other string) {
	t.Helper()
	s := newSource()
	e := exchange{
		method: "POST", target: "/pay", body: `{"user":{"password":"s3cret-json","name":"alice"}}`,
		header: fields("Content-Type", "application/json", "Authorization", "Bearer s3cret-authorization", "Cookie", "a=s3cret-cookie",
			"X-Gitlab-Token", "s3cret-gitlab", "X-Internal-Key", "s3cret-internal", "X-Open", "plain"),
		answerHeader: fields("Set-Cookie", "a=s3cret-set-cookie", "Set-Cookie", "b=1", "Content-Type", "application/json"),
		answer:       `{"user":{"password":"s3cret-answer"}}`,
	}
	id = record(t, s.Recorder, e)
	e.body = `{"user":{"password":"s3cret-json","name":"bob"}}`
	other = record(t, s.Recorder, e)
	return newAPI(t, s, "x-internal-key", ".user.password"), id, other
}

// shown is what a reader sees of an answer: base64 hides nothing from one who looks.
func shown(t *testing.T, text string) string {
	t.Helper()
	out := text
	for _, word := range strings.FieldsFunc(text, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '+' && c != '/' && c != '='
	}) {
		if b, err := base64.StdEncoding.DecodeString(word); err == nil {
			out += "\n" + string(b)
		}
	}
	return out
}

func TestSecretsAreMaskedUntilRevealed(t *testing.T) {
	a, id, other := withSecrets(t)
	one := "/api/v1/requests/" + id
	heads := secrets()[:5]
	request := []string{"s3cret-authorization", "s3cret-cookie", "s3cret-gitlab", "s3cret-internal", "s3cret-json"}
	for _, tt := range []struct {
		target string
		has    []string // that reveal shows
	}{
		{"/api/v1/requests?", nil},
		{one + "?", heads},
		{one + "/request-body?", []string{"s3cret-json"}},
		{one + "/request-body?decode=1&", []string{"s3cret-json"}},
		{one + "/response-body?", []string{"s3cret-answer"}},
		{one + "/diff?with=" + other + "&", secrets()},
		{one + "/export?format=curl&", request},
		{one + "/export?format=httpie&", request},
		{one + "/export?format=fetch&", request},
		{one + "/export?format=har&", secrets()},
		{one + "/export?format=json&", secrets()},
		{one + "/export?format=fixture&", secrets()},
		{"/api/v1/requests/export?format=har&", secrets()},
		{"/api/v1/requests/export?format=json&", secrets()},
		{"/api/v1/requests/export?format=fixture&", secrets()},
		{"/api/v1/requests/export?format=fixture&id=" + id + "&", secrets()},
	} {
		for _, query := range []string{"", "reveal=0", "reveal=true"} {
			text := shown(t, a.text(tt.target+query))
			if i := strings.Index(text, "s3cret"); i >= 0 {
				t.Errorf("%s%s shows %.40s", tt.target, query, text[i:])
			}
			if len(tt.has) > 0 && !strings.Contains(text, capture.Mask) {
				t.Errorf("%s%s does not tell that something is masked", tt.target, query)
			}
		}
		text := a.text(tt.target + "reveal=1")
		for _, secret := range tt.has {
			if !strings.Contains(text, secret) {
				t.Errorf("%sreveal=1 does not show %s: %s", tt.target, secret, text)
			}
		}
		if strings.Contains(text, capture.Mask) {
			t.Errorf("%sreveal=1 has a mask", tt.target)
		}
	}
}

// A program can tell a mask from what was sent.
func TestMaskedFieldsAreMarked(t *testing.T) {
	a, id, _ := withSecrets(t)
	var got struct {
		Request struct {
			Headers []capture.Field `json:"headers"`
		} `json:"request"`
		Response struct {
			Headers []capture.Field `json:"headers"`
		} `json:"response"`
	}
	a.get("/api/v1/requests/"+id, &got)
	var masked []string
	for _, f := range append(got.Request.Headers, got.Response.Headers...) {
		if f.Masked != (f.Value == capture.Mask) {
			t.Errorf("%+v", f)
		}
		if f.Masked {
			masked = append(masked, f.Name)
		}
	}
	equal(t, "masked", masked, []string{"Authorization", "Cookie", "X-Gitlab-Token", "X-Internal-Key", "Set-Cookie", "Set-Cookie"})
}

// The stream and the list have no heads or bodies at all, so nothing of them needs a
// mask.
func TestSummariesHaveNoHeads(t *testing.T) {
	a, _, _ := withSecrets(t)
	text := a.text("/api/v1/requests")
	for _, no := range []string{"headers", "body", "s3cret", "plain"} {
		if strings.Contains(text, `"`+no) {
			t.Errorf("a list has %s: %s", no, text)
		}
	}
}

// Where a body had to be unpacked to hide something in it, nothing says that it is
// still packed: who sends the copy would send a lie.
func TestMaskedBodyIsNotCalledCompressed(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{
		method: "POST", body: zipped(t, `{"password":"s3cret","n":1}`),
		header: fields("Content-Type", "application/json", "Content-Encoding", "gzip"),
	})
	a := newAPI(t, s, ".password")
	const want = `{"password":"` + capture.Mask + `","n":1}`
	if got := a.text("/api/v1/requests/" + id + "/request-body"); got != want {
		t.Errorf("got %q", got)
	}
	for _, format := range []string{"curl", "httpie", "fetch", "fixture"} {
		text := a.text("/api/v1/requests/" + id + "/export?format=" + format)
		if strings.Contains(text, "Content-Encoding") || !strings.Contains(text, "n") {
			t.Errorf("%s: %s", format, text)
		}
		if text := a.text("/api/v1/requests/" + id + "/export?reveal=1&format=" + format); !strings.Contains(text, "Content-Encoding") {
			t.Errorf("%s, revealed, has lost the encoding: %s", format, text)
		}
	}
}

// A replay sends the true values, also where the caller has seen masks only.
func TestReplayHasTheTrueValues(t *testing.T) {
	s := newSource()
	id := record(t, s.Recorder, exchange{
		method: "POST", body: `{"password":"s3cret"}`,
		header: fields("Authorization", "Bearer one", "Cookie", "a=1", "Cookie", "b=2", "Content-Type", "application/json"),
	})
	a := newAPI(t, s, ".password")
	for _, tt := range []struct {
		name string
		edit []capture.Field // nil: as it was
		want http.Header
	}{
		{"as it was", nil, fields("Authorization", "Bearer one", "Cookie", "a=1", "Cookie", "b=2", "Content-Type", "application/json")},
		{
			"masks stand for values in their order",
			[]capture.Field{{Name: "authorization", Value: capture.Mask}, {Name: "Cookie", Value: capture.Mask}, {Name: "Cookie", Value: capture.Mask}},
			fields("Authorization", "Bearer one", "Cookie", "a=1", "Cookie", "b=2"),
		},
		{
			"one is changed",
			[]capture.Field{{Name: "Cookie", Value: "c=3"}, {Name: "Cookie", Value: " " + capture.Mask + " "}},
			fields("Cookie", "c=3", "Cookie", "b=2"),
		},
		{"a mask of nothing is text", []capture.Field{{Name: "X-New", Value: capture.Mask}}, fields("X-New", capture.Mask)},
		{"none at all", []capture.Field{}, http.Header{}},
	} {
		in := "{}"
		if tt.edit != nil {
			b, err := json.Marshal(map[string]any{"headers": tt.edit})
			if err != nil {
				t.Fatal(err)
			}
			in = string(b)
		}
		var got map[string]any
		a.post("/api/v1/requests/"+id+"/replay", in, &got)
		sent := s.replays()
		if len(sent) != 1 {
			t.Fatalf("%s: sent %d", tt.name, len(sent))
		}
		same(t, tt.name, sent[0].Header, tt.want)
		if string(sent[0].Body) != `{"password":"s3cret"}` {
			t.Errorf("%s: the body is %s", tt.name, sent[0].Body)
		}
	}
}

func same(t *testing.T, what string, got, want http.Header) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
