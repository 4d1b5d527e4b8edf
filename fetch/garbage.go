package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/graph"
)

// Garbage lists the files in fetch/ and TempDir that no definition names.
type Garbage struct {
	Files   []string // "fetch/<stage>/<name>/<file>"
	Partial []string // in TempDir: unfinished files of no source, and wrong files that were moved there
	Kept    []Kept   // other things in fetch/, which are not touched
}

// Kept is something that sx does not touch, and why.
type Kept struct{ Path, Why string }

// FindGarbage lists the files, complete or partial, that belong to none of sources. It uses
// Tree and TempDir of opts, follows no link, and changes nothing.
func FindGarbage(sources []Source, opts Options) (Garbage, error) {
	t, err := openTree(opts.Tree)
	if err != nil {
		return Garbage{}, err
	}
	defer t.close()
	f := finder{tree: t, paths: map[string]bool{}, hashes: map[string]bool{}}
	for _, s := range sources {
		f.paths[s.Path], f.hashes[s.Hash.String()] = true, true
	}
	if err := errors.Join(f.below("fetch"), f.partial(opts)); err != nil {
		return Garbage{}, fmt.Errorf("looking for files that no source names: %w", err)
	}
	return f.Garbage, nil
}

type finder struct {
	Garbage
	tree   *tree
	paths  map[string]bool // of the sources
	hashes map[string]bool
}

// below searches a folder: fetch, that of a stage, or that of a definition.
func (f *finder) below(p string) error {
	dir, err := f.tree.folder(p, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		f.Kept = append(f.Kept, Kept{p, cause(err).Error()})
		return nil
	}
	entries, err := fs.ReadDir(dir.FS(), ".")
	dir.Close()
	if err != nil {
		return fmt.Errorf("reading %q: %w", p, cause(err))
	}
	for _, e := range entries {
		if err := f.entry(p, e); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) entry(parent string, e fs.DirEntry) error {
	p := path.Join(parent, e.Name())
	depth := strings.Count(p, "/")
	switch {
	case depth == 3 && !e.Type().IsRegular():
		f.Kept = append(f.Kept, Kept{p, "it is not a regular file"})
	case depth == 3:
		if !f.paths[p] {
			f.Files = append(f.Files, p)
		}
	case !e.IsDir():
		f.Kept = append(f.Kept, Kept{p, "no source lies there"})
	case depth == 1 && !slices.Contains(graph.Stages, e.Name()):
		f.Kept = append(f.Kept, Kept{p, "it is not a stage"})
	default:
		return f.below(p)
	}
	return nil
}

func (f *finder) partial(opts Options) error {
	temp := tempPath(opts)
	for _, suffix := range []string{partSuffix, metaSuffix, wrongSuffix} {
		files, err := filepath.Glob(filepath.Join(temp, "*"+suffix))
		if err != nil {
			return err
		}
		for _, file := range files {
			hash := strings.TrimSuffix(filepath.Base(file), suffix)
			if _, err := graph.ParseHash(hash); err != nil || suffix != wrongSuffix && f.hashes[hash] {
				continue
			}
			f.Partial = append(f.Partial, filepath.Base(file))
		}
	}
	return nil
}

// RemoveGarbage removes the files of w, and folders that become empty. No Run may be
// working in the tree.
func RemoveGarbage(w Garbage, opts Options) error {
	t, err := openTree(opts.Tree)
	if err != nil {
		return err
	}
	defer t.close()
	var errs []error
	for _, p := range w.Files {
		errs = append(errs, t.remove(p))
	}
	if len(w.Partial) > 0 {
		temp := &temp{path: opts.TempDir}
		if err := temp.open(t, false); err != nil {
			return errors.Join(append(errs, fmt.Errorf("opening the folder for partial files: %w", err))...)
		}
		defer temp.close()
		for _, name := range w.Partial {
			if err := temp.dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("removing %q: %w", name, cause(err)))
			}
		}
	}
	return errors.Join(errs...)
}

// remove removes a file of fetch/, and its folder if that becomes empty.
func (t *tree) remove(p string) error {
	s, err := t.spot(p, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.close()
	info, err := s.dir.Lstat(s.base)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("removing %q: it is no longer a regular file", p)
	}
	if err == nil {
		err = s.dir.Remove(s.base)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %q: %w", p, cause(err))
	}
	if above, err := t.spot(path.Dir(p), 0); err == nil {
		above.dir.Remove(above.base) // fails where it holds more
		above.close()
	}
	return nil
}

// tempPath returns the folder of partial files.
func tempPath(opts Options) string {
	if opts.TempDir != "" {
		return opts.TempDir
	}
	return filepath.Join(opts.Tree, defaultTemp)
}
