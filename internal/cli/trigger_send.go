package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/relaytunnel/relay/client"
	"github.com/relaytunnel/relay/internal/signature"
)

const (
	// sendTimeout is how long an answer may take: as long as the most patient senders
	// wait.
	sendTimeout = 30 * time.Second
	// sendsAtOnce is how many requests may be under way with --rate.
	sendsAtOnce = 64
	// shownAnswer is how much of an answer that was not expected is shown, in bytes.
	shownAnswer = 200
)

// sender makes the client that sends. Like the senders it follows no redirects.
func sender(roots *tls.Config) *http.Client {
	return &http.Client{
		Timeout: sendTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: client.DialContext, TLSClientConfig: roots.Clone(),
			ForceAttemptHTTP2: true, MaxIdleConnsPerHost: sendsAtOnce, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// shooter sends events and tells what came of each.
type shooter struct {
	to      string
	client  *http.Client
	refused bool // a refusal is what should come
	count   int
	times   int // that each is sent; 0 is once
	every   time.Duration
	name    string // what people see
	asJSON  bool
	next    func() (r signature.Request, id string, err error)

	mu             sync.Mutex // above all that is written
	out            io.Writer
	bar            io.Writer // where the bar is drawn; nil for none
	quiet          bool      // the bar stands for what went well
	drawn          time.Time
	passed, failed int
}

// sentEvent is a request that was sent; see docs/json.md.
type sentEvent struct {
	Event      string  `json:"event"`
	Time       string  `json:"time"`
	ID         string  `json:"id"`
	OK         bool    `json:"ok"`
	Status     int     `json:"status"`
	DurationMS float64 `json:"duration_ms"`
	Error      string  `json:"error,omitempty"`
}

// run sends all, one after the other or at the rate. It fails when an answer was not
// what it should be.
func (s *shooter) run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	began := time.Now()
	var flying sync.WaitGroup
	room := make(chan struct{}, sendsAtOnce)
	err := func() error {
		for i := range s.count {
			if i > 0 && s.every > 0 && !waitUntil(ctx, began.Add(time.Duration(i)*s.every)) {
				return ctx.Err()
			}
			r, id, err := s.next()
			if err != nil {
				return err
			}
			if s.every == 0 {
				s.each(ctx, r, id)
			} else {
				room <- struct{}{}
				flying.Go(func() {
					defer func() { <-room }()
					s.each(ctx, r, id)
				})
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	}()
	flying.Wait()
	s.summary(time.Since(began))
	if err == nil && s.failed > 0 {
		err = errSilent
	}
	return err
}

// waitUntil waits for the time, and returns false if ctx ends before.
func waitUntil(ctx context.Context, at time.Time) bool {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// each sends one event, as often as it is to be sent.
func (s *shooter) each(ctx context.Context, r signature.Request, id string) {
	for range max(1, s.times) {
		began := time.Now()
		status, why := s.send(ctx, r)
		if ctx.Err() != nil {
			return // it was broken off, which says nothing about the app
		}
		s.tell(sentEvent{
			Event: "sent", Time: began.UTC().Format(time.RFC3339Nano), ID: id, OK: why == "", Status: status,
			DurationMS: milliseconds(time.Since(began)), Error: why,
		}, time.Since(began))
	}
}

// send sends one request. why is empty if the answer is what it should be.
func (s *shooter) send(ctx context.Context, r signature.Request) (status int, why string) {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header = r.Header.Clone()
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	res, err := s.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return 0, client.Plainly(err).Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // to use the connection again, and to show
	switch accepted := res.StatusCode/100 == 2; {
	case s.refused && res.StatusCode/100 == 4, !s.refused && accepted:
		return res.StatusCode, ""
	case s.refused && accepted:
		return res.StatusCode, "it was accepted, although its signature is wrong"
	}
	why = "answered " + strconv.Itoa(res.StatusCode)
	if text := strings.TrimSpace(string(body[:min(len(body), shownAnswer)])); text != "" {
		why += ": " + strings.Join(strings.Fields(text), " ")
	}
	return res.StatusCode, why
}

// tell writes what came of one request.
func (s *shooter) tell(x sentEvent, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.OK {
		s.passed++
	} else {
		s.failed++
	}
	if s.bar != nil && (!s.quiet || !x.OK) {
		_, _ = io.WriteString(s.bar, "\r\x1b[K")
		s.drawn = time.Time{}
	}
	switch {
	case s.asJSON:
		_ = json.NewEncoder(s.out).Encode(x)
	case !s.quiet || !x.OK:
		status := "-"
		if x.Status != 0 {
			status = strconv.Itoa(x.Status)
		}
		line := fmt.Sprintf("%s  %s  %s  %s", time.Now().Format("15:04:05"), printable(s.name), status, duration(took))
		if x.ID != "" {
			line += "  " + printable(x.ID)
		}
		if x.Error != "" {
			line += "  " + printable(x.Error)
		}
		_, _ = fmt.Fprintln(s.out, line)
	}
	if done, all := s.passed+s.failed, s.count*max(1, s.times); s.bar != nil && (done == all || time.Since(s.drawn) > 50*time.Millisecond) {
		s.drawn = time.Now()
		_, _ = io.WriteString(s.bar, "\r"+progress(done, all, s.failed)+"\x1b[K")
	}
}

// progress is a bar that says how far it is.
func progress(done, all, failed int) string {
	const width = 30
	full := width * done / max(1, all)
	line := fmt.Sprintf("[%s%s] %d/%d", strings.Repeat("=", full), strings.Repeat(" ", width-full), done, all)
	if failed > 0 {
		line += fmt.Sprintf("  %d failed", failed)
	}
	return line
}

// summary tells what came of all.
func (s *shooter) summary(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar != nil {
		_, _ = io.WriteString(s.bar, "\r\x1b[K")
	}
	if s.asJSON {
		_ = json.NewEncoder(s.out).Encode(doneEvent{
			Event: "done", OK: s.failed == 0, Passed: s.passed, Failed: s.failed, URL: s.to, DurationMS: milliseconds(took),
		})
		return
	}
	if s.passed+s.failed > 1 {
		word := "accepted"
		if s.refused {
			word = "refused, as they should be"
		}
		_, _ = fmt.Fprintf(s.out, "%d sent in %s: %d %s, %d not.\n", s.passed+s.failed, duration(took), s.passed, word, s.failed)
	}
}

// print writes what would be sent.
func (s *shooter) print() error {
	for i := range s.count {
		r, _, err := s.next()
		if err != nil {
			return err
		}
		for j := range max(1, s.times) {
			if i+j > 0 {
				_, _ = fmt.Fprint(s.out, "\n\n")
			}
			_, _ = fmt.Fprintf(s.out, "%s %s\n", r.Method, r.URL)
			for _, name := range slices.Sorted(maps.Keys(r.Header)) {
				for _, value := range r.Header[name] {
					_, _ = fmt.Fprintf(s.out, "%s: %s\n", name, value)
				}
			}
			_, _ = fmt.Fprintln(s.out)
			if _, err := s.out.Write(r.Body); err != nil {
				return err
			}
		}
	}
	return nil
}
