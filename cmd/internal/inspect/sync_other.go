//go:build !linux

package inspect

import "golang.org/x/sys/unix"

// syncAll syncs all filesystems: there is no call for one of them.
func syncAll(string) error {
	unix.Sync()
	return nil
}
