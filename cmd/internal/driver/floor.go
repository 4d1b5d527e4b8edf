package driver

import (
	"fmt"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// FloorError reports that less disk is free than the user's floor: nothing new starts,
// and finished outputs are kept.
type FloorError struct {
	Path        string
	Free, Floor int64 // bytes
}

func (e *FloorError) Error() string {
	return fmt.Sprintf("%s free on the disk of %q, less than the floor of %s: nothing new starts; free some space (sx gc) and run the same command again, or lower --disk-floor",
		text.Bytes(e.Free), e.Path, text.Bytes(e.Floor))
}

// checkFloor checks the filesystem of the store, which is also that of out/.
func (r *run) checkFloor() error {
	if r.opts.DiskFloor <= 0 {
		return nil
	}
	path := r.Store.Dir()
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return nil // a filesystem without this call does not stop the run
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < r.opts.DiskFloor {
		return &FloorError{path, free, r.opts.DiskFloor}
	}
	return nil
}
