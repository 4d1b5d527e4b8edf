//go:build linux && (amd64 || arm64)

package disk

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LstatAt does not follow a link at the end of path, which is below the folder dir.
// [unix.Fstatat] is the same, but copies every path: a run that has nothing to do
// makes little other garbage.
func LstatAt(dir int, path []byte, st *unix.Stat_t) error {
	if bytes.IndexByte(path, 0) >= 0 {
		return unix.EINVAL
	}
	path = append(path, 0)
	_, _, errno := unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(dir), uintptr(unsafe.Pointer(&path[0])),
		uintptr(unsafe.Pointer(st)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
