package conformance

import (
	"fmt"
	"os/exec"
	"testing"
)

// The receiver that everybody writes first works behind the relay as it is, whatever the
// inbox: what is signed right arrives, what is not does not.
func TestFlaskReceiver(t *testing.T) {
	needsBinary(t)
	python := "/usr/bin/python3" // Debian's, for which python3-flask is
	if exec.Command(python, "-c", "import flask").Run() != nil {
		if python = "python3"; exec.Command(python, "-c", "import flask").Run() != nil {
			t.Skip("needs Flask (Debian: python3-flask)")
		}
	}
	const secret = "a secret of two"
	r := openServer(t)
	l := r.lane(t, false)
	app := startApp(t, []string{"WEBHOOK_SECRET=" + secret}, python, "testdata/flask/receiver.py")
	for _, tt := range []struct {
		name      string
		args      []string
		good, bad int  // what a sender gets
		reaches   bool // whether the bad one gets as far as the app
	}{
		{"live", []string{"--inbox", "off"}, 200, 403, true},
		{"fallback-app-checks", []string{"--inbox", "fallback"}, 200, 403, true},
		{"fallback", []string{"--inbox", "fallback", "--verify", "hmac"}, 200, 401, false},
		{"always", []string{"--inbox", "always", "--verify", "hmac"}, 202, 401, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := ""
			if !tt.reaches {
				key = secret
			}
			host := r.endpoint(t, tt.name, key, tt.args...)
			agent := r.startAgent(t, app.addr, "--name", tt.name)
			agent.await(t, "online")
			var got struct {
				OK bool
				ID int
			}
			for id := range 3 {
				body := fmt.Sprintf("{\"id\": %d, \"name\": \"Grüße \\/ ☃\",\n \"n\": 1.50}", id)
				bad := l.post(t, host, "/webhook", map[string]string{"X-Signature": hexMAC("another", body)}, []byte(body))
				if bad.StatusCode != tt.bad {
					t.Errorf("what is signed wrong gets %s, want %d", bad.Status, tt.bad)
				}
				if tt.reaches {
					if app.next(t, &got); got.OK {
						t.Error("the app takes what is signed wrong")
					}
				}
				good := l.post(t, host, "/webhook", map[string]string{"X-Signature": hexMAC(secret, body)}, []byte(body))
				if good.StatusCode != tt.good {
					t.Errorf("what is signed right gets %s, want %d", good.Status, tt.good)
				}
				if app.next(t, &got); !got.OK || got.ID != id {
					t.Errorf("the app got event %d and said %t, want event %d", got.ID, got.OK, id)
				}
			}
			app.quiet(t)
		})
	}
}
