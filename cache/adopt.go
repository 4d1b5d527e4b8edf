package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Adopt checks a layout that sx did not write, such as make's, as Whole does, and
// makes its blobs shared ones.
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
		for _, d := range blobs {
			if err := s.adopt(r, d); err != nil {
				return contents{}, fmt.Errorf("adopting blob %s: %w", d.Digest, err)
			}
		}
		if c.Stray, err = r.strays(c); err != nil {
			return contents{}, err
		}
		return c, syncDir(s.Dir("blobs", "sha256"))
	})
}

func (s *Store) adopt(r *reader, d Descriptor) error {
	if shared, err := s.openShared(d.Digest); err == nil {
		return shared.Close()
	}
	f, err := r.open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := statFile(f)
	if err != nil {
		return err
	}
	if int(st.Uid) != os.Geteuid() || st.Mode != 0o444 && st.Nlink != 1 {
		return s.copyBlob(d.Digest, f, s.shared(d.Digest))
	}
	chmod := func() error { return f.Chmod(0o444) }
	if err := errors.Join(s.stats.keep(f, 0, chmod), f.Sync()); err != nil {
		return err
	}
	return s.share(d.Digest, f, filepath.Join(r.blobs.path, d.Digest.Hex()))
}
