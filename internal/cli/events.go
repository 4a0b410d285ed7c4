package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"
)

// event is what the API tells of one.
type event struct {
	ID         string    `json:"id"`
	Endpoint   string    `json:"endpoint"`
	Status     string    `json:"status"`
	Reason     string    `json:"reason,omitempty"`
	Provider   string    `json:"provider,omitempty"`
	ProviderID string    `json:"provider_id,omitempty"`
	Type       string    `json:"type,omitempty"`
	AgainOf    string    `json:"again_of,omitempty"`
	Verified   string    `json:"verified,omitempty"`
	Method     string    `json:"method"`
	Path       string    `json:"path"`
	URL        string    `json:"url"`
	Sender     string    `json:"sender"`
	Received   time.Time `json:"received"`
	Size       int64     `json:"size"`
}

// filterFlags choose events.
func filterFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "endpoint", Usage: "of this `NAME`"},
		&urfave.StringSliceFlag{Name: "status", Usage: "with this `STATUS`: pending, delivered, closed, dead, cancelled, rejected or duplicate; repeat for more"},
		&urfave.StringFlag{Name: "provider", Usage: "of this `SENDER`, like github"},
		&urfave.StringFlag{Name: "provider-id", Usage: "with this `ID` of the sender"},
		&urfave.StringFlag{Name: "type", Usage: "of this `TYPE`, in the sender's words, like push"},
		&urfave.StringFlag{Name: "path", Usage: "whose path begins with `PATH`"},
		&urfave.StringFlag{Name: "grep", Usage: "whose header or body contain `TEXT`"},
		&urfave.StringFlag{Name: "since", Usage: "that came since: a `TIME` ago like 1h or 2d, or a date like 2026-01-31 or 2026-01-31T15:04:05Z"},
		&urfave.StringFlag{Name: "until", Usage: "that came before: the same"},
	}
}

func eventsCommand(e *env) *urfave.Command {
	bulk := func(verb, usage, done string) *urfave.Command {
		return &urfave.Command{
			Name: verb, Usage: usage, ArgsUsage: "[ID...]",
			Flags: append(append(filterFlags(),
				&urfave.BoolFlag{Name: "all", Usage: "all that the filter chooses, instead of single ids"},
				&urfave.BoolFlag{Name: "dry-run", Usage: "only count"}), serverFlags()...),
			Action: func(c *urfave.Context) error { return bulkEvents(c, e, verb, done) },
		}
	}
	return &urfave.Command{
		Name:  "events",
		Usage: "what inboxes have kept",
		Description: "   relay events list --status dead --since 1h\n" +
			"   relay events show evt_01K8…\n" +
			"   relay events tail --endpoint hooks\n" +
			"   relay events replay --all --status dead --endpoint hooks --dry-run",
		Subcommands: []*urfave.Command{
			{
				Name: "list", Usage: "list events, the newest first",
				Flags: append(append(filterFlags(),
					&urfave.IntFlag{Name: "limit", Value: 50, Usage: "at most `N`; 0 for all"}), serverFlags()...),
				Action: func(c *urfave.Context) error { return listEvents(c, e) },
			},
			{
				Name: "show", Usage: "show one, with its deliveries", ArgsUsage: "ID",
				Flags: append([]urfave.Flag{
					&urfave.BoolFlag{Name: "body", Usage: "print the body only, byte for byte"},
					&urfave.BoolFlag{Name: "explain", Usage: "say why it was taken for signed right, or not"},
				}, serverFlags()...),
				Action: func(c *urfave.Context) error { return showEvent(c, e) },
			},
			{
				Name: "tail", Usage: "list events as they come", Flags: append(filterFlags(), serverFlags()...),
				Action: func(c *urfave.Context) error { return tailEvents(c, e) },
			},
			bulk("replay", "deliver events once more", "delivered once more"),
			bulk("retry", "begin again with dead or cancelled ones, and at once with those that wait", "tried at once"),
			bulk("cancel", "give up pending ones", "cancelled"),
			bulk("purge", "remove events for good; pending ones only with --status pending", "removed"),
		},
	}
}

