package cli

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// whereabouts is the note that an agent leaves while its inspector can be reached, so
// that other commands of the same user find it wherever it listens.
type whereabouts struct {
	URL     string    `json:"url"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

// leaveWhereabouts writes the note of an inspector at addr, a host and port. Without one
// the inspector is found at its usual address only, so a failure ends nothing. remove
// takes the note away; it must be called before somebody else can listen at addr.
func leaveWhereabouts(addr string, now time.Time) (remove func(), err error) {
	nothing := func() {}
	dir, err := whereaboutsDir()
	if err != nil {
		return nothing, err
	}
	b, err := json.Marshal(whereabouts{URL: "http://" + addr, PID: os.Getpid(), Started: now.UTC()})
	if err != nil {
		return nothing, err
	}
	// Who listens there next writes over what a killed agent has left.
	path := filepath.Join(dir, strings.NewReplacer(":", "_", "[", "", "]", "").Replace(addr)+".json")
	if err := writePrivate(path, b); err != nil {
		return nothing, err
	}
	return func() { _ = os.Remove(path) }, nil
}

// readWhereabouts lists the notes of this user's agents, the newest first. An agent that
// was killed has left its own: whoever reads it has to try.
func readWhereabouts() []whereabouts {
	dir, err := whereaboutsDir()
	if err != nil {
		return nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []whereabouts
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		var w whereabouts
		if err == nil && json.Unmarshal(b, &w) == nil && w.URL != "" {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b whereabouts) int {
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.URL, b.URL))
	})
	return all
}

func whereaboutsDir() (string, error) {
	dir, err := stateDir()
	return filepath.Join(dir, "inspectors"), err
}
