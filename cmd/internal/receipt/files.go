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
	id := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, strings.TrimPrefix(keyID, "SHA256:"))
	return fmt.Sprintf("%s.%s.%s%s", s.Output(), s.Predicate.RunDetails.Metadata.InvocationID[:12], id[:min(len(id), 16)], Suffix)
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

// Read reads the receipts of a file, or of a folder and those below it, sorted by name. It
// follows no link. Files with other names than receipts have are passed over in folders.
func Read(path string, ring *signature.Keyring, now time.Time) ([]Receipt, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []Receipt{readFile(path, path, ring, now)}, nil
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var all []Receipt
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !e.Type().IsRegular() || !strings.HasSuffix(name, Suffix):
			return nil
		case len(all) == maxFiles:
			return fmt.Errorf("it holds more than %d receipts", maxFiles)
		}
		all = append(all, readFile(name, filepath.Join(path, name), ring, now))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading receipts in %q: %w", path, err)
	}
	slices.SortFunc(all, func(a, b Receipt) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

func readFile(name, path string, ring *signature.Keyring, now time.Time) Receipt {
	data, err := disk.ReadFile(path, MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it is gone")
	}
	if err != nil {
		return Receipt{Name: name, Why: err}
	}
	return Open(name, data, ring, now)
}
