package signature

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// The user's keys lie in a folder, each in a file <FINGERPRINT>.asc that gpg can read too. Its armor has a comment that
// names the person.
const (
	keySuffix     = ".asc"
	commentHeader = "Comment"
	personPrefix  = "sx person: "
	maxTrusted    = 1000 // keys in the folder
)

// LoadKeyring reads the keys of a folder, which may be missing. A file that is not what its name says is an error: it might
// be a revocation that is overlooked.
func LoadKeyring(dir string) (*Keyring, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r := &Keyring{}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != keySuffix || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if len(r.Keys) == maxTrusted {
			return nil, fmt.Errorf("%s holds more than %d keys", dir, maxTrusted)
		}
		path := filepath.Join(dir, e.Name())
		person, key, err := readTrusted(path)
		if err == nil && key.Fingerprint+keySuffix != e.Name() {
			err = fmt.Errorf("it holds the key %s", key.Fingerprint)
		}
		if err == nil {
			_, err = r.Add(person, key)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w; import the key again, or remove the file", path, err)
		}
	}
	return r, nil
}

func readTrusted(path string) (string, *Key, error) {
	data, err := ReadKeyFile(path)
	if err != nil {
		return "", nil, err
	}
	block, err := armor.Decode(bytes.NewReader(data))
	if err != nil {
		return "", nil, errors.New("it is not the armored key that sx wrote")
	}
	keys, bad, err := ParseKeys(data)
	if err := errors.Join(append(bad, err)...); err != nil {
		return "", nil, err
	}
	if len(keys) != 1 {
		return "", nil, fmt.Errorf("it holds %d keys", len(keys))
	}
	person, _ := strings.CutPrefix(block.Header[commentHeader], personPrefix)
	return person, keys[0], nil
}

// ReadKeyFile reads a file of keys: a regular one, of at most MaxKeys bytes.
func ReadKeyFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > MaxKeys:
		return nil, fmt.Errorf("%s has more than 16 MiB", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxKeys))
}

// Save merges t with what the folder holds now, and writes it. The caller has a lock on the folder: another process may
// have brought a revocation of the key since this one read it.
func Save(dir string, t Trusted) error {
	ring, err := LoadKeyring(dir)
	if err != nil {
		return err
	}
	if t, err = ring.Add(t.Person, t.Key); err != nil {
		return err
	}
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, map[string]string{commentHeader: personPrefix + t.Person})
	if err != nil {
		return err
	}
	if _, err := w.Write(t.Key.Binary()); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	b.WriteByte('\n')
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return Replace(filepath.Join(dir, t.Key.Fingerprint+keySuffix), b.Bytes())
}

// Remove deletes the key with a fingerprint from the folder.
func Remove(dir, fingerprint string) error {
	if err := os.Remove(filepath.Join(dir, fingerprint+keySuffix)); err != nil {
		return err
	}
	return syncFolder(dir)
}

// Replace writes a file aside, syncs it and renames it.
func Replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
