package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

// fileConfig is the agent's configuration file.
type fileConfig struct {
	Version int    `yaml:"version"`
	Server  string `yaml:"server,omitempty"`
	Token   string `yaml:"token,omitempty"`
	CA      string `yaml:"ca,omitempty"` // a file with roots to trust the server by
}

// configPath is where the agent's configuration lives.
func configPath() (string, error) {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		var err error
		if dir, err = os.UserConfigDir(); err != nil {
			return "", fmt.Errorf("no folder for the configuration: %w", err)
		}
	}
	return filepath.Join(dir, "relay", "relay.yaml"), nil
}

// stateDir is where what a program remembers lives.
func stateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "relay"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the state: %w", err)
	}
	return filepath.Join(home, ".local", "state", "relay"), nil
}

// loadConfig reads the configuration file; without one it is empty.
func loadConfig() (fileConfig, error) {
	var c fileConfig
	path, err := configPath()
	if err != nil {
		return c, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(b, &c, yaml.Strict()); err != nil {
		return c, fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, true))
	}
	return c, nil
}

// save writes the configuration file, readable by its owner only.
func (c fileConfig) save() (path string, err error) {
	path, err = configPath()
	if err != nil {
		return "", err
	}
	c.Version = 1
	b, err := yaml.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	if err := writePrivate(path, b); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}

// writePrivate replaces a file by one that only its owner may read.
func writePrivate(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".relay-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
