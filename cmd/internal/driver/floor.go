package driver

import (
	"fmt"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache"
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

// checkFloor returns a *FloorError if fewer than floor bytes are free on the filesystem
// of the store, which is also that of out/. 0 is no floor.
func checkFloor(store *cache.Store, floor int64) error {
	if floor <= 0 {
		return nil
	}
	path := store.Dir()
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return nil // a filesystem without this call does not stop the run
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < floor {
		return &FloorError{path, free, floor}
	}
	return nil
}
