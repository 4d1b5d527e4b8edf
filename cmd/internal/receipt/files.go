package receipt

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/signature"
)

// Suffix ends the names of files that are receipts.
const Suffix = ".receipt.json"

// maxFiles bounds the receipts of a folder.
const maxFiles = 100_000

// FileName returns the name of a receipt's file, which differs for all builds and signers.
func FileName(s Statement, keyID string) string {
	return fmt.Sprintf("%s.%s.%s%s", s.Output(), s.Predicate.RunDetails.Metadata.InvocationID[:12], plainID(keyID), Suffix)
}

// plainID returns the beginning of a key's ID, with letters and digits only.
func plainID(keyID string) string {
	id := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, strings.TrimPrefix(keyID, machineKeyPrefix))
	return id[:min(len(id), 16)]
}

// Exists reports whether a folder has a receipt of that name.
func Exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// Write writes a receipt into a folder, which it makes if it is missing.
func Write(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return disk.WriteFile(filepath.Join(dir, name), data, 0o644, "")
}

// Read reads the receipts of a file, or of a folder and those below it, sorted by name, and
// the revocations of machine keys that lie with them. It follows no link. Files with other
// names are passed over in folders.
func Read(path string, ring *signature.Keyring, now time.Time) ([]Receipt, Revoked, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	found := &found{ring: ring, now: now}
	if !info.IsDir() {
		found.read(path, path)
		return found.receipts, found.revoked, nil
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !e.Type().IsRegular() || !strings.HasSuffix(name, Suffix) && !strings.HasSuffix(name, RevocationSuffix):
			return nil
		case len(found.receipts) == maxFiles || len(found.revoked) == maxRevoked:
			return fmt.Errorf("it holds more than %d receipts, or %d revocations", maxFiles, maxRevoked)
		}
		found.read(name, filepath.Join(path, name))
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading receipts in %q: %w", path, err)
	}
	slices.SortFunc(found.receipts, func(a, b Receipt) int { return cmp.Compare(a.Name, b.Name) })
	return found.receipts, found.revoked, nil
}

// found collects what files hold.
type found struct {
	ring     *signature.Keyring
	now      time.Time
	receipts []Receipt
	revoked  Revoked
}

// read reads a file, a revocation if its name says so.
func (f *found) read(name, path string) {
	data, err := disk.ReadFile(path, MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it is gone")
	}
	switch revocation := strings.HasSuffix(name, RevocationSuffix); {
	case err != nil && revocation:
		f.revoked = append(f.revoked, Revocation{Name: name, Why: err})
	case err != nil:
		f.receipts = append(f.receipts, Receipt{Name: name, Why: err})
	case revocation:
		f.revoked = append(f.revoked, OpenRevocation(name, data, f.ring, f.now))
	default:
		f.receipts = append(f.receipts, Open(name, data, f.ring, f.now))
	}
}
