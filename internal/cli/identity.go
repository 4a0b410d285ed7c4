package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/relaytunnel/relay/client"
)

// agentIdentity is who this command is to the server, kept over restarts: the
// same command on the same machine takes its names over at once, even if the
// server has not yet noticed that the one before is dead.
type agentIdentity struct {
	Agent  string `json:"agent"`
	Resume string `json:"resume,omitempty"`

	mu   sync.Mutex
	path string // empty: not kept
	lock *os.File
}

// openIdentity reads the identity of a command, or makes one. While another
// process has it, this one is somebody else.
func openIdentity(server, token string, spec client.Spec) (*agentIdentity, error) {
	dir, err := stateDir()
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256([]byte(server + "\x00" + token + "\x00" + spec.Name + "\x00" + spec.Hint))
	base := filepath.Join(dir, "agents", hex.EncodeToString(key[:12]))
	if err := os.MkdirAll(filepath.Dir(base), 0o700); err != nil {
		return nil, fmt.Errorf("keep state: %w", err)
	}
	lock, err := lockFile(base + ".lock")
	if errors.Is(err, errLocked) {
		return &agentIdentity{Agent: client.NewAgentID()}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keep state: %w", err)
	}
	id := &agentIdentity{path: base + ".json", lock: lock}
	b, err := os.ReadFile(id.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		id.close()
		return nil, fmt.Errorf("keep state: %w", err)
	}
	// A file that cannot be read as JSON is of no use: begin anew.
	if err != nil || json.Unmarshal(b, id) != nil || id.Agent == "" {
		id.Agent, id.Resume = client.NewAgentID(), ""
	}
	return id, nil
}

var errLocked = errors.New("locked by another process")

// save keeps a new resume secret. Without it a restart waits for the server to
// notice; nothing else is lost, so failures are not reported.
func (id *agentIdentity) save(resume string) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.path == "" {
		return
	}
	id.Resume = resume
	if b, err := json.Marshal(id); err == nil {
		_ = writePrivate(id.path, b)
	}
}

func (id *agentIdentity) close() {
	if id.lock != nil {
		_ = id.lock.Close()
	}
}
