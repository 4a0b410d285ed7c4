package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
)

func TestInterval(t *testing.T) {
	for rate, want := range map[string]time.Duration{
		"": 0, "10/s": 100 * time.Millisecond, "10": 100 * time.Millisecond, "90/m": 2 * time.Second / 3, "0.5/s": 2 * time.Second, "1/h": time.Hour,
		"0/s": -1, "-1": -1, "x": -1, "1/d": -1, "/s": -1, "NaN": -1, "Inf/s": -1, "1e9": -1,
	} {
		got, err := interval(rate)
		if want < 0 && err == nil || want >= 0 && (err != nil || (got-want).Abs() > time.Microsecond) {
			t.Errorf("%q is %v (%v), want %v", rate, got, err, want)
		}
	}
}

func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		done, all, failed int
		want              string
	}{
		{0, 4, 0, "[" + strings.Repeat(" ", 30) + "] 0/4"},
		{2, 4, 0, "[" + strings.Repeat("=", 15) + strings.Repeat(" ", 15) + "] 2/4"},
		{4, 4, 1, "[" + strings.Repeat("=", 30) + "] 4/4  1 failed"},
	} {
		if got := progress(tt.done, tt.all, tt.failed); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// shoot sends count requests to h and returns what was written.
func shoot(t *testing.T, s *shooter, h http.HandlerFunc) (out, bar string, err error) {
	t.Helper()
	app := httptest.NewServer(h)
	defer app.Close()
	var o, b bytes.Buffer
	n := 0
	s.client, s.out, s.name = sender(nil), &o, "github push"
	if s.quiet {
		s.bar = &b
	}
	s.next = func() (signature.Request, string, error) {
		n++
		return signature.Request{Method: http.MethodPost, URL: app.URL, Header: http.Header{"X-N": {fmt.Sprint(n)}}, Body: []byte("x")}, fmt.Sprintf("id-%d", n), nil
	}
	err = s.run(t.Context())
	return o.String(), b.String(), err
}

// At a terminal the bar stands for what went well, and failures are lines above it.
func TestTheBarKeepsOutOfTheWay(t *testing.T) {
	out, bar, err := shoot(t, &shooter{count: 3, quiet: true}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-N") == "2" {
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "no\x1b[31m coffee\n here")
		}
	})
	if err == nil {
		t.Error("a 418 is taken for a success")
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "418") || !strings.Contains(lines[0], `answered 418: no\x1b[31m coffee here`) ||
		!strings.HasSuffix(lines[1], "2 accepted, 1 not.") {
		t.Errorf("it wrote %q", out)
	}
	if !strings.Contains(bar, "] 3/3  1 failed") || !strings.HasSuffix(bar, "\r\x1b[K") {
		t.Errorf("the bar is %q", bar)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := 0
	_, _, err := shoot(t, &shooter{count: 1}, func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
	})
	if err == nil || asked != 1 {
		t.Errorf("a redirect gives %v after %d requests", err, asked)
	}
}

// With a rate, an answer that does not come holds up nothing.
func TestARateDoesNotWaitForAnswers(t *testing.T) {
	var all sync.WaitGroup
	all.Add(5)
	_, _, err := shoot(t, &shooter{count: 5, every: time.Microsecond}, func(http.ResponseWriter, *http.Request) {
		all.Done()
		all.Wait() // until the others are here as well
	})
	if err != nil {
		t.Error(err)
	}
}

func TestADuplicateIsTheSame(t *testing.T) {
	var got []string
	_, _, err := shoot(t, &shooter{count: 2, times: 2}, func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("X-N"))
	})
	if err != nil || strings.Join(got, " ") != "1 1 2 2" {
		t.Errorf("the app got %v (%v)", got, err)
	}
}
