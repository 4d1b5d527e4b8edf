package cache

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/layout"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// madeLayout lists what a staging folder has been filled with, so that a committed layout
// need not be read again by those that are built from it, nor by the verdict on it.
type madeLayout struct {
	at    time.Time // the mtime of all but the blobs, see [memo.Past]
	items []memo.Item
}

func (m *madeLayout) add(path string, mode fs.FileMode, sum [32]byte, st disk.Stamp) {
	m.items = append(m.items, memo.Item{Path: path, Mode: mode, Sum: sum, St: st})
}

// writeFiles writes oci-layout and index.json, and describes what is in the folder now.
func (t *Staging) writeFiles(made *madeLayout, top oci.Descriptor, annotations map[string]string) (*layout.Folder, error) {
	index, err := oci.IndexJSON(top, annotations)
	if err != nil {
		return nil, err
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{layout.VersionName, []byte(layout.VersionFile)}, {layout.IndexName, index}} {
		st, err := disk.WriteNewSealed(t.layout(file.name), file.data, 0o644, made.at)
		if err != nil {
			return nil, err
		}
		made.add(file.name, 0o644, sha256.Sum256(file.data), st)
	}
	root := oci.AnnotatedDescriptor{Descriptor: top, Annotations: annotations}
	return &layout.Folder{Path: t.layout(), Index: index, Root: root, Held: t.held}, nil
}

// seal syncs the folders of the layout, which must hold these blobs as they were written.
func (t *Staging) seal(made *madeLayout, blobs []oci.Descriptor) error {
	const blobsDir = "blobs/sha256"
	for _, name := range []string{blobsDir, "blobs", ""} { // each after what changes its mtime
		st, err := disk.SealDir(t.layout(filepath.FromSlash(name)), made.at)
		if err != nil {
			return err
		}
		made.add(name, fs.ModeDir|0o755, [32]byte{}, st)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	made.items = slices.Grow(made.items, len(blobs))
	staging := disk.Dir{F: t.lock, Path: t.path}
	for _, d := range blobs {
		name := blobsDir + "/" + d.Digest.Hex()
		st, err := staging.Stat("layout/" + name)
		if was := t.blobs[d.Digest].st; err != nil || st.Inode != was.Inode || st.Mtime != was.Mtime || st.Size != was.Size {
			return fmt.Errorf("blob %s was removed or changed after it was written", d.Digest)
		}
		made.add(name, 0o444, d.Digest.Sum(), st)
	}
	slices.SortFunc(made.items, func(a, b memo.Item) int { return cmp.Compare(a.Path, b.Path) })
	return nil
}

// rememberMade remembers a layout that was made by this process and has just got its place.
// Shared reports whether all its blobs are shared.
func (s *outputs) rememberMade(l Layout, items []memo.Item, blobs []oci.Descriptor, shared bool) {
	if s.layouts == nil {
		return
	}
	s.layouts.PutMade(outName(l.Output), items, packLayout(l))
	if shared {
		s.know(l, digestsOf(blobs), s.now())
	}
}
