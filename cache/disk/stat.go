package disk

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Inode identifies a file whatever its names.
type Inode struct{ Dev, Ino uint64 }

// Stamp is what changes when a file's content does. Times are nanoseconds.
type Stamp struct {
	Inode
	Size, Mtime, Ctime int64
	Nlink              uint64
	Uid                uint32
	Mode               fs.FileMode // permission bits only
	Regular            bool        // a regular file
}

func StatFile(f *os.File) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Stamp{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return StampOf(&st), nil
}

// StatPath does not follow a link.
func StatPath(path string) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Stamp{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return StampOf(&st), nil
}

// Stat does not follow a link.
func (d Dir) Stat(name string) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(d.F.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Stamp{}, &fs.PathError{Op: "stat", Path: filepath.Join(d.Path, name), Err: err}
	}
	return StampOf(&st), nil
}

// The field types differ between systems, hence the conversions.
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

// nanoseconds may wrap for a time centuries away, which still is a stamp.
func nanoseconds(t unix.Timespec) int64 { return int64(t.Sec)*1e9 + int64(t.Nsec) }

// Same compares what is remembered of a file.
func (s Stamp) Same(o Stamp) bool {
	return s.Inode == o.Inode && s.Size == o.Size && s.Mtime == o.Mtime && s.Ctime == o.Ctime
}
