package cache

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// summer returns a file's sha256: read, or remembered.
type summer func(context.Context, *os.File) ([sha256.Size]byte, error)

// rehash is a summer that always reads.
func (s *Stats) rehash(ctx context.Context, f *os.File) ([sha256.Size]byte, error) {
	st, err := statFile(f)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return s.hash(ctx, f, st)
}

// whole checks every blob that can be reached from index.json.
func (r *reader) whole(ctx context.Context, sum summer) (contents, error) {
	c, err := r.contents()
	if err != nil {
		return contents{}, err
	}
	blobs, err := r.reachable(c)
	if err != nil {
		return contents{}, err
	}
	for _, d := range blobs {
		if err := r.checkBlob(ctx, d, sum); err != nil {
			return contents{}, err
		}
	}
	return c, nil
}

// reachable lists each blob once, in the order in which it is first named: image
// index, manifests, then config and layers of each.
func (r *reader) reachable(c contents) ([]Descriptor, error) {
	set := blobSet{seen: map[Digest]int64{}}
	if err := set.add(append([]descriptor{c.top}, c.images...)...); err != nil {
		return nil, err
	}
	for _, d := range c.images {
		m, err := r.manifest(d.Descriptor)
		if err != nil {
			return nil, fmt.Errorf("parsing image manifest %s: %w", d.Digest, err)
		}
		if err := set.add(append([]descriptor{m.Config}, m.Layers...)...); err != nil {
			return nil, err
		}
	}
	return set.list, nil
}

type blobSet struct {
	seen map[Digest]int64
	list []Descriptor
}

func (s *blobSet) add(ds ...descriptor) error {
	for _, d := range ds {
		size, seen := s.seen[d.Digest]
		if seen && size != d.Size {
			return fmt.Errorf("blob %s is said to have %d bytes and %d", d.Digest, size, d.Size)
		}
		if !seen {
			s.seen[d.Digest] = d.Size
			s.list = append(s.list, d.Descriptor)
		}
	}
	return nil
}

func (r *reader) checkBlob(ctx context.Context, d Descriptor, sum summer) error {
	f, err := r.open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := sum(ctx, f)
	if err != nil {
		return err
	}
	if got != d.Digest.sum {
		path := filepath.Join(r.blobs.path, d.Digest.Hex())
		return &DigestMismatchError{Ref: path, Got: Digest{got}, Want: d.Digest}
	}
	return nil
}

// checkPlatforms holds each image's config against what the index says.
func (r *reader) checkPlatforms(c contents) error {
	for _, d := range c.images {
		claimed, err := r.platform(d)
		if err != nil {
			return err
		}
		if claimed == unknownPlatform {
			continue
		}
		m, err := r.manifest(d.Descriptor)
		if err != nil {
			return err
		}
		actual, err := r.configPlatform(m)
		if err != nil {
			return err
		}
		if !samePlatform(actual, claimed) {
			return fmt.Errorf("image %s is said to be for %s, but its config says %s", d.Digest, claimed, actual)
		}
	}
	return nil
}
