package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/capture"
)

// replayWithin is how long one replay may take: the record breaks it off after 30 s.
const replayWithin = 45 * time.Second

func replayRequests(c *urfave.Context, e *env) error {
	words := c.Args().Slice()
	if c.Bool("all") {
		filter, _, err := termsOf(c, words, time.Now())
		if err != nil {
			return err
		}
		r, err := historyOf(c)
		if err != nil {
			return err
		}
		return r.replayAll(c, e, filter)
	}
	if len(words) == 0 {
		return usagef("requests replay wants ids, or --all for all that the filter chooses")
	}
	for _, flag := range termFlags() {
		if name := flag.Names()[0]; c.IsSet(name) {
			return usagef("--%s chooses requests: it goes with --all, not with ids", name)
		}
	}
	if c.Bool("dry-run") {
		return usagef("--dry-run goes with --all: ids need no counting")
	}
	ids, err := idsOf(c, len(words), "")
	if err != nil {
		return err
	}
	r, err := historyOf(c)
	if err != nil {
		return err
	}
	to, err := r.target(c.Context, c.String("to"))
	if err != nil {
		return err
	}
	failed := 0
	for _, id := range ids {
		ok, err := r.replayOne(c, e, id, to)
		if err != nil {
			return err
		}
		if !ok {
			failed++
		}
	}
	if failed > 0 {
		return errSilent
	}
	return nil
}

// againEvent is one request that was sent once more; see docs/json.md.
type againEvent struct {
	ID         string  `json:"id"`
	Replay     string  `json:"replay,omitempty"`
	Ended      bool    `json:"ended"`
	Status     int     `json:"status"`
	DurationMS float64 `json:"duration_ms"`
	Error      string  `json:"error,omitempty"`
}

// replayOne sends one request and tells what the app said. ok is false when there was no
// answer.
func (r *history) replayOne(c *urfave.Context, e *env, id, to string) (ok bool, err error) {
	ctx, cancel := context.WithTimeout(c.Context, replayWithin)
	defer cancel()
	in := map[string]any{}
	if to != "" {
		in["to"] = to
	}
	if c.Bool("sign") {
		in["sign"] = true
	}
	var out struct {
		ID    string `json:"id"`
		Ended bool   `json:"ended"`
	}
	if err := r.explain(callUntil(ctx, r.credential, http.MethodPost, requestPath(id, "/replay", nil, false), in, &out)); err != nil {
		return false, err
	}
	x := &capture.Exchange{}
	if err := r.call(ctx, http.MethodGet, requestPath(out.ID, "", nil, false), nil, x); err != nil {
		return false, err
	}
	ok = out.Ended && x.Error == "" && x.Status() != 0
	if c.Bool("json") {
		return ok, printJSON(e, "again", againEvent{id, out.ID, out.Ended, x.Status(), milliseconds(time.Duration(x.Duration)), x.Error})
	}
	note := ""
	switch {
	case x.Error != "":
		note = "  " + printable(x.Error)
	case !out.Ended:
		note = "  took too long and was broken off"
	}
	_, err = fmt.Fprintf(e.out, "%s -> %s  %s  %s  %s %s%s\n", id, printable(out.ID), statusWord(x.Status()), duration(time.Duration(x.Duration)),
		printable(x.Request.Method), printable(x.Request.Target), note)
	return ok, err
}

// target finds who is to get a replay, by id or name; "" is who has had the request.
func (r *history) target(ctx context.Context, given string) (string, error) {
	if given == "" {
		return "", nil
	}
	var list struct {
		Items []capture.Target `json:"items"`
	}
	if err := r.call(ctx, http.MethodGet, "/targets", nil, &list); err != nil {
		return "", err
	}
	var names []string
	for _, t := range list.Items {
		if given == t.ID || given == t.Name {
			return t.ID, nil
		}
		names = append(names, t.Name)
	}
	if strings.Contains(given, "://") {
		return "", usagef("--to %s: this command sends through an agent; relay replay --to sends to any URL from here", given)
	}
	if len(names) == 0 {
		return "", usagef("--to %s: nothing can get a replay now", given)
	}
	return "", usagef("--to %s: these can get a replay: %s", given, strings.Join(names, ", "))
}

// replayAll sends all that a filter chooses, or counts them.
func (r *history) replayAll(c *urfave.Context, e *env, filter string) error {
	to, err := r.target(c.Context, c.String("to"))
	if err != nil {
		return err
	}
	dry := c.Bool("dry-run")
	in := map[string]any{"filter": filter, "dry_run": dry}
	if to != "" {
		in["to"] = to
	}
	if c.Bool("sign") {
		in["sign"] = true
	}
	var out struct {
		Count    int `json:"count"`
		Skipped  int `json:"skipped"`
		Replayed int `json:"replayed"`
		Failed   []struct {
			ID    string `json:"id"`
			Error string `json:"error"`
		} `json:"failed"`
	}
	if err := r.explain(callUntil(c.Context, r.credential, http.MethodPost, "/requests/replay", in, &out)); err != nil {
		return filterProblem(err, filter)
	}
	var end error
	if len(out.Failed) > 0 || !dry && out.Count == 0 {
		end = errSilent
	}
	if c.Bool("json") {
		failed := []againEvent{}
		for _, f := range out.Failed {
			failed = append(failed, againEvent{ID: f.ID, Error: f.Error})
		}
		if err := printJSON(e, "bulk", map[string]any{
			"count": out.Count, "skipped": out.Skipped, "replayed": out.Replayed, "failed": failed, "dry_run": dry,
		}); err != nil {
			return err
		}
		return end
	}
	for _, f := range out.Failed {
		_, _ = fmt.Fprintf(e.out, "%s  %s\n", printable(f.ID), printable(f.Error))
	}
	skipped := ""
	if out.Skipped > 0 {
		skipped = fmt.Sprintf(" %d of them cannot be: they are not over, or only the beginning of the body was kept.", out.Skipped)
	}
	switch {
	case out.Count == 0:
		_, err = fmt.Fprintln(e.out, "The filter chooses no request.")
	case dry:
		_, err = fmt.Fprintf(e.out, "%s would be sent again.%s\n", plural(out.Count, "request"), skipped)
	default:
		_, err = fmt.Fprintf(e.out, "%d of %s sent again.%s\n", out.Replayed, plural(out.Count, "request"), skipped)
	}
	if err != nil {
		return err
	}
	return end
}
