package policy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	newcomer = netip.MustParseAddr("203.0.113.9")
	oldtimer = netip.MustParseAddr("192.30.252.44") // in the list that came with the program
)

// publisher is who publishes lists.
type publisher struct {
	mu     sync.Mutex
	answer string
	err    error
	asked  []string
	at     []time.Time
}

func (p *publisher) fetch(_ context.Context, url string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.at = append(p.asked, url), append(p.at, time.Now())
	return []byte(p.answer), p.err
}

// turns changes what is published from now on.
func (p *publisher) turns(answer string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer, p.err = answer, err
}

// log returns what was asked for, and when.
func (p *publisher) log() ([]string, []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked), slices.Clone(p.at)
}

func (p *publisher) lists(t *testing.T, dir string, log *bytes.Buffer) *policy.Lists {
	t.Helper()
	o := policy.ListOptions{Dir: dir, Fetch: p.fetch}
	if log != nil {
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	l, err := policy.NewLists(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// use makes a policy that names the provider.
func use(t *testing.T, l *policy.Lists, provider string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(relay.Door{AllowProviderIPs: []string{provider}}, nil, l)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// live runs the lists in a bubble while f looks at them.
func live(t *testing.T, l *policy.Lists, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	synctest.Wait()
	f()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

func TestOnlyListsInUseAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{answer: `{"hooks":["203.0.113.0/24"],"web":["198.51.100.0/24"]}`}
		l := p.lists(t, "", nil)
		live(t, l, func() {
			time.Sleep(72 * time.Hour)
			if asked, _ := p.log(); len(asked) != 0 {
				t.Fatalf("nobody uses a list, but it asked %v", asked)
			}
			door := use(t, l, "github")
			synctest.Wait()
			if asked, _ := p.log(); len(asked) != 1 || asked[0] != "https://api.github.com/meta" {
				t.Fatalf("it asked %v", asked)
			}
			if door.Admit(newcomer, request("/"), now) != nil || door.Admit(oldtimer, request("/"), now) == nil || l.Contains("github", anyone) {
				t.Error("the new list is not what counts")
			}
			time.Sleep(10*24*time.Hour - time.Minute)
			synctest.Wait()
			_, at := p.log()
			if n := len(at); n < 10 || n > 12 {
				t.Errorf("in ten days it asked %d times", n)
			}
			even := true
			for i := 1; i < len(at); i++ {
				gap := at[i].Sub(at[i-1])
				if gap < 21*time.Hour || gap > 27*time.Hour {
					t.Errorf("it asked after %v", gap)
				}
				even = even && gap == 24*time.Hour
			}
			if even {
				t.Error("all servers ask at the same time")
			}
		})
	})
}

func TestABadListChangesNothing(t *testing.T) {
	long := `{"hooks":[` + strings.TrimSuffix(strings.Repeat(`"203.0.113.9",`, 10_001), ",") + `]}`
	for name, p := range map[string]*publisher{
		"unreachable":  {err: errors.New("no route")},
		"empty":        {answer: `{"hooks":[]}`},
		"missing":      {answer: `{"web":["203.0.113.0/24"]}`},
		"null":         {answer: `{"hooks":null}`},
		"of no list":   {answer: `{"hooks":{"a":"203.0.113.0/24"}}`},
		"a page":       {answer: `<html>203.0.113.0/24</html>`},
		"half wrong":   {answer: `{"hooks":["203.0.113.0/24","soon"]}`},
		"the world":    {answer: `{"hooks":["203.0.113.0/24","0.0.0.0/0"]}`},
		"half of it":   {answer: `{"hooks":["203.0.113.0/24","128.0.0.0/1"]}`},
		"the world, 6": {answer: `{"hooks":["203.0.113.0/24","2000::/3"]}`},
		"endless":      {answer: long},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				var log bytes.Buffer
				l := p.lists(t, dir, &log)
				use(t, l, "github")
				live(t, l, func() {
					if l.Contains("github", newcomer) || !l.Contains("github", oldtimer) {
						t.Error("the last good list is gone")
					}
					s := l.Status()[0]
					if s.Provider != "github" || s.Failure == "" || !s.Used || s.Ranges != 9 || !s.AsOf.Equal(time.Date(2026, 10, 8, 0, 0, 0, 0, time.UTC)) {
						t.Errorf("its status is %+v", s)
					}
					if !strings.Contains(log.String(), "the last good ones stay") {
						t.Errorf("the log says %s", log.String())
					}
					if files, _ := os.ReadDir(dir); len(files) > 0 {
						t.Errorf("%s was kept", files[0].Name())
					}
					// It tries again soon, and is content when that goes well.
					p.turns(`{"hooks":["203.0.113.0/24"]}`, nil)
					time.Sleep(70 * time.Minute)
					synctest.Wait()
					if !l.Contains("github", newcomer) || l.Status()[0].Failure != "" {
						t.Errorf("an hour later it is %+v", l.Status()[0])
					}
				})
			})
		})
	}
}

func TestListsAreKeptOverAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // after the snapshots
		dir := filepath.Join(t.TempDir(), "ips")
		p := &publisher{answer: `{"hooks":["203.0.113.0/24"]}`}
		l := p.lists(t, dir, nil)
		l.Load() // of nothing
		use(t, l, "github")
		live(t, l, func() {})

		offline := &publisher{err: errors.New("no route")}
		again := offline.lists(t, dir, nil)
		if again.Contains("github", newcomer) {
			t.Fatal("it is known before it was read")
		}
		again.Load()
		if !again.Contains("github", newcomer) || again.Contains("github", oldtimer) {
			t.Error("the list was not kept")
		}
		use(t, again, "github")
		live(t, again, func() {
			if asked, _ := offline.log(); len(asked) != 0 {
				t.Error("it asks at every start, although a list of today is there")
			}
		})

		for name, text := range map[string]string{
			"broken":     `{"as_of":"2050-01-01T00:00:00Z","prefixes":["203.0.`,
			"empty":      `{"as_of":"2050-01-01T00:00:00Z","prefixes":[]}`,
			"too wide":   `{"as_of":"2029-01-01T00:00:00Z","prefixes":["0.0.0.0/0"]}`,
			"old":        `{"as_of":"2020-01-01T00:00:00Z","prefixes":["203.0.113.0/24"]}`,
			"tomorrow's": fmt.Sprintf(`{"as_of":%q,"prefixes":["203.0.113.0/24"]}`, time.Now().Add(48*time.Hour).Format(time.RFC3339)),
		} {
			if err := os.WriteFile(filepath.Join(dir, "github.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			third := offline.lists(t, dir, nil)
			third.Load()
			if third.Contains("github", newcomer) || !third.Contains("github", oldtimer) {
				t.Errorf("a list that is %s counts", name)
			}
		}
	})
}

// What came with the program is what it says.
func TestSnapshots(t *testing.T) {
	for _, s := range lists(t, nil).Status() {
		if s.AsOf.Before(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) || s.Ranges < 5 || !strings.HasPrefix(s.Source, "https://") || s.Used || s.Failure != "" {
			t.Errorf("%+v", s)
		}
	}
}

func TestDocumentsAreGotBySafeWays(t *testing.T) {
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("from elsewhere")) }))
	defer other.Close()
	var plainURL string
	home := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			_, _ = w.Write([]byte("good"))
		case "/moved":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/plain":
			http.Redirect(w, r, plainURL, http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/error":
			http.Error(w, `{"hooks":["203.0.113.0/24"]}`, http.StatusForbidden)
		case "/huge":
			_, _ = w.Write(make([]byte, 8<<20+1))
		}
	}))
	defer home.Close()
	plainURL = "http" + strings.TrimPrefix(home.URL, "https") + "/good"
	rt := home.Client().Transport
	defer home.Client().CloseIdleConnections()
	for path, want := range map[string]string{
		"/good": "good", "/moved": "good",
		"/away": "!it leads elsewhere", "/plain": "!it leads elsewhere", "/round": "!it leads elsewhere", "/error": "!answered 403", "/huge": "!larger than 8 MiB",
	} {
		text, err := policy.Get(t.Context(), rt, home.URL+path)
		if fail, ok := strings.CutPrefix(want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), fail) || len(text) > 0 {
				t.Errorf("%s gives %q (%v), want the error %q", path, text[:min(len(text), 50)], err, fail)
			}
		} else if err != nil || string(text) != want {
			t.Errorf("%s gives %q (%v)", path, text, err)
		}
	}
	if _, err := policy.Get(t.Context(), rt, plainURL); err == nil || !strings.Contains(err.Error(), "not https") {
		t.Errorf("plain http gives %v", err)
	}
}
