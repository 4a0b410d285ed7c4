package cert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// filesEvery is how often the operator's files are looked at. Polling works on
// every file system, and with every way of replacing a file.
const filesEvery = 5 * time.Second

// A Pair names a file with a certificate and its chain, and one with the key,
// both PEM. They may be the same file.
type Pair struct{ Cert, Key string }

// A fileSet is what was read from the operator's files. It is not changed.
type fileSet struct {
	pairs   []loadedPair
	byHost  map[string]*tls.Certificate
	stamp   string // of the files that were read
	problem string // with newer files that were not taken; empty: none
}

type loadedPair struct {
	file  string
	hosts []string
	cert  *tls.Certificate
}

// find returns the certificate for a host, canonical, by its name or by the
// wildcard one label up.
func (s *fileSet) find(host string) *tls.Certificate {
	if c := s.byHost[host]; c != nil {
		return c
	}
	if _, domain, ok := strings.Cut(host, "."); ok {
		return s.byHost["*."+domain]
	}
	return nil
}

// loadFiles reads all pairs, or says in a sentence which is bad and what to do.
// Of two pairs for the same host the first is used.
func loadFiles(pairs []Pair, now time.Time) (*fileSet, error) {
	s := &fileSet{byHost: make(map[string]*tls.Certificate), stamp: stampOf(pairs)}
	for _, p := range pairs {
		cert, err := loadPair(p, now)
		if err != nil {
			return nil, err
		}
		hosts := cert.Leaf.DNSNames
		if len(hosts) == 0 {
			return nil, fmt.Errorf("--tls-cert %s is for no DNS name; give a certificate with the domain in its subject alternative names", p.Cert)
		}
		s.pairs = append(s.pairs, loadedPair{p.Cert, hosts, cert})
		for _, h := range hosts {
			if h = strings.ToLower(h); s.byHost[h] == nil {
				s.byHost[h] = cert
			}
		}
	}
	return s, nil
}

func loadPair(p Pair, now time.Time) (*tls.Certificate, error) {
	chain, err := readFile("--tls-cert", p.Cert)
	if err != nil {
		return nil, err
	}
	key, err := readFile("--tls-key", p.Key)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(chain, key)
	switch {
	case err != nil && strings.Contains(err.Error(), "does not match"):
		return nil, fmt.Errorf("--tls-key %s is not the key of --tls-cert %s; give the two that were made together", p.Key, p.Cert)
	case err != nil && strings.Contains(err.Error(), "key"):
		return nil, fmt.Errorf("--tls-key %s is not a private key in PEM form (%w); give the key of --tls-cert %s, without a passphrase", p.Key, err, p.Cert)
	case err != nil:
		return nil, fmt.Errorf("--tls-cert %s is not a certificate in PEM form (%w); give the one with its chain, often called fullchain.pem", p.Cert, err)
	case !now.Before(cert.Leaf.NotAfter):
		return nil, fmt.Errorf("--tls-cert %s has expired on %s; renew it, or leave the flag out to have one ordered", p.Cert, cert.Leaf.NotAfter.Format(time.DateOnly))
	case now.Before(cert.Leaf.NotBefore):
		return nil, fmt.Errorf("--tls-cert %s is valid only from %s on; check the clock of this machine", p.Cert, cert.Leaf.NotBefore.Format(time.DateTime))
	}
	return &cert, nil
}

func readFile(flag, path string) ([]byte, error) {
	if path == "" {
		return nil, fmt.Errorf("%s is missing: a certificate and its key are given together, with --tls-cert and --tls-key", flag)
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s %s does not exist; check the path", flag, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s %s may not be read by this user; give it the right to, for example with chgrp and chmod 640", flag, path)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return data, nil
}

// stampOf changes when one of the files does.
func stampOf(pairs []Pair) string {
	var b strings.Builder
	for _, p := range pairs {
		for _, path := range []string{p.Cert, p.Key} {
			if info, err := os.Stat(path); err == nil {
				fmt.Fprint(&b, info.Size(), info.ModTime().UnixNano())
			}
			b.WriteByte('|')
		}
	}
	return b.String()
}

// watchFiles reads the files again after they have changed, until ctx ends.
func (k *Keeper) watchFiles(ctx context.Context) {
	if len(k.o.Files) == 0 {
		return
	}
	tick := time.NewTicker(k.policy.files)
	defer tick.Stop()
	seen := k.files.Load().stamp
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Two looks that agree: nobody is writing just now.
		stamp := stampOf(k.o.Files)
		if stamp == seen && stamp != k.files.Load().stamp {
			k.reloadFiles(stamp)
		}
		seen = stamp
	}
}

// reloadFiles takes the new files, or keeps what was read before and says so.
func (k *Keeper) reloadFiles(stamp string) {
	files, err := loadFiles(k.o.Files, k.o.Now())
	if err != nil {
		kept := *k.files.Load()
		kept.stamp, kept.problem = stamp, err.Error()
		k.files.Store(&kept)
		k.o.Log.Error("the new certificate files are not used; the old ones stay in use", "err", err)
		return
	}
	files.stamp = stamp
	k.files.Store(files)
	k.o.Log.Info("read the new certificate files", "files", len(files.pairs))
}
