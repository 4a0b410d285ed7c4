package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// keyName is the file with the server key: 64 hexadecimal digits. It stands
// beside the database and not in it, so that a copy of the database alone gives
// no secret away.
const keyName = "relay.key"

const keySize = 32 // AES-256

// sealVersion is the first byte of what Seal returns: AES-256-GCM with a random
// nonce under a key derived for the purpose.
const sealVersion = 1

// ErrSealed is returned by Unseal for what was sealed with another server key,
// for another purpose, or is damaged.
var ErrSealed = errors.New("it cannot be decrypted with the server key in " + keyName)

// Seal encrypts what must not be read by whoever gets hold of the database: keys
// of certificates, secrets of senders. purpose says what it is, and is needed to
// unseal it.
func (s *Store) Seal(purpose string, plain []byte) ([]byte, error) {
	aead, err := s.sealer(purpose)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	out[0] = sealVersion
	_, _ = rand.Read(out[1:]) // never fails
	return aead.Seal(out, out[1:], plain, []byte(purpose)), nil
}

// Unseal is the inverse of Seal (ErrSealed).
func (s *Store) Unseal(purpose string, sealed []byte) ([]byte, error) {
	aead, err := s.sealer(purpose)
	if err != nil {
		return nil, err
	}
	if len(sealed) < 1+aead.NonceSize() || sealed[0] != sealVersion {
		return nil, ErrSealed
	}
	nonce, box := sealed[1:1+aead.NonceSize()], sealed[1+aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, box, []byte(purpose))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// sealedLen is how long a text is when it is sealed.
func sealedLen(plain string) int {
	const nonce, tag = 12, 16 // of GCM
	return 1 + nonce + len(plain) + tag
}

func (s *Store) sealer(purpose string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, s.key, nil, "relay "+purpose, keySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// loadKey reads the server key, and makes it at the first start. Of several
// processes that start at once all get the same.
func loadKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, keyName)
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := makeKey(dir, path); err != nil {
		return nil, fmt.Errorf("make the server key: %w", err)
	}
	return readKey(path)
}

func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%s is not a server key of %d hexadecimal digits; put the right file back from a backup", path, 2*keySize)
	}
	return key, os.Chmod(path, 0o600)
}

// makeKey puts a new key in place, whole or not at all, unless one is there.
func makeKey(dir, path string) error {
	f, err := os.CreateTemp(dir, keyName+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	key := make([]byte, keySize)
	_, _ = rand.Read(key)
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Unlike a rename, a link does not replace what another process has put there.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}
