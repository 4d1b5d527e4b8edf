package cache

import (
	"context"
	"fmt"
	"path/filepath"
)

// whole checks every blob that can be reached from index.json. With recall, the
// stat cache is believed; without, every blob is read.
func (r *reader) whole(ctx context.Context, stats *Stats, recall bool) (contents, error) {
	c, err := r.contents()
	if err != nil {
		return contents{}, err
	}
	blobs, err := r.reachable(c)
	if err != nil {
		return contents{}, err
	}
	for _, d := range blobs {
		if r.verified[d.Digest] || recall && r.recalled(d, stats) {
			continue
		}
		if err := r.checkBlob(ctx, d, stats); err != nil {
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

// recalled reports whether the blob is as it was when its hash was right.
func (r *reader) recalled(d Descriptor, stats *Stats) bool {
	st, err := r.blobs.stat(d.Digest.Hex())
	if err != nil || !st.Regular || st.Size != d.Size {
		return false
	}
	sum, ok := stats.lookup(st)
	return ok && sum == d.Digest.sum
}

// checkBlob reads and hashes a blob, and tells the stat cache, which keeps damage in
// mind.
func (r *reader) checkBlob(ctx context.Context, d Descriptor, stats *Stats) error {
	f, err := r.open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := statFile(f)
	if err != nil {
		return err
	}
	got, err := stats.hash(ctx, f, st)
	if err != nil {
		if unreadable(ctx, err) {
			stats.damage(st.inode)
		}
		return err
	}
	if got == d.Digest.sum {
		stats.sound(st.inode)
	} else {
		stats.damage(st.inode)
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
