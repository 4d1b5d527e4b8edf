package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// WrongError reports a file at a source's final name that is not the wanted one. The
// file may be right and the hash in package.toml wrong, so it is moved away instead of
// deleted, and reported if the source cannot be fetched.
type WrongError struct {
	Path string // in the tree
	Err  error  // a *transfer.HashError, or what is there instead of a file
	// MovedTo is its new path, relative to the tree if it is in the tree; "" if it was
	// not moved, or Removed because it was not a regular file.
	MovedTo string
	Removed bool
}

func (e *WrongError) Error() string {
	switch {
	case e.Removed:
		return fmt.Sprintf("%q was removed: %v", e.Path, e.Err)
	case e.MovedTo != "":
		return fmt.Sprintf("%q was moved to %q: %v", e.Path, e.MovedTo, e.Err)
	}
	return fmt.Sprintf("%q: %v", e.Path, e.Err)
}

// Unwrap returns Err.
func (e *WrongError) Unwrap() error { return e.Err }

// moveAway moves a wrong file out of the tree. The caller holds the hash's lock: without
// it, another run could have put the right file there.
func (r *run) moveAway(w want, wrong *WrongError) error {
	r.opts.Log.Warn("moving a wrong file away", zap.String("source", w.Name), zap.String("path", w.Path), zap.Error(wrong.Err))
	s, err := r.tree.spot(w.Path, 0)
	if err != nil {
		return err
	}
	defer s.close()
	name, err := r.temp.takeWrong(s, wrongName(wrong, w.Hash))
	if err != nil {
		return fmt.Errorf("moving the wrong %q away: %w", w.Path, cause(err))
	}
	if wrong.Removed = name == ""; !wrong.Removed {
		wrong.MovedTo = r.shown(name)
	}
	return nil
}

// wrongName returns the name for a wrong file, by its own hash, so that several wrong
// files found at one path are all kept.
func wrongName(wrong error, want graph.Hash) string {
	var sum *transfer.HashError
	if errors.As(wrong, &sum) {
		return graph.Hash(sum.Got).String() + wrongSuffix
	}
	return want.String() + wrongSuffix
}

// shown returns the path of a file in TempDir, relative to the tree if TempDir is in it.
func (r *run) shown(name string) string {
	path := filepath.Join(r.temp.path, name)
	if r.opts.TempDir == "" {
		return path
	}
	tree, errTree := filepath.Abs(r.opts.Tree)
	temp, errTemp := filepath.Abs(path)
	rel, err := filepath.Rel(tree, temp)
	if errors.Join(errTree, errTemp, err) != nil || !filepath.IsLocal(rel) {
		return path
	}
	return rel
}

// takeWrong moves the file at s into TempDir and keeps it for at least this run, even
// above the size limit. It removes anything that is not a regular file, and then returns
// "" as the name.
func (t *temp) takeWrong(s *spot, name string) (string, error) {
	info, err := s.dir.Lstat(s.base)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.Join(s.dir.Remove(s.base), syncDir(s.dir))
	}
	t.keep(name)
	err = between(s.dir, t.dir, func(from, to int) error {
		return unix.Renameat(from, s.base, to, name)
	})
	if errors.Is(err, unix.EXDEV) {
		err = copyTo(s.dir, s.base, &spot{path: name, dir: t.dir, base: name})
	}
	if err != nil {
		return "", err
	}
	// A copy leaves it there, as does renaming one of two links to the other.
	if there, err := s.dir.Lstat(s.base); err == nil && os.SameFile(info, there) {
		if err := s.dir.Remove(s.base); err != nil {
			return "", err
		}
	}
	return name, syncDir(s.dir)
}

// reclaim uses a file that was moved away as wrong if it has the hash of g: package.toml
// may have had a wrong hash, or two files were exchanged. The caller holds the hash's
// lock.
func (r *run) reclaim(ctx context.Context, g *group) {
	name := g.hash.String() + wrongSuffix
	aside := &spot{path: r.shown(name), dir: r.temp.dir, base: name}
	if _, err := r.temp.dir.Lstat(name); err != nil || r.verify(ctx, aside, g.hash) != nil {
		return // it is not the file that its name says
	}
	r.place(ctx, g, Linked, func(s *spot) error { return r.temp.bringBack(name, s) })
}

// bringBack moves a file from TempDir to s.
func (t *temp) bringBack(name string, s *spot) error {
	f, err := t.dir.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	if err := rename(t.dir, name, s); err != nil {
		return err
	}
	t.mu.Lock()
	kept := t.kept[name]
	delete(t.kept, name)
	t.mu.Unlock()
	if !kept {
		t.shrink(info.Size())
	}
	return nil
}

// keep excludes a file from eviction.
func (t *temp) keep(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept == nil {
		t.kept = make(map[string]bool)
	}
	t.kept[name] = true
}
