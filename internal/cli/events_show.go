package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/relaytunnel/relay/internal/signature"
)

// eventDetail is one with all that is known of it.
type eventDetail struct {
	event
	Header     http.Header `json:"header"`
	Body       []byte      `json:"body"`
	Cut        bool        `json:"cut,omitempty"`
	Deliveries []struct {
		ID       string    `json:"id"`
		Status   string    `json:"status"`
		Reason   string    `json:"reason,omitempty"`
		Replay   bool      `json:"replay,omitempty"`
		Created  time.Time `json:"created"`
		Next     time.Time `json:"next,omitzero"`
		Attempts []struct {
			Began      time.Time   `json:"began"`
			DurationMS float64     `json:"duration_ms"`
			Status     int         `json:"status"`
			Reason     string      `json:"reason,omitempty"`
			Header     http.Header `json:"header,omitempty"`
			Body       []byte      `json:"body,omitempty"`
			Cut        bool        `json:"cut,omitempty"`
		} `json:"attempts"`
	} `json:"deliveries"`
}

func showEvent(c *urfave.Context, e *env) error {
	if c.Args().Len() != 1 {
		return usagef("events show wants one id: relay events show evt_01K8…")
	}
	cred, err := credentials(c)
	if err != nil {
		return err
	}
	path := "/events/" + url.PathEscape(c.Args().First())
	if c.Bool("explain") {
		var why struct {
			Text string `json:"text"`
		}
		if err := call(c.Context, cred, http.MethodGet, path+"/explanation", nil, &why); err != nil {
			return err
		}
		if c.Bool("json") {
			return printJSON(e, "explanation", why)
		}
		_, err := fmt.Fprintln(e.out, printable(why.Text))
		return err
	}
	var one eventDetail
	if err := call(c.Context, cred, http.MethodGet, path, nil, &one); err != nil {
		return err
	}
	switch {
	case c.Bool("body"):
		_, err := e.out.Write(one.Body)
		return err
	case c.Bool("json"):
		return printJSON(e, "event", one)
	}
	return describeEvent(e.out, one)
}

func describeEvent(w io.Writer, one eventDetail) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what, text string) {
		if text != "" {
			_, _ = fmt.Fprintf(t, "%s\t%s\n", what, printable(text))
		}
	}
	status := one.Status
	if one.Reason != "" {
		status += ": " + one.Reason
	}
	line("id", one.ID)
	line("endpoint", one.Endpoint)
	line("status", status)
	line("received", one.Received.Local().Format("2006-01-02 15:04:05.000 MST")+" from "+one.Sender)
	line("sender", strings.TrimSpace(one.Provider+" "+one.Type))
	line("sender's id", one.ProviderID)
	line("again of", one.AgainOf)
	line("signature", one.Verified)
	line("request", one.Method+" "+one.URL)
	if err := t.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(w)
	names := make([]string, 0, len(one.Header))
	for name := range one.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, v := range one.Header[name] {
			_, _ = fmt.Fprintf(w, "%s: %s\n", printable(name), printable(masked(name, v)))
		}
	}
	_, _ = fmt.Fprintf(w, "\n%s\n", bodyText(one.Body))
	if one.Cut {
		_, _ = fmt.Fprintf(w, "(the rest of %s is not kept)\n", bytesOf(one.Size))
	}
	for _, d := range one.Deliveries {
		kind := "delivery"
		if d.Replay {
			kind = "replay"
		}
		_, _ = fmt.Fprintf(w, "\n%s %s", kind, d.Status)
		if d.Reason != "" {
			_, _ = fmt.Fprintf(w, ": %s", printable(d.Reason))
		}
		if !d.Next.IsZero() {
			_, _ = fmt.Fprintf(w, "; next try at %s", d.Next.Local().Format("15:04:05"))
		}
		_, _ = fmt.Fprintln(w)
		for _, a := range d.Attempts {
			status := strconv.Itoa(a.Status)
			if a.Status == 0 {
				status = "-"
			}
			_, _ = fmt.Fprintf(w, "  %s  %s  %s  %s\n", a.Began.Local().Format("15:04:05"), status, duration(time.Duration(a.DurationMS*float64(time.Millisecond))), printable(a.Reason))
		}
	}
	return nil
}

// masked hides what lets others in. The body and --json show all: they are asked for.
func masked(name, value string) string {
	name = http.CanonicalHeaderKey(name)
	hidden := false
	switch name {
	case "Authorization", "Cookie", "Set-Cookie", "Proxy-Authorization":
		hidden = true
	}
	for _, s := range signature.All() { // the senders that send their secret itself
		hidden = hidden || s.Algorithm == signature.Token && slices.Contains(s.Header, name)
	}
	if hidden {
		return fmt.Sprintf("(%d characters, hidden; see --json)", len(value))
	}
	return value
}

// bodyText shows a body that is text; lines stay lines.
func bodyText(b []byte) string {
	const most = 64 << 10
	rest := ""
	if len(b) > most {
		rest = fmt.Sprintf("\n(%s more; see --body)", bytesOf(int64(len(b)-most)))
		b = b[:most]
	}
	lines := strings.Split(string(b), "\n")
	for i, l := range lines {
		lines[i] = printable(strings.TrimSuffix(l, "\r"))
	}
	return strings.Join(lines, "\n") + rest
}
