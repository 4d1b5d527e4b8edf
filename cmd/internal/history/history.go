// Package history answers one question about a tree: which definitions changed since its digests were published, that is,
// since the last commit that changed anything in digests/. A digest that differs is a MISMATCH only where nothing changed.
//
// It runs nothing and writes nothing. The repository belongs to the tree and is not trusted: its references are read by
// go-git, its objects within limits of memory and work by this package (object.go, pack.go), because go-git inflates a pack's
// bases and deltas whole; both through folders opened as os.Root. No hook, filter, fsmonitor, pager, credential helper or
// other configured program can start, no include or alternate is followed, no link leads out, no environment
// variable of git's counts, and a .git file is followed only to a git folder that names this checkout back.
//
// It refuses to guess: where the history does not reach that commit, every answer is ErrNoHistory with the reason.
//
// Start at Open, then ask Changed for each definition of a closure.
package history

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// ErrNoHistory says that nothing is known about what changed: errors.Is holds for every error of this package, whose text
// gives the reason and, where there is one, the remedy. Nothing may be called CHANGED then.
var ErrNoHistory = errors.New("no history of digests/")

// History is a tree's git history seen from the commit that published its digests. It is safe for concurrent use.
//
// It speaks for HEAD, not for the working tree's digests/. A line there that differs from the one in PublishedDigests was
// edited since and is not committed; its definitions are then still compared with the commit's. That errs to the safe
// side: such a line over changed definitions may have been written before or after the last edit, so a digest that
// differs from it proves nothing (CHANGED), while over unchanged definitions it is simply wrong (MISMATCH).
type History struct {
	mu        sync.Mutex // go-git's storage is not safe for concurrent use
	store     *store
	published Commit
	tree      plumbing.Hash // the tree's folder at that commit, which in a larger repository is not its root
}

// Commit names a commit.
type Commit struct {
	Hash string    // 40 hex digits
	Time time.Time // the committer's
}

// String returns the short form that a verdict's evidence shows: "28da404e1f2a of 2026-03-12".
func (c Commit) String() string {
	return fmt.Sprintf("%.12s of %s", c.Hash, c.Time.UTC().Format(time.DateOnly))
}

// Open finds the git repository of treeDir, which may be its root, a subfolder or a linked worktree, and in it the commit
// that published the digests. Close the History after use.
func Open(treeDir string) (*History, error) {
	at, err := locate(treeDir)
	if err != nil {
		return nil, err
	}
	s, err := openStore(at)
	if err != nil {
		return nil, err
	}
	h := &History{store: s}
	if err := h.find(at.prefix); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return h, nil
}

// PublishedAt returns the last commit that changed anything in digests/.
func (h *History) PublishedAt() Commit { return h.published }

// Close releases the open files of the repository.
func (h *History) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.store.Close()
}

// noHistory returns an ErrNoHistory with its reason.
func noHistory(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrNoHistory, fmt.Errorf(format, args...))
}

// readable opens name under root, but only a regular file of at most limit bytes: it never waits on a named pipe, and
// never follows a link out of root.
func readable(root *os.Root, name string, limit int64) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("reading %q: not a regular file", name)
	case info.Size() > limit:
		err = fmt.Errorf("reading %q: larger than %d bytes", name, limit)
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}
