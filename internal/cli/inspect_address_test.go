package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// agentAt is an inspector that has one request.
func agentAt(t *testing.T, id string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/session", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"mode":"agent"}`) })
	mux.HandleFunc("GET /api/v1/requests", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("an agent was given a token")
		}
		_, _ = fmt.Fprintf(w, `{"items":[{"id":%q}]}`, id)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// The newest agent that answers is asked, whatever others have left.
func TestTheNewestAgentIsFound(t *testing.T) {
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	old, young := agentAt(t, "of_old"), agentAt(t, "of_young")
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	now := time.Now()
	leave := func(addr string, at time.Time) func() {
		remove, err := leaveWhereabouts(addr, at)
		if err != nil {
			t.Fatal(err)
		}
		return remove
	}
	asked := func() string {
		var out, errOut bytes.Buffer
		Main(t.Context(), []string{"relay", "requests", "list", "--json"}, strings.NewReader(""), &out, &errOut)
		if errOut.Len() > 0 {
			t.Errorf("it wrote %s", &errOut)
		}
		return out.String()
	}

	leave(old.Listener.Addr().String(), now.Add(-time.Hour))
	remove := leave(young.Listener.Addr().String(), now)
	leave(other.Listener.Addr().String(), now.Add(time.Hour)) // of an agent that was killed: somebody else listens there now
	leave("127.0.0.1:1", now.Add(2*time.Hour))                // and of one where nobody does
	if err := os.WriteFile(filepath.Join(state, "relay", "inspectors", "broken.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := asked(); !strings.Contains(got, "of_young") {
		t.Errorf("of two agents %q was asked", got)
	}
	remove()
	if got := asked(); !strings.Contains(got, "of_old") {
		t.Errorf("when the newer one is gone, %q was asked", got)
	}
	// What listens at ::1 has a file of its own.
	remove = leave("[::1]:4040", now)
	if _, err := os.Stat(filepath.Join(state, "relay", "inspectors", "__1_4040.json")); err != nil {
		t.Error(err)
	}
	remove()
}
