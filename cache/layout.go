package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// Layout is what out/<output> holds, in either of two forms: as a build leaves it
// (index.json, image index, manifests), or as `docker save` does (index.json
// naming the manifest itself).
type Layout struct {
	Output       string
	Top          oci.Digest     // the bytes of index.json
	Index        oci.Digest     // the image index; zero in the one-level form
	Manifests    []oci.Manifest // images, in the order of the index; at least one
	Attestations []oci.Manifest // BuildKit's provenance and the like, after the images
	OneLevel     bool
	Name         string // io.containerd.image.name, "docker.io/stagex/<output>:<version>"
	RefName      string // org.opencontainers.image.ref.name, "<version>"

	// Stray names, sorted, a few of the things in the folder that a build (or, in
	// the one-level form, `docker save`) does not leave there: paths with slashes
	// below it, the text of which nobody checked. Whole, Verify and Adopt look for
	// them, Layout does not.
	Stray []string
}

// Digest returns what digests/ lists: the digest of the first image manifest
// (upstream: src/digests.py).
func (l Layout) Digest() oci.Digest {
	if len(l.Manifests) == 0 {
		return oci.Digest{}
	}
	return l.Manifests[0].Digest
}

// indexName is the file that a layout is read from.
const indexName = "index.json"

// ociLayout is the whole of the file oci-layout.
const ociLayout = `{"imageLayoutVersion":"1.0.0"}`

// Layout reads what out/<output> is said to hold. What it reads is verified
// against the digest that names it; layers and configs are not looked at, see
// Whole. Without a layout the error is fs.ErrNotExist; for a layout that breaks
// off further down it never is.
func (s *Store) Layout(output string) (Layout, error) {
	if l, ok := s.glanceLayout(output); ok {
		l.Stray = nil
		return l, nil
	}
	return s.read(output, (*reader).contents)
}

// Present is Layout and looks for the blobs that it leads to: each is there and has its size. It reads those that were found
// damaged, and no other.
func (s *Store) Present(output string) (Layout, error) {
	return s.read(output, func(r *reader) (contents, error) { return r.present(s.stats) })
}

// Whole is Layout and the proof that every blob is there, its bytes those of its
// digest. The stat cache spares reading blobs that are as they were.
func (s *Store) Whole(output string) (Layout, error) {
	l, _, err := s.WholeTime(output)
	return l, err
}

// WholeTime is Whole, and the mtime of index.json, which is all that make compares.
func (s *Store) WholeTime(output string) (Layout, time.Time, error) {
	if l, at, ok := s.recallLayout(output); ok {
		return l, at, nil
	}
	var at disk.Stamp
	remember := s.learning(s.layouts, outName(output))
	l, err := s.read(output, func(r *reader) (contents, error) {
		c, err := r.whole(context.Background(), s.stats, true)
		if err == nil {
			c.Stray, err = r.strays(c)
		}
		if err == nil {
			at, err = r.folder.Stat(indexName)
		}
		return c, err
	})
	if err == nil {
		remember(packLayout(l))
	}
	return l, time.Unix(0, at.Mtime), err
}

// Verify is Whole, but reads and hashes every blob whatever the stat cache says,
// and holds the images' configs against the platforms that the index claims. Where
// it finds otherwise than what is remembered, that is forgotten for good.
func (s *Store) Verify(ctx context.Context, output string) (Layout, error) {
	known, remembered := s.glanceLayout(output)
	l, err := s.verify(ctx, output)
	if remembered && ctx.Err() == nil && (err != nil || packLayout(known) != packLayout(l)) {
		s.layouts.Forget(outName(output))
		for _, name := range []string{indexName, "oci-layout"} {
			if st, err := disk.StatPath(filepath.Join(s.out(output), name)); err == nil {
				s.stats.Damage(st.Inode)
			}
		}
	}
	return l, err
}

func (s *Store) verify(ctx context.Context, output string) (Layout, error) {
	return s.read(output, func(r *reader) (contents, error) {
		c, err := r.whole(ctx, s.stats, false)
		if err == nil {
			err = r.checkPlatforms(c)
		}
		if err == nil {
			c.Stray, err = r.strays(c)
		}
		return c, err
	})
}

func (s *Store) read(output string, do func(*reader) (contents, error)) (Layout, error) {
	r, err := s.openLayout(output)
	if err != nil {
		return Layout{}, fmt.Errorf("reading output %q: %w", output, err)
	}
	defer r.close()
	c, err := do(r)
	if err != nil {
		return Layout{}, fmt.Errorf("reading output %q: %w", output, broken(err))
	}
	c.Output = output
	return c.Layout, nil
}

// openLayout says fs.ErrNotExist when there is no folder, or no index.json in it:
// make leaves an empty folder where a build failed.
func (s *Store) openLayout(output string) (*reader, error) {
	if err := checkOutput(output); err != nil {
		return nil, err
	}
	out, err := disk.OpenDir(filepath.Join(s.tree, "out"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	folder, err := out.Sub(output)
	if err != nil {
		return nil, err
	}
	return openReader(folder, s.stats)
}

// openReader takes over folder.
func openReader(folder disk.Dir, stats *memo.Stats) (*reader, error) {
	index, err := folder.Read(indexName, oci.MaxDocument)
	if err != nil {
		folder.Close()
		return nil, err
	}
	r := &reader{folder: folder, index: index, verified: map[oci.Digest]bool{}, stats: stats}
	if r.blobs, err = folder.Sub("blobs", "sha256"); err == nil {
		r.asBuilt, err = checkVersion(folder)
	}
	if err != nil {
		r.close()
		return nil, broken(err)
	}
	return r, nil
}

// checkVersion also reports whether oci-layout is as a build leaves it.
func checkVersion(folder disk.Dir) (asBuilt bool, err error) {
	data, err := folder.Read("oci-layout", 4096)
	if err != nil {
		return false, err
	}
	var file struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := oci.DecodeDocument(data, &file); err != nil {
		return false, fmt.Errorf("parsing oci-layout: %w", err)
	}
	if file.Version != "1.0.0" {
		return false, fmt.Errorf("parsing oci-layout: version is %.100q, want 1.0.0", file.Version)
	}
	return string(data) == ociLayout, nil
}

// broken hides fs.ErrNotExist: something is missing, but not the layout.
func broken(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New(err.Error())
	}
	return err
}
