package judge

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Example is a webhook as GitHub shows it in @octokit/webhooks-examples.
type Example struct {
	ID    string // unlike all others
	Event string // "push"
	Body  []byte // the bytes of the package's file
}

// GitHubExamples reads all examples, of GitHub itself and of its releases for
// enterprises. New has to come first, which installs them.
func GitHubExamples(t *testing.T) []Example {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(Dir(t), "node_modules", "@octokit", "webhooks-examples", "*", "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []Example
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var events []struct {
			Name     string
			Examples []json.RawMessage
		}
		if err := json.Unmarshal(text, &events); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, e := range events {
			for n, body := range e.Examples {
				all = append(all, Example{fmt.Sprintf("%s-%s-%d", filepath.Base(filepath.Dir(file)), e.Name, n), e.Name, body})
			}
		}
	}
	if len(all) == 0 {
		t.Fatal("there are no examples")
	}
	return all
}
