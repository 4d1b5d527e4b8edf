package fetch

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
	"golang.org/x/sys/unix"
)

// The size of TempDir is limited, so that servers cannot fill the disk. Partial files
// count, and wrong files that earlier runs moved away. Wrong files of this run do not,
// because its messages name them.

type tempFile struct {
	name     string
	size     int64
	modified time.Time
}

// list returns the files that count, oldest first.
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
		if t.kept[e.Name()] {
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

// grow reserves n more bytes. Above the limit it counts the files again and removes those
// that no process is writing, oldest first. If that is not enough it returns a
// *transfer.SizeError.
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

// shrink releases bytes that grow reserved.
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
		return &transfer.SizeError{What: "partial files", Size: t.used + n, Max: t.max}
	}
	return nil
}

// discard removes a file that no process has locked, and reports whether it did.
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

// forget removes the partial file of a hash that is present.
func (t *temp) forget(hash graph.Hash) {
	name := hash.String() + partSuffix
	info, err := t.dir.Lstat(name)
	if err == nil && t.discard(name) {
		t.shrink(info.Size())
	}
}
