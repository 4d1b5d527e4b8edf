package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Adopt is Whole, and sees to it that BlobPath finds every blob of the layout,
// those of attestations too: whether make wrote it, or sx did and somebody removed
// the shared blobs since. Where nothing is missing it writes nothing.
//
// A blob becomes a hard link of the layout's file, which is then 0444 like every
// blob (make leaves that mode, `docker save` does not), if it is this user's own
// and has no other name that would change with it. Else it is copied, and the
// layout's file stays as it is.
func (s *Store) Adopt(ctx context.Context, output string) (Layout, error) {
	if s.readOnly != nil {
		return Layout{}, fmt.Errorf("adopting output %q: %w", output, s.readOnly)
	}
	return s.read(output, func(r *reader) (contents, error) {
		c, err := r.whole(ctx, s.stats, true)
		if err != nil {
			return contents{}, err
		}
		blobs, err := r.reachable(c)
		if err != nil {
			return contents{}, err
		}
		if err := s.adoptAll(r, blobs); err != nil {
			return contents{}, err
		}
		c.Stray, err = r.strays(c)
		return c, err
	})
}

func (s *Store) adoptAll(r *reader, blobs []oci.Descriptor) error {
	adopted := false
	for _, d := range blobs {
		if shared, err := s.openShared(d.Digest); err == nil {
			shared.Close()
			continue
		}
		if err := s.adopt(r, d); err != nil {
			return fmt.Errorf("adopting blob %s: %w", d.Digest, err)
		}
		adopted = true
	}
	if !adopted {
		return nil
	}
	return disk.SyncDir(s.Dir("blobs", "sha256"))
}

func (s *Store) adopt(r *reader, d oci.Descriptor) error {
	f, err := r.open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := disk.StatFile(f)
	if err != nil {
		return err
	}
	if int(st.Uid) != os.Geteuid() || st.Mode != 0o444 && st.Nlink != 1 {
		return s.copyBlob(d.Digest, f, s.shared(d.Digest))
	}
	chmod := func() error { return f.Chmod(0o444) }
	if err := errors.Join(s.stats.Keep(f, 0, chmod), f.Sync()); err != nil {
		return err
	}
	return s.share(d.Digest, f, filepath.Join(r.blobs.Path, d.Digest.Hex()))
}
