package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Held lists, for each blob that some output's folder has a file for, those
// outputs, sorted. It only reads names: what lies under them is for Adopt to find
// out.
func (s *Store) Held() (map[oci.Digest][]string, error) {
	held := map[oci.Digest][]string{}
	out, err := disk.OpenDir(s.out("."))
	if errors.Is(err, fs.ErrNotExist) {
		return held, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing blobs: %w", err)
	}
	defer out.Close()
	entries, err := out.F.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("listing blobs: %w", err)
	}
	for _, e := range entries {
		if checkOutput(e.Name()) == nil {
			addHeld(out, held, e.Name())
		}
	}
	for _, outputs := range held {
		slices.Sort(outputs)
	}
	return held, nil
}

// addHeld passes over what is no layout.
func addHeld(d disk.Dir, held map[oci.Digest][]string, output string) {
	blobs, err := d.Sub(output, "blobs", "sha256")
	if err != nil {
		return
	}
	defer blobs.Close()
	entries, _ := blobs.F.ReadDir(-1)
	for _, e := range entries {
		if digest, err := oci.ParseHexDigest(e.Name()); err == nil {
			held[digest] = append(held[digest], output)
		}
	}
}
