package signature_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
)

const judgesDir = "testdata/judges"

// judge asks vendors' own libraries, in a process of node.
type judge struct {
	in  io.Writer
	out *bufio.Reader
}

type question struct {
	Judge   string            `json:"judge"`
	Do      string            `json:"do"`
	Secret  string            `json:"secret"`
	Public  string            `json:"public,omitempty"`
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
}

type verdict struct {
	OK      bool              `json:"ok"`
	Error   string            `json:"error"`
	Headers map[string]string `json:"headers"`
}

// newJudge installs the libraries and starts the process.
func newJudge(t *testing.T) *judge {
	t.Helper()
	if testing.Short() {
		t.Skip("the vendors' libraries are not asked in short tests")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed, so vendors' libraries cannot judge the signatures", program)
		}
	}
	install(t)
	cmd := exec.CommandContext(t.Context(), "node", "judges.mjs")
	cmd.Dir = judgesDir
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("the judges ended with %v", err)
		}
	})
	return &judge{in, bufio.NewReader(out)}
}

// install runs npm ci, unless what is there is of this lock file already.
func install(t *testing.T) {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join(judgesDir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	stamp := filepath.Join(judgesDir, "node_modules", ".installed-from")
	if was, err := os.ReadFile(stamp); err == nil && bytes.Equal(was, lock) {
		return
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci")
	cmd.Dir = judgesDir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("npm ci could not install the vendors' libraries (is there a network?): %v\n%s", err, out)
	}
	if err := os.WriteFile(stamp, lock, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (j *judge) ask(t *testing.T, do, name, secret, public string, r signature.Request) verdict {
	t.Helper()
	q := question{Judge: name, Do: do, Secret: secret, Public: public, Method: r.Method, URL: r.URL, Headers: map[string]string{}, Body: r.Body}
	for key := range r.Header {
		q.Headers[strings.ToLower(key)] = r.Header.Get(key)
	}
	line, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	answer, err := j.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the judge gave no answer: %v", err)
	}
	var v verdict
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatalf("%v in the answer %s", err, answer)
	}
	return v
}

var judges = []struct {
	judge, scheme string
	signs         bool
}{
	{"@octokit/webhooks-methods", "github", true},
	{"stripe", "stripe", true},
	{"standardwebhooks", "standard-webhooks", true},
	{"standardwebhooks", "gitlab", true},
	{"svix", "svix-headers", true},
	{"svix", "clerk", true},
	{"twilio", "twilio", false},
	{"twilio", "mandrill", false}, // the same content under another header
	{"hubspot v1", "hubspot-v1", true},
	{"hubspot v2", "hubspot-v2", true},
	{"hubspot v3", "hubspot", true},
	{"adyen", "adyen", true},
	{"adyen platform", "adyen-platform", true},
	{"discord-interactions", "discord", true},
	{"@slack/bolt", "slack", false},
	{"@shopify/shopify-api", "shopify", false},
	{"square", "square", false},
	{"@paddle/paddle-node-sdk", "paddle", false},
	{"@linear/sdk", "linear", false},
	{"@sendgrid/eventwebhook", "sendgrid", true},
	{"@line/bot-sdk", "line", false},
	{"box-node-sdk", "box", false},
	{"razorpay", "razorpay", false},
	{"@mux/mux-node", "mux", false},
	{"@workos-inc/node", "workos", false},
	{"webflow-api", "webflow", false},
	{"gocardless-nodejs", "gocardless", false},
	{"@notionhq/client", "notion", true},
	{"@contentful/node-apps-toolkit", "contentful", true},
	{"jsonwebtoken", "netlify", true},
}

// bodyFor is a JSON body with what makes re-writing visible, which the judge
// takes.
func bodyFor(scheme string, x sample, now time.Time) []byte {
	switch scheme {
	case "adyen", "mandrill":
		return x.Body
	case "linear":
		return []byte(`{"type":"Issue","title":"Grüße \/ ☃","webhookTimestamp":` + jsonNumber(now.UnixMilli()) + "}")
	case "workos": // reads the body and writes it again before it verifies
		return []byte(`{"id":"evt_1","event":"user.created","data":{"name":"Grüße"}}`)
	}
	return []byte("{\"id\":\"evt_1\",\"type\":\"thing.made\",\n \"name\": \"Grüße \\/ ☃ <&>\", \"events\": [], \"n\":1.50}\n")
}

func jsonNumber(n int64) string {
	text, _ := json.Marshal(n) // an int64 always has a text
	return string(text)
}

func TestVendorsAgree(t *testing.T) {
	j := newJudge(t)
	for _, tt := range judges {
		t.Run(tt.judge+" "+tt.scheme, func(t *testing.T) {
			s, ok := signature.Lookup(tt.scheme)
			if !ok {
				t.Skipf("%s is not in the tables", tt.scheme)
			}
			x, now := sampleOf(t, s), time.Now()
			x.Body = bodyFor(tt.scheme, x, now)
			x.Header.Set("X-Shopify-Topic", "orders/create")
			for _, name := range []string{"Shop-Domain", "Api-Version", "Webhook-Id"} {
				x.Header.Set("X-Shopify-"+name, "fake")
			}

			t.Run("accepts what we sign", func(t *testing.T) {
				r, err := signature.Sign(s, x.sign, x.Request, now)
				if err != nil {
					t.Fatal(err)
				}
				if tt.scheme == "mandrill" {
					r.Header.Set("X-Twilio-Signature", r.Header.Get("X-Mandrill-Signature"))
				}
				if v := j.ask(t, "verify", tt.judge, x.verify, x.verify, r); !v.OK {
					t.Errorf("it does not: %s\n%v", v.Error, r.Header)
				}
				changed := r
				changed.Body = bytes.Replace(r.Body, []byte("1"), []byte("2"), 1)
				if tt.scheme == "mandrill" {
					changed.Body = []byte("mandrill_events=%5B1%5D")
				}
				if v := j.ask(t, "verify", tt.judge, x.verify, x.verify, changed); v.OK {
					t.Error("it accepts another body too, so it proves nothing")
				}
			})
			if !tt.signs {
				return
			}
			t.Run("signs what we accept", func(t *testing.T) {
				v := j.ask(t, "sign", tt.judge, x.sign, x.verify, x.Request)
				if v.Error != "" {
					t.Fatal(v.Error)
				}
				r := x.Request
				r.Header = r.Header.Clone()
				for name, value := range v.Headers {
					if name == "body" {
						r.Body, _ = base64.StdEncoding.DecodeString(value)
						continue
					}
					r.Header.Set(name, value)
				}
				if err := signature.Verify(s, []string{x.verify}, r, time.Now()); err != nil {
					t.Errorf("we do not: %v\n%v", err, r.Header)
				}
				wantReason(t, signature.Verify(s, []string{x.wrong}, r, time.Now()), signature.WrongSignature)
			})
		})
	}
	t.Run("twilio form", func(t *testing.T) {
		s := lookup(t, "twilio")
		r := signature.Request{
			Method: http.MethodPost, URL: "https://hooks.example.test/sms?a=b&c=%27",
			Header: header("Content-Type", "application/x-www-form-urlencoded"), Body: []byte("To=%2B1&Body=Gr%C3%BC%C3%9Fe+%26&List=b&List=a&List=a&Empty="),
		}
		v := j.ask(t, "sign", "twilio", "fake-token", "", r)
		r.Header.Set("X-Twilio-Signature", v.Headers["x-twilio-signature"])
		if err := signature.Verify(s, []string{"fake-token"}, r, time.Now()); err != nil {
			t.Error(err)
		}
		ours, err := signature.Sign(s, "fake-token", r, time.Now())
		if err != nil || !j.ask(t, "verify", "twilio", "fake-token", "", ours).OK {
			t.Errorf("it does not accept ours: %v", err)
		}
	})
}

// Each example event of GitHub's is signed here and there, both agree, and the
// bytes stay what they are.
func TestOctokitExamples(t *testing.T) {
	j := newJudge(t)
	s := lookup(t, "github")
	const secret = "fake-github-secret"
	root := filepath.Join(judgesDir, "node_modules", "@octokit", "webhooks-examples")
	count := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") || d.Name() == "package.json" {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		count++
		r := signature.Request{Method: http.MethodPost, URL: "https://hooks.example.test/", Header: header("X-GitHub-Event", "x", "X-GitHub-Delivery", path), Body: body}
		r.Header.Set("X-Hub-Signature-256", j.ask(t, "sign", "@octokit/webhooks-methods", secret, "", r).Headers["x-hub-signature-256"])
		if err := signature.Verify(s, []string{secret}, r, time.Now()); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		ours, err := signature.Sign(s, secret, r, time.Now())
		if err != nil {
			return err
		}
		if !bytes.Equal(ours.Body, body) || ours.Header.Get("X-Hub-Signature-256") != r.Header.Get("X-Hub-Signature-256") {
			t.Errorf("%s: we sign it otherwise", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count == 0 {
		t.Error("there are no examples")
	}
	t.Logf("%d examples", count)
}
