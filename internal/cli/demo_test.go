package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/server"
)

func TestDemoTellsTheWholeStory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out, errOut bytes.Buffer
	code := Main(t.Context(), []string{"relay", "demo", "--once", "--json", "--http-addr", "127.0.0.1:0"}, strings.NewReader(""), &out, &errOut)
	if code != exitOK {
		t.Errorf("exit code %d, want 0; stderr:\n%s", code, &errOut)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(demoStory)+1 {
		t.Fatalf("%d lines, want one for each of %d steps and one at the end:\n%s", len(lines), len(demoStory), &out)
	}
	for i, s := range demoStory {
		var ev stepEvent
		if err := json.Unmarshal([]byte(lines[i]), &ev); err != nil {
			t.Fatalf("line %d: %v: %s", i+1, err, lines[i])
		}
		if ev.Event != "step" || ev.Name != s.name || !ev.OK || ev.Detail == "" || ev.DurationMS <= 0 {
			t.Errorf("step %q: %s", s.name, lines[i])
		}
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("the demo left %s behind", f.Name())
	}
}

// A ✓ that cannot become a ✗ says nothing: every step that asks the app must see
// that another app stands there.
func TestDemoStepsSeeWhatIsWrong(t *testing.T) {
	agreeable := func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"ok":true,"bytes":67108864,"sha256":"0000"}`))
	}
	silent := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	for _, tt := range []struct {
		step string
		run  func(context.Context, *demoWorld) (string, error)
		app  http.HandlerFunc
		want string
	}{
		{"ping, another answer", stepPing, agreeable, "another delivery"},
		{"push, another answer", stepPush, agreeable, "another delivery"},
		{"push, refused", stepPush, status(http.StatusBadGateway), "502"},
		{"forged, taken", stepForged, agreeable, "200"},
		{"forged, refused by the relay", stepForged, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Relay-Error", "door")
			w.WriteHeader(http.StatusUnauthorized)
		}, "not the receiver's"},
		{"upload, other bytes", stepUpload, agreeable, "hashes differ"},
		{"upload, cut short", stepUpload, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"bytes":5}`))
		}, "5 of 67108864"},
		{"websocket, no upgrade", stepWebSocket, agreeable, "200"},
		{"websocket, wrong accept", stepWebSocket, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}, "Sec-WebSocket-Accept"},
		{"events, not a stream", stepEvents, agreeable, "200"},
		{"events, held back", stepEvents, silent, "receiver did not take"},
		{"away, answered", stepAway, agreeable, "200"},
		{"away, not held", stepAway, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Relay-Error", "agent_away")
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, "not held"},
		{"back, refused at once", stepBack, status(http.StatusServiceUnavailable), "not held"},
	} {
		t.Run(tt.step, func(t *testing.T) {
			w, err := newDemoWorld(worldOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			app := httptest.NewServer(tt.app)
			defer app.Close()
			w.url, w.ready = app.URL, server.Ready{HTTPAddr: app.Listener.Addr().String()}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			detail, err := tt.run(ctx, w)
			if err == nil {
				t.Fatalf("✓ %s", detail)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("✗ %v; want a reason with %q", err, tt.want)
			}
		})
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// The signature that GitHub's documentation gives as its test value.
func TestSignatureIsGitHubs(t *testing.T) {
	secret, body := []byte("It's a Secret to Everybody"), []byte("Hello, World!")
	const want = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if !signed(secret, body, want) {
		t.Errorf("got %s, want %s", sign(secret, body), want)
	}
	for name, bad := range map[string]string{
		"none": "", "no scheme": strings.TrimPrefix(want, "sha256="), "other case": strings.ToUpper(want), "one digit off": want[:len(want)-1] + "8",
	} {
		if signed(secret, body, bad) {
			t.Errorf("%s: %q passes", name, bad)
		}
	}
}

func TestFramesComeBackAsTheyWere(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 1<<16 - 1, 1 << 16, maxFrame} {
		for _, mask := range []*[4]byte{nil, {1, 2, 3, 4}} {
			f := frame{n%2 == 0, opBinary, bytes.Repeat([]byte{0xa5}, n)}
			var wire bytes.Buffer
			if err := writeFrame(&wire, f, mask); err != nil {
				t.Fatal(err)
			}
			got, err := readFrame(&wire, mask != nil)
			if err != nil || got.final != f.final || got.op != f.op || !bytes.Equal(got.payload, f.payload) {
				t.Errorf("%d bytes: got final %v op %d and %d bytes, %v", n, got.final, got.op, len(got.payload), err)
			}
		}
	}
	var wire bytes.Buffer
	if err := writeFrame(&wire, frame{true, opText, make([]byte, maxFrame+1)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := readFrame(&wire, false); err == nil {
		t.Error("a frame over the limit is read")
	}
	// RFC 6455, 1.3 has this pair.
	if got := acceptKey("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("acceptKey = %q", got)
	}
}
