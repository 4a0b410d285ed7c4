package compare

import (
	"slices"
	"strings"
)

// Line is one of a diff: "=" in both texts, "-" in the first only, "+" in the second
// only; "~" stands for lines that Around has left out.
type Line struct {
	Op   string `json:"op"`
	Text string `json:"text"`
}

const (
	// maxEdits bounds the search for a short diff; two texts that differ by more are
	// shown as all out, all in.
	maxEdits = 1000
	// maxDiffLine bounds what is shown of a line.
	maxDiffLine = 2000
)

// Lines is the shortest way from a to b (Myers, 1986), line by line. Two texts of which
// everything differs are all out, all in.
func Lines(a, b string) (lines []Line, same bool) {
	if a == b {
		return gather(nil, "=", split(a)), true
	}
	x, y := split(a), split(b)
	// What is the same at both ends needs no search.
	head := 0
	for head < len(x) && head < len(y) && x[head] == y[head] {
		head++
	}
	tail := 0
	for tail < len(x)-head && tail < len(y)-head && x[len(x)-1-tail] == y[len(y)-1-tail] {
		tail++
	}
	lines = gather(nil, "=", x[:head])
	lines = append(lines, search(x[head:len(x)-tail], y[head:len(y)-tail])...)
	return gather(lines, "=", x[len(x)-tail:]), false
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

func gather(to []Line, op string, texts []string) []Line {
	for _, t := range texts {
		if len(t) > maxDiffLine {
			t = strings.ToValidUTF8(t[:maxDiffLine], "") + "…"
		}
		to = append(to, Line{op, t})
	}
	return to
}

// search finds the diff of two texts.
func search(x, y []string) []Line {
	if len(x) == 0 || len(y) == 0 {
		return gather(gather(nil, "-", x), "+", y)
	}
	most := min(len(x)+len(y), maxEdits)
	v := make([]int, 2*most+2) // furthest x on each diagonal
	var trace [][]int
	for d := 0; d <= most; d++ {
		trace = append(trace, slices.Clone(v[most-d:most+d+2]))
		for k := -d; k <= d; k += 2 {
			i := v[most+k+1]
			if k != -d && (k == d || v[most+k-1] >= v[most+k+1]) {
				i = v[most+k-1] + 1
			}
			j := i - k
			for i < len(x) && j < len(y) && x[i] == y[j] {
				i, j = i+1, j+1
			}
			v[most+k] = i
			if i >= len(x) && j >= len(y) {
				return walkBack(trace, x, y)
			}
		}
	}
	return gather(gather(nil, "-", x), "+", y)
}

// walkBack reads the way off the trace, from its end. trace[d] holds the diagonals
// from -d to d+1 as they were before step d.
func walkBack(trace [][]int, x, y []string) []Line {
	var back []Line
	i, j := len(x), len(y)
	for d := len(trace) - 1; d >= 0; d-- {
		at := func(k int) int { return trace[d][k+d] }
		k := i - j
		from := k + 1
		if k != -d && (k == d || at(k-1) >= at(k+1)) {
			from = k - 1
		}
		pi := 0
		if d > 0 {
			pi = at(from)
		}
		pj := pi - from
		if d == 0 {
			pj = 0
		}
		for i > pi && j > pj {
			i, j = i-1, j-1
			back = gather(back, "=", x[i:i+1])
		}
		switch {
		case d == 0:
		case i > pi:
			i--
			back = gather(back, "-", x[i:i+1])
		case j > pj:
			j--
			back = gather(back, "+", y[j:j+1])
		}
	}
	slices.Reverse(back)
	return back
}

// Around leaves out of a diff the lines that are the same and further than n from one
// that is not.
func Around(lines []Line, n int) []Line {
	near := make([]bool, len(lines))
	for i, l := range lines {
		if l.Op != "=" {
			for j := max(0, i-n); j <= min(len(lines)-1, i+n); j++ {
				near[j] = true
			}
		}
	}
	var out []Line
	for i, l := range lines {
		switch {
		case near[i]:
			out = append(out, l)
		case i == 0 || near[i-1]:
			out = append(out, Line{Op: "~"})
		}
	}
	return out
}
