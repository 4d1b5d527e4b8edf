package embedded

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
)

// BuildID is the build id of this program, "" where it has none.
func BuildID() string {
	id, err := buildID("/proc/self/exe")
	if err != nil {
		return ""
	}
	return id
}

// buildID names the build of the program at path: 16 hex digits that differ
// between any two builds that differ. It comes from the Go build id in the ELF
// note, which covers the content, so that the 100 MB file need not be hashed.
func buildID(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading the build id of %q: %w", path, err)
	}
	defer f.Close()
	s := f.Section(".note.go.buildid")
	if s == nil {
		return "", fmt.Errorf("reading the build id of %q: it has none; build sx with the go command", path)
	}
	note, err := s.Data()
	if err != nil {
		return "", fmt.Errorf("reading the build id of %q: %w", path, err)
	}
	sum := sha256.Sum256(note)
	return hex.EncodeToString(sum[:8]), nil
}
