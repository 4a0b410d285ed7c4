package signature_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relaytunnel/relay/internal/signature"
)

// late says what becomes of an event that had to wait, from what is known of the
// scheme.
func late(s signature.Scheme) string {
	ways := []signature.Scheme{s}
	for _, name := range s.Any {
		way, _ := signature.Lookup(name)
		ways = append(ways, way)
	}
	timed := slices.ContainsFunc(ways, func(w signature.Scheme) bool { return w.Timestamp != "" && w.Tolerance > 0 })
	url := slices.ContainsFunc(ways, func(w signature.Scheme) bool { return strings.Contains(strings.Join(w.Content, ""), "{url") })
	switch {
	case s.Algorithm == signature.None:
		return "not signed"
	case !s.Fresh():
		return "as it came"
	case timed && url:
		return "signed anew; `--local-url`"
	case timed:
		return "signed anew"
	case url:
		return "good; `--local-url`"
	}
	return "good"
}

func secretOf(s signature.Scheme) string {
	if word := s.Secret(); word != "" {
		return strings.ReplaceAll(word, "whsec_", "`whsec_`")
	}
	return "none"
}

// The tables of docs/webhooks.md say of every sender what the tables here do.
func TestDocsTellOfEverySender(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "webhooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := func(heading string) (rows []string) {
		_, part, ok := strings.Cut(string(text), "\n### "+heading+"\n")
		if !ok {
			t.Fatalf("there is no heading %q", heading)
		}
		part, _, _ = strings.Cut(part, "\n#")
		for line := range strings.Lines(part) {
			if strings.HasPrefix(line, "| ") {
				rows = append(rows, strings.TrimSpace(line))
			}
		}
		if len(rows) < 1 {
			t.Fatalf("there is no table below %q", heading)
		}
		return rows[1:]
	}
	all := signature.All()
	slices.SortFunc(all, func(a, b signature.Scheme) int { return strings.Compare(a.Name, b.Name) })
	var want []string
	shakes := map[string]bool{}
	for _, s := range all {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", s.Name, s.Title, secretOf(s), late(s)))
		if s.Handshake != "" {
			shakes[s.Name] = true
		}
	}
	if got := rows("The senders"); !slices.Equal(got, want) {
		t.Errorf("the table should be\n%s\nand is\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
	for _, row := range rows("Handshakes") {
		senders := strings.Split(row, "|")[1]
		for part := range strings.SplitSeq(senders, ",") {
			name := strings.Trim(part, " `")
			if !shakes[name] {
				t.Errorf("there is a row for the handshake of %q, which has none, or two", name)
			}
			delete(shakes, name)
			if s, _ := signature.Lookup(name); s.Token != strings.Contains(row, "--handshake-secret-env") {
				t.Errorf("whether %s has a token of its own for the handshake is said wrong", name)
			}
		}
	}
	for name := range shakes {
		t.Errorf("there is no row for the handshake of %s", name)
	}
}
