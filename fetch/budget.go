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

// What lies in TempDir is bounded: a server decides how much it sends, not how
// full the disk gets. Partial files count, and wrong ones that earlier runs moved
// away; those of this run it will still speak of, so they stay.

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

// grow makes room for n more bytes: above the limit it counts what is really
// there, and removes what nobody writes, oldest first. Else a *transfer.SizeError.
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
		return &transfer.SizeError{What: "partial files", Size: t.used + n, Max: t.max}
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

// forget removes what is left of a download that is no longer needed.
func (t *temp) forget(hash graph.Hash) {
	name := hash.String() + partSuffix
	info, err := t.dir.Lstat(name)
	if err == nil && t.discard(name) {
		t.shrink(info.Size())
	}
}
