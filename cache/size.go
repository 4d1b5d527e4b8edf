package cache

import (
	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Size returns how many bytes the blobs of out/<output> have together, as they lie there:
// layers are compressed. It reads no blob. Without a layout the error is fs.ErrNotExist.
func (s *outputs) Size(output string) (int64, error) {
	out, err := disk.OpenDir(s.Out(""))
	if err != nil {
		return 0, err
	}
	defer out.Close()
	blobs, err := out.Sub(output, "blobs", "sha256")
	if err != nil {
		return 0, err
	}
	defer blobs.Close()
	entries, err := blobs.F.ReadDir(-1)
	if err != nil {
		return 0, err
	}
	var size int64
	for _, e := range entries {
		if _, err := oci.ParseHexDigest(e.Name()); err != nil {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
	}
	return size, nil
}
