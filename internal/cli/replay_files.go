package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relaytunnel/relay/internal/capture"
)

// recordedInFiles reads what a filter chooses of files and folders, in the order in which
// it was recorded: at most the newest limit ones; 0 is all. All of it is read before anything is sent, so that
// a mistake in the last file is told first.
func recordedInFiles(paths []string, in io.Reader, filter *capture.Filter, limit int) ([]recorded, error) {
	var chosen []*capture.Exchange
	for _, path := range paths {
		files, err := filesAt(path)
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			found, err := exchangesIn(name, in)
			if err != nil {
				return nil, err
			}
			for _, x := range found {
				if filter.Match(x) {
					chosen = append(chosen, x)
				}
			}
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("nothing was chosen: no request in %s is what the filter wants", strings.Join(paths, ", "))
	}
	slices.SortStableFunc(chosen, func(a, b *capture.Exchange) int { return a.Began.Compare(b.Began) })
	if limit > 0 && len(chosen) > limit {
		chosen = chosen[len(chosen)-limit:]
	}
	list := make([]recorded, 0, len(chosen))
	for _, x := range chosen {
		list = append(list, recorded{x.ID, func(context.Context) (*capture.Exchange, error) { return x, nil }})
	}
	return list, nil
}

// filesAt lists the files that a path stands for, by their names; "-" is standard input.
func filesAt(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && slices.Contains([]string{".json", ".jsonl", ".har"}, strings.ToLower(filepath.Ext(name))) {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("--file: there is no .json, .jsonl or .har file in %s", path)
	}
	return files, nil
}

// exchangesIn reads all that is in one file: one or more JSON values, each a fixture, an
// exchange or a list of them as relay requests export writes it, or a HAR. The ids are
// the file's name, with a number where it has several.
func exchangesIn(name string, in io.Reader) ([]*capture.Exchange, error) {
	source := in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("--file: %w", err)
		}
		defer func() { _ = f.Close() }()
		source = f
	}
	var all []*capture.Exchange
	values := json.NewDecoder(source)
	for n := 1; ; n++ {
		var value json.RawMessage
		err := values.Decode(&value)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			var some []*capture.Exchange
			some, err = exchangesOf(value)
			all = append(all, some...)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, value %d: %w", name, n, err)
		}
	}
	for i, x := range all {
		canonical(x)
		x.ID = name
		if len(all) > 1 {
			x.ID = fmt.Sprintf("%s:%d", name, i+1)
		}
	}
	return all, nil
}

// canonical puts right what people write in their own way: names of header fields. The
// type of a body may stand in the head alone.
func canonical(x *capture.Exchange) {
	tidy := func(h *capture.Header, b *capture.Body) {
		all := http.Header{}
		for _, f := range h.Fields() {
			all.Add(f.Name, f.Value)
		}
		*h = capture.Header(all)
		b.Type = cmp.Or(b.Type, h.Get("Content-Type"))
	}
	tidy(&x.Request.Header, &x.Request.Body)
	if x.Response != nil {
		tidy(&x.Response.Header, &x.Response.Body)
	}
}

// exchangesOf reads one JSON value, whatever it is.
func exchangesOf(value json.RawMessage) ([]*capture.Exchange, error) {
	if bytes.HasPrefix(value, []byte("[")) {
		return nil, errors.New("it is a list; give fixtures one per line, HAR, or what relay requests export --output json writes")
	}
	var kind struct {
		Fixture json.RawMessage     `json:"relay_fixture"`
		Log     json.RawMessage     `json:"log"`
		Items   []*capture.Exchange `json:"items"`
		Request json.RawMessage     `json:"request"`
	}
	if err := json.Unmarshal(value, &kind); err != nil {
		return nil, err
	}
	switch {
	case kind.Fixture != nil:
		x, err := capture.ReadFixture(value)
		return []*capture.Exchange{x}, err
	case kind.Log != nil:
		return exchangesOfHAR(kind.Log)
	case kind.Items != nil:
		if slices.Contains(kind.Items, nil) {
			return nil, errors.New("one of its items is null")
		}
		return kind.Items, nil
	case kind.Request != nil:
		x := &capture.Exchange{}
		return []*capture.Exchange{x}, json.Unmarshal(value, x)
	}
	return nil, errors.New("it is no recorded request: a fixture has relay_fixture, a HAR has log, an export has items or request")
}
