// Package judge asks the vendors' own libraries, from npm, whether they accept
// what this program signs, and lets them sign what it verifies. Only tests
// import it. judges.mjs beside this file has what each library is asked.
package judge

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/npmtest"
	"github.com/relaytunnel/relay/internal/signature"
)

// Judge is a process of node in which the libraries are. It answers one
// question at a time.
type Judge struct {
	in  io.Writer
	out *bufio.Reader
}

// Verdict is what a library says.
type Verdict struct {
	OK      bool              `json:"ok"`
	Error   string            `json:"error"`
	Headers map[string]string `json:"headers"` // what it adds to sign a request
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
	At      int64             `json:"at,omitempty"` // seconds; 0 for now
}

// New installs the libraries and starts the process, which ends with the test.
// Where it cannot be had, the test is skipped.
func New(t *testing.T) *Judge {
	t.Helper()
	if testing.Short() {
		t.Skip("the vendors' libraries are not asked in short tests")
	}
	dir := Dir(t)
	npmtest.Install(t, dir)
	cmd := exec.CommandContext(t.Context(), "node", "judges.mjs")
	cmd.Dir = dir
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
		_ = in.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("the judges ended with %v", err)
		}
	})
	return &Judge{in, bufio.NewReader(out)}
}

// Dir is the folder of the libraries, from wherever in the module a test runs.
func Dir(t *testing.T) string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		dir := filepath.Join(at, "internal", "signature", "judge")
		if _, err := os.Stat(filepath.Join(dir, "judges.mjs")); err == nil {
			return dir
		}
		if at == filepath.Dir(at) {
			t.Fatal("internal/signature/judge is in no folder above this test")
		}
		at = filepath.Dir(at)
	}
}

// Ask asks the named library to "sign" or to "verify" the request. public is the
// sender's public key, where there is one.
func (j *Judge) Ask(t *testing.T, do, name, secret, public string, r signature.Request) Verdict {
	t.Helper()
	v, err := j.ask(question{Judge: name, Do: do, Secret: secret, Public: public}, r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// SignAt lets the named library sign the request as of that time, where its
// signatures have one. It fails the test if the library cannot sign.
func (j *Judge) SignAt(t *testing.T, name, secret string, r signature.Request, at time.Time) map[string]string {
	t.Helper()
	v, err := j.ask(question{Judge: name, Do: "sign", Secret: secret, At: at.Unix()}, r)
	if err != nil {
		t.Fatal(err)
	}
	if v.Error != "" {
		t.Fatalf("%s: %s", name, v.Error)
	}
	return v.Headers
}

func (j *Judge) ask(q question, r signature.Request) (Verdict, error) {
	q.Method, q.URL, q.Headers, q.Body = r.Method, r.URL, map[string]string{}, r.Body
	for key := range r.Header {
		q.Headers[strings.ToLower(key)] = r.Header.Get(key)
	}
	line, err := json.Marshal(q)
	if err != nil {
		return Verdict{}, err
	}
	if _, err := j.in.Write(append(line, '\n')); err != nil {
		return Verdict{}, err
	}
	answer, err := j.out.ReadBytes('\n')
	if err != nil {
		return Verdict{}, errors.Join(errors.New("the judge gave no answer"), err)
	}
	var v Verdict
	return v, json.Unmarshal(answer, &v)
}
