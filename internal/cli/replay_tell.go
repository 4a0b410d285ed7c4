package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/relaytunnel/relay/internal/compare"
)

// summaryEvent closes a replay; see docs/json.md.
type summaryEvent struct {
	OK         bool    `json:"ok"`
	To         string  `json:"to"`
	Chosen     int     `json:"chosen"`
	Sent       int     `json:"sent"`
	Same       int     `json:"same"`
	Changed    int     `json:"changed"`
	Failed     int     `json:"failed"`
	Skipped    int     `json:"skipped"`
	LeftOut    int     `json:"left_out"`
	DurationMS float64 `json:"duration_ms"`
}

func (s *summaryEvent) count(x replayedEvent) {
	s.LeftOut += len(x.LeftOut)
	if x.Outcome != outcomeSkipped {
		s.Sent++
	}
	switch x.Outcome {
	case outcomeSame:
		s.Same++
	case outcomeChanged:
		s.Changed++
	case outcomeFailed:
		s.Failed++
	case outcomeSkipped:
		s.Skipped++
	case outcomeSent:
	}
}

// tell writes what came of one request.
func (rp *replayer) tell(x replayedEvent) error {
	if rp.asJSON {
		return printJSON(rp.env, "replayed", x)
	}
	status := statusWord(x.Status)
	if x.Outcome == outcomeChanged && x.Before != x.Status {
		status = statusWord(x.Before) + " -> " + status
	}
	took := duration(x.took)
	if x.Outcome == outcomeSkipped {
		took = "-"
	}
	line := fmt.Sprintf("%-7s  %s  %s  %s", x.Outcome, status, took, printable(x.ID))
	if x.Method != "" {
		line += "  " + printable(x.Method) + " " + printable(x.Path)
	}
	if x.Error != "" {
		line += "  " + printable(x.Error)
	}
	if _, err := fmt.Fprintln(rp.env.out, line); err != nil {
		return err
	}
	return tellChanges(rp.env.out, x.Changes)
}

const (
	// shownChanges is how many changes of one answer people see.
	shownChanges = 20
	// shownLines is how many lines of a text they see.
	shownLines = 40
	// shownValue is how much of a value they see, in characters.
	shownValue = 120
)

// tellChanges lists how an answer differs.
func tellChanges(w io.Writer, changes []compare.Change) error {
	for i, c := range changes {
		if i == shownChanges {
			_, err := fmt.Fprintf(w, "         … %d more, which --json lists\n", len(changes)-i)
			return err
		}
		at := c.At
		if at == "" {
			at = c.Part
		}
		var what string
		switch {
		case len(c.Lines) > 0:
			what = map[compare.Kind]string{compare.Changed: "has other lines", compare.Added: "is not empty any more", compare.Removed: "is empty now"}[c.Kind]
		case c.Kind == compare.Added:
			what = "is new: " + short(c.After)
		case c.Kind == compare.Removed:
			what = "is missing: it was " + short(c.Before)
		default:
			what = short(c.Before) + " -> " + short(c.After)
		}
		if _, err := fmt.Fprintf(w, "         %s  %s\n", printable(at), what); err != nil {
			return err
		}
		writeLines(w, "           ", c.Lines[:min(len(c.Lines), shownLines)])
		if more := len(c.Lines) - shownLines; more > 0 {
			_, _ = fmt.Fprintf(w, "           … %s more, which --json lists\n", plural(more, "line"))
		}
	}
	return nil
}

// short is a value that fits into a line.
func short(v string) string {
	if v == "" {
		return "nothing"
	}
	if r := []rune(v); len(r) > shownValue {
		v = string(r[:shownValue]) + "…"
	}
	return printable(v)
}

// conclude writes the summary and returns what the command ends with.
func (rp *replayer) conclude(s summaryEvent) error {
	s.OK = s.Sent > 0 && s.Changed == 0 && s.Failed == 0
	if rp.asJSON {
		if err := printJSON(rp.env, "summary", s); err != nil {
			return err
		}
	} else {
		parts := []string{}
		add := func(n int, word string) {
			if n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, word))
			}
		}
		add(s.Same, "same")
		add(s.Changed, "changed")
		add(s.Failed, "failed")
		add(s.Skipped, "skipped")
		line := fmt.Sprintf("%s sent in %s", plural(s.Sent, "request"), duration(time.Duration(s.DurationMS*float64(time.Millisecond))))
		if len(parts) > 0 {
			line += ": " + strings.Join(parts, ", ")
		}
		if _, err := fmt.Fprintln(rp.env.out, line); err != nil {
			return err
		}
		if s.LeftOut > 0 {
			_, _ = fmt.Fprintf(rp.env.err, "relay: %s left out, because their values are masked; --header 'Name: value' gives them.\n", plural(s.LeftOut, "header field"))
		}
	}
	switch {
	case s.Sent == 0:
		return errors.New("none of the chosen requests could be sent")
	case !s.OK:
		return errSilent
	}
	return nil
}
