package capture_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/capture"
)

func newMasks(t testing.TB, more ...string) *capture.Masks {
	t.Helper()
	m, err := capture.NewMasks(more...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// cut is b without the end of a gzip: its sum, and the mark of the last block.
func cut(b []byte) []byte { return b[:len(b)-9] }

func gzipped(t testing.TB, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMasksHeaders(t *testing.T) {
	x := &capture.Exchange{
		Request: capture.Request{
			Header:  capture.Header{"Authorization": {"Bearer s3cret"}, "Cookie": {"a=s3cret", "b=s3cret"}, "X-Mine": {"s3cret"}, "X-Hub-Signature-256": {"sha256=1"}},
			Trailer: capture.Header{"X-Mine": {"s3cret"}},
		},
		Response: &capture.Response{Header: capture.Header{"Set-Cookie": {"s3cret"}, "Content-Type": {"text/plain"}}, Trailer: capture.Header{"X-Mine": {"s3cret"}}},
	}
	m := newMasks(t, "x-mine")
	got := m.Apply(x)
	out, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte("s3cret")) {
		t.Errorf("a secret is there: %s", out)
	}
	if len(got.Request.Header["Cookie"]) != 2 || got.Request.Header.Get("X-Hub-Signature-256") != "sha256=1" || got.Response.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("%v, %v", got.Request.Header, got.Response.Header)
	}
	for _, f := range got.Request.Header.Fields() {
		if f.Masked != (f.Name != "X-Hub-Signature-256") {
			t.Errorf("%+v", f)
		}
	}
	if x.Request.Header.Get("Authorization") != "Bearer s3cret" || x.Response.Header.Get("Set-Cookie") != "s3cret" {
		t.Error("the exchange itself was changed")
	}
	if !m.Secret("AUTHORIZATION") || !m.Secret("x-mine") || m.Secret("X-Mine-Too") {
		t.Error("names of any case are not the same")
	}
}

func TestMasksBodies(t *testing.T) {
	const (
		whole = `{"user":{"password":"s3cret","name":"Ada"},"n":1.0,"tokens":[{"t":"s3cret"},{"t":["s3cret",{}]}]}`
		hid   = `{"user":{"password":"••••••••","name":"Ada"},"n":1.0,"tokens":[{"t":"••••••••"},{"t":"••••••••"}]}`
	)
	m := newMasks(t, ".user.password", ".tokens[*].t", ".user", ".tokens[9]")
	outer := newMasks(t, ".user.password", ".tokens[*].t")
	for name, c := range map[string]struct {
		masks *capture.Masks
		body  capture.Body
		want  string
	}{
		"JSON":               {outer, capture.Body{Type: "application/json; charset=utf-8", Kept: []byte(whole)}, hid},
		"kin of JSON":        {outer, capture.Body{Type: "application/problem+json", Kept: []byte(whole)}, hid},
		"not said to be":     {outer, capture.Body{Type: "text/plain", Kept: []byte(whole)}, hid},
		"nothing said":       {outer, capture.Body{Kept: []byte(whole)}, hid},
		"one in another":     {m, capture.Body{Kept: []byte(whole)}, `{"user":"••••••••","n":1.0,"tokens":[{"t":"••••••••"},{"t":"••••••••"}]}`},
		"several documents":  {outer, capture.Body{Kept: []byte("{\"user\":{\"password\":1}}\n{\"user\":{\"password\":2}}")}, "{\"user\":{\"password\":\"••••••••\"}}\n{\"user\":{\"password\":\"••••••••\"}}"},
		"compressed":         {outer, capture.Body{Type: "application/json", Encoding: "gzip", Kept: gzipped(t, whole)}, hid},
		"nothing to hide":    {outer, capture.Body{Type: "application/json", Kept: []byte(`{ "a" : 1 }`)}, ""},
		"compressed, none":   {outer, capture.Body{Type: "application/json", Encoding: "gzip", Kept: gzipped(t, `{"a":1}`)}, ""},
		"a text, said JSON":  {outer, capture.Body{Type: "application/json", Kept: []byte("hello")}, ""},
		"a string":           {outer, capture.Body{Type: "application/json", Kept: []byte(`"hello"`)}, ""},
		"a text":             {outer, capture.Body{Type: "text/plain", Kept: []byte("[info] user.password")}, ""},
		"the end is broken":  {outer, capture.Body{Type: "application/json", Kept: []byte(`{"a":1,"b":!,"user":{"password":"s3cret"}}`)}, `{"a":1,"b":"••••••••"`},
		"broken, in a text":  {outer, capture.Body{Kept: []byte(`{"user":{"password":"s3cret"},!"s3cret"`)}, `{"user":{"password":"••••••••"},"••••••••"`},
		"cut in the value":   {outer, capture.Body{Type: "application/json", Truncated: true, Kept: []byte(`{"user":{"password":"s3cr`)}, `{"user":{"password":"••••••••"`},
		"cut, in a text":     {outer, capture.Body{Type: "text/plain", Truncated: true, Kept: []byte(`{"user":{"password":"s3cr`)}, `{"user":{"password":"••••••••"`},
		"cut, not said so":   {outer, capture.Body{Type: "text/plain", Kept: []byte(`{"user":{"password":"s3cr`)}, `{"user":{"password":"••••••••"`},
		"cut, compressed":    {outer, capture.Body{Type: "application/json", Encoding: "gzip", Truncated: true, Kept: cut(gzipped(t, whole+strings.Repeat(" ", 10)+`{"user":{"password":"s3cret`))}, "*"},
		"unknown encoding":   {outer, capture.Body{Type: "application/json", Encoding: "zstd", Kept: []byte("s3cret")}, "-"},
		"picture, zstd":      {outer, capture.Body{Type: "image/png", Encoding: "zstd", Kept: []byte("x")}, ""},
		"a bomb":             {outer, capture.Body{Type: "application/json", Encoding: "gzip", Kept: gzipped(t, `{"a":"`+strings.Repeat("a", 8<<20)+`","user":{"password":"s3cret"}}`)}, `{"a":"••••••••"`},
		"deep, and the path": {outer, capture.Body{Type: "application/json", Kept: []byte(`{"d":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"user":{"password":"s3cret"}}`)}, "*"},
	} {
		was := string(c.body.Kept)
		c.body.Size = int64(len(was))
		got := c.masks.Apply(&capture.Exchange{Request: capture.Request{Body: c.body}, Response: &capture.Response{Body: c.body}})
		b := got.Request.Body
		if string(got.Response.Body.Kept) != string(b.Kept) {
			t.Errorf("%s: request and response differ", name)
		}
		if string(c.body.Kept) != was {
			t.Errorf("%s: the bytes themselves were changed", name)
		}
		switch c.want {
		case "": // as it was
			if string(b.Kept) != was || b.Masked || b.Encoding != c.body.Encoding {
				t.Errorf("%s: %+v", name, b)
			}
		case "-": // nothing at all
			if b.Kept != nil || !b.Masked || !b.Truncated {
				t.Errorf("%s: %+v", name, b)
			}
		case "*": // only without the secret
			if strings.Contains(string(b.Kept), "s3c") || !b.Masked {
				t.Errorf("%s: %s", name, b.Kept)
			}
		default:
			if string(b.Kept) != c.want || !b.Masked || b.Encoding != "" {
				t.Errorf("%s: %s", name, b.Kept)
			}
		}
	}
}

func TestMasksFrames(t *testing.T) {
	x := &capture.Exchange{Frames: []capture.Frame{
		{Text: `{"user":{"password":"s3cret"}}`}, {Text: "hello"}, {Text: `{"user":{"password":"s3c`, Truncated: true}, {Base64: "AA=="},
	}}
	got := newMasks(t, ".user.password").Apply(x).Frames
	if got[0].Text != `{"user":{"password":"••••••••"}}` || !got[0].Masked || got[1].Text != "hello" || got[1].Masked ||
		strings.Contains(got[2].Text, "s3c") || got[3].Base64 != "AA==" {
		t.Errorf("%+v", got)
	}
	if x.Frames[0].Masked {
		t.Error("the frames themselves were changed")
	}
}

func TestMasksSayWhatIsNoPath(t *testing.T) {
	if _, err := capture.NewMasks(".a..b"); err == nil || !strings.Contains(err.Error(), ".a..b") {
		t.Errorf("got %v", err)
	}
}

// A secret at the path never stays, whatever stands around it.
func FuzzMaskJSON(f *testing.F) {
	f.Add(`{"x":1,`, `}`, true)
	f.Add(`{"a":[{"secret":1}],`, `,"b":!`, false)
	f.Add(`{"secret`, ``, false)
	m := newMasks(f, ".secret")
	f.Fuzz(func(t *testing.T, before, after string, cut bool) {
		doc := before + `"secret":"S3CRET-VALUE"` + after
		if strings.Contains(before+after, "S3CRET") {
			return
		}
		// Only of what is an object with that key something is promised.
		var o map[string]any
		if json.Unmarshal([]byte(doc), &o) != nil || o["secret"] != "S3CRET-VALUE" {
			return
		}
		if cut {
			doc = doc[:len(doc)-len(after)/2]
		}
		b := m.Apply(&capture.Exchange{Request: capture.Request{Body: capture.Body{Kept: []byte(doc)}}}).Request.Body
		if bytes.Contains(b.Kept, []byte("S3CRET")) {
			t.Errorf("%s became %s", doc, b.Kept)
		}
	})
}
