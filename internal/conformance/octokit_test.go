package conformance

import (
	"crypto/sha256"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
	judges "github.com/relaytunnel/relay/internal/signature/judge"
)

// Every example event of GitHub's, signed by GitHub's library, passes the inbox and
// reaches the app as the same bytes, which that library accepts there.
func TestOctokitExamplesPassTheInbox(t *testing.T) {
	needsBinary(t)
	const library, secret = "@octokit/webhooks-methods", "It's a Secret to Everybody"
	j := judges.New(t)
	examples := judges.GitHubExamples(t)

	type delivered struct {
		body []byte
		head http.Header
	}
	var mu sync.Mutex
	got, all := map[string][]delivered{}, make(chan struct{}, 4*len(examples))
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		id := r.Header.Get("X-Github-Delivery")
		got[id] = append(got[id], delivered{body, r.Header})
		mu.Unlock()
		all <- struct{}{}
	}))
	r := openServer(t)
	host := r.endpoint(t, "hooks", secret, "--inbox", "always", "--verify", "github")
	l := r.lane(t, false)
	for _, x := range examples {
		header := map[string]string{"X-GitHub-Event": x.Event, "X-GitHub-Delivery": x.ID}
		for name, value := range j.SignAt(t, library, secret, signature.Request{Method: "POST", URL: "http://" + host + "/", Body: x.Body}, time.Now()) {
			header[name] = value
		}
		if resp := l.post(t, host, "/", header, x.Body); resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%s gets %s %s", x.ID, resp.Status, resp.Header.Get("Relay-Error"))
		}
	}
	agent := r.startAgent(t, app, "--name", "hooks")
	agent.await(t, "online")
	late := time.After(2 * patience)
	for n := range examples {
		select {
		case <-all:
		case <-late:
			t.Fatalf("only %d of %d events came", n, len(examples))
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, x := range examples {
		came := got[x.ID]
		if len(came) != 1 {
			t.Fatalf("%s came %d times", x.ID, len(came))
		}
		if sha256.Sum256(came[0].body) != sha256.Sum256(x.Body) {
			t.Errorf("%s: the app got other bytes", x.ID)
		}
		if v := j.Ask(t, "verify", library, secret, "", signature.Request{Method: "POST", URL: "/", Header: came[0].head, Body: came[0].body}); !v.OK {
			t.Errorf("%s: the library does not accept what the app got: %s", x.ID, v.Error)
		}
	}
	t.Logf("%d events", len(examples))
}
