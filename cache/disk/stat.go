package disk

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Inode identifies a file, whatever its names.
type Inode struct{ Dev, Ino uint64 }

// Stamp is what changes if a file's content does. Times are nanoseconds since 1970.
type Stamp struct {
	Inode
	Size, Mtime, Ctime int64
	Nlink              uint64
	Uid                uint32
	Mode               fs.FileMode // permission bits only
	Regular            bool        // a regular file
}

// StatFile returns the stamp of an open file.
func StatFile(f *os.File) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Stamp{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return StampOf(&st), nil
}

// StatPath returns the stamp of a path. It does not follow a link.
func StatPath(path string) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Stamp{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return StampOf(&st), nil
}

// IsThere reports whether something is at path. It does not follow a link.
func IsThere(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}

// Stat returns the stamp of a file of d. It does not follow a link.
func (d Dir) Stat(name string) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(d.F.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Stamp{}, &fs.PathError{Op: "stat", Path: filepath.Join(d.Path, name), Err: err}
	}
	return StampOf(&st), nil
}

// StampOf converts a stat. The field types differ between systems.
func StampOf(st *unix.Stat_t) Stamp {
	return Stamp{
		Inode: Inode{uint64(st.Dev), uint64(st.Ino)},
		Size:  st.Size,
		Mtime: nanoseconds(st.Mtim),
		Ctime: nanoseconds(st.Ctim),
		Nlink: uint64(st.Nlink),
		Uid:   st.Uid,
		Mode:  fs.FileMode(st.Mode & 0o777),

		Regular: st.Mode&unix.S_IFMT == unix.S_IFREG,
	}
}

// nanoseconds overflows for a time centuries away; the result still serves as a stamp.
func nanoseconds(t unix.Timespec) int64 { return int64(t.Sec)*1e9 + int64(t.Nsec) }

// Same compares the parts of a stamp that are remembered.
func (s Stamp) Same(o Stamp) bool {
	return s.Inode == o.Inode && s.Size == o.Size && s.Mtime == o.Mtime && s.Ctime == o.Ctime
}
