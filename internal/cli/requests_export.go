package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/inspector"
)

// exportForms are what requests can be written as, with the endings of files.
func exportForms() map[string]string {
	return map[string]string{"har": ".har", "curl": ".sh", "httpie": ".sh", "fetch": ".js", "json": ".json", "fixture": ".json"}
}

func exportRequests(c *urfave.Context, e *env) error {
	form := c.String("output")
	if _, ok := exportForms()[form]; !ok {
		return usagef("--output %s: give har, curl, httpie, fetch, json or fixture", form)
	}
	if c.Bool("json") {
		return usagef("--json: requests export writes what --output says, and --output json is one of them")
	}
	var ids, words []string
	for _, word := range c.Args().Slice() {
		if isID(word) {
			ids = append(ids, word)
		} else {
			words = append(words, word)
		}
	}
	filter, _, err := termsOf(c, words, time.Now())
	if err != nil {
		return err
	}
	if len(ids) > 0 && filter != "" {
		return usagef("requests export: give ids or a filter, not both")
	}
	r, err := historyOf(c)
	if err != nil {
		return err
	}
	x := exporter{history: r, form: form, filter: filter, ids: ids, reveal: c.Bool("reveal")}
	if dir := c.String("dir"); dir != "" {
		return x.intoFolder(c.Context, e, dir)
	}
	return x.to(c.Context, e.out)
}

// exporter writes requests in another form.
type exporter struct {
	*history
	form, filter string
	ids          []string // in place of a filter
	reveal       bool
}

// to writes all one after the other: as one document where the form has one for several.
func (x *exporter) to(ctx context.Context, w io.Writer) error {
	q := url.Values{"format": {x.form}}
	switch x.form {
	case "har", "json", "fixture":
		if len(x.ids) > 0 {
			q["id"] = x.ids
		} else {
			q.Set("filter", x.filter)
		}
		if x.reveal {
			q.Set("reveal", "1")
		}
		found, err := x.anything(ctx)
		if err != nil || !found {
			return err
		}
		_, err = x.copy(ctx, "/requests/export?"+q.Encode(), w)
		return filterProblem(err, x.filter)
	}
	n := 0
	return x.eachOne(ctx, func(s inspector.Summary) error {
		if n++; n > 1 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		_, err := x.copy(ctx, requestPath(s.ID, "/export", q, x.reveal), w)
		return err
	})
}

// anything fails when nothing is chosen: an empty document would look like a success.
func (x *exporter) anything(ctx context.Context) (bool, error) {
	if len(x.ids) > 0 {
		for _, id := range x.ids { // the export leaves out what is not kept any more
			if err := x.call(ctx, "GET", requestPath(id, "", nil, false), nil, nil); err != nil {
				return false, err
			}
		}
		return true, nil
	}
	found := false
	err := x.each(ctx, x.filter, 1, func(inspector.Summary) error { found = true; return nil })
	if err == nil && !found {
		err = errNoneChosen
	}
	return found, err
}

// errNoneChosen is the failure of a command that was to do something with requests.
var errNoneChosen = fmt.Errorf("the filter chooses no request; relay requests list shows what is there")

// eachOne calls f for all that are chosen, the oldest first.
func (x *exporter) eachOne(ctx context.Context, f func(inspector.Summary) error) error {
	list, err := x.summaries(ctx, x.ids, x.filter, 0)
	if err != nil {
		return err
	}
	for _, s := range list {
		if err := f(s); err != nil {
			return err
		}
	}
	return nil
}

// summaries lists what ids or a filter choose, the oldest first: of a filter the newest
// limit ones; 0 is all. Nothing is an error.
func (r *history) summaries(ctx context.Context, ids []string, filter string, limit int) ([]inspector.Summary, error) {
	var list []inspector.Summary
	for _, id := range ids {
		x, err := r.exchange(ctx, id, false)
		if err != nil {
			return nil, err
		}
		list = append(list, inspector.Summary{ID: x.ID, Began: x.Began, Method: x.Request.Method, Target: x.Request.Target})
	}
	if len(ids) > 0 {
		return list, nil
	}
	err := r.each(ctx, filter, limit, func(s inspector.Summary) error {
		list = append(list, s)
		return nil
	})
	if err == nil && len(list) == 0 {
		err = errNoneChosen
	}
	slices.Reverse(list)
	return list, err
}

// intoFolder writes a file for each. Only its owner may read it: masks hide what is known
// to be secret, and there may be more.
func (x *exporter) intoFolder(ctx context.Context, e *env, dir string) error {
	n, left := 0, 0
	err := x.eachOne(ctx, func(s inspector.Summary) error {
		var b bytes.Buffer
		if _, err := x.copy(ctx, requestPath(s.ID, "/export", url.Values{"format": {x.form}}, x.reveal), &b); err != nil {
			if codeOf(err) == exitUnreachable {
				return err
			}
			left++
			_, _ = fmt.Fprintf(e.err, "relay: %s: %v\n", printable(s.ID), err)
			return nil
		}
		n++
		if err := writePrivate(filepath.Join(dir, fileOf(s)+exportForms()[x.form]), b.Bytes()); err != nil {
			return fmt.Errorf("write %s: %w", dir, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(e.out, "%s in %s\n", plural(n, "file"), dir); err != nil {
		return err
	}
	if left > 0 {
		return errSilent
	}
	return nil
}

// fileOf names a file after a request: by name they are in the order in which they came.
func fileOf(s inspector.Summary) string {
	path, _, _ := strings.Cut(s.Target, "?")
	plain := func(text string) string {
		return strings.Trim(strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' {
				return c
			}
			return '-'
		}, text), "-.")
	}
	const most = 60 // of the path: names of files have a limit
	path = strings.ToLower(s.Method) + "-" + plain(path)
	path = strings.TrimRight(path[:min(len(path), most)], "-.")
	return s.Began.UTC().Format("20060102T150405.000") + "-" + path + "-" + plain(s.ID)
}
