//go:build !linux

package cache

import "golang.org/x/sys/unix"

// openPath opens a folder to look below it.
const openPath = unix.O_RDONLY
