package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/relaytunnel/relay/internal/signature"
)

// TestDashboard lets dashboard.mjs use the page of a server: see there for what it
// looks at.
func TestDashboard(t *testing.T) {
	w := newWorld(t)
	app := httptest.NewServer(newWebhookApp())
	t.Cleanup(app.Close)
	ready := w.start("ready", "server", "--dev", "--http-addr", "127.0.0.1:0", "--user", "alice",
		"--dns", "--dns-addr", "127.0.0.1:0", "--public-ip", "203.0.113.7", "--data", w.dir+"/data", "--json")
	hooks := w.call(ready, "/endpoints", `{"name":"hooks","settings":{"inbox":"always","provider":"github","verify":"observe","schedule":["0s"]},"secrets":{"signing":["the-secret"]}}`)
	w.call(ready, "/endpoints", `{"name":"asleep","settings":{"inbox":"always"}}`)
	agent := func(args ...string) {
		w.start("online", append([]string{"http", app.Listener.Addr().String(), "--server", ready["url"], "--token", ready["token"], "--inspect-addr", "off", "--json"}, args...)...)
	}
	agent("--name", "hooks")
	w.use("dashboard.mjs", "SERVER="+ready["url"], "TOKEN="+ready["token"], "HOOKS="+hooks["url"], "NAME="+hooks["name"])
}

// call asks the API of a server for something new and returns the strings of the answer.
func (w *world) call(ready map[string]string, path, body string) map[string]string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, ready["url"]+"/api/v1"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+ready["token"])
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	var all map[string]any
	if err != nil || res.StatusCode >= 300 || json.Unmarshal(text, &all) != nil {
		w.t.Fatalf("POST %s: %d %s %v", path, res.StatusCode, text, err)
	}
	got := map[string]string{}
	for k, v := range all {
		got[k], _ = v.(string)
	}
	return got
}

// newWebhookApp takes events, or does not.
func newWebhookApp() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"taken":true}`))
	})
	mux.HandleFunc("/refused", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusGone)
		_, _ = w.Write([]byte(`<script>window.pwned=1;alert(1)</script><img src=x onerror="window.pwned=1">`))
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	return mux
}

// TestSendersOfThePage: the page offers the senders that the server knows.
func TestSendersOfThePage(t *testing.T) {
	text, err := os.ReadFile("../ui/src/server/senders.ts")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := bytes.Cut(text, []byte("senders = ["))
	list, _, _ = bytes.Cut(list, []byte("];"))
	var got []string
	for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllSubmatch(list, -1) {
		got = append(got, string(m[1]))
	}
	if want := signature.Names(); !slices.Equal(got, want) {
		t.Errorf("ui/src/server/senders.ts has\n%q\nand the server knows\n%q", got, want)
	}
}
