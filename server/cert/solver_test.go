package cert_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-acme/lego/v5/challenge/dns01"

	"github.com/relaytunnel/relay/internal/relay"
	"github.com/relaytunnel/relay/server/cert"
)

const challengeName = "_acme-challenge." + domain + "."

func newSolver(t *testing.T, name string, env map[string]string) cert.DNSSolver {
	t.Helper()
	s, err := cert.NewSolver(name, func(key string) string { return env[key] })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wildcard orders a wildcard with the solver.
func (w *world) wildcard(t *testing.T, s cert.DNSSolver) error {
	t.Helper()
	o := w.options(t, dataDir(t), "alice.relay.test")
	o.Solver = s
	k := newKeeper(t, o)
	stop := run(t, k)
	defer stop()
	if err := prepare(t, k, "alice.relay.test"); err != nil {
		return err
	}
	if c := shown(t, k, "alice.relay.test"); c == nil || c.VerifyHostname("any.relay.test") != nil {
		t.Error("there is no wildcard")
	}
	return nil
}

func TestWildcardByDynamicUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	env := map[string]string{
		"RFC2136_NAMESERVER": w.dns.addr, "RFC2136_TSIG_KEY": "Relay-Key", "RFC2136_TSIG_SECRET": tsigSecret,
	}
	s := newSolver(t, "rfc2136", env)
	cert.SeeAt(s, time.Minute, w.dns.addr)
	w.dns.late = 5 // its other name servers have it later
	if err := w.wildcard(t, s); err != nil {
		t.Fatal(err)
	}
	if now, ever := w.dns.left(challengeName); now != 0 || ever != 2 {
		t.Errorf("%d TXT records are left of %d", now, ever)
	}

	delete(env, "RFC2136_TSIG_KEY")
	delete(env, "RFC2136_TSIG_SECRET")
	if err := w.wildcard(t, newSolver(t, "rfc2136", env)); err == nil || !strings.Contains(err.Error(), "check the TSIG key") {
		t.Errorf("without a key: %v", err)
	}
}

func TestARecordThatIsNotShownIsNotOffered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	other := newZone(t) // where the world looks
	s := newSolver(t, "rfc2136", map[string]string{
		"RFC2136_NAMESERVER": w.dns.addr, "RFC2136_TSIG_KEY": tsigName, "RFC2136_TSIG_SECRET": tsigSecret,
	})
	cert.SeeAt(s, 200*time.Millisecond, other.addr)
	if err := w.wildcard(t, s); err == nil || !strings.Contains(err.Error(), "does not show it") {
		t.Errorf("Prepare: %v", err)
	}
	if now, ever := w.dns.left(challengeName); now != 0 || ever != 2 {
		t.Errorf("%d TXT records are left of %d", now, ever)
	}
}

func TestWildcardByTheOperatorsProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	dir := t.TempDir()
	log, hook := filepath.Join(dir, "log"), filepath.Join(dir, "hook")
	script := fmt.Sprintf("#!/bin/sh\necho \"$1 $2 $3\" >> %s\n", log)
	if err := os.WriteFile(hook, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	lines := func() (all [][]string) {
		data, _ := os.ReadFile(log)
		for line := range strings.Lines(string(data)) {
			all = append(all, strings.Fields(line))
		}
		return all
	}
	w.dns.more = func(name string) (values []string) {
		for _, l := range lines() {
			if l[0] == "present" && l[1] == name {
				values = append(values, l[2])
			}
		}
		return values
	}
	if err := w.wildcard(t, newSolver(t, "exec", map[string]string{"EXEC_PATH": hook})); err != nil {
		t.Fatal(err)
	}
	got := lines()
	if len(got) != 4 || got[2][0] != "cleanup" || got[2][2] != got[0][2] || got[3][0] != "cleanup" || got[3][2] != got[1][2] {
		t.Errorf("the program was called with %q", got)
	}

	script = "#!/bin/sh\necho no such account >&2\nexit 3\n"
	if err := os.WriteFile(hook, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	err := w.wildcard(t, newSolver(t, "exec", map[string]string{"EXEC_PATH": hook}))
	if err == nil || !strings.Contains(err.Error(), "no such account") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a program that fails: %v", err)
	}
}

func TestWildcardByACMEDNS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var update struct{ Subdomain, TXT string }
		switch {
		case r.Method != http.MethodPost || r.URL.Path != "/update":
			http.NotFound(rw, r)
		case r.Header.Get("X-Api-User") != "user" || r.Header.Get("X-Api-Key") != "key":
			http.Error(rw, `{"error":"forbidden"}`, http.StatusUnauthorized)
		case json.NewDecoder(r.Body).Decode(&update) != nil || update.Subdomain != "sub" || len(update.TXT) != 43:
			http.Error(rw, `{"error":"bad_txt"}`, http.StatusBadRequest)
		default:
			_ = w.dns.Present(r.Context(), challengeName, update.TXT)
		}
	}))
	t.Cleanup(server.Close)
	env := map[string]string{
		"ACME_DNS_API_BASE": server.URL + "/", "ACME_DNS_USERNAME": "user", "ACME_DNS_PASSWORD": "key", "ACME_DNS_SUBDOMAIN": "sub",
	}
	if err := w.wildcard(t, newSolver(t, "acme-dns", env)); err != nil {
		t.Fatal(err)
	}
	env["ACME_DNS_PASSWORD"] = "wrong"
	if err := w.wildcard(t, newSolver(t, "acme-dns", env)); err == nil || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("with a wrong password: %v", err)
	}
}

