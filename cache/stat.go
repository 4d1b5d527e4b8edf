package cache

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// inode identifies a file whatever its names.
type inode struct{ Dev, Ino uint64 }

// stamp is what changes when a file's content does. Times are nanoseconds.
type stamp struct {
	inode
	Size, Mtime, Ctime int64
	Nlink              uint64
	Uid                uint32
	Mode               fs.FileMode // permission bits only
	Regular            bool        // a regular file
}

func statFile(f *os.File) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return stamp{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return stampOf(&st), nil
}

// statPath does not follow a link.
func statPath(path string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return stamp{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return stampOf(&st), nil
}

// stat does not follow a link.
func (d dir) stat(name string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(d.f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return stamp{}, &fs.PathError{Op: "stat", Path: filepath.Join(d.path, name), Err: err}
	}
	return stampOf(&st), nil
}

// The field types differ between systems, hence the conversions.
func stampOf(st *unix.Stat_t) stamp {
	return stamp{
		inode: inode{uint64(st.Dev), uint64(st.Ino)},
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
