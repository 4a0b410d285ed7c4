package cli

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
)

func listRequests(c *urfave.Context, e *env) error {
	filter, _, err := termsOf(c, c.Args().Slice(), time.Now())
	if err != nil {
		return err
	}
	limit := c.Int("limit")
	if limit < 0 {
		return usagef("--limit cannot be negative")
	}
	r, err := historyOf(c)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return r.each(c.Context, filter, limit, func(s inspector.Summary) error { return printJSON(e, "exchange", s) })
	}
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	head := []string{"TIME", "ID", "STATUS", "DURATION", "SIZE", "SIGNATURE", "REQUEST"}
	if !r.local {
		head = append(head[:2], append([]string{"ENDPOINT"}, head[2:]...)...)
	}
	_, _ = fmt.Fprintln(t, strings.Join(head, "\t"))
	err = r.each(c.Context, filter, limit, func(s inspector.Summary) error {
		_, err := fmt.Fprintln(t, strings.Join(rowOf(s, !r.local), "\t"))
		return err
	})
	if err != nil {
		return err
	}
	return t.Flush()
}

// rowOf is a request as a line of a list.
func rowOf(s inspector.Summary, endpoint bool) []string {
	row := []string{s.Began.Local().Format("2006-01-02 15:04:05"), printable(s.ID)}
	if endpoint {
		row = append(row, dash(printable(s.Endpoint)))
	}
	took := duration(time.Duration(s.Duration))
	if s.State == capture.Live {
		took = "live"
	}
	note := printable(s.Method) + " " + printable(s.Target)
	switch {
	case s.ReplayOf != "":
		note += "  replay of " + printable(s.ReplayOf)
	case s.Replay:
		note += "  replay"
	}
	if s.Error != "" {
		note += "  " + printable(s.Error)
	}
	return append(row, statusWord(s.Status), took, bytesOf(s.ResponseSize), dash(printable(s.Verified)), note)
}

func statusWord(status int) string {
	if status == 0 {
		return "-"
	}
	return strconv.Itoa(status)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
