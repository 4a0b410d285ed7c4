package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// kept is a list in a file.
type kept struct {
	AsOf     time.Time `json:"as_of"`
	Prefixes []string  `json:"prefixes"`
}

func readKept(text []byte) (*list, error) {
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, err
	}
	prefixes, err := readPrefixes(k.Prefixes)
	if err != nil {
		return nil, err
	}
	return &list{set: setOf(prefixes), prefixes: prefixes, asOf: k.AsOf}, nil
}

// Load takes the lists that an earlier run has kept, where they are newer than what is
// known. One that cannot be read is as good as none.
func (l *Lists) Load() {
	if l.o.Dir == "" {
		return
	}
	for _, name := range l.names() {
		text, err := readFile(l.file(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var had *list
		if err == nil {
			had, err = readKept(text)
		}
		if err != nil {
			l.o.Log.Warn("a kept list of addresses cannot be read", "sender", name, "err", err)
			continue
		}
		now := l.o.Now()
		l.mu.Lock()
		if one := l.all[name]; had.asOf.After(one.asOf) && !had.asOf.After(now) {
			one.set, one.prefixes, one.asOf = had.set, had.prefixes, had.asOf
			one.next = had.asOf.Add(jitter(every)) // it was asked for then
		}
		l.mu.Unlock()
	}
}

// maxKept is the largest file that is read, in bytes; maxList entries are smaller.
const maxKept = 1 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxKept))
}

func (l *Lists) file(name string) string { return filepath.Join(l.o.Dir, name+".json") }

// keep writes a list, so that it is there whole or not at all.
func (l *Lists) keep(name string, prefixes []netip.Prefix, now time.Time) (err error) {
	if l.o.Dir == "" {
		return nil
	}
	k := kept{AsOf: now.UTC()}
	for _, p := range prefixes {
		k.Prefixes = append(k.Prefixes, p.String())
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.o.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(l.o.Dir, name+".json.*") // readable by us only
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return os.Rename(f.Name(), l.file(name))
}
