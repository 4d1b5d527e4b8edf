package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
)

// Options of Open. Only KeyFile must be set.
type Options struct {
	Dir     string           // the store's own folder, made with its parents; "" is .sx at the tree's root
	KeyFile string           // key of the records' MAC; made, mode 0600, when missing
	Build   string           // of sx: another build's memory is not used; "" keeps none
	Now     func() time.Time // nil is time.Now
	Log     *zap.Logger      // nil is silence
}

// Store is a tree's out/ and digests/ and the folder .sx/ beside them. It is safe
// for concurrent use, and several processes may have one open on the same tree.
type Store struct {
	tree, dir string
	key       disk.Key
	build     string
	stats     *memo.Stats
	layouts   *memo.Memo              // of out/, nil like records where the build is not known
	records   *memo.Memo              // of the store's own folder
	exchange  func(a, b string) error // swaps two folders, or says errors.ErrUnsupported
	link      func(old, name string) error
	readOnly  error    // why nothing can be written
	open      *os.File // locked, see alone.go; nil where there are no locks
	now       func() time.Time
	log       *zap.Logger

	vouchMu sync.Mutex
	vouched map[[32]byte]bool
}

// Open opens the store of a tree: makes its folder where missing, finishes or
// undoes what a killed process left, and loads the stat cache. It refuses, with an
// UnsafeError, a folder that somebody else could have written. Where nothing may
// be written the store is read-only, see ReadOnly.
func Open(tree string, opts Options) (*Store, error) {
	tree, err := filepath.Abs(tree)
	if err != nil {
		return nil, fmt.Errorf("opening tree: %w", err)
	}
	s := &Store{tree: tree, dir: opts.Dir, build: opts.Build, exchange: disk.Exchange, link: os.Link, now: opts.Now, log: opts.Log}
	if s.dir == "" {
		s.dir = filepath.Join(tree, ".sx")
	} else if err := os.MkdirAll(filepath.Dir(s.dir), 0o700); err != nil {
		return nil, fmt.Errorf("making %q: %w", s.dir, err)
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
	if s.key, err = disk.LoadKey(opts.KeyFile); err != nil {
		return nil, err
	}
	s.stats = memo.NewStats(s.Dir("stats"), s.key, s.now, s.log)
	if s.build != "" {
		s.layouts, s.records, s.vouched = memo.New(s.tree, ""), memo.New(s.dir, ""), map[[32]byte]bool{}
		s.layouts.Stats, s.stats.InUse = s.stats, s.layouts.Files
		s.layouts.Attach(s.MemoryHome(), "layouts")
		s.records.Attach(s.MemoryHome(), "records")
	}
	if s.readOnly != nil {
		s.stats.ReadOnly = true
		return s, nil
	}
	s.hold()
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

// MemoryHome is where memories of this tree lie between runs.
func (s *Store) MemoryHome() memo.Home {
	make := func() error {
		_, err := s.Folder("memory")
		return err
	}
	return memo.Home{
		Dir: s.Dir("memory"), Make: make, Tmp: s.Dir("tmp"), ReadOnly: s.readOnly != nil,
		Build: s.build, Key: s.key, Now: s.now, Log: s.log,
	}
}

// Stats returns the store's stat cache.
func (s *Store) Stats() *memo.Stats { return s.stats }

// Save keeps what spares the next run work: the stat cache, and what was learnt of
// layouts and records.
func (s *Store) Save() error {
	errs := []error{s.stats.Save()}
	if s.build != "" {
		errs = append(errs, s.layouts.Save(), s.records.Save())
	}
	return errors.Join(errs...)
}

// out returns the path of an output's folder.
func (s *Store) out(output string) string { return filepath.Join(s.tree, "out", output) }

// prepare makes and checks the folders. Those inside the store's own are checked
// too: a copied tree may bring a .sx full of links.
func (s *Store) prepare() error {
	err := s.makeFolders()
	if err == nil {
		err = writable(s.dir)
	}
	if disk.IsReadOnly(err) {
		s.readOnly = &ReadOnlyError{s.dir, err}
		s.log.Debug("nothing is recorded", zap.Error(err))
	} else if err != nil {
		return err
	}
	if err := s.checkOut(); err != nil || s.readOnly != nil {
		return err
	}
	ignore := s.Dir(".gitignore")
	if _, err := os.Lstat(ignore); errors.Is(err, fs.ErrNotExist) {
		return disk.WriteFile(ignore, []byte("*\n"), 0o644, s.Dir("tmp"))
	}
	return nil
}

// makeFolders checks every folder, also after one that cannot be made.
func (s *Store) makeFolders() error {
	if err := disk.EnsurePrivate(s.dir); err != nil {
		return err
	}
	var readOnly error
	for _, name := range []string{"tmp", "swap", "records", "proofs", "blobs/sha256"} {
		_, err := s.Folder(strings.Split(name, "/")...)
		if err != nil && !disk.IsReadOnly(err) {
			return err
		}
		if readOnly == nil {
			readOnly = err
		}
	}
	return readOnly
}

// Folder makes a folder below the store's own, mode 0700, and returns its path.
// On the way it refuses, with an UnsafeError, links and what others may write to.
func (s *Store) Folder(elem ...string) (string, error) {
	for i := range elem {
		if err := disk.EnsurePrivate(s.Dir(elem[:i+1]...)); err != nil {
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
		return disk.NotFolder(out, info)
	}
	a, err := disk.StatPath(out)
	if err != nil {
		return fmt.Errorf("opening %q: %w", out, err)
	}
	b, err := disk.StatPath(s.dir)
	if s.readOnly != nil && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening %q: %w", s.dir, err)
	}
	if a.Dev != b.Dev {
		return fmt.Errorf("opening %q: must be on the filesystem of %q", s.dir, out)
	}
	return nil
}
