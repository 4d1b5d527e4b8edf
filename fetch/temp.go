package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"codeberg.org/stagex/sx/graph"
)

// What lies in TempDir, each name a sha256 and one of these: of what is wanted,
// or of what a wrong file is.
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
	kept map[string]bool
}

// openTemp opens TempDir. Offline it is left as it is, and nil where there is none.
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

// open opens the folder, made where it may be. The default one is in the tree,
// where no link is followed.
func (t *temp) open(tree *tree, make bool) (err error) {
	switch {
	case t.path == "" && make:
		t.dir, err = tree.folder(defaultTemp, 0o700)
	case t.path == "":
		t.dir, err = tree.folder(defaultTemp, 0)
	case make:
		err = os.MkdirAll(t.path, 0o700)
	}
	if t.path == "" {
		t.path = defaultTemp
	} else if err == nil {
		t.dir, err = os.OpenRoot(t.path)
	}
	return err
}

// begun says whether there is a partial file of a hash, or one that was put aside.
func (t *temp) begun(want graph.Hash) bool {
	if t == nil {
		return false
	}
	_, err := t.dir.Lstat(want.String() + partSuffix)
	_, aside := t.dir.Lstat(want.String() + wrongSuffix)
	return err == nil || aside == nil
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

func (t *temp) close() {
	if t != nil {
		t.dir.Close()
	}
}

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
