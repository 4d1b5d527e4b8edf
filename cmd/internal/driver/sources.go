package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// Sources returns the sources of a definition as package fetch takes them.
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

// WrongSource is a file in fetch/ that is not the source that belongs there.
type WrongSource struct {
	Definition *graph.Definition
	Path       string // in the tree
	Err        error
	Unreached  bool // the file could not be read, so nothing is known of it
	Linked     bool // because its path leads through something that is not a folder of the tree
}

// VerifySources hashes the sources of definitions that lie in fetch/, also if their
// hashes are remembered, and returns those that are not what the definition names. The
// store remembers the result. A missing source is not wrong. The error is ctx's cause.
func VerifySources(ctx context.Context, t *tree.Tree, definitions []*graph.Definition) (wrong []WrongSource, err error) {
	type source struct {
		of *graph.Definition
		graph.Source
	}
	var all []source
	for _, d := range definitions {
		for _, s := range d.Sources {
			all = append(all, source{d, s})
		}
	}
	disk.InOrder(len(all), func(i int) error {
		return verifySource(ctx, t, all[i].Source)
	}, func(i int, failed error) bool {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if failed != nil && !errors.Is(failed, fs.ErrNotExist) {
			var unreached *unreachedError
			found := errors.As(failed, &unreached)
			wrong = append(wrong, WrongSource{all[i].of, all[i].Path, failed, found, found && unreached.linked})
		}
		return err == nil
	})
	return wrong, err
}

// unreachedError reports that a source could not be read.
type unreachedError struct {
	error
	linked bool // its path leads through something that is not a folder of the tree
}

func (e *unreachedError) Unwrap() error { return e.error }

func verifySource(ctx context.Context, t *tree.Tree, s graph.Source) error {
	info, err := fs.Lstat(t.FS, s.Path)
	if err != nil {
		return &unreachedError{err, !isSystemError(err)}
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	sum, err := t.Store.Stats().Rehash(ctx, filepath.Join(t.Dir, filepath.FromSlash(s.Path)))
	if isSystemError(err) {
		return &unreachedError{err, false}
	}
	if err == nil && graph.Hash(sum) != s.Hash {
		err = fmt.Errorf("its sha256 is %s, want %s", graph.Hash(sum), s.Hash)
	}
	return err
}

// isSystemError reports that the system could not open or read a file, whatever is in it:
// it may not be read, the disk fails, or too many files are open.
func isSystemError(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) && no != syscall.ENOENT && no != syscall.ENOTDIR && no != syscall.ELOOP
}

// SourceError reports that an output cannot be built because a source could not be
// fetched.
type SourceError struct {
	Source string
	Err    error
}

// Error leaves out what the mirrors answered: the table of Err has it.
func (e *SourceError) Error() string {
	said := fmt.Sprintf("the source %s could not be fetched", e.Source)
	var offline *fetch.OfflineError
	if errors.As(e.Err, &offline) && len(offline.Missing) > 0 {
		return fmt.Sprintf("%s offline: %v", said, offline.Missing[0])
	}
	return said
}

func (e *SourceError) Unwrap() error { return e.Err }