func TestRecordsAreLookedForWhereTheyAre(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	z.cname = map[string]string{"here.relay.test.": "there.other.test.", "a.relay.test.": "b.relay.test.", "b.relay.test.": "a.relay.test."}
	_ = z.Present(t.Context(), "there.other.test.", "one")
	_ = z.Present(t.Context(), "there.other.test.", "two")
	down := listen(t) // nothing answers by UDP
	for _, tt := range []struct {
		what, fqdn string
		values     []string
		servers    []string
		want       string
	}{
		{"behind a CNAME", "here.relay.test.", []string{"one", "two"}, []string{z.addr}, ""},
		{"one of two is missing", "here.relay.test.", []string{"one", "three"}, []string{z.addr}, "the TXT record there.other.test. was set"},
		{"a circle", "a.relay.test.", []string{"one"}, []string{z.addr}, "in a circle"},
		{"one server is down", "there.other.test.", []string{"one"}, []string{down.Addr().String(), z.addr}, ""},
		{"nothing can be asked", "there.other.test.", []string{"three"}, []string{down.Addr().String()}, ""},
		{"no servers are known", "there.other.test.", []string{"three"}, nil, ""},
	} {
		err := cert.Settle(t.Context(), 200*time.Millisecond, tt.servers, tt.fqdn, tt.values...)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", tt.what, err, tt.want)
		}
	}
}

// One of lego's providers stands for all: how they are called is the same.
func TestWildcardByAProviderOfLego(t *testing.T) {
	w := newWorld(t, time.Hour)
	var (
		mu      sync.Mutex
		records = make(map[string][2]string)
	)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		const path = "/v2/domains/" + domain + "/records"
		if r.Header.Get("Authorization") != "Bearer token" {
			http.Error(rw, `{"message":"who are you"}`, http.StatusUnauthorized)
			return
		}
		switch {
		case r.Method == http.MethodPost && r.URL.Path == path:
			var record struct{ Type, Name, Data string }
			_ = json.NewDecoder(r.Body).Decode(&record)
			id := fmt.Sprint(len(records) + 1)
			records[id] = [2]string{record.Name, record.Data}
			_ = w.dns.Present(r.Context(), record.Name, record.Data)
			rw.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprintf(rw, `{"domain_record":{"id":%s}}`, id)
		case r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, path+"/"):
			record := records[strings.TrimPrefix(r.URL.Path, path+"/")]
			_ = w.dns.CleanUp(r.Context(), record[0], record[1])
			rw.WriteHeader(http.StatusNoContent)
		default:
			http.NotFound(rw, r)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("DO_API_URL", server.URL)
	old := dns01.DefaultClient()
	dns01.SetDefaultClient(dns01.NewClient(&dns01.Options{RecursiveNameservers: []string{w.dns.addr}, Timeout: 5 * time.Second}))
	t.Cleanup(func() { dns01.SetDefaultClient(old) })

	s := newSolver(t, "digitalocean", map[string]string{"DO_AUTH_TOKEN": "token"})
	cert.SeeAt(s, time.Minute, w.dns.addr)
	if err := w.wildcard(t, s); err != nil {
		t.Fatal(err)
	}
	if now, ever := w.dns.left(challengeName); now != 0 || ever != 2 {
		t.Errorf("%d TXT records are left of %d", now, ever)
	}
}

func TestSolversSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, want string }{
		{"acme-dns", "ACME_DNS_API_BASE"},
		{"cloudflare", "CLOUDFLARE_DNS_API_TOKEN or CF_DNS_API_TOKEN"},
		{"digitalocean", "DO_AUTH_TOKEN"},
		{"exec", "EXEC_PATH"},
		{"gandi", "GANDIV5_PERSONAL_ACCESS_TOKEN"},
		{"hetzner", "HETZNER_API_TOKEN"},
		{"rfc2136", "RFC2136_NAMESERVER"},
		{"ovh", "OVH_ENDPOINT"},
		{"route66", "acme-dns, cloudflare, digitalocean, exec, gandi, hetzner, ovh, rfc2136"},
	} {
		_, err := cert.NewSolver(tt.name, func(string) string { return "" })
		if !errors.Is(err, relay.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s without settings: %v", tt.name, err)
		}
	}
	for name, env := range map[string]string{
		"cloudflare": "CF_DNS_API_TOKEN", "digitalocean": "DO_AUTH_TOKEN", "gandi": "GANDIV5_PERSONAL_ACCESS_TOKEN",
		"hetzner": "HETZNER_API_TOKEN", "rfc2136": "RFC2136_NAMESERVER",
	} {
		newSolver(t, name, map[string]string{env: "192.0.2.1"})
	}
	newSolver(t, "ovh", map[string]string{
		"OVH_ENDPOINT": "ovh-eu", "OVH_APPLICATION_KEY": "a", "OVH_APPLICATION_SECRET": "b", "OVH_CONSUMER_KEY": "c",
	})
}
