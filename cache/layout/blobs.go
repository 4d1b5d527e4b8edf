package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/umoci/pkg/hardening"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// MissingBlobError says that a layout names a blob that it does not hold.
type MissingBlobError struct{ Digest oci.Digest }

func (e *MissingBlobError) Error() string { return fmt.Sprintf("blob %s is missing", e.Digest) }

// Check reads the contents and checks that every blob is there with the bytes that its
// digest names. With trustStats a blob is not hashed if the stat cache has the hash of
// that very file; without, every blob is read.
func (r *Reader) Check(ctx context.Context, trustStats bool) (Contents, error) {
	c, err := r.Contents()
	if err != nil {
		return Contents{}, err
	}
	blobs, err := r.Blobs(c)
	if err != nil {
		return Contents{}, err
	}
	blobs = slices.DeleteFunc(blobs, func(d oci.Descriptor) bool {
		_, held := r.holds(d)
		return held || r.verified[d.Digest] || trustStats && r.knownSound(d)
	})
	if err := r.checkBlobs(ctx, blobs); err != nil {
		return Contents{}, err
	}
	return c, nil
}

// checkBlobs reads and hashes blobs, several at once. The error is that of the first
// damaged one in their order.
func (r *Reader) checkBlobs(ctx context.Context, blobs []oci.Descriptor) (err error) {
	disk.InOrder(len(blobs), func(i int) error {
		done, err := r.stats.Turn(ctx)
		if err != nil {
			return err
		}
		defer done()
		return r.checkBlob(ctx, blobs[i])
	}, func(_ int, failed error) bool {
		err = failed
		return failed == nil
	})
	return err
}

// CheckPresent reads the contents and checks that every blob is there with its size. Only
// blobs that were once found damaged are read and hashed.
func (r *Reader) CheckPresent(ctx context.Context) (Contents, error) {
	c, err := r.Contents()
	if err != nil {
		return Contents{}, err
	}
	blobs, err := r.Blobs(c)
	if err != nil {
		return Contents{}, err
	}
	for _, d := range blobs {
		if err := r.checkPresent(ctx, d); err != nil {
			return Contents{}, err
		}
	}
	return c, nil
}

func (r *Reader) checkPresent(ctx context.Context, d oci.Descriptor) error {
	f, err := r.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := disk.StatFile(f)
	if err == nil && r.stats.Suspect(st.Inode) {
		err = r.checkBlob(ctx, d)
	}
	return err
}

// Blobs lists the blobs that index.json leads to, each once, in the order in which they
// are first named: image index, manifests, then config and layers of each.
func (r *Reader) Blobs(c Contents) ([]oci.Descriptor, error) {
	set := oci.BlobSet{Seen: map[oci.Digest]int64{}}
	if err := set.Add(append([]oci.AnnotatedDescriptor{c.Root}, c.Images...)...); err != nil {
		return nil, err
	}
	for _, d := range c.Images {
		m, err := r.Manifest(d.Descriptor)
		if err != nil {
			return nil, fmt.Errorf("parsing image manifest %s: %w", d.Digest, err)
		}
		if err := set.Add(append([]oci.AnnotatedDescriptor{m.Config}, m.Layers...)...); err != nil {
			return nil, err
		}
	}
	return set.List, nil
}

// knownSound reports whether the stat cache has the right hash of the blob's file.
func (r *Reader) knownSound(d oci.Descriptor) bool {
	if r.openBlobs() != nil {
		return false
	}
	st, err := r.blobs.Stat(d.Digest.Hex())
	if err != nil || !st.Regular || st.Size != d.Size {
		return false
	}
	sum, ok := r.stats.Lookup(st)
	return ok && sum == d.Digest.Sum()
}

// checkBlob reads and hashes a blob, and tells the stat cache whether it is damaged.
func (r *Reader) checkBlob(ctx context.Context, d oci.Descriptor) error {
	f, err := r.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := disk.StatFile(f)
	if err != nil {
		return err
	}
	got, err := r.stats.HashFile(ctx, f, st)
	if err != nil {
		if memo.Unreadable(ctx, err) {
			r.stats.Damage(st.Inode)
		}
		return err
	}
	if got != d.Digest.Sum() {
		r.stats.Damage(st.Inode)
		return &oci.DigestMismatchError{Ref: r.BlobPath(d.Digest), Got: oci.DigestFromSum(got), Want: d.Digest}
	}
	r.stats.Sound(st.Inode)
	return nil
}

// BlobPath returns where a blob lies, for messages and hard links.
func (r *Reader) BlobPath(d oci.Digest) string { return filepath.Join(r.blobs.Path, d.Hex()) }

// OpenBlob opens a blob and compares its size with the descriptor's. Its bytes are not
// checked.
func (r *Reader) OpenBlob(d oci.Descriptor) (*os.File, error) {
	if err := r.openBlobs(); err != nil {
		return nil, err
	}
	f, err := r.blobs.Open(d.Digest.Hex())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &MissingBlobError{d.Digest}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != d.Size {
		err = fmt.Errorf("reading blob %s: size is %d, want %d", d.Digest, info.Size(), d.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// document returns the verified bytes of an index, a manifest or a config.
func (r *Reader) document(d oci.Descriptor) ([]byte, error) {
	if d.Size > oci.MaxDocument {
		return nil, fmt.Errorf("reading blob %s: %d bytes are more than %d", d.Digest, d.Size, oci.MaxDocument)
	}
	if h, ok := r.holds(d); ok && h.Document != nil {
		return h.Document, nil
	}
	f, err := r.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := bytes.NewBuffer(make([]byte, 0, d.Size+bytes.MinRead))
	err = oci.CopyVerified(data, f, d.Digest, d.Size)
	if err != nil {
		r.stats.Distrust(f)
	}
	switch {
	case errors.Is(err, hardening.ErrDigestMismatch):
		return nil, &oci.DigestMismatchError{Ref: r.BlobPath(d.Digest), Want: d.Digest}
	case err != nil:
		return nil, err
	}
	r.verified[d.Digest] = true
	return data.Bytes(), nil
}
