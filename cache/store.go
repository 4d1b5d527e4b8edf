package cache

import (
	"encoding/hex"
	"errors"
	"fmt"
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
	Dir string // the store's own folder, made with its parents; "" is .sx at the tree's root
	// Blobs is the folder of the shared blobs; "" is blobs in Dir. A store that names that
	// of another one on its filesystem has each blob once with it.
	Blobs   string
	KeyFile string           // key of the records' MAC; made, mode 0600, if missing
	Build   string           // of sx: what another build remembered is not used; "" remembers nothing
	Now     func() time.Time // nil is time.Now
	Log     *zap.Logger      // nil is silence
}

// Store is a tree's out/ and digests/ and the folder .sx/ beside them. It is safe for
// concurrent use, and several processes may have one open on the same tree.
type Store struct {
	*folders
	*blobs
	*records
	*outputs
	*locks
	*swaps

	key   disk.Key
	build string
	now   func() time.Time
}

// Open opens the store of a tree: it makes the store's folder if missing, finishes or
// undoes what a killed process left, and loads the stat cache. It refuses, with an
// UnsafeError, a folder that another user could have written. If nothing may be written
// the store is read-only, see ReadOnly.
func Open(tree string, opts Options) (*Store, error) {
	s, err := withDefaults(tree, opts)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if s.key, err = disk.LoadKey(opts.KeyFile); err != nil {
		return nil, err
	}
	s.blobs = &blobs{folders: s.folders, link: os.Link, stats: memo.NewStats(s.Dir("stats"), s.key, s.now, s.log)}
	s.records = &records{folders: s.folders, key: s.key}
	s.outputs = &outputs{blobs: s.blobs, now: s.now}
	s.locks = &locks{folders: s.folders}
	s.swaps = &swaps{s.blobs, disk.Exchange}
	if s.build != "" {
		s.layouts = memo.New(s.tree, "")
		s.layouts.Stats, s.stats.InUse = s.stats, s.layouts.Files
		s.layouts.Attach(s.MemoryHome(), "layouts")
		s.records.memo, s.records.vouched = memo.New(s.dir, ""), map[[32]byte]bool{}
		s.records.memo.Attach(s.MemoryHome(), "records")
	}
	if s.readOnly != nil {
		s.stats.ReadOnly = true
		return s, nil
	}
	s.lockShared()
	if err := s.recoverSwaps(); err != nil {
		return nil, err
	}
	s.clearDead()
	return s, nil
}

// withDefaults fills in the defaults of the options.
func withDefaults(tree string, opts Options) (*Store, error) {
	tree, err := filepath.Abs(tree)
	if err != nil {
		return nil, fmt.Errorf("opening tree: %w", err)
	}
	s := &Store{
		folders: &folders{tree: tree, dir: opts.Dir, sharedBlobs: opts.Blobs, log: opts.Log},
		build:   opts.Build,
		now:     opts.Now,
	}
	if s.sharedBlobs != "" {
		s.sharedBlobs = filepath.Clean(s.sharedBlobs)
	}
	if s.dir == "" {
		s.dir = filepath.Join(tree, ".sx")
	} else if err := os.MkdirAll(filepath.Dir(s.dir), 0o700); err != nil {
		return nil, fmt.Errorf("making %q: %w", s.dir, err)
	}
	s.dir = filepath.Clean(s.dir)
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	return s, nil
}

// MemoryHome describes where what is remembered of this tree lies between runs.
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

// Save writes what spares the next run work: the stat cache, and what is remembered of
// layouts and records.
func (s *Store) Save() error {
	saves := []func() error{s.stats.Save}
	if s.build != "" {
		saves = append(saves, s.layouts.Save, s.records.memo.Save)
	}
	errs := make([]error, len(saves))
	var all sync.WaitGroup
	for i, save := range saves {
		all.Go(func() { errs[i] = save() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Close is Save, and releases the store.
func (s *Store) Close() error {
	return errors.Join(s.Save(), s.release())
}

// TempDir is a folder below the store's own that lives as long as this process: another
// process removes it only if this one is gone.
type TempDir struct {
	Path  string
	blobs *blobs
	lock  *os.File
}

// TempDir makes one, on the filesystem of out/.
func (s *Store) TempDir(name string) (*TempDir, error) {
	if s.readOnly != nil {
		return nil, fmt.Errorf("making a folder for %s: %w", name, s.readOnly)
	}
	path, lock, err := disk.ClaimDir(s.Dir("tmp"), name)
	if err != nil {
		return nil, fmt.Errorf("making a folder for %s: %w", name, err)
	}
	return &TempDir{path, s.blobs, lock}, nil
}

// Close removes the folder. Blobs in it that out/ has too are not hashed again for the
// name that they lose.
func (t *TempDir) Close() error {
	defer t.lock.Close()
	return t.blobs.discard(t.Path)
}

// markFile marks a folder whose contents this user's sx made.
const markFile = "made-here"

// Mark marks the folder at path as filled by this user's sx from now on. The mark holds
// for that very folder: a copy of it, here or elsewhere, is not marked.
func (s *Store) Mark(path string) error {
	id, err := folderID(path)
	if err != nil {
		return fmt.Errorf("marking %q: %w", path, err)
	}
	mark := hex.EncodeToString(s.key.MAC("folder", id)) + "\n"
	return disk.WriteFile(filepath.Join(path, markFile), []byte(mark), 0o600, path)
}

// Marked reports whether Mark marked the folder at path.
func (s *Store) Marked(path string) bool {
	id, err := folderID(path)
	if err != nil {
		return false
	}
	mark, err := disk.ReadFile(filepath.Join(path, markFile), 1024)
	return err == nil && s.key.Verify("folder", id, strings.TrimSuffix(string(mark), "\n"))
}

// folderID differs for all folders that exist on this machine at one time.
func folderID(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("it is not a folder")
	}
	st, err := disk.StatPath(path)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%d:%d", st.Dev, st.Ino), nil
}
