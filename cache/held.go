package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Held lists, for each blob that some output's folder has a file for, those
// outputs, sorted. It only reads names: what lies under them is for Adopt to find
// out.
func (s *Store) Held() (map[Digest][]string, error) {
	held := map[Digest][]string{}
	out, err := openDir(s.out("."))
	if errors.Is(err, fs.ErrNotExist) {
		return held, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing blobs: %w", err)
	}
	defer out.close()
	entries, err := out.f.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("listing blobs: %w", err)
	}
	for _, e := range entries {
		if checkOutput(e.Name()) == nil {
			out.addHeld(held, e.Name())
		}
	}
	for _, outputs := range held {
		slices.Sort(outputs)
	}
	return held, nil
}

// addHeld passes over what is no layout.
func (d dir) addHeld(held map[Digest][]string, output string) {
	blobs, err := d.sub(output, "blobs", "sha256")
	if err != nil {
		return
	}
	defer blobs.close()
	entries, _ := blobs.f.ReadDir(-1)
	for _, e := range entries {
		if digest, err := parseHexDigest(e.Name()); err == nil {
			held[digest] = append(held[digest], output)
		}
	}
}
