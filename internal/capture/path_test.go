package capture_test

import (
	"testing"

	"github.com/relaytunnel/relay/internal/capture"
)

func TestPathLeads(t *testing.T) {
	for _, test := range []struct {
		path string
		to   []any
		want bool
	}{
		{".a", []any{"a"}, true},
		{".a", []any{"b"}, false},
		{".a", []any{"a", "b"}, false},
		{".a.b", []any{"a"}, false},
		{".a[0].id", []any{"a", 0, "id"}, true},
		{".a[1].id", []any{"a", 0, "id"}, false},
		{".a[*].id", []any{"a", 7, "id"}, true},
		{".*.id", []any{"a", "id"}, true},
		{".0", []any{0}, false},
		{"[0]", []any{"0"}, false},
		{`.["a.b"]`, []any{"a.b"}, true},
		{".a", []any{1.5}, false},
	} {
		p, err := capture.ParsePath(test.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Leads(test.to); got != test.want {
			t.Errorf("%s leads to %v: %v", test.path, test.to, got)
		}
	}
}
