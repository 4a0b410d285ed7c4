package conformance

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// git over smart HTTP: gzip'd requests, chunked pushes, answers that begin before the request has ended.

func TestGitCloneAndPush(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	execPath, err := exec.Command(git, "--exec-path").Output()
	backend := filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend")
	if err != nil || exec.Command("test", "-x", backend).Run() != nil {
		t.Skip("git http-backend is not installed")
	}
	size := 20 << 20
	if testing.Short() {
		size = 3 << 20
	}
	var chunked atomic.Int64
	var projects atomic.Value // the folder of the road that is tried
	app := func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 { // CGI knows no chunks
			chunked.Add(1)
			b, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
		}
		(&cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + projects.Load().(string), "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=alice"}, Stderr: io.Discard}).ServeHTTP(w, r)
	}
	overRoads(t, handler(app), func(t *testing.T, r *road) {
		root := t.TempDir()
		projects.Store(root)
		chunked.Store(0)
		home := t.TempDir()
		run := func(dir string, args ...string) string {
			t.Helper()
			cmd := exec.Command(git, append([]string{
				"-c", "http.curloptResolve=" + r.host + ":127.0.0.1",
				"-c", "http.postBuffer=65536", "-c", "init.defaultBranch=main", "-c", "protocol.version=2",
			}, args...)...)
			cmd.Dir = dir
			cmd.Env = []string{
				"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_AUTHOR_NAME=a",
				"GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
			}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
			}
			return strings.TrimSpace(string(out))
		}
		run(root, "init", "-q", "--bare", "repo.git")
		run(filepath.Join(root, "repo.git"), "config", "http.receivepack", "true")

		work := filepath.Join(t.TempDir(), "work")
		run(home, "clone", "-q", r.url("/repo.git"), work)
		for i := range 3 {
			name := filepath.Join(work, strings.Repeat("x", i+1))
			if err := os.WriteFile(name, pattern(size / 3)[i:], 0o644); err != nil { // does not compress
				t.Fatal(err)
			}
			run(work, "add", ".")
			run(work, "commit", "-q", "-m", "part")
		}
		run(work, "push", "-q", "origin", "HEAD:main")
		if chunked.Load() == 0 {
			t.Error("the push was not chunked; the test shows nothing")
		}
		copied := filepath.Join(t.TempDir(), "copy")
		run(home, "clone", "-q", "-b", "main", r.url("/repo.git"), copied)
		if a, b := run(work, "rev-parse", "HEAD^{tree}"), run(copied, "rev-parse", "HEAD^{tree}"); a != b {
			t.Errorf("pushed %s, cloned %s", a, b)
		}
		run(copied, "fsck", "--full")
		// Small changes on a kept repository: fetch negotiates in several rounds.
		os.WriteFile(filepath.Join(work, "small"), []byte("hello"), 0o644)
		run(work, "add", ".")
		run(work, "commit", "-q", "-m", "small")
		run(work, "push", "-q", "origin", "HEAD:main")
		run(copied, "pull", "-q")
		if b, _ := os.ReadFile(filepath.Join(copied, "small")); string(b) != "hello" {
			t.Errorf("pulled %q", b)
		}
	})
}
