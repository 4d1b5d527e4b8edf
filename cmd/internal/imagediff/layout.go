package imagediff

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// A File is an image on this machine: an OCI layout in a folder, or in a tar archive. Close it after use.
type File struct {
	Image
	close func()
}

// Close releases the files.
func (f *File) Close() { f.close() }

// Open opens an OCI layout folder, or an archive of one, as docker save, podman save --format oci-archive and skopeo leave
// them. It never follows a link within.
func Open(ctx context.Context, name string) (*File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	var f *File
	if info.IsDir() {
		f, err = openFolder(name)
	} else {
		f, err = openArchive(ctx, name)
	}
	if err != nil {
		return nil, &ImageError{name, err}
	}
	f.Name = name
	return f, nil
}

// root is what index.json names: one image index or image.
func root(index []byte) (oci.Descriptor, error) {
	idx, err := oci.ReadIndex(index, oci.MediaTypeIndex)
	if err != nil {
		return oci.Descriptor{}, fmt.Errorf("parsing index.json: %w", err)
	}
	if len(idx.Manifests) == 0 {
		return oci.Descriptor{}, errors.New("index.json names no image")
	}
	first := idx.Manifests[0].Descriptor
	for _, d := range idx.Manifests[1:] {
		if d.Descriptor != first { // the same one may have several names
			return oci.Descriptor{}, fmt.Errorf("index.json names more than one image: %s and %s", first.Digest, d.Digest)
		}
	}
	if !first.IsManifest() {
		return oci.Descriptor{}, fmt.Errorf("index.json names a %.100q, which is no image", first.MediaType)
	}
	return first, nil
}

// A folder is an OCI layout folder.
type folder struct{ blobs disk.Dir }

func openFolder(name string) (*File, error) {
	resolved, err := filepath.EvalSymlinks(name) // the user's own path, not the layout's
	if err != nil {
		return nil, err
	}
	dir, err := disk.OpenDir(resolved)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	index, err := dir.Read("index.json", oci.MaxDocument)
	if err != nil {
		return nil, fmt.Errorf("it is no OCI layout: %w", err)
	}
	d, err := root(index)
	if err != nil {
		return nil, err
	}
	blobs, err := dir.Sub("blobs", "sha256")
	if err != nil {
		return nil, err
	}
	return &File{Image{Root: d, Blobs: folder{blobs}}, blobs.Close}, nil
}

func (f folder) Open(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return f.blobs.Open(d.Digest.Hex())
}

// An archive is a tar of a layout. Its blobs are read where they lie.
type archive struct {
	file  *os.File
	blobs map[oci.Digest][2]int64 // from, size
}

// maxMembers bounds the files of an archive: an image has at most some thousand blobs.
const maxMembers = 1 << 16

func openArchive(ctx context.Context, name string) (*File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	a := archive{f, map[oci.Digest][2]int64{}}
	d, err := a.find(ctx)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &File{Image{Root: d, Blobs: a}, func() { f.Close() }}, nil
}

// find notes where the blobs are, and returns what index.json names.
func (a archive) find(ctx context.Context) (d oci.Descriptor, err error) {
	if info, err := a.file.Stat(); err != nil || !info.Mode().IsRegular() {
		return d, errors.Join(err, errors.New("it is neither a folder nor a regular file"))
	}
	var index []byte
	at := &position{r: a.file}
	r := tar.NewReader(at)
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil && n == maxMembers {
			err = fmt.Errorf("it has more than %d files", maxMembers)
		}
		if err == nil && ctx.Err() != nil {
			return d, context.Cause(ctx)
		}
		if err != nil {
			return d, fmt.Errorf("it is no tar archive of an OCI layout (which must not be compressed): %w", err)
		}
		member := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if digits, ok := strings.CutPrefix(member, "blobs/sha256/"); ok {
			if digest, err := oci.ParseHexDigest(digits); err == nil && !sparse(h) {
				a.blobs[digest] = [2]int64{at.n, h.Size}
			}
		}
		if member == "index.json" {
			if index, err = io.ReadAll(io.LimitReader(r, oci.MaxDocument+1)); err != nil {
				return d, err
			}
		}
	}
	if index == nil {
		return d, errors.New("it is no archive of an OCI layout: it has no index.json")
	}
	if len(index) > oci.MaxDocument || !json.Valid(index) {
		return d, errors.New("its index.json is no JSON of a reasonable size")
	}
	return root(index)
}

// sparse says that a member's bytes do not lie in the archive as they are.
func sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for name := range h.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func (a archive) Open(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	at, ok := a.blobs[d.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s is missing", d.Digest)
	}
	return io.NopCloser(io.NewSectionReader(a.file, at[0], at[1])), nil
}

// position knows how far a file was read. It passes on seeking, so that contents are skipped.
type position struct {
	r io.ReadSeeker
	n int64
}

func (p *position) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	return n, err
}

func (p *position) Seek(offset int64, whence int) (n int64, err error) {
	if n, err = p.r.Seek(offset, whence); err == nil {
		p.n = n
	}
	return n, err
}
