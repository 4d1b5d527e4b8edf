package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"codeberg.org/stagex/sx/graph"
	"golang.org/x/sys/unix"
)

// What lies in TempDir, each name the sha256 wanted and one of these.
const (
	partSuffix  = ".part"  // the file so far, locked by who writes it
	metaSuffix  = ".meta"  // where that came from, see meta.go
	wrongSuffix = ".wrong" // what lay under a final name and was another file
)

// temp is TempDir; budget.go keeps what lies there below a limit.
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

// holds says whether name still is the open file f.
func (t *temp) holds(f *os.File, name string) bool {
	there, err := t.dir.Lstat(name)
	if err != nil {
		return false
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(there, mine)
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
