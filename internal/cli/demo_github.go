package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// webhook is a delivery as GitHub makes it.
type webhook struct {
	event, id string
	body      []byte
	secret    []byte // that it is signed with
}

func newWebhook(event, body string, secret []byte) (webhook, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(body)); err != nil { // GitHub sends no white space
		return webhook{}, fmt.Errorf("the sample of a %s: %w", event, err)
	}
	return webhook{event, newGUID(), b.Bytes(), secret}, nil
}

// send posts the webhook with the headers that GitHub sends.
func (h webhook) send(ctx context.Context, w *demoWorld) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/github", bytes.NewReader(h.body))
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"Accept":                                 "*/*",
		"Content-Type":                           "application/json",
		"User-Agent":                             githubAgent,
		"X-GitHub-Delivery":                      h.id,
		"X-GitHub-Event":                         h.event,
		"X-GitHub-Hook-ID":                       "109948940",
		"X-GitHub-Hook-Installation-Target-ID":   "35129377",
		"X-GitHub-Hook-Installation-Target-Type": "repository",
		"X-Hub-Signature-256":                    sign(h.secret, h.body),
	} {
		req.Header.Set(name, value)
	}
	return w.visitor.Do(req)
}

const githubAgent = "GitHub-Hookshot/7f3a9c2"

// deliver sends the webhook and checks that the receiver took exactly this one.
func (h webhook) deliver(ctx context.Context, w *demoWorld) error {
	res, err := h.send(ctx, w)
	if err != nil {
		return plain(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer was %s", answered(res.StatusCode, res.Header))
	}
	var answer struct {
		OK              bool
		Event, Delivery string
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	if !answer.OK || answer.Event != h.event || answer.Delivery != h.id {
		return fmt.Errorf("the answer is about another delivery: %+v", answer)
	}
	d, ok := w.receiver.delivered(h.id)
	switch {
	case !ok:
		return errors.New("the receiver does not know the delivery")
	case d.Body != sha256.Sum256(h.body):
		return errors.New("the receiver got another body")
	case d.Event != h.event || d.UserAgent != githubAgent:
		return errors.New("the receiver got other headers")
	case "http://"+d.Host != w.url:
		return fmt.Errorf("the receiver was asked for the host %q", d.Host)
	case d.Visitor == "":
		return errors.New("the receiver was not told who the visitor is")
	case d.RequestID == "" || d.RequestID != res.Header.Get("Relay-Request-Id"):
		return fmt.Errorf("the request is called %q on one side and %q on the other", d.RequestID, res.Header.Get("Relay-Request-Id"))
	}
	return nil
}

// answered is an answer in short, with the relay's reason when it has one.
func answered(status int, h http.Header) string {
	if code := h.Get("Relay-Error"); code != "" {
		return fmt.Sprintf("%d (%s)", status, code)
	}
	return fmt.Sprint(status)
}

// newGUID makes an id such as GitHub gives to deliveries.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// heldFor is how long the demo lets a request wait for its agent.
const heldFor = 300 * time.Millisecond

// The bodies are of our own writing, in the shape of GitHub's.
const (
	githubPing = `{
  "zen": "Practicality beats purity.",
  "hook_id": 109948940,
  "hook": {
    "type": "Repository", "id": 109948940, "name": "web", "active": true,
    "events": ["push", "pull_request"],
    "config": {"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": "http://demo.localhost/github"},
    "created_at": "2026-01-05T08:12:44Z", "updated_at": "2026-01-05T08:12:44Z",
    "last_response": {"code": null, "status": "unused", "message": null}
  },
  "repository": {
    "id": 35129377, "name": "bakery", "full_name": "anna/bakery", "private": false,
    "owner": {"login": "anna", "id": 6752317, "type": "User", "site_admin": false},
    "html_url": "https://github.example/anna/bakery", "default_branch": "main"
  },
  "sender": {"login": "anna", "id": 6752317, "type": "User", "site_admin": false}
}`
	githubPush = `{
  "ref": "refs/heads/main",
  "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
  "after": "59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5",
  "created": false, "deleted": false, "forced": false, "base_ref": null,
  "compare": "https://github.example/anna/bakery/compare/6113728f27ae...59b20b8d5c6f",
  "repository": {
    "id": 35129377, "name": "bakery", "full_name": "anna/bakery", "private": false,
    "owner": {"name": "anna", "email": "anna@bakery.example", "login": "anna", "id": 6752317, "type": "User"},
    "html_url": "https://github.example/anna/bakery", "default_branch": "main", "master_branch": "main",
    "created_at": 1767600764, "pushed_at": 1767687164, "stargazers": 3, "language": "Go"
  },
  "pusher": {"name": "anna", "email": "anna@bakery.example"},
  "sender": {"login": "anna", "id": 6752317, "type": "User", "site_admin": false},
  "commits": [{
    "id": "59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5", "tree_id": "0c3d9ae1b0c1e9b5d0e4a3f57a7d7b6c2b1e4f90", "distinct": true,
    "message": "Crème brûlée: bake it at 95 °C ☕", "timestamp": "2026-01-06T09:12:44+01:00",
    "url": "https://github.example/anna/bakery/commit/59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5",
    "author": {"name": "Anna", "email": "anna@bakery.example", "username": "anna"},
    "committer": {"name": "Anna", "email": "anna@bakery.example", "username": "anna"},
    "added": ["recipes/creme-brulee.md"], "removed": [], "modified": ["README.md"]
  }],
  "head_commit": {
    "id": "59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5", "tree_id": "0c3d9ae1b0c1e9b5d0e4a3f57a7d7b6c2b1e4f90", "distinct": true,
    "message": "Crème brûlée: bake it at 95 °C ☕", "timestamp": "2026-01-06T09:12:44+01:00",
    "url": "https://github.example/anna/bakery/commit/59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5",
    "author": {"name": "Anna", "email": "anna@bakery.example", "username": "anna"},
    "committer": {"name": "Anna", "email": "anna@bakery.example", "username": "anna"},
    "added": ["recipes/creme-brulee.md"], "removed": [], "modified": ["README.md"]
  }
}`
)
