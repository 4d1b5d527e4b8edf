package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"codeberg.org/stagex/sx/graph"
)

// Files in TempDir have a sha256 as their name, with one of these suffixes.
const (
	partSuffix  = ".part"  // the file so far, by the wanted hash; its writer locks it
	metaSuffix  = ".meta"  // where that file comes from, see meta.go
	wrongSuffix = ".wrong" // a wrong file found at a final name, by its own hash
)

// temp is TempDir; budget.go bounds its size.
type temp struct {
	dir  *os.Root
	path string
	max  int64

	mu   sync.Mutex
	used int64           // at least the bytes in it, as far as this process knows
	kept map[string]bool // wrong files of this run, which are not evicted
}

// openTemp opens TempDir. Offline it changes nothing, and returns nil if the folder does
// not exist.
func openTemp(tree *tree, opts Options) (t *temp, err error) {
	t = &temp{path: opts.TempDir, max: opts.MaxPartial}
	err = t.open(tree, !opts.Offline)
	if opts.Offline && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
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
	if !opts.Offline {
		t.sweep()
	}
	return t, nil
}

// open opens the folder, and with make creates it. The default folder is in the tree,
// where no link is followed.
func (t *temp) open(tree *tree, make bool) (err error) {
	switch {
	case t.path == "" && make:
		t.dir, err = tree.folder(defaultTemp, 0o700)
	case t.path == "":
		t.dir, err = tree.folder(defaultTemp, 0)
	case make:
		if err = os.MkdirAll(t.path, 0o700); errors.Is(err, syscall.ENOTDIR) {
			err = fmt.Errorf("%w; move the file away", err)
		}
	}
	if t.path == "" {
		t.path = defaultTemp
	} else if err == nil {
		t.dir, err = os.OpenRoot(t.path)
	}
	return err
}

// begun reports whether there is a partial file of a hash, or a file with that hash that
// was moved away as wrong.
func (t *temp) begun(want graph.Hash) bool {
	if t == nil {
		return false
	}
	_, err := t.dir.Lstat(want.String() + partSuffix)
	_, aside := t.dir.Lstat(want.String() + wrongSuffix)
	return err == nil || aside == nil
}

// sweep removes meta files without a partial file. A run that is killed after it renamed
// the partial file leaves one.
func (t *temp) sweep() {
	metas, _ := fs.Glob(t.dir.FS(), "*"+metaSuffix)
	for _, name := range metas {
		_, err := t.dir.Lstat(strings.TrimSuffix(name, metaSuffix) + partSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			t.dir.Remove(name)
		}
	}
}

func (t *temp) close() {
	if t != nil {
		t.dir.Close()
	}
}

const defaultTemp = ".sx/fetch"

// holds reports whether name still is the open file f.
func (t *temp) holds(f *os.File, name string) bool {
	there, err := t.dir.Lstat(name)
	if err != nil {
		return false
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(there, mine)
}
