package memo

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// maxItems bounds the items of one folder: a foreign folder may hold a million files.
const maxItems = 4096

// path returns the absolute path of an item.
func (m *Memo) path(at, item string) string { return m.root + "/" + below(at, item) }

// below returns the path of an item below the root.
func below(at, item string) string {
	if item == "" {
		return at
	}
	return at + "/" + item
}

// look lists and stats path and everything below it, a folder before its contents, names
// sorted.
func (m *Memo) look(at string) ([]Item, error) {
	base, err := m.base()
	if err != nil {
		return nil, err
	}
	return m.lookBelow(base, nil, at, "")
}

func (m *Memo) lookBelow(base *os.File, items []Item, at, item string) ([]Item, error) {
	if len(items) == maxItems {
		return nil, errors.New("there is too much in it")
	}
	st, mode, err := m.lstatItem(base, at, item)
	if err != nil {
		return nil, err
	}
	items = append(items, Item{Path: item, Mode: mode, St: st})
	if !mode.IsDir() {
		return items, nil
	}
	names, err := m.names(base, at, item)
	for _, name := range names {
		if items, err = m.lookBelow(base, items, at, path.Join(item, name)); err != nil {
			return nil, err
		}
	}
	return items, err
}

// names lists a folder, sorted, without the skipped name.
func (m *Memo) names(base *os.File, at, item string) ([]string, error) {
	folder, err := disk.OpenAt(int(base.Fd()), below(at, item), m.path(at, item), unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(maxItems + 1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if item == "" && m.skip != "" {
		names = slices.DeleteFunc(names, func(n string) bool { return n == m.skip })
	}
	slices.Sort(names)
	return names, nil
}

// sameNames fails if the folder that is item i holds other names than its items have.
func (m *Memo) sameNames(base *os.File, at string, items []Item, i int) error {
	dir := items[i].Path
	names, err := m.names(base, at, dir)
	if err != nil {
		return err
	}
	var was []string
	for _, item := range items[i+1:] {
		if parent, name := path.Split(item.Path); strings.TrimSuffix(parent, "/") == dir {
			was = append(was, name)
		}
	}
	slices.Sort(was)
	if !slices.Equal(names, was) {
		return errForgotten
	}
	return nil
}

// hash fills in an item's sum.
func (m *Memo) hash(base *os.File, at string, item *Item) error {
	full := m.path(at, item.Path)
	switch {
	case item.Mode.IsDir():
	case item.Mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(full)
		if err != nil {
			return err
		}
		item.Sum = sha256.Sum256([]byte(target))
	case item.Mode.IsRegular():
		f, err := disk.OpenRegular(int(base.Fd()), below(at, item.Path), full)
		if err != nil {
			return err
		}
		defer f.Close()
		if st, err := disk.StatFile(f); err != nil || !st.Same(item.St) {
			return errors.Join(errForgotten, err)
		}
		item.Sum, err = m.sum(f, item.St)
		return err
	default:
		return fmt.Errorf("%q is neither a file, a folder nor a link", full)
	}
	return nil
}

// base returns the root, which it opens at the first call: resolving an item from there
// takes half the time of an absolute path.
func (m *Memo) base() (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		fd, err := unix.Open(m.root, disk.OpenPath|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: m.root, Err: err}
		}
		m.open = os.NewFile(uintptr(fd), m.root)
	}
	return m.open, nil
}

// lstatItem is lstat of an item below base.
func (m *Memo) lstatItem(base *os.File, path, item string) (disk.Stamp, fs.FileMode, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(base.Fd()), below(path, item), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return disk.Stamp{}, 0, &fs.PathError{Op: "stat", Path: m.path(path, item), Err: err}
	}
	return disk.StampOf(&st), modeOf(&st), nil
}

// lstat does not follow a link at the end of path.
func lstat(path string) (disk.Stamp, fs.FileMode, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return disk.Stamp{}, 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return disk.StampOf(&st), modeOf(&st), nil
}

// modeOf returns type and permissions. Types that sx never reads are irregular.
func modeOf(st *unix.Stat_t) fs.FileMode {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return mode
	case unix.S_IFDIR:
		return mode | fs.ModeDir
	case unix.S_IFLNK:
		return mode | fs.ModeSymlink
	}
	return mode | fs.ModeIrregular
}
