//go:build !linux

package disk

import "golang.org/x/sys/unix"

// OpenPath opens a folder to look below it.
const OpenPath = unix.O_RDONLY
