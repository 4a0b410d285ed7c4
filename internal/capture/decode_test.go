package capture_test

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/capture"
)

func TestDecode(t *testing.T) {
	const text = "hello, hello, hello, hello"
	var zl, fl bytes.Buffer
	zw := zlib.NewWriter(&zl)
	_, _ = zw.Write([]byte(text))
	_ = zw.Close()
	fw, _ := flate.NewWriter(&fl, 9)
	_, _ = fw.Write([]byte(text))
	_ = fw.Close()
	gz := gzipped(t, text)
	for name, c := range map[string]struct {
		body      capture.Body
		want      string
		whole, ok bool
	}{
		"none":             {capture.Body{Kept: []byte(text)}, text, true, true},
		"none, cut":        {capture.Body{Kept: []byte(text), Truncated: true}, text, false, true},
		"identity":         {capture.Body{Kept: []byte(text), Encoding: "Identity "}, text, true, true},
		"gzip":             {capture.Body{Kept: gz, Encoding: "GZip"}, text, true, true},
		"two gzips":        {capture.Body{Kept: append(bytes.Clone(gz), gz...), Encoding: "gzip"}, text + text, true, true},
		"deflate":          {capture.Body{Kept: zl.Bytes(), Encoding: "deflate"}, text, true, true},
		"deflate, bare":    {capture.Body{Kept: fl.Bytes(), Encoding: "deflate"}, text, true, true},
		"gzip, cut":        {capture.Body{Kept: gz[:len(gz)-4], Encoding: "gzip", Truncated: true}, text, false, true},
		"gzip, not over":   {capture.Body{Kept: gz[:len(gz)-4], Encoding: "gzip"}, text, false, true},
		"gzip, wrong sum":  {capture.Body{Kept: append(bytes.Clone(gz[:len(gz)-8]), 1, 2, 3, 4, 5, 6, 7, 8), Encoding: "gzip"}, "", true, false},
		"gzip, it is not":  {capture.Body{Kept: []byte(text), Encoding: "gzip"}, text, true, false},
		"unknown":          {capture.Body{Kept: []byte(text), Encoding: "zstd"}, text, true, false},
		"several":          {capture.Body{Kept: gz, Encoding: "gzip, gzip"}, string(gz), true, false},
		"longer than that": {capture.Body{Kept: gzipped(t, strings.Repeat("x", 1001)), Encoding: "gzip"}, strings.Repeat("x", 1000), false, true},
		"just as long":     {capture.Body{Kept: gzipped(t, strings.Repeat("x", 1000)), Encoding: "gzip"}, strings.Repeat("x", 1000), true, true},
	} {
		data, whole, ok := c.body.Decode(1000)
		if c.want == "" {
			c.want = string(c.body.Kept)
		}
		if string(data) != c.want || whole != c.whole || ok != c.ok {
			t.Errorf("%s: %.40q, whole %v, ok %v", name, data, whole, ok)
		}
	}
}

// A gigabyte of zeros takes no gigabyte of memory.
func TestDecodeOfABomb(t *testing.T) {
	bomb := gzipped(t, strings.Repeat("\x00", 64<<20))
	b := capture.Body{Kept: bomb, Encoding: "gzip", Size: int64(len(bomb))}
	got := testing.Benchmark(func(tb *testing.B) {
		for tb.Loop() {
			if data, whole, ok := b.Decode(1 << 20); len(data) != 1<<20 || whole || !ok {
				tb.Fatalf("%d bytes, whole %v, ok %v", len(data), whole, ok)
			}
		}
	})
	if n := got.AllocedBytesPerOp(); n > 8<<20 {
		t.Errorf("%d bytes were allocated for a mebibyte", n)
	}
}

// An exchange that was written as JSON is read as what it was.
func TestExchangeAsJSON(t *testing.T) {
	r := capture.New(capture.Options{Now: newClock().Now, BodyLimit: 20})
	for _, body := range []string{"", "text", "bytes \xff\x00", strings.Repeat("long", 10)} {
		id := record(t, r, request("POST", "/a?b", body, "X-A", "1", "X-A", "2", "Content-Type", "text/plain"), response(200, body, "Content-Encoding", "gzip"))
		x := get(t, r, id)
		b, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		var back capture.Exchange
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		again, err := json.Marshal(back)
		if err != nil || string(again) != string(b) {
			t.Errorf("%v: %s, then %s", err, b, again)
		}
		if !bytes.Equal(back.Request.Body.Kept, x.Request.Body.Kept) || !reflect.DeepEqual(back.Request.Header["X-A"], []string{"1", "2"}) {
			t.Errorf("%s", b)
		}
	}
	b, err := json.Marshal(capture.Millis(1234567 * time.Nanosecond))
	if err != nil || string(b) != "1.235" {
		t.Errorf("%s, %v", b, err)
	}
	var body capture.Body
	if err := json.Unmarshal([]byte(`{"size":3}`), &body); err != nil || !body.Omitted {
		t.Errorf("%+v, %v", body, err)
	}
	for _, bad := range []string{`{"base64":"!"}`, `{"size":"x"}`} {
		if err := json.Unmarshal([]byte(bad), &body); err == nil {
			t.Errorf("%s is no body", bad)
		}
	}
}

func TestWithoutBodies(t *testing.T) {
	r := capture.New(capture.Options{})
	x := get(t, r, record(t, r, request("POST", "/", "body"), response(200, "answer")))
	c := x.WithoutBodies()
	if c.Request.Body.Kept != nil || c.Response.Body.Kept != nil || c.Request.Body.Size != 4 || !c.Response.Body.Omitted {
		t.Errorf("%+v", c)
	}
	if string(x.Request.Body.Kept) != "body" || string(x.Response.Body.Kept) != "answer" {
		t.Error("the exchange itself was changed")
	}
}
