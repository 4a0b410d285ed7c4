package cli

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An answer that ends too early is told, and leaves no file that one would trust.
func TestBackupCutShort(t *testing.T) {
	var whole bytes.Buffer
	z := gzip.NewWriter(&whole)
	_, _ = z.Write(bytes.Repeat([]byte("relay"), 10_000))
	_ = z.Close()
	for name, answer := range map[string][]byte{"nothing": nil, "cut": whole.Bytes()[:whole.Len()-5], "text": []byte("hello")} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }))
		path := filepath.Join(t.TempDir(), "relay.tar.gz")
		var out, errOut bytes.Buffer
		code := Main(t.Context(), []string{"relay", "backup", path, "--server", srv.URL, "--token", "rly_x"}, strings.NewReader(""), &out, &errOut)
		srv.Close()
		if code != exitUnreachable || !strings.Contains(errOut.String(), "the backup was cut short") || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %q, %q", name, code, out.String(), errOut.String())
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: there is a file", name)
		}
	}
}
