package cache

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

// macKey authenticates what sx writes for itself to read: it tells this user's
// records from those that came with a copied tree.
type macKey struct{ secret [32]byte }

// sum is HMAC-SHA256 over purpose, a zero byte and data.
func (k macKey) sum(purpose string, data []byte) []byte {
	h := k.hash(purpose)
	h.Write(data)
	return h.Sum(nil)
}

// hash is sum for data that is written to it.
func (k macKey) hash(purpose string) hash.Hash {
	h := hmac.New(sha256.New, k.secret[:])
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	return h
}

func (k macKey) check(purpose string, data []byte, mac string) bool {
	got, err := hex.DecodeString(mac)
	return err == nil && hmac.Equal(got, k.sum(purpose, data))
}

// loadKey reads the key file, 64 hexadecimal digits and a newline (or CRLF, or none),
// or makes it.
func loadKey(path string) (macKey, error) {
	if path == "" {
		return macKey{}, errors.New("opening the record key: no file is given")
	}
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return macKey{}, fmt.Errorf("making record key %q: %w", path, err)
		}
		key, err = readKey(path)
	}
	if err != nil {
		return macKey{}, fmt.Errorf("reading record key %q: %w", path, err)
	}
	return key, nil
}

func readKey(path string) (macKey, error) {
	data, err := readPath(path, 1024)
	if err != nil {
		return macKey{}, err
	}
	st, err := statPath(path)
	if err != nil {
		return macKey{}, err
	}
	if err := checkOwner(path, st, os.Geteuid(), "run as that user, or remove it"); err != nil {
		return macKey{}, err
	}
	if st.Mode&0o077 != 0 {
		return macKey{}, &UnsafeError{path, fmt.Sprintf("its mode is %04o, want 0600", st.Mode)}
	}
	sum, err := parseSum(strings.TrimRight(string(data), "\r\n"))
	if err != nil {
		return macKey{}, fmt.Errorf("want 64 hexadecimal digits and a newline")
	}
	return macKey{sum}, nil
}

// makeKey puts a complete key file in place, unless another process was faster.
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
	defer tmp.discard()
	err = os.Link(tmp.path, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = renameNoReplace(tmp.path, path) // a filesystem without hard links
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(folder)
}
