package space

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// Usage is what files take on a disk: allocated blocks, in bytes, not sizes.
type Usage struct {
	Files  int   `json:"files"`  // not counted before under another name
	Bytes  int64 `json:"bytes"`  // of those, and of the folders
	Shared int64 `json:"shared"` // of files that were counted before
	Unread int   `json:"unread"` // folders that could not be read
}

// Tally adds up files, each once, however many hard links it has. The zero Tally is ready
// for use.
type Tally struct {
	linked map[disk.Inode]*names // files with several hard links
	single int64                 // bytes of all others
}

type names struct {
	seen, all uint64
	bytes     int64
}

// Add counts the file or folder at path and all below it. It follows no link. A missing
// file counts as nothing.
func (t *Tally) Add(path string) Usage {
	var u Usage
	filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				u.Unread++
			}
			return nil
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			t.add(&u, &st)
		}
		return nil
	})
	return u
}

func (t *Tally) add(u *Usage, st *unix.Stat_t) {
	s, bytes := disk.StampOf(st), int64(st.Blocks)*512
	if st.Mode&unix.S_IFMT == unix.S_IFDIR || s.Nlink == 1 {
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			u.Files++
		}
		u.Bytes += bytes
		t.single += bytes
		return
	}
	if n := t.linked[s.Inode]; n != nil {
		n.seen++
		u.Shared += bytes
		return
	}
	if t.linked == nil {
		t.linked = map[disk.Inode]*names{}
	}
	t.linked[s.Inode] = &names{1, s.Nlink, bytes}
	u.Files++
	u.Bytes += bytes
}

// Frees returns how many bytes are freed if all that was added is removed: those of files
// of which every hard link was added.
func (t *Tally) Frees() int64 {
	sum := t.single
	for _, n := range t.linked {
		if n.seen >= n.all {
			sum += n.bytes
		}
	}
	return sum
}

// Rest is Add of the entries of a folder except some.
func (t *Tally) Rest(folder string, without ...string) Usage {
	var sum Usage
	entries, err := disk.List(folder)
	if err != nil {
		sum.Unread++
	}
	for _, e := range entries {
		if slices.Contains(without, e.Name()) {
			continue
		}
		u := t.Add(filepath.Join(folder, e.Name()))
		sum.Files += u.Files
		sum.Bytes += u.Bytes
		sum.Shared += u.Shared
		sum.Unread += u.Unread
	}
	return sum
}
