package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

func (r *run) fetchOptions() fetch.Options {
	o := r.opts.Fetch
	o.Tree, o.TempDir = r.Dir, r.Store.Dir("partial")
	o.Offline = r.opts.Offline
	o.Sum = r.Store.Stats().Sum
	o.Status = r.opts.Status.Sources()
	o.Log = r.Log
	return o
}

// Sources are what a definition downloads, as package fetch wants them.
func Sources(d *graph.Definition) []fetch.Source {
	var out []fetch.Source
	for _, s := range d.Sources {
		out = append(out, fetch.Source{
			Name: d.Stage + "/" + d.Name + ": " + s.Key,
			Path: s.Path, Hash: s.Hash, Mirrors: s.Mirrors,
		})
	}
	return out
}

// WrongSource is what lies in fetch/ in the place of a source and is not that.
type WrongSource struct {
	Definition *graph.Definition
	Path       string // in the tree
	Err        error
	Unreached  bool // nothing is known of the file, because its path cannot be followed
}

// VerifySources reads and hashes the sources of definitions that lie in fetch/,
// whatever is remembered of them, and returns those that are not what the definition
// names. The store keeps in mind what it found. Missing ones are not wrong. The error
// is ctx's cause.
func VerifySources(ctx context.Context, t *tree.Tree, definitions []*graph.Definition) (wrong []WrongSource, err error) {
	for _, d := range definitions {
		for _, s := range d.Sources {
			err := verifySource(ctx, t, s)
			if ctx.Err() != nil {
				return wrong, context.Cause(ctx)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				var unreached *unreachedError
				wrong = append(wrong, WrongSource{d, s.Path, err, errors.As(err, &unreached)})
			}
		}
	}
	return wrong, nil
}

// unreachedError reports that nothing is known of a source, because its path leads through something that is no folder of
// the tree.
type unreachedError struct{ error }

func (e *unreachedError) Unwrap() error { return e.error }

func verifySource(ctx context.Context, t *tree.Tree, s graph.Source) error {
	info, err := fs.Lstat(t.FS, s.Path)
	if err != nil {
		return &unreachedError{err}
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	sum, err := t.Store.Stats().Rehash(ctx, filepath.Join(t.Dir, filepath.FromSlash(s.Path)))
	if err == nil && graph.Hash(sum) != s.Hash {
		err = fmt.Errorf("its sha256 is %s, want %s", graph.Hash(sum), s.Hash)
	}
	return err
}

// SourceError says that an output cannot be built for want of a source.
type SourceError struct {
	Source string
	Err    error
}

// Error leaves to a table of e.Err what the mirrors answered.
func (e *SourceError) Error() string {
	said := fmt.Sprintf("the source %s cannot be had", e.Source)
	var offline *fetch.OfflineError
	if errors.As(e.Err, &offline) && len(offline.Missing) > 0 {
		return fmt.Sprintf("%s offline: %v", said, offline.Missing[0])
	}
	return said
}

func (e *SourceError) Unwrap() error { return e.Err }
