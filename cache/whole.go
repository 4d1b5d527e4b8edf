package cache

import (
	"context"
	"fmt"
	"path/filepath"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// whole checks every blob that can be reached from index.json. With recall, the
// stat cache is believed; without, every blob is read.
func (r *reader) whole(ctx context.Context, stats *memo.Stats, recall bool) (contents, error) {
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

// present checks, of every blob that can be reached from index.json, that it is there, has its size, and was not found damaged.
func (r *reader) present(stats *memo.Stats) (contents, error) {
	c, err := r.contents()
	if err != nil {
		return contents{}, err
	}
	blobs, err := r.reachable(c)
	if err != nil {
		return contents{}, err
	}
	for _, d := range blobs {
		f, err := r.open(d)
		if err != nil {
			return contents{}, err
		}
		st, err := disk.StatFile(f)
		f.Close()
		if err != nil {
			return contents{}, err
		}
		if stats.Suspect(st.Inode) {
			if err := r.checkBlob(context.Background(), d, stats); err != nil {
				return contents{}, err
			}
		}
	}
	return c, nil
}

// reachable lists each blob once, in the order in which it is first named: image
// index, manifests, then config and layers of each.
func (r *reader) reachable(c contents) ([]oci.Descriptor, error) {
	set := oci.BlobSet{Seen: map[oci.Digest]int64{}}
	if err := set.Add(append([]oci.AnnotatedDescriptor{c.top}, c.images...)...); err != nil {
		return nil, err
	}
	for _, d := range c.images {
		m, err := r.manifest(d.Descriptor)
		if err != nil {
			return nil, fmt.Errorf("parsing image manifest %s: %w", d.Digest, err)
		}
		if err := set.Add(append([]oci.AnnotatedDescriptor{m.Config}, m.Layers...)...); err != nil {
			return nil, err
		}
	}
	return set.List, nil
}

// recalled reports whether the blob is as it was when its hash was right.
func (r *reader) recalled(d oci.Descriptor, stats *memo.Stats) bool {
	st, err := r.blobs.Stat(d.Digest.Hex())
	if err != nil || !st.Regular || st.Size != d.Size {
		return false
	}
	sum, ok := stats.Lookup(st)
	return ok && sum == d.Digest.Sum()
}

// checkBlob reads and hashes a blob, and tells the stat cache, which keeps damage in
// mind.
func (r *reader) checkBlob(ctx context.Context, d oci.Descriptor, stats *memo.Stats) error {
	f, err := r.open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := disk.StatFile(f)
	if err != nil {
		return err
	}
	got, err := stats.HashFile(ctx, f, st)
	if err != nil {
		if memo.Unreadable(ctx, err) {
			stats.Damage(st.Inode)
		}
		return err
	}
	if got == d.Digest.Sum() {
		stats.Sound(st.Inode)
	} else {
		stats.Damage(st.Inode)
		path := filepath.Join(r.blobs.Path, d.Digest.Hex())
		return &oci.DigestMismatchError{Ref: path, Got: oci.DigestFromSum(got), Want: d.Digest}
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
		if claimed == oci.UnknownPlatform {
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
		if !oci.SamePlatform(actual, claimed) {
			return fmt.Errorf("image %s is said to be for %s, but its config says %s", d.Digest, claimed, actual)
		}
	}
	return nil
}
