// Package layout reads one folder in the OCI image layout, as strictly as upstream's and
// docker's readers together: a layout in which two of them could find different images is
// an error. The folder may come from anywhere, so no link is followed, every document is
// read within limits, and every blob is checked against the digest that names it.
//
// It reads one folder that the caller has opened, and writes nothing. Which folders there
// are, and how one gets its place, is package cache's matter.
//
// Start at [Open].
package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// Layout is what a folder such as out/<output> holds, in one of two forms: as a build
// leaves it (index.json, image index, manifests), or as `docker save` does (index.json
// names the manifest itself).
type Layout struct {
	Output       string
	Top          oci.Digest     // of the bytes of index.json
	Index        oci.Digest     // of the image index; zero in the one-level form
	Manifests    []oci.Manifest // images, in the order of the index; at least one
	Attestations []oci.Manifest // BuildKit's provenance and the like, after the images
	OneLevel     bool           // the form of `docker save`
	Name         string         // io.containerd.image.name, "docker.io/stagex/<output>:<version>"
	RefName      string         // org.opencontainers.image.ref.name, "<version>"

	// Stray lists up to eight entries of the folder that a build (or, in the one-level
	// form, `docker save`) does not leave there: slash paths below the folder, sorted.
	// Their text is not checked. Only [Reader.Strays] looks for them.
	Stray []string
}

// Digest returns what digests/ lists: the digest of the first image manifest.
//
// Source: upstream's src/digests.py.
func (l Layout) Digest() oci.Digest {
	if len(l.Manifests) == 0 {
		return oci.Digest{}
	}
	return l.Manifests[0].Digest
}

// The files of a layout, beside blobs/sha256/.
const (
	IndexName   = "index.json"
	VersionName = "oci-layout"
)

// VersionFile is the whole of oci-layout, as a build writes it.
const VersionFile = `{"imageLayoutVersion":"1.0.0"}`

// Reader reads one layout folder. Close it.
type Reader struct {
	folder, blobs disk.Dir
	index         []byte              // index.json
	asBuilt       bool                // oci-layout equals VersionFile
	verified      map[oci.Digest]bool // blobs that this Reader has hashed
	manifests     map[oci.Descriptor]oci.ManifestDocument
	stats         *memo.Stats
	filled        *Folder // nil unless Filled made the Reader
	once          sync.Once
	failed        error // of openBlobs
}

// Open reads index.json and oci-layout of folder, which the Reader closes, also after an
// error. Stats knows the hashes of blobs, and is told of damaged ones. If there is no
// index.json the error is fs.ErrNotExist: make leaves such a folder after a failed build.
func Open(folder disk.Dir, stats *memo.Stats) (*Reader, error) {
	index, err := folder.Read(IndexName, oci.MaxDocument)
	if err != nil {
		folder.Close()
		return nil, err
	}
	r := &Reader{
		folder: folder, index: index, stats: stats,
		verified: map[oci.Digest]bool{}, manifests: map[oci.Descriptor]oci.ManifestDocument{},
	}
	if r.blobs, err = folder.Sub("blobs", "sha256"); err == nil {
		err = r.checkVersion()
	}
	if err != nil {
		r.Close()
		return nil, Broken(err)
	}
	return r, nil
}

func (r *Reader) checkVersion() error {
	data, err := r.folder.Read(VersionName, 4096)
	if err != nil {
		return err
	}
	if r.asBuilt = string(data) == VersionFile; r.asBuilt {
		return nil
	}
	var file struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := oci.DecodeDocument(data, &file); err != nil {
		return fmt.Errorf("parsing oci-layout: %w", err)
	}
	if file.Version != "1.0.0" {
		return fmt.Errorf("parsing oci-layout: version is %.100q, want 1.0.0", file.Version)
	}
	return nil
}

// Close closes the folder. Files from [Reader.OpenBlob] stay open.
func (r *Reader) Close() {
	r.folder.Close()
	r.blobs.Close()
}

// Folder returns the open folder, and index.json as Open read it.
func (r *Reader) Folder() (folder disk.Dir, index []byte) { return r.folder, r.index }

// Broken returns err without fs.ErrNotExist: part of a layout is missing, not the layout.
func Broken(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New(err.Error())
	}
	return err
}
