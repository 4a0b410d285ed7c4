// Package npmtest installs the npm packages that some tests drive.
package npmtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Install runs npm ci in a folder with a package-lock.json, unless what is there is
// of this lock file already. Tests of several packages may come at once, so one
// installs and the others wait for it. Where node, npm or the packages cannot be
// had, the test is skipped.
func Install(t *testing.T, dir string) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	stamp := filepath.Join(dir, "node_modules", ".installed-from")
	installed := func() bool {
		was, err := os.ReadFile(stamp)
		return err == nil && bytes.Equal(was, lock)
	}
	if installed() {
		return
	}
	unlock, err := lockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if installed() {
		return
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("npm ci could not install the packages (is there a network?): %v\n%s", err, out)
	}
	if err := os.WriteFile(stamp, lock, 0o600); err != nil {
		t.Fatal(err)
	}
}
