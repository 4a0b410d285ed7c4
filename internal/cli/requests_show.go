package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/capture"
)

func showRequest(c *urfave.Context, e *env) error {
	ids, err := idsOf(c, 1, "requests show wants one id: relay requests show req_01K8…")
	if err != nil {
		return err
	}
	side := c.String("body")
	if c.IsSet("body") && side != "request" && side != "response" {
		return usagef("--body %s: give request or response", side)
	}
	r, err := historyOf(c)
	if err != nil {
		return err
	}
	if side != "" {
		h, err := r.copy(c.Context, requestPath(ids[0], "/"+side+"-body", nil, c.Bool("reveal")), e.out)
		if err == nil && h.Get("Relay-Body-Truncated") != "" {
			_, _ = fmt.Fprintln(e.err, "relay: only the beginning of this body was kept.")
		}
		return err
	}
	x, err := r.exchange(c.Context, ids[0], c.Bool("reveal"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(e, "detail", x)
	}
	return describeRequest(e.out, x)
}

func describeRequest(w io.Writer, x *capture.Exchange) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what, text string) {
		if text != "" {
			_, _ = fmt.Fprintf(t, "%s\t%s\n", what, printable(text))
		}
	}
	line("id", x.ID)
	line("endpoint", x.Endpoint)
	line("event", x.EventID)
	line("came", x.Began.Local().Format("2006-01-02 15:04:05.000 MST")+" from "+x.Visitor)
	line("state", stateOf(x))
	line("signature", x.Verified)
	line("app", x.Upstream)
	switch {
	case x.ReplayOf != "":
		line("replay of", x.ReplayOf)
	case x.Replay:
		line("replay", "yes")
	}
	line("error", x.Error)
	if err := t.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w, "\n%s %s\n", printable(x.Request.Method), printable(x.URL()))
	message(w, x.Request.Header, &x.Request.Body, x.Request.Trailer)
	if x.Response != nil {
		_, _ = fmt.Fprintf(w, "\n%d %s\n", x.Response.Status, http.StatusText(x.Response.Status))
		message(w, x.Response.Header, &x.Response.Body, x.Response.Trailer)
	}
	return frames(w, x)
}

func stateOf(x *capture.Exchange) string {
	took := duration(time.Duration(x.Duration))
	switch x.State {
	case capture.Live:
		return "live"
	case capture.Failed:
		return "failed after " + took
	case capture.Done:
	}
	return "done in " + took + ", the answer's head in " + duration(time.Duration(x.FirstByte))
}

// message shows a head, a body and what comes after it.
func message(w io.Writer, h capture.Header, b *capture.Body, trailer capture.Header) {
	for _, f := range h.Fields() {
		_, _ = fmt.Fprintf(w, "%s: %s\n", printable(f.Name), printable(f.Value))
	}
	if b.Size > 0 {
		_, _ = fmt.Fprintf(w, "\n%s\n", readable(b))
	}
	if len(trailer) > 0 {
		_, _ = fmt.Fprintln(w, "\ntrailers")
		for _, f := range trailer.Fields() {
			_, _ = fmt.Fprintf(w, "%s: %s\n", printable(f.Name), printable(f.Value))
		}
	}
}

const (
	// readLimit bounds a body that is uncompressed to be shown.
	readLimit = 4 << 20
	// shownHex is how much is shown of what is no text, in bytes.
	shownHex = 256
	// maxIndent bounds the nesting of JSON that is indented: each level makes all lines
	// inside longer.
	maxIndent = 64
)

// readable is a body as people read it: JSON with a line for each value, other text as it
// is, of everything else the size and the beginning.
func readable(b *capture.Body) string {
	data, whole, known := b.Decode(readLimit)
	note := ""
	if !whole {
		note = fmt.Sprintf("\n(only the beginning of %s was kept)", bytesOf(b.Size))
	}
	if b.Encoding != "" && known {
		note += fmt.Sprintf("\n(sent as %s, %s)", printable(b.Encoding), bytesOf(b.Size))
	}
	if !known || !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		dump := strings.TrimSuffix(hex.Dump(data[:min(len(data), shownHex)]), "\n")
		what := bytesOf(b.Size) + " that are no text"
		if !known {
			what = bytesOf(b.Size) + " encoded as " + printable(b.Encoding)
		}
		return fmt.Sprintf("(%s)\n%s%s", what, dump, note)
	}
	if whole && (capture.IsJSON(b.Type) || bytes.HasPrefix(data, []byte("{")) || bytes.HasPrefix(data, []byte("["))) {
		var out bytes.Buffer
		if nesting(data) <= maxIndent && json.Indent(&out, bytes.TrimSpace(data), "", "  ") == nil {
			data = out.Bytes()
		}
	}
	return bodyText(bytes.TrimSuffix(data, []byte("\n"))) + note
}

// nesting is how deep the brackets of a text nest; those in strings count too.
func nesting(doc []byte) int {
	now, most := 0, 0
	for _, c := range doc {
		switch c {
		case '[', '{':
			now++
			most = max(most, now)
		case ']', '}':
			now--
		}
	}
	return most
}

// frames lists the messages of a live connection.
func frames(w io.Writer, x *capture.Exchange) error {
	if len(x.Frames) == 0 {
		return nil
	}
	_, _ = fmt.Fprintln(w, "\nmessages")
	if x.FramesDropped > 0 {
		_, _ = fmt.Fprintf(w, "(%d older ones are not kept)\n", x.FramesDropped)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range x.Frames {
		text := printable(f.Text)
		if f.Base64 != "" {
			text = "base64 " + f.Base64
		}
		if f.Truncated {
			text += "…"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", duration(time.Duration(f.At)), f.From, strings.TrimSpace(f.Kind+" "+printable(f.Name)), bytesOf(f.Size), text)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if x.FramesNote != "" {
		_, _ = fmt.Fprintf(w, "(%s)\n", printable(x.FramesNote))
	}
	return nil
}
