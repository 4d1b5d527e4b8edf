package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Options of Open. Only KeyFile must be set.
type Options struct {
	Dir     string           // the store's own folder; "" is .sx at the tree's root
	KeyFile string           // key of the records' MAC; made, mode 0600, when missing
	Now     func() time.Time // nil is time.Now
	Log     *zap.Logger      // nil is silence
}

// Store is a tree's out/ and digests/ and the folder .sx/ beside them. It is safe
// for concurrent use, and several processes may have one open on the same tree.
type Store struct {
	tree, dir string
	key       macKey
	stats     *Stats
	exchange  func(a, b string) error // swaps two folders, or says errors.ErrUnsupported
	link      func(old, name string) error
	now       func() time.Time
	log       *zap.Logger
}

// Open opens the store of a tree: makes its folder where missing, finishes or
// undoes what a killed process left, and loads the stat cache. It refuses, with an
// UnsafeError, a folder that somebody else could have written.
func Open(tree string, opts Options) (*Store, error) {
	tree, err := filepath.Abs(tree)
	if err != nil {
		return nil, fmt.Errorf("opening tree: %w", err)
	}
	s := &Store{tree: tree, dir: opts.Dir, exchange: exchange, link: os.Link, now: opts.Now, log: opts.Log}
	if s.dir == "" {
		s.dir = filepath.Join(tree, ".sx")
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if s.key, err = loadKey(opts.KeyFile); err != nil {
		return nil, err
	}
	s.stats = loadStats(s.Dir("stats"), s.key, s.now, s.log)
	if err := s.heal(); err != nil {
		return nil, err
	}
	s.clearDead()
	return s, nil
}

// Dir returns a path in the store's own folder.
func (s *Store) Dir(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// Stats returns the store's stat cache. The caller saves it when done.
func (s *Store) Stats() *Stats { return s.stats }

// out returns the path of an output's folder.
func (s *Store) out(output string) string { return filepath.Join(s.tree, "out", output) }

// prepare makes and checks the folders. Those inside the store's own are checked
// too: a copied tree may bring a .sx full of links.
func (s *Store) prepare() error {
	if err := ensurePrivate(s.dir); err != nil {
		return err
	}
	for _, name := range []string{"tmp", "swap", "records", "proofs", "blobs/sha256"} {
		if _, err := s.Folder(strings.Split(name, "/")...); err != nil {
			return err
		}
	}
	if err := s.checkOut(); err != nil {
		return err
	}
	ignore := s.Dir(".gitignore")
	if _, err := os.Lstat(ignore); errors.Is(err, fs.ErrNotExist) {
		return WriteFile(ignore, []byte("*\n"), 0o644, s.Dir("tmp"))
	}
	return nil
}

// Folder makes a folder below the store's own, mode 0700, and returns its path.
// On the way it refuses, with an UnsafeError, links and what others may write to.
func (s *Store) Folder(elem ...string) (string, error) {
	for i := range elem {
		if err := ensurePrivate(s.Dir(elem[:i+1]...)); err != nil {
			return "", err
		}
	}
	return s.Dir(elem...), nil
}

// checkOut refuses an out/ that leads elsewhere, or lies where neither rename nor
// hard link reaches from the store's folder.
func (s *Store) checkOut() error {
	out := filepath.Join(s.tree, "out")
	info, err := os.Lstat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out = s.tree
	case err != nil:
		return fmt.Errorf("opening %q: %w", out, err)
	case !info.IsDir():
		return notFolder(out, info)
	}
	a, err := statPath(out)
	if err != nil {
		return fmt.Errorf("opening %q: %w", out, err)
	}
	b, err := statPath(s.dir)
	if err != nil {
		return fmt.Errorf("opening %q: %w", s.dir, err)
	}
	if a.Dev != b.Dev {
		return fmt.Errorf("opening %q: must be on the filesystem of %q", s.dir, out)
	}
	return nil
}

// UnsafeError says why a folder is not believed.
type UnsafeError struct{ Path, Reason string }

func (e *UnsafeError) Error() string { return fmt.Sprintf("opening %q: %s", e.Path, e.Reason) }

// isLink is said of what would have to be followed.
const isLink = "it is a symbolic link, which sx does not follow"

func notFolder(path string, info fs.FileInfo) error {
	if info.Mode()&fs.ModeSymlink != 0 {
		return &UnsafeError{path, isLink}
	}
	return &UnsafeError{path, "it is not a folder"}
}

// ensurePrivate makes a folder of mode 0700, or checks that the one there is a
// folder of ours that nobody else may write.
func ensurePrivate(path string) error {
	if err := os.Mkdir(path, 0o700); err == nil {
		return os.Chmod(path, 0o700)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("making %q: %w", path, err)
	}
	if !info.IsDir() {
		return notFolder(path, info)
	}
	st, err := statPath(path)
	if err != nil {
		return fmt.Errorf("making %q: %w", path, err)
	}
	return checkOwner(path, st, os.Geteuid())
}

// checkOwner accepts what belongs to user uid and nobody else may write.
func checkOwner(path string, st stamp, uid int) error {
	if int(st.Uid) != uid {
		return &UnsafeError{path, fmt.Sprintf("it belongs to user %d, not to you", st.Uid)}
	}
	if st.Mode&0o022 != 0 {
		return &UnsafeError{path, "others may write to it"}
	}
	return nil
}
