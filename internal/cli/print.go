package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/client/forward"
)

// printer writes what happens to an agent, a line each. Lines about requests are
// dropped, and counted, when the reader is too slow: no request waits for a
// terminal.
type printer struct {
	asJSON  bool
	serving map[*client.Listener]string // its target; set before anything is told
	inspect string                      // the inspector's URL; only run's goroutine uses it, as the next
	shown   bool                        // it was written
	lines   chan any
	dropped atomic.Int64
	done    sync.WaitGroup
}

// The events of "relay http --json"; see docs/json.md.
type (
	onlineEvent struct {
		Event     string `json:"event"`
		Name      string `json:"name"`
		URL       string `json:"url"`
		Warning   string `json:"warning,omitempty"`
		Inspector string `json:"inspector,omitempty"`
	}
	offlineEvent struct {
		Event     string `json:"event"`
		Reason    string `json:"reason"`
		RetryInMS int64  `json:"retry_in_ms"`
	}
	requestEvent struct {
		Event      string  `json:"event"`
		Time       string  `json:"time"`
		ID         string  `json:"id"`
		Method     string  `json:"method"`
		Path       string  `json:"path"`
		Host       string  `json:"host"`
		Visitor    string  `json:"visitor"`
		Status     int     `json:"status"`
		DurationMS float64 `json:"duration_ms"`
		Bytes      int64   `json:"bytes"`
		Error      string  `json:"error,omitempty"`
	}
	droppedEvent struct {
		Event string `json:"event"`
		Count int64  `json:"count"`
	}
)

// pendingLines is how many lines may wait for a slow reader.
const pendingLines = 4096

func newPrinter(w io.Writer, asJSON bool) *printer {
	p := &printer{asJSON: asJSON, serving: map[*client.Listener]string{}, lines: make(chan any, pendingLines)}
	p.done.Go(func() { p.run(w) })
	return p
}

// serves says what a listener is for. It is called before anything is told.
func (p *printer) serves(ln *client.Listener, target string) { p.serving[ln] = target }

// close writes what waits and ends.
func (p *printer) close() {
	close(p.lines)
	p.done.Wait()
}

func (p *printer) run(w io.Writer) {
	b := bufio.NewWriterSize(w, 32<<10)
	for line := range p.lines {
		p.write(b, line)
		for more := true; more; {
			select {
			case line, ok := <-p.lines:
				if more = ok; ok {
					p.write(b, line)
				}
			default:
				more = false
			}
		}
		if n := p.dropped.Swap(0); n > 0 {
			p.write(b, droppedEvent{"dropped", n})
		}
		_ = b.Flush()
	}
}

// exchange is told of each request; see forward.Options.
func (p *printer) exchange(x forward.Exchange) {
	select {
	case p.lines <- x:
	default:
		p.dropped.Add(1)
	}
}

// inspectorURL is told when the inspector is there.
type inspectorURL string

// inspecting is told where the inspector is.
func (p *printer) inspecting(url string) { p.lines <- inspectorURL(url) }

// event is told what happens to the client; see client.Options.
func (p *printer) event(ev client.Event) {
	switch ev.(type) {
	case client.Online, client.Offline, client.Draining, unreachable:
		p.lines <- ev
	}
}

func (p *printer) write(w io.Writer, line any) {
	if url, ok := line.(inspectorURL); ok {
		p.inspect = string(url)
		return // it comes with the first URL
	}
	if p.asJSON {
		p.writeJSON(w, line)
		return
	}
	now := time.Now().Format("15:04:05")
	switch l := line.(type) {
	case client.Online:
		p.writeOnline(w, now, l)
	case unreachable:
		p.writeOnline(w, now, l.Online)
		_, _ = fmt.Fprintf(w, "%s  warning  the URL does not answer from here: %s\n", now, printable(l.why))
	case client.Offline:
		_, _ = fmt.Fprintf(w, "%s  offline  %s; trying again %s\n", now, printable(l.Reason), in(l.RetryIn))
	case client.Draining:
		_, _ = fmt.Fprintf(w, "%s  notice   %s\n", now, printable(l.Reason))
	case forward.Exchange:
		status := "-"
		if l.Status != 0 {
			status = strconv.Itoa(l.Status)
		}
		note := ""
		if l.Err != nil {
			note = "  " + printable(l.Err.Error())
		}
		target := l.Path
		if len(p.serving) > 1 {
			target = l.Host + l.Path
		}
		_, _ = fmt.Fprintf(w, "%s  %-7s %s  %s  %s  %s%s\n", l.Time.Format("15:04:05"), printable(l.Method), printable(target), status, duration(l.Duration), size(l.Bytes), note)
	case droppedEvent:
		_, _ = fmt.Fprintf(w, "%s  … %d more requests, too fast to list\n", now, l.Count)
	}
}

func (p *printer) writeOnline(w io.Writer, now string, l client.Online) {
	_, _ = fmt.Fprintf(w, "%s  online   %s -> %s\n", now, l.URL, p.serving[l.Listener])
	if p.inspect != "" && !p.shown {
		p.shown = true
		_, _ = fmt.Fprintf(w, "%s  inspect  %s\n", now, p.inspect)
	}
}

func (p *printer) writeJSON(w io.Writer, line any) {
	switch l := line.(type) {
	case client.Online:
		line = onlineEvent{"online", l.Name, l.URL, "", p.inspect}
	case unreachable:
		line = onlineEvent{"online", l.Name, l.URL, "the URL does not answer from here: " + l.why, p.inspect}
	case client.Offline:
		line = offlineEvent{"offline", l.Reason, l.RetryIn.Milliseconds()}
	case client.Draining:
		line = map[string]string{"event": "draining", "reason": l.Reason}
	case forward.Exchange:
		e := requestEvent{
			Event: "request", Time: l.Time.UTC().Format(time.RFC3339Nano), ID: l.ID, Method: l.Method, Path: l.Path, Host: l.Host,
			Visitor: l.Visitor, Status: l.Status, DurationMS: float64(l.Duration.Microseconds()) / 1000, Bytes: l.Bytes,
		}
		if l.Err != nil {
			e.Error = l.Err.Error()
		}
		line = e
	}
	if b, err := json.Marshal(line); err == nil {
		_, _ = w.Write(append(b, '\n'))
	}
}

func in(d time.Duration) string {
	if d <= 0 {
		return "now"
	}
	return "in " + d.Round(100*time.Millisecond).String()
}

func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%dB", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1fkB", float64(n)/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1fMB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1fGB", float64(n)/1e9)
}

// printable makes what strangers sent harmless for a terminal: control
// characters, escapes and direction marks are shown, not obeyed.
func printable(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			q := strconv.QuoteToASCII(s)
			return q[1 : len(q)-1]
		}
	}
	return s
}
