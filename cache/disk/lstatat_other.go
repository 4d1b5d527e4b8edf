//go:build !(linux && (amd64 || arm64))

package disk

import "golang.org/x/sys/unix"

// LstatAt does not follow a link at the end of path, which is below the folder dir.
func LstatAt(dir int, path []byte, st *unix.Stat_t) error {
	return unix.Fstatat(dir, string(path), st, unix.AT_SYMLINK_NOFOLLOW)
}
