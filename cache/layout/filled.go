package layout

import (
	"path/filepath"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// Held is a blob that its caller has written to a folder, after checking its digest.
type Held struct {
	Size     int64
	Document []byte // its bytes, if the caller still has them
}

// Filled returns a Reader of the folder at path, which the caller has filled with index.json,
// oci-layout and the held blobs, and to which no other process writes. A file is opened only
// if a document's bytes are not at hand, or if held does not know a blob.
func Filled(path string, index []byte, held func(oci.Digest) (Held, bool), stats *memo.Stats) *Reader {
	return &Reader{
		blobs: disk.Dir{Path: filepath.Join(path, "blobs", "sha256")}, index: index, asBuilt: true,
		verified: map[oci.Digest]bool{}, manifests: map[oci.Descriptor]oci.ManifestDocument{},
		stats: stats, held: held,
	}
}

// holds returns what the caller of Filled knows of the blob that d names.
func (r *Reader) holds(d oci.Descriptor) (Held, bool) {
	if r.held == nil {
		return Held{}, false
	}
	h, ok := r.held(d.Digest)
	return h, ok && h.Size == d.Size
}

// openBlobs opens the folder of blobs, if it is not open yet.
func (r *Reader) openBlobs() (err error) {
	if r.blobs.F == nil {
		r.blobs, err = disk.OpenDir(r.blobs.Path)
	}
	return err
}
