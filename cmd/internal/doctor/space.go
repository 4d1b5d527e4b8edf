package doctor

import (
	"context"
	"fmt"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// roomy is the free space that a build of the stages up to core needs; less is enough for
// some outputs.
const roomy = 50 << 30

// space has the lines about the filesystem of out/ and .sx.
func (m Machine) space(context.Context) []Line {
	return []Line{m.disk(), m.links()}
}

func (m Machine) disk() Line {
	const name = "disk"
	const remedy = "free some (sx gc; sx engine clean), or put the tree on another disk"
	free, err := m.Free(m.State)
	floor := m.Settings.Build.DiskFloor
	switch {
	case err != nil:
		return limit(name, remedy, "how much is free is unknown: %v", err)
	case free.Bytes < floor:
		return stop(name, remedy+"; build.disk_floor is the least that must be free", "%s free, less than %s", text.Bytes(free.Bytes), text.Bytes(floor))
	case free.Files == 0:
		return stop(name, remedy, "%s free, but no further file (its inodes are used up)", text.Bytes(free.Bytes))
	case free.Bytes < roomy:
		return limit(name, remedy, "%s free: enough for some outputs; all of StageX needs hundreds of GB", text.Bytes(free.Bytes))
	}
	return ok(name, "%s free", text.Bytes(free.Bytes))
}

func (m Machine) links() Line {
	const name = "hard links"
	const remedy = "put the tree on ext4, xfs or btrfs"
	l, err := m.Link(m.State)
	switch {
	case err != nil:
		return stopped(name, "make the folder yours and writable", fmt.Errorf("nothing can be written: %w", err))
	case !l.Hard:
		return limit(name, remedy, "not on this filesystem: blobs are copied, which takes time and twice the disk")
	case !l.Exchange:
		return limit(name, remedy, "work; but folders cannot be swapped at once, so an output is missing for a moment while it is replaced")
	}
	return ok(name, "work, and folders can be swapped at once")
}
