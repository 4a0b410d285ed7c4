package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/capture"
	"github.com/relaytunnel/relay/internal/inspector"
)

const (
	// tailAgain is how long a lost record is waited for before it is sought again.
	tailAgain = time.Second
	// tailSilence is how long a stream may be silent; it shows every 15 s that it lives.
	tailSilence = 45 * time.Second
	// tailMissed is how many requests are listed that have passed while nobody listened.
	tailMissed = 1000
	// maxStreamLine bounds a line of the stream, in bytes.
	maxStreamLine = 64 << 20
)

func tailRequests(c *urfave.Context, e *env) error {
	filter, _, err := termsOf(c, c.Args().Slice(), time.Now())
	if err != nil {
		return err
	}
	r, err := historyOf(c)
	if err != nil {
		return err
	}
	t := &tailing{filter: filter, remote: !r.local, shown: map[string]uint64{}, show: func(s inspector.Summary) error {
		if c.Bool("json") {
			return printJSON(e, "exchange", s)
		}
		_, err := fmt.Fprintln(e.out, strings.Join(rowOf(s, !r.local), "  "))
		return err
	}, ready: func() { _, _ = fmt.Fprintln(e.err, "Waiting for requests. Ctrl-C ends it.") }}
	told := false
	for {
		err := t.follow(c.Context, r)
		if c.Context.Err() != nil {
			return nil //nolint:nilerr // it was ended
		}
		if t.epoch == "" || err != nil && codeOf(err) != exitUnreachable && !errors.Is(err, errBrokenOff) {
			return err // it was never there, or it says no
		}
		if t.heard {
			told, t.heard = false, false
		}
		if !told {
			_, _ = fmt.Fprintf(e.err, "relay: lost %s; waiting for it to come back.\n", r.server)
			told = true
		}
		if !waitUntil(c.Context, time.Now().Add(tailAgain)) {
			return nil
		}
		if r.local { // it may listen somewhere else now
			if again, err := localHistory(c); err == nil && again != nil {
				r = again
			}
		}
	}
}

// errBrokenOff is the end of a stream that has none.
var errBrokenOff = errors.New("the stream broke off")

// tailing is one tail, over all streams that it reads.
type tailing struct {
	filter string
	remote bool
	show   func(inspector.Summary) error
	ready  func()

	last  string            // the id of the last event
	epoch string            // of the process that sent it; empty before the first
	heard bool              // something came since it was lost
	shown map[string]uint64 // ids, with their seq
}

// follow reads one stream to its end.
func (t *tailing) follow(ctx context.Context, r *history) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	res, err := doWith(ctx, r.credential, http.MethodGet, "/requests/stream?"+url.Values{"filter": {t.filter}}.Encode(), nil, http.Header{"Last-Event-Id": {t.last}})
	if err != nil {
		return filterProblem(r.explain(err), t.filter)
	}
	defer func() { _ = res.Body.Close() }()
	silence := time.AfterFunc(tailSilence, cancel)
	defer silence.Stop()
	err = eachStreamed(res.Body, func() { silence.Reset(tailSilence) }, func(id string, data []byte) error {
		return t.take(ctx, r, id, data)
	})
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || ctx.Err() != nil {
		return errBrokenOff
	}
	return err
}

// take shows what one event tells.
func (t *tailing) take(ctx context.Context, r *history, id string, data []byte) error {
	var news struct {
		Items []struct {
			inspector.Summary
			Match bool `json:"match"`
		} `json:"items"`
		Oldest uint64 `json:"oldest"`
	}
	if err := json.Unmarshal(data, &news); err != nil {
		return fmt.Errorf("read the stream of %s: %w", r.server, err)
	}
	epoch, _, _ := strings.Cut(id, ":")
	first := t.epoch == ""
	another := !first && epoch != t.epoch
	t.epoch, t.last, t.heard = epoch, id, true
	switch {
	case first:
		t.ready()
	case another: // another process: its stream does not tell what has passed before
		if r.local {
			clear(t.shown) // it counts anew
		}
		if err := t.missed(ctx, r); err != nil {
			return err
		}
	}
	for _, item := range news.Items {
		if item.Match {
			if err := t.tell(item.Summary); err != nil {
				return err
			}
		}
	}
	for id, seq := range t.shown {
		if seq < news.Oldest {
			delete(t.shown, id)
		}
	}
	return nil
}

// missed shows what a new process has had before it was found. What was shown of the one
// before is not shown again: the server keeps it.
func (t *tailing) missed(ctx context.Context, r *history) error {
	newest := uint64(0)
	for _, seq := range t.shown {
		newest = max(newest, seq)
	}
	if newest == 0 && !r.local {
		return nil // nothing says where to begin
	}
	var list []inspector.Summary
	errEnough := errors.New("enough")
	err := r.each(ctx, t.filter, tailMissed, func(s inspector.Summary) error {
		if s.Seq <= newest {
			return errEnough
		}
		list = append(list, s)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	for _, s := range slices.Backward(list) {
		if err := t.tell(s); err != nil {
			return err
		}
	}
	return nil
}

// tell shows a request once: when it is over, or when it has become a connection that
// stays.
func (t *tailing) tell(s inspector.Summary) error {
	stays := s.Status == http.StatusSwitchingProtocols || strings.HasPrefix(s.ResponseType, "text/event-stream")
	if _, done := t.shown[s.ID]; done || s.State == capture.Live && !stays {
		return nil
	}
	t.shown[s.ID] = s.Seq
	return t.show(s)
}

// eachStreamed reads server-sent events, as the inspector writes them: a line of data
// each. alive is told of every line. It returns nil at the end of the stream.
func eachStreamed(in io.Reader, alive func(), f func(id string, data []byte) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxStreamLine)
	id, data := "", []byte(nil)
	for lines.Scan() {
		alive()
		switch name, value, _ := strings.Cut(lines.Text(), ":"); name {
		case "":
			if lines.Text() == "" && data != nil {
				if err := f(id, data); err != nil {
					return err
				}
				data = nil
			}
		case "id":
			id = strings.TrimPrefix(value, " ")
		case "data":
			data = []byte(strings.TrimPrefix(value, " "))
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", errBrokenOff, err)
	}
	return nil
}
