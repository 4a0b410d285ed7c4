package compare

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// A diff is right when its two sides are the two texts, and short when no shorter one
// exists.
func TestDiffLines(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	text := func() []string {
		lines := make([]string, rnd.IntN(12))
		for i := range lines {
			lines[i] = string(rune('a' + rnd.IntN(4)))
		}
		return lines
	}
	for range 5000 {
		a, b := text(), text()
		got, same := Lines(strings.Join(a, "\n"), strings.Join(b, "\n"))
		var left, right []string
		changes := 0
		for _, l := range got {
			if l.Op != "+" {
				left = append(left, l.Text)
			}
			if l.Op != "-" {
				right = append(right, l.Text)
			}
			if l.Op != "=" {
				changes++
			}
		}
		if strings.Join(left, "\n") != strings.Join(a, "\n") || strings.Join(right, "\n") != strings.Join(b, "\n") {
			t.Fatalf("%q to %q: got %v", a, b, got)
		}
		if want := len(a) + len(b) - 2*common(a, b); changes != want || same != (want == 0) {
			t.Fatalf("%q to %q: %d changes (same: %v), want %d: %v", a, b, changes, same, want, got)
		}
	}
}

// common is the length of the longest common subsequence, the slow way.
func common(a, b []string) int {
	n := make([][]int, len(a)+1)
	for i := range n {
		n[i] = make([]int, len(b)+1)
	}
	for i := range a {
		for j := range b {
			if a[i] == b[j] {
				n[i+1][j+1] = n[i][j] + 1
			} else {
				n[i+1][j+1] = max(n[i][j+1], n[i+1][j])
			}
		}
	}
	return n[len(a)][len(b)]
}

// Texts that have nothing in common are not searched for long.
func TestDiffOfVeryDifferentTexts(t *testing.T) {
	got, same := Lines(strings.Repeat("a\n", 200_000), strings.Repeat("b\n", 200_000))
	if same || len(got) != 400_000 || got[0].Op != "-" || got[399_999].Op != "+" {
		t.Errorf("got %d lines, same %v", len(got), same)
	}
}
