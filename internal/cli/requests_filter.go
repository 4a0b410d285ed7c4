package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/capture"
)

// termFlags choose recorded requests: a filter, and short ways to write its terms.
func termFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "filter", Usage: "`FILTER` as of the inspector, like 'status:5xx -method:GET'; the same as arguments"},
		&urfave.StringFlag{Name: "since", Usage: "that came since: a `TIME` ago like 1h or 2d, or a date like 2026-01-31 or 2026-01-31T15:04:05Z"},
		&urfave.StringFlag{Name: "until", Usage: "that came before: the same"},
		&urfave.StringFlag{Name: "status", Usage: "answered with this `STATUS`: 404, 5xx, or none"},
		&urfave.StringFlag{Name: "method", Usage: "with this `METHOD`"},
		&urfave.StringFlag{Name: "path", Usage: "whose path begins with `PATH`, or is like it: '*.png'"},
		&urfave.StringFlag{Name: "endpoint", Usage: "to the endpoint `NAME`, in full like hooks-alice; only the server knows it"},
	}
}

// termsOf makes one filter of the flags and words, and reads it, so that a mistake is
// told before anybody is asked.
func termsOf(c *urfave.Context, words []string, now time.Time) (text string, f *capture.Filter, err error) {
	var terms []string
	for _, key := range []string{"status", "method", "path", "endpoint"} {
		if v := c.String(key); v != "" {
			terms = append(terms, key+":"+quotedTerm(v))
		}
	}
	for _, one := range [][2]string{{"since", "after"}, {"until", "before"}} {
		if v := c.String(one[0]); v != "" {
			at, err := moment(v, now)
			if err != nil {
				return "", nil, usagef("--%s %s: %v", one[0], v, err)
			}
			terms = append(terms, one[1]+":"+at.UTC().Format(time.RFC3339Nano))
		}
	}
	if v := c.String("filter"); v != "" {
		terms = append(terms, v)
	}
	text = strings.Join(append(terms, words...), " ")
	f, err = capture.ParseFilter(text, now)
	var wrong *capture.FilterError
	if errors.As(err, &wrong) {
		return "", nil, wrongFilter(text, wrong)
	}
	return text, f, err
}

// quotedTerm keeps a value together that has spaces.
func quotedTerm(v string) string {
	if strings.ContainsAny(v, " \t\r\n\"") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
	}
	return v
}

// wrongFilter points at what is wrong with a filter.
func wrongFilter(text string, wrong *capture.FilterError) error {
	if printable(text) != text || wrong.At > len(text) {
		return usagef("the filter: %v", wrong)
	}
	return usagef("the filter: %s\n  %s\n  %s%s", wrong.Why, text,
		strings.Repeat(" ", utf8.RuneCountInString(text[:wrong.At])), strings.Repeat("^", max(1, utf8.RuneCountInString(wrong.Term))))
}

// filterProblem points at what a server finds wrong with a filter that is right here, as
// one of another version may.
func filterProblem(err error, text string) error {
	var p *problemError
	if errors.As(err, &p) && p.Filter != nil {
		return wrongFilter(text, p.Filter)
	}
	return err
}

// isID tells whether a word is the id of a request and no term of a filter.
func isID(word string) bool {
	kind, rest, ok := strings.Cut(word, "_")
	if !ok || kind != "req" && kind != "rpl" {
		return false
	}
	rest, n, numbered := strings.Cut(rest, "-")
	if _, err := strconv.ParseUint(n, 10, 64); numbered && err != nil {
		return false
	}
	return rest != "" && !strings.ContainsFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') })
}

// idsOf takes the ids of a command that takes nothing else.
func idsOf(c *urfave.Context, n int, how string) ([]string, error) {
	ids := c.Args().Slice()
	if len(ids) != n {
		return nil, usagef("%s", how)
	}
	for _, id := range ids {
		if id == "" || strings.ContainsAny(id, " /:") {
			return nil, usagef("%q is not the id of a request; relay requests list shows them", id)
		}
	}
	return ids, nil
}

// plural writes a number of things.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