// filterOf reads the filter flags, as the query of a list.
func filterOf(c *urfave.Context) (url.Values, error) {
	q := url.Values{}
	for flag, key := range map[string]string{"endpoint": "endpoint", "provider": "provider", "provider-id": "provider_id", "type": "type", "path": "path", "grep": "grep"} {
		if v := c.String(flag); v != "" {
			q.Set(key, v)
		}
	}
	if all := split(c.StringSlice("status")); len(all) > 0 {
		q.Set("status", strings.Join(all, ","))
	}
	for _, key := range []string{"since", "until"} {
		if v := c.String(key); v != "" {
			at, err := moment(v, time.Now())
			if err != nil {
				return nil, usagef("--%s %s: %v", key, v, err)
			}
			q.Set(key, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return q, nil
}

// moment reads a point in time: so long ago, or a date.
func moment(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 {
			return now.Add(-time.Duration(n * 24 * float64(time.Hour))), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("give a time like 1h or 2d, or a date like 2026-01-31 or 2026-01-31T15:04:05Z")
}

// eventsPage is the most that one call lists.
const eventsPage = 500

// eachEvent calls f for the events that q chooses, page by page, at most limit of
// them; 0 is no limit.
func eachEvent(ctx context.Context, cred credential, q url.Values, limit int, f func(event) error) (last string, err error) {
	for got := 0; ; {
		n := eventsPage
		if limit > 0 {
			n = min(n, limit-got)
		}
		q.Set("limit", strconv.Itoa(n))
		var page struct {
			Items []event
			Next  string
		}
		if err := call(ctx, cred, http.MethodGet, "/events?"+q.Encode(), nil, &page); err != nil {
			return last, err
		}
		for _, one := range page.Items {
			last = one.ID
			if err := f(one); err != nil {
				return last, err
			}
		}
		got += len(page.Items)
		if page.Next == "" || limit > 0 && got >= limit {
			return last, nil
		}
		q.Set("after", page.Next)
	}
}

func listEvents(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cred, err := credentials(c)
	if err != nil {
		return err
	}
	q, err := filterOf(c)
	if err != nil {
		return err
	}
	limit := c.Int("limit")
	if limit < 0 {
		return usagef("--limit cannot be negative")
	}
	if c.Bool("json") {
		_, err := eachEvent(c.Context, cred, q, limit, func(one event) error { return printJSON(e, "event", one) })
		return err
	}
	t := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "RECEIVED\tID\tENDPOINT\tSTATUS\tTYPE\tSIZE\tSIGNATURE\tREQUEST")
	_, err = eachEvent(c.Context, cred, q, limit, func(one event) error { return printEvent(t, one, "\t") })
	if err != nil {
		return err
	}
	return t.Flush()
}

func printEvent(w io.Writer, one event, sep string) error {
	kind := one.Type
	if one.Provider != "" {
		kind = strings.TrimSuffix(one.Provider+" "+one.Type, " ")
	}
	if kind == "" {
		kind = "-"
	}
	signed := one.Verified
	if signed == "" {
		signed = "-"
	}
	note := one.Method + " " + printable(one.Path)
	if one.AgainOf != "" {
		note += "  again of " + one.AgainOf
	}
	_, err := fmt.Fprintln(w, strings.Join([]string{
		one.Received.Local().Format("2006-01-02 15:04:05"), one.ID, one.Endpoint, one.Status, printable(kind), bytesOf(one.Size), signed, note,
	}, sep))
	return err
}

// tailEvery is how often the server is asked for news.
const tailEvery = time.Second

func tailEvents(c *urfave.Context, e *env) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cred, err := credentials(c)
	if err != nil {
		return err
	}
	q, err := filterOf(c)
	if err != nil {
		return err
	}
	show := func(one event) error {
		if c.Bool("json") {
			return printJSON(e, "event", one)
		}
		return printEvent(e.out, one, "  ")
	}
	// From the newest on.
	first := url.Values{}
	for k, v := range q {
		first[k] = v
	}
	last, err := eachEvent(c.Context, cred, first, 1, func(event) error { return nil })
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(e.err, "Waiting for events. Ctrl-C ends it.")
	q.Set("order", "oldest")
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-c.Context.Done():
			return nil
		case <-tick.C:
		}
		if last != "" {
			q.Set("after", last)
		}
		newest, err := eachEvent(c.Context, cred, q, 0, show)
		if newest != "" {
			last = newest
		}
		switch {
		case c.Context.Err() != nil:
			return nil
		case err != nil && codeOf(err) != exitUnreachable:
			return err
		case err != nil && !failed:
			_, _ = fmt.Fprintf(e.err, "relay: %v Trying again.\n", err)
		}
		failed = err != nil
	}
}

func bulkEvents(c *urfave.Context, e *env, verb, done string) error {
	ids := c.Args().Slice()
	if len(ids) == 0 && !c.Bool("all") {
		return usagef("events %s wants ids, or --all for all that the filter chooses", verb)
	}
	if len(ids) > 0 && c.Bool("all") {
		return usagef("events %s: give ids or --all, not both", verb)
	}
	cred, err := credentials(c)
	if err != nil {
		return err
	}
	q, err := filterOf(c)
	if err != nil {
		return err
	}
	filter := map[string]any{}
	for k, v := range q {
		filter[k] = v[0]
	}
	if v, ok := filter["status"].(string); ok {
		filter["status"] = strings.Split(v, ",")
	}
	if len(ids) > 0 {
		filter["ids"] = ids
	}
	var out struct {
		Count int `json:"count"`
	}
	if err := call(c.Context, cred, http.MethodPost, "/events/"+verb, map[string]any{"filter": filter, "dry_run": c.Bool("dry-run")}, &out); err != nil {
		return err
	}
	var missing error
	if n := len(ids) - out.Count; n > 0 {
		missing = fmt.Errorf("%d of %d ids: there is no such event, or there is nothing to %s", n, len(ids), verb)
	}
	if c.Bool("json") {
		return errors.Join(printJSON(e, verb, map[string]any{"count": out.Count, "dry_run": c.Bool("dry-run")}), missing)
	}
	word, will := "events", "will be"
	if out.Count == 1 {
		word = "event"
	}
	switch {
	case c.Bool("dry-run"):
		will = "would be"
	case verb == "cancel" || verb == "purge": // it has happened
		will = map[bool]string{true: "is", false: "are"}[out.Count == 1]
	}
	_, err = fmt.Fprintf(e.out, "%d %s %s %s.\n", out.Count, word, will, done)
	return errors.Join(err, missing)
}
