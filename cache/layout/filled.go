package layout

import (
	"errors"
	"fmt"
	"path/filepath"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// Folder is a folder that its owner has filled with oci-layout, index.json and blobs, and to
// which no other process writes.
type Folder struct {
	Path  string
	Index []byte                  // the bytes of index.json
	Root  oci.AnnotatedDescriptor // what index.json names
	Held  func(oci.Digest) (Held, bool)
}

// Held is a blob that was written to a folder after its digest was checked.
type Held struct {
	Size     int64
	Document []byte // its bytes, if the owner still has them
}

// Filled is Open for the owner of a folder. It opens only documents whose bytes are not at
// hand, and blobs that the folder does not hold.
func Filled(f *Folder, stats *memo.Stats) *Reader {
	return &Reader{
		blobs: disk.Dir{Path: filepath.Join(f.Path, "blobs", "sha256")}, index: f.Index, asBuilt: true,
		verified: map[oci.Digest]bool{}, manifests: map[oci.Descriptor]oci.ManifestDocument{},
		stats: stats, filled: f,
	}
}

// top returns what index.json names.
func (r *Reader) top() (oci.Index, error) {
	if r.filled == nil {
		return oci.ReadIndex(r.index, oci.MediaTypeIndex)
	}
	if len(r.index) > oci.MaxDocument {
		return oci.Index{}, fmt.Errorf("%d bytes are more than %d", len(r.index), oci.MaxDocument)
	}
	idx := oci.Index{Manifests: []oci.AnnotatedDescriptor{r.filled.Root}}
	return idx, errors.Join(oci.CheckBounds(r.index), r.filled.Root.Check())
}

// holds returns what the owner of the folder knows of the blob that d names.
func (r *Reader) holds(d oci.Descriptor) (Held, bool) {
	if r.filled == nil {
		return Held{}, false
	}
	h, ok := r.filled.Held(d.Digest)
	return h, ok && h.Size == d.Size
}

// openBlobs opens the folder of blobs, if it is not open yet.
func (r *Reader) openBlobs() error {
	if r.filled == nil {
		return nil
	}
	r.once.Do(func() {
		folder, err := disk.OpenDir(r.blobs.Path)
		r.blobs.F, r.failed = folder.F, err
	})
	return r.failed
}
