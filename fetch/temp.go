package fetch

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"codeberg.org/stagex/sx/graph"
	"golang.org/x/sys/unix"
)

// What lies in TempDir, each name the sha256 wanted and one of these.
const (
	partSuffix  = ".part"  // the file so far, locked by who writes it
	metaSuffix  = ".meta"  // where that came from, see meta.go
	wrongSuffix = ".wrong" // what lay under a final name and was another file
)

// temp is TempDir. It keeps the sum of what lies there below a limit: a server
// decides how much it sends, not how full the disk gets.
type temp struct {
	dir  *os.Root
	path string
	max  int64

	mu   sync.Mutex
	used int64 // at least what lies there, as far as this process knows
}

// openTemp makes and opens TempDir. The default one is in the tree, where no
// link is followed.
func openTemp(tree *tree, opts Options) (t *temp, err error) {
	t = &temp{path: opts.TempDir, max: opts.MaxPartial}
	if t.path == "" {
		t.path = defaultTemp
		t.dir, err = tree.folder(defaultTemp, 0o700)
	} else if err = os.MkdirAll(t.path, 0o700); err == nil {
		t.dir, err = os.OpenRoot(t.path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the folder for partial files: %w", err)
	}
	files, err := t.list()
	if err != nil {
		t.close()
		return nil, fmt.Errorf("reading %q: %w", t.path, cause(err))
	}
	t.used = total(files)
	t.sweep()
	return t, nil
}

// sweep removes meta files whose partial file a killed run had just renamed.
func (t *temp) sweep() {
	metas, _ := fs.Glob(t.dir.FS(), "*"+metaSuffix)
	for _, name := range metas {
		_, err := t.dir.Lstat(strings.TrimSuffix(name, metaSuffix) + partSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			t.dir.Remove(name)
		}
	}
}

func (t *temp) close() { t.dir.Close() }

const defaultTemp = ".sx/fetch"

type tempFile struct {
	name     string
	size     int64
	modified time.Time
}

// list is the files that count, oldest first.
func (t *temp) list() ([]tempFile, error) {
	entries, err := fs.ReadDir(t.dir.FS(), ".")
	if err != nil {
		return nil, err
	}
	var files []tempFile
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), partSuffix) && !strings.HasSuffix(e.Name(), wrongSuffix) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // another run finished it
		}
		files = append(files, tempFile{e.Name(), info.Size(), info.ModTime()})
	}
	slices.SortFunc(files, func(a, b tempFile) int {
		return cmp.Or(a.modified.Compare(b.modified), cmp.Compare(a.name, b.name))
	})
	return files, nil
}

func total(files []tempFile) (sum int64) {
	for _, f := range files {
		sum += f.size
	}
	return sum
}

// grow makes room for n more bytes: above the limit it counts what is really
// there, and removes what nobody writes, oldest first. Else a *SizeError.
func (t *temp) grow(n int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used+n > t.max {
		if err := t.evict(n); err != nil {
			return err
		}
	}
	t.used += n
	return nil
}

// shrink gives back what grow counted.
func (t *temp) shrink(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used = max(t.used-n, 0)
}

func (t *temp) evict(n int64) error {
	files, err := t.list()
	if err != nil {
		return fmt.Errorf("reading %q: %w", t.path, cause(err))
	}
	t.used = total(files)
	for _, f := range files {
		if t.used+n <= t.max {
			return nil
		}
		if t.discard(f.name) {
			t.used -= f.size
		}
	}
	if t.used+n > t.max {
		return &SizeError{What: "partial files", Size: t.used + n, Max: t.max}
	}
	return nil
}

// discard removes a file that nobody holds, and says whether it did.
func (t *temp) discard(name string) bool {
	if hash, ok := strings.CutSuffix(name, partSuffix); ok {
		f, err := t.dir.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return false
		}
		defer f.Close()
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || !t.holds(f, name) {
			return false
		}
		t.dir.Remove(hash + metaSuffix)
	}
	return t.dir.Remove(name) == nil
}

// holds says whether name still is the open file f.
func (t *temp) holds(f *os.File, name string) bool {
	there, err := t.dir.Lstat(name)
	if err != nil {
		return false
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(there, mine)
}

// forget removes what is left of a download that is no longer needed.
func (t *temp) forget(hash graph.Hash) {
	name := hash.String() + partSuffix
	info, err := t.dir.Lstat(name)
	if err == nil && t.discard(name) {
		t.shrink(info.Size())
	}
}

// takeWrong moves the file of s here, so that it is neither believed nor lost.
// Where it cannot be moved, or is no file, it is removed.
func (t *temp) takeWrong(s *spot, want graph.Hash) error {
	info, err := s.dir.Lstat(s.base)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || t.grow(info.Size()) != nil {
		return errors.Join(s.dir.Remove(s.base), syncDir(s.dir))
	}
	err = between(s.dir, t.dir, func(from, to int) error {
		return unix.Renameat(from, s.base, to, want.String()+wrongSuffix)
	})
	if err != nil {
		t.shrink(info.Size())
		err = s.dir.Remove(s.base)
	}
	return errors.Join(err, syncDir(s.dir))
}
