package capture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func walked(t *testing.T, doc, path string) []string {
	t.Helper()
	p, err := parseJSONPath(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if _, err := walkJSON([]byte(doc), p, func(start, end int) bool {
		got = append(got, doc[start:end])
		return true
	}); err != nil {
		t.Fatalf("%s in %s: %v", path, doc, err)
	}
	return got
}

func TestWalkJSON(t *testing.T) {
	const doc = ` { "a" : 1.50 , "b":[ {"c":"x"}, {"c" : {"d":[]} } ,[ ] ], "é\u0000":null, "a":2, "odd.key":true, "*":"star" } `
	for path, want := range map[string][]string{
		".a":           {"1.50", "2"},
		".b[0].c":      {`"x"`},
		".b[1].c":      {`{"d":[]}`},
		".b[*].c":      {`"x"`, `{"d":[]}`},
		".b[2]":        {`[ ]`},
		".b[3]":        nil,
		".b.c":         nil,
		".a[0]":        nil,
		`["é\x00"]`:    {"null"},
		`.["odd.key"]`: {"true"},
		".b[1].*.d":    {"[]"},
		".b[*]":        {`{"c":"x"}`, `{"c" : {"d":[]} }`, `[ ]`},
		`["*"]`:        {`"star"`},
		".c":           nil,
	} {
		if got := walked(t, doc, path); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := walked(t, doc, ".*"); len(got) != 6 {
		t.Errorf(".*: %q", got)
	}
	// Many documents after each other, as in NDJSON, and a mark before them.
	if got := walked(t, "\ufeff{\"a\":1}\n{\"a\":2}\n", ".a"); strings.Join(got, "|") != "1|2" {
		t.Errorf("two documents: %q", got)
	}
}

func TestWalkJSONOfWhatIsCutOff(t *testing.T) {
	p, err := parseJSONPath(".a")
	if err != nil {
		t.Fatal(err)
	}
	const doc = `{"b":[1,{"c":"d"}],"a":"secret"}`
	for n := 1; n < len(doc); n++ {
		read, err := walkJSON([]byte(doc[:n]), p, func(int, int) bool { return true })
		if !errors.Is(err, io.ErrUnexpectedEOF) || read > n {
			t.Errorf("%s: read %d, %v", doc[:n], read, err)
		}
	}
	if _, err := walkJSON([]byte(`{"a":1}}`), p, func(int, int) bool { return true }); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("one brace too many: %v", err)
	}
}

// However deep, it neither recurses nor takes long.
func TestWalkJSONDeep(t *testing.T) {
	doc := strings.Repeat(`[{"a":`, 100_000) + "1" + strings.Repeat("}]", 100_000)
	if got := walked(t, doc, "[0].a[0].a[0].b"); got != nil {
		t.Errorf("%q", got)
	}
}

// What is found is what encoding/json finds there.
func FuzzWalkJSON(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,2,{"c":"d"}]},"a":3}`))
	f.Add([]byte(`[[],{},"a",-1e9,null]`))
	f.Add([]byte(`{"a":"\ud800"}{"a" 1}`))
	p, err := parseJSONPath(".a")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var last []byte
		last = nil
		_, err := walkJSON(doc, p, func(start, end int) bool {
			if start < 0 || end > len(doc) || start >= end {
				t.Fatalf("%d to %d of %d", start, end, len(doc))
			}
			last = doc[start:end]
			return true
		})
		if !json.Valid(doc) {
			return
		}
		if err != nil {
			t.Fatalf("valid, and %v", err)
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(doc, &want) != nil || want == nil {
			if last != nil {
				t.Fatalf("no object, and found %s", last)
			}
			return
		}
		if w := want["a"]; !bytes.Equal(bytes.TrimSpace(w), bytes.TrimSpace(last)) {
			t.Fatalf("found %s, want %s", last, w)
		}
	})
}
