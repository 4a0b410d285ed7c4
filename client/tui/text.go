package tui

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"
)

// printable makes what strangers sent harmless for a terminal: control characters,
// escapes and direction marks are shown, not obeyed.
func printable(s string) string {
	harmless := true
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			harmless = false
			break
		}
	}
	if harmless {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], string(unicode.ReplacementChar)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// width is how many cells of a terminal s takes.
func width(s string) int {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return lipgloss.Width(s)
		}
	}
	return len(s)
}

// cut splits s, which has no escapes, so that the head takes at most n cells.
func cut(s string, n int) (head, tail string) {
	used := 0
	for i, r := range s {
		w := 1
		if r >= 0x7f {
			w = lipgloss.Width(string(r))
		}
		if used+w > n {
			return s[:i], s[i:]
		}
		used += w
	}
	return s, ""
}

// fit makes s, which has no escapes, exactly n cells wide; what is too long ends in
// three dots.
func fit(s string, n int) string {
	if n <= 0 {
		return ""
	}
	if width(s) > n {
		head, _ := cut(s, n-1)
		s = head + "…"
	}
	return s + spaces(n-width(s))
}

// shorten is fit without what fills.
func shorten(s string, n int) string { return strings.TrimRight(fit(s, n), " ") }

// right puts s at the right end of n cells.
func right(s string, n int) string {
	if width(s) > n {
		return fit(s, n)
	}
	return spaces(n-width(s)) + s
}

func spaces(n int) string { return strings.Repeat(" ", max(n, 0)) }

// wrap breaks a line, which has no escapes, at n cells.
func wrap(s string, n int) []string {
	n = max(n, 1)
	var lines []string
	for width(s) > n {
		head, tail := cut(s, n)
		if head == "" { // a wide character in a narrow column
			break
		}
		lines = append(lines, head)
		s = tail
	}
	return append(lines, s)
}

// clock is a time of the day.
func clock(t time.Time) string { return t.Format("15:04:05") }

func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return strings.TrimSuffix(d.Round(time.Second).String(), "0s")
}

// roundly is a duration that does not change with every look at it.
func roundly(d time.Duration) string {
	if d < time.Millisecond {
		return "<1ms"
	}
	return duration(d)
}

func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%dB", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1fkB", float64(n)/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1fMB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1fGB", float64(n)/1e9)
}

// several says how many there are of something.
func several(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatUint(n, 10) + " " + more
}
