package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/compare"
	"github.com/relaytunnel/relay/internal/inspector"
)

// diffRequests shows how two requests and their answers differ.
func diffRequests(c *urfave.Context, e *env) error {
	ids, err := idsOf(c, 2, "requests diff wants two ids: relay requests diff req_01K8… req_01K9…")
	if err != nil {
		return err
	}
	r, err := historyOf(c)
	if err != nil {
		return err
	}
	var d difference
	if err := r.call(c.Context, http.MethodGet, requestPath(ids[0], "/diff", url.Values{"with": {ids[1]}}, c.Bool("reveal")), nil, &d); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "diff", d)
	}
	return d.write(e.out)
}

// difference is how two requests and their answers differ, as the API tells it.
type difference struct {
	A        inspector.Summary `json:"a"`
	B        inspector.Summary `json:"b"`
	Sections []struct {
		Name  string         `json:"name"`
		Same  bool           `json:"same"`
		Lines []compare.Line `json:"lines"`
	} `json:"sections"`
}

// contextLines is how many lines stand around those that differ.
const contextLines = 3

// write shows the parts that differ, as diff -u would.
func (d *difference) write(w io.Writer) error {
	_, _ = fmt.Fprintf(w, "--- %s  %s\n+++ %s  %s\n", printable(d.A.ID), d.A.Began.Local().Format("2006-01-02 15:04:05"),
		printable(d.B.ID), d.B.Began.Local().Format("2006-01-02 15:04:05"))
	same := true
	for _, s := range d.Sections {
		if s.Same {
			continue
		}
		same = false
		_, _ = fmt.Fprintf(w, "@@ %s\n", printable(s.Name))
		writeLines(w, "", compare.Around(s.Lines, contextLines))
	}
	if same {
		_, _ = fmt.Fprintln(w, "They are the same.")
	}
	return nil
}

// writeLines writes lines of a diff, each behind an indent.
func writeLines(w io.Writer, indent string, lines []compare.Line) {
	for _, l := range lines {
		op := l.Op
		if op == "=" {
			op = " "
		}
		_, _ = fmt.Fprintf(w, "%s%s%s\n", indent, op, printable(l.Text))
	}
}
