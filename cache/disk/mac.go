package disk

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Key authenticates what sx writes for itself to read: it distinguishes this user's
// records from those that came with a copied tree.
type Key struct{ secret [32]byte }

// NewKey returns the key with a secret.
func NewKey(secret [sha256.Size]byte) Key { return Key{secret} }

// MAC is HMAC-SHA256 over purpose, a zero byte and data.
func (k Key) MAC(purpose string, data []byte) []byte {
	h := k.hash(purpose)
	h.Write(data)
	return h.Sum(nil)
}

// hash is MAC of data that is written to it.
func (k Key) hash(purpose string) hash.Hash {
	h := hmac.New(sha256.New, k.secret[:])
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	return h
}

// Verify reports whether mac, in hexadecimal, is the MAC of purpose and data.
func (k Key) Verify(purpose string, data []byte, mac string) bool {
	got, err := hex.DecodeString(mac)
	return err == nil && hmac.Equal(got, k.MAC(purpose, data))
}

// LoadKey reads the key file, 64 hexadecimal digits and a newline (or CRLF, or none), and
// makes it if missing.
func LoadKey(path string) (Key, error) {
	if path == "" {
		return Key{}, errors.New("opening the record key: no file is given")
	}
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return Key{}, fmt.Errorf("making record key %q: %w", path, err)
		}
		key, err = readKey(path)
	}
	if err != nil {
		return Key{}, fmt.Errorf("reading record key %q: %w", path, err)
	}
	return key, nil
}

func readKey(path string) (Key, error) {
	data, err := ReadFile(path, 1024)
	if err != nil {
		return Key{}, err
	}
	st, err := StatPath(path)
	if err != nil {
		return Key{}, err
	}
	if err := CheckOwner(path, st, os.Geteuid(), "run as that user, or remove it"); err != nil {
		return Key{}, err
	}
	if st.Mode&0o077 != 0 {
		return Key{}, &UnsafeError{path, fmt.Sprintf("its mode is %04o, want 0600", st.Mode)}
	}
	secret, err := hex.DecodeString(strings.TrimRight(string(data), "\r\n"))
	if err != nil || len(secret) != sha256.Size || [sha256.Size]byte(secret) == [sha256.Size]byte{} {
		return Key{}, errors.New("want 64 hexadecimal digits and a newline")
	}
	return NewKey([sha256.Size]byte(secret)), nil
}

// makeKey puts a complete key file in place, unless another process has done so.
func makeKey(path string) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	var secret [32]byte
	rand.Read(secret[:])
	tmp, err := writeTemp(folder, []byte(hex.EncodeToString(secret[:])+"\n"), 0o600)
	if err != nil {
		return err
	}
	defer tmp.Discard()
	err = os.Link(tmp.Path, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = renameNoReplace(tmp.Path, path) // a filesystem without hard links
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(folder)
}
